"""One small application as the tools of this world pack it: by the tool itself where it is here, else as it writes.

Each gives the reference of an image that prints "hello" and then "world".
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import daemons
from tests.unit.imagemaker import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Item, digest, dump, tar

BUSYBOX = Path("/bin/busybox")
COMMAND = ["/bin/sh", "-c", "cat /srv/app/greeting; echo $WHO"]
CONFIG = {"Cmd": COMMAND, "Env": ["PATH=/bin", "WHO=world"], "WorkingDir": "/srv"}
ANSWER = "hello\nworld\n"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def busybox() -> bytes:
    found = BUSYBOX.resolve()
    if not found.is_file() or found.read_bytes()[:4] != b"\x7fELF":
        pytest.skip("not installed: busybox-static")
    return found.read_bytes()


def context(place: Path) -> Path:
    """What a build starts from: a program, its names, a file that is used and one that is not."""
    for name in ("bin", "srv/app"):
        (place / "tree" / name).mkdir(parents=True)
    (place / "tree/bin/busybox").write_bytes(busybox())
    (place / "tree/bin/busybox").chmod(0o755)
    for name in ("sh", "cat"):
        (place / "tree/bin" / name).symlink_to("busybox")
    (place / "tree/srv/app/greeting").write_text("hello\n")
    (place / "tree/srv/unused").write_text("unused\n" * 100)
    return place


@contextmanager
def engine(place: Path) -> Iterator[Mapping[str, str]]:
    """The environment of podman and buildah with a storage of their own."""
    if shutil.which("podman") is None or shutil.which("buildah") is None:
        pytest.skip("not installed: podman and buildah")
    storage = place / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{place}/graph"\nrunroot = "{place}/run"\n')
    yield {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}


def run(*words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(words, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr[-800:]}"
    return done.stdout


def by_buildah(place: Path) -> str:
    with engine(place) as env:
        name = run("buildah", "from", "scratch", env=env).strip()
        run("buildah", "copy", "--chown", "7:8", name, place / "tree", "/", env=env)
        options = ["--cmd", json.dumps(COMMAND), "--env", "PATH=/bin", "--env", "WHO=world", "--workingdir", "/srv"]
        run("buildah", "config", *options, name, env=env)
        run("buildah", "commit", "--rm", name, f"oci:{place}/image:built", env=env)
    return f"oci:{place}/image:built"


CONTAINERFILE = f"""
FROM scratch AS one
COPY tree/bin /bin
RUN ["/bin/busybox", "sh", "-c", "echo unused > /built; /bin/busybox mkdir -p /opt/x"]
FROM scratch
COPY --from=one /bin /bin
COPY tree/srv /srv
ENV PATH=/bin WHO=world
WORKDIR /srv
CMD {json.dumps(COMMAND)}
"""


def by_podman_build(place: Path) -> str:
    """Several stages in one layer, at a fixed time."""
    (place / "Containerfile").write_text(CONTAINERFILE)
    with engine(place) as env:
        run("podman", "build", "-q", "--squash", "--timestamp", "1000000000", "-t", "app:1", ".", env=env, cwd=place)
        run("podman", "save", "-q", "--format", "docker-archive", "-o", place / "app.tar", "app:1", env=env)
    return f"docker-archive:{place}/app.tar"


def by_podman_zstd_chunked(place: Path) -> str:
    """Layers of podman's own kind of zstd, with frames that plain readers skip."""
    (place / "Containerfile").write_text(CONTAINERFILE.replace("RUN", "#"))
    with engine(place) as env:
        run("podman", "build", "-q", "-t", "app:1", ".", env=env, cwd=place)
        pushed = ("podman", "push", "-q", "--compression-format", "zstd:chunked", "app:1", f"oci:{place}/image:app")
        run(*pushed, env=env)
    layout = place / "image"
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
    layers = [(layout / "blobs/sha256" / layer["digest"][7:]).read_bytes() for layer in manifest["layers"]]
    assert all(layer[:4] == b"\x28\xb5\x2f\xfd" for layer in layers)
    # The footer of zstd:chunked, in a frame to skip at the very end: containers/storage, pkg/chunked.
    assert all(layer.endswith(b"GnUlInUx") for layer in layers)
    return f"oci:{layout}:app"


def by_umoci(place: Path) -> str:
    if shutil.which("umoci") is None:
        pytest.skip("not installed: umoci")
    image = f"{place}/image:app"
    run("umoci", "init", "--layout", place / "image")
    run("umoci", "new", "--image", image)
    run("umoci", "unpack", "--image", image, place / "bundle")
    run("cp", "-a", f"{place}/tree/.", place / "bundle/rootfs")
    run("umoci", "repack", "--image", image, place / "bundle")
    words = [word for each in COMMAND for word in ("--config.cmd", each)]
    run("umoci", "config", "--image", image, *words, "--config.env", "PATH=/bin", "--config.env", "WHO=world")
    return f"oci:{image}"


def by_skopeo(place: Path) -> str:
    """From a layout to docker's form, schema 2, in a directory of plain blobs, and on into an archive."""
    if shutil.which("skopeo") is None:
        pytest.skip("not installed: skopeo")
    source = as_bazel_writes(place)
    run("skopeo", "copy", "-q", "--insecure-policy", source, f"docker-archive:{place}/copied.tar:app:1")
    return f"docker-archive:{place}/copied.tar"


def by_docker(place: Path) -> str:
    """The daemon's own builder, and what `docker save` writes."""
    (place / "Dockerfile").write_text(CONTAINERFILE.replace("RUN", "#"))
    (place / ".dockerignore").write_text("docker\n")
    with daemons.docker_daemon(place / "docker") as environ:
        env = {**environ, "DOCKER_BUILDKIT": "0"}
        run("docker", "build", "-q", "-t", "app:1", ".", env=env, cwd=place)
        run("docker", "save", "-o", place / "app.tar", "app:1", env=env)
    return f"docker-archive:{place}/app.tar"


def application(prefix: str = "", *, mode: int = 0o755, mtime: int = 0, folders: bool = True) -> list[Item]:
    """The files as entries whose names begin with a prefix."""
    items = [Item(f"{prefix}bin/busybox", content=busybox(), mode=mode, mtime=mtime)]
    items += [Item(f"{prefix}bin/{name}", "symlink", target="busybox", mtime=mtime) for name in ("sh", "cat")]
    items += [
        Item(f"{prefix}srv/app/greeting", content=b"hello\n", mtime=mtime),
        Item(f"{prefix}srv/unused", content=b"unused\n" * 100, mtime=mtime),
    ]
    named = [Item(f"{prefix}{name}/", "dir", mode=0o755, mtime=mtime) for name in ("bin", "srv", "srv/app")]
    return [*named, *items] if folders else items


def archive(place: Path, members: Mapping[str, bytes]) -> str:
    with tarfile.open(place / "app.tar", "w") as out:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return f"docker-archive:{place}/app.tar"


def config_of(*layers: bytes, **more: object) -> bytes:
    diff_ids = [digest(each) for each in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return dump({"architecture": "amd64", "os": "linux", "config": CONFIG, "rootfs": rootfs, **more})


def as_kaniko_writes(place: Path) -> str:
    """`--tar-path`: gzip layers named by their digests, absolute names, an empty entry of history."""
    layers = [tar(*application("/", folders=False)), tar(Item("/srv/.wh.unused"), Item("/kaniko/", "dir", mode=0o755))]
    history = [{"created": "0001-01-01T00:00:00Z", "created_by": "RUN true", "empty_layer": True}]
    config = config_of(*layers, history=[*history, *({"created_by": f"COPY {n}"} for n in "ab")], author="kaniko")
    packed = [gzip.compress(each, 1) for each in layers]
    names = [f"{digest(each)[7:]}.tar.gz" for each in packed]
    manifest = [{"Config": digest(config), "RepoTags": ["app:1"], "Layers": names}]
    return archive(
        place, {digest(config): config, **dict(zip(names, packed, strict=True)), "manifest.json": dump(manifest)}
    )


def layout(place: Path, manifest: Mapping[str, object], blobs: list[bytes], *, nested: bool = False) -> str:
    """An OCI layout of these blobs; `nested`: below an index for several platforms."""
    top = place / "image"
    (top / "blobs/sha256").mkdir(parents=True)
    text = dump({"schemaVersion": 2, **manifest})
    entry: dict[str, object] = {"mediaType": manifest["mediaType"], "digest": digest(text), "size": len(text)}
    if nested:
        entry["platform"] = {"architecture": "amd64", "os": "linux"}
        other = {
            **entry,
            "digest": digest(b"arm"),
            "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
        }
        index = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [other, entry]})
        blobs = [*blobs, index]
        entry = {"mediaType": OCI_INDEX, "digest": digest(index), "size": len(index)}
    for each in (*blobs, text):
        (top / "blobs/sha256" / digest(each)[7:]).write_bytes(each)
    (top / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (top / "index.json").write_bytes(dump({"schemaVersion": 2, "manifests": [entry]}))
    return f"oci:{top}"


def described(kind: str, data: bytes, **more: object) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}


def as_ko_writes(place: Path) -> str:
    """`ko build --oci-layout-path`: a base and the program's own layer, absolute names, nothing writable, an index."""
    base = tar(*application(mode=0o555))
    own = tar(Item("/ko-app", "dir", mode=0o555, mtime=0), Item("/ko-app/app", content=busybox(), mode=0o555, mtime=0))
    config = config_of(base, own, author="github.com/ko-build/ko", created="1970-01-01T00:00:00Z")
    packed = [gzip.compress(each, 1) for each in (base, own)]
    layers = [described(f"{OCI_LAYER}+gzip", each) for each in packed]
    manifest = {"mediaType": OCI_MANIFEST, "config": described(OCI_CONFIG, config), "layers": layers}
    return layout(place, manifest, [config, *packed], nested=True)


def as_jib_writes(place: Path) -> str:
    """`jib:buildTar`: a layer a kind of file, times of one second after the epoch, docker's archive of gzip layers."""
    files = application(mtime=1)
    layers = [tar(*files[:3], *files[3:6]), tar(*files[6:], Item("app/classes/", "dir", mode=0o755, mtime=1))]
    history = [{"created": "1970-01-01T00:00:00Z", "author": "Jib", "created_by": "jib-maven-plugin:3.4.0"}] * 2
    config = config_of(*layers, created="1970-01-01T00:00:00Z", history=history)
    packed = [gzip.compress(each, 1, mtime=0) for each in layers]
    names = [f"{digest(each)[7:]}.tar.gz" for each in packed]
    manifest = [{"Config": "config.json", "RepoTags": ["app:1"], "Layers": names}]
    return archive(
        place, {**dict(zip(names, packed, strict=True)), "config.json": config, "manifest.json": dump(manifest)}
    )


def as_nix_writes(place: Path) -> str:
    """`dockerTools.buildLayeredImage`: a layer a store path, absolute names, nothing writable, links into the store."""
    store = "/nix/store/0c3i4x1lbz6kyn7hnq0xzg2dzy5mvdcv-busybox"
    folders = ["/nix", "/nix/store", store, f"{store}/bin"]
    program = tar(
        *(Item(each, "dir", mode=0o555, mtime=1) for each in folders),
        Item(f"{store}/bin/busybox", content=busybox(), mode=0o555, mtime=1),
        *(Item(f"{store}/bin/{name}", "symlink", target="busybox", mode=0o777, mtime=1) for name in ("sh", "cat")),
    )
    links = tar(
        Item("./", "dir", mode=0o755, mtime=1),
        Item("./bin", "symlink", target=f"{store}/bin", mode=0o777, mtime=1),
        Item("./srv", "dir", mode=0o555, mtime=1),
        Item("./srv/app", "dir", mode=0o555, mtime=1),
        Item("./srv/app/greeting", content=b"hello\n", mode=0o444, mtime=1),
    )
    layers = (program, links)
    config = config_of(*layers, created="1970-01-01T00:00:01+00:00", history=[{"comment": "store paths"}] * 2)
    names = [f"{digest(each)[7:]}/layer.tar" for each in layers]
    manifest = [{"Config": f"{digest(config)[7:]}.json", "RepoTags": ["app:1"], "Layers": names}]
    members = dict(zip(names, layers, strict=True))
    return archive(place, {**members, f"{digest(config)[7:]}.json": config, "manifest.json": dump(manifest)})


def as_bazel_writes(place: Path) -> str:
    """rules_oci: a layout of plain layers, ./ in front of names, the epoch, no history, no tag, a child of an index."""
    layers = [tar(*application("./"), form=tarfile.USTAR_FORMAT)]
    config = config_of(*layers)
    manifest = {
        "mediaType": OCI_MANIFEST,
        "config": described(OCI_CONFIG, config),
        "layers": [described(OCI_LAYER, each) for each in layers],
    }
    return layout(place, manifest, [config, *layers])


def as_estargz(place: Path) -> str:
    """A gzip member an entry, a landmark, a table of contents, and 51 bytes of footer that name its place.

    Source: containerd/stargz-snapshotter, docs/estargz.md.
    """
    members: list[bytes] = []
    entries: list[dict[str, object]] = []
    plain = b""
    for item in (*application(), Item(".no.prefetch.landmark", content=b"\xf0")):
        data = tar(item)
        data = data[: 512 * (1 + bool(item.content)) + (len(item.content) - 1) // 512 * 512 if item.content else 512]
        kind = {"file": "reg"}.get(item.kind, item.kind)
        place_of = sum(map(len, members))
        entries.append({"name": item.name, "type": kind, "size": len(item.content), "offset": place_of})
        members.append(gzip.compress(data, 1, mtime=0))
        plain += data
    toc = tar(Item("stargz.index.json", content=dump({"version": 1, "entries": entries})))
    at = sum(map(len, members))
    members.append(gzip.compress(toc, 1, mtime=0))
    plain += toc
    extra = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % at
    footer = b"\x1f\x8b\x08\x04" + bytes(4) + b"\0\xff" + struct.pack("<H", len(extra)) + extra
    footer += b"\x01\0\0\xff\xff" + struct.pack("<II", zlib.crc32(b""), 0)
    assert len(footer) == 51
    config = config_of(plain)
    blob = b"".join(members) + footer
    note = {"containerd.io/snapshot/stargz/toc.digest": digest(toc)}
    manifest = {
        "mediaType": OCI_MANIFEST,
        "config": described(OCI_CONFIG, config),
        "layers": [described(f"{OCI_LAYER}+gzip", blob, annotations=note)],
    }
    return layout(place, manifest, [config, blob])


PRODUCERS: Mapping[str, Callable[[Path], str]] = {
    "buildah": by_buildah,
    "podman build": by_podman_build,
    "podman, zstd:chunked": by_podman_zstd_chunked,
    "umoci": by_umoci,
    "skopeo": by_skopeo,
    "docker": by_docker,
    "kaniko": as_kaniko_writes,
    "ko": as_ko_writes,
    "jib": as_jib_writes,
    "nix": as_nix_writes,
    "bazel": as_bazel_writes,
    "estargz": as_estargz,
}
