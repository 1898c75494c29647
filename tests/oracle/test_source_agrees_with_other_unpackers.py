"""What we make of an image against what umoci and podman make of it, through skopeo, podman and a registry."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.root.directory import DirectoryRoot
from slimmer.root.image import ImageRoot
from slimmer.root.model import FileType, Root
from slimmer.root.source import open_image
from tests.layer_stacks import stack
from tests.support import needs_root, requires, root_of
from tests.unit.imagemaker import Item, layout, tar

pytestmark = needs_root  # the other unpackers give files away


def run(*argv: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def seen(root: Root, *, times: bool = True) -> dict[str, tuple[object, ...]]:
    """Everything that can be asked of a root, in a form that two roots can be compared by.

    Without `times` those of directories are left out, for others let later entries change what a header
    said; and so is the root, which podman gives a mode of its own when no header names it.
    """
    found: dict[str, tuple[object, ...]] = {}
    first: dict[tuple[int, int], str] = {}
    for entry in root.walk():
        content = ""
        if entry.type is FileType.FILE:
            with root.open(entry.path) as stream:
                content = hashlib.sha256(stream.read()).hexdigest()
        xattrs = {name: value for name, value in root.xattrs(entry.path).items() if not name.startswith("trusted.")}
        if entry.type is FileType.CHAR:
            continue  # made in one, in the index only in the other
        found[entry.path] = (
            entry.type,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.size,
            entry.mtime_ns if times or entry.type is not FileType.DIRECTORY else 0,
            entry.target,
            first.setdefault(entry.identity, entry.path),
            content,
            tuple(sorted(xattrs.items())),
        )
    if not times:
        del found["/"]
    return found


def same(ours: Root, theirs: Root, *, times: bool = True) -> None:
    left, right = seen(ours, times=times), seen(theirs, times=times)
    assert sorted(left) == sorted(right)
    assert [(path, left[path], right[path]) for path in left if left[path] != right[path]] == []


def change(top: Path) -> None:
    """What a second build step may do to a tree."""
    (top / "usr/share/man").rename(top / "usr/share/moved")
    shutil.rmtree(top / "usr/share/doc/busybox-static")
    (top / "new").mkdir(mode=0o1777)
    (top / "new" / "file").write_text("x")
    os.link(top / "new/file", top / "new/second")
    os.link(top / "usr/bin/passwd", top / "new/passwd")
    (top / "new" / "dangling").symlink_to("/nowhere/at/all")
    (top / "new" / ("long" * 40)).write_text("x")
    (top / "new" / "größe").write_text("x")
    os.mkfifo(top / "new/pipe")
    os.setxattr(top / "new/file", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.chown(top / "new/second", 1234, 70000)
    (top / "etc/empty").mkdir()
    with open(top / "new/sparse", "wb") as out:
        out.truncate(3_000_000)
        out.seek(1_000_000)
        out.write(b"data")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with an image of two layers, both written by umoci."""
    source = root_of("busybox-static", "passwd", variant="extract")
    top = tmp_path_factory.mktemp("made")
    lay, bundle = top / "layout", top / "bundle"
    run("umoci", "init", "--layout", lay)
    run("umoci", "new", "--image", f"{lay}:app")
    run("umoci", "unpack", "--image", f"{lay}:app", bundle)
    run("cp", "-a", "--reflink=auto", f"{source}/.", bundle / "rootfs")
    run("umoci", "repack", "--refresh-bundle", "--image", f"{lay}:app", bundle)
    change(bundle / "rootfs")
    run("umoci", "repack", "--refresh-bundle", "--image", f"{lay}:app", bundle)
    run("umoci", "config", "--image", f"{lay}:app", "--config.cmd", "/bin/busybox")
    # podman cannot apply what umoci writes when a file takes a directory's place: whiteouts below the file.
    shutil.rmtree(bundle / "rootfs/usr/share/doc")
    (bundle / "rootfs/usr/share/doc").write_text("a file now")
    run("umoci", "repack", "--image", f"{lay}:replaced", bundle)
    run("umoci", "gc", "--layout", lay)
    return lay


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def ours(made: Path, cache: Path) -> Iterator[ImageRoot]:
    root = open_image(f"oci:{made}:app", cache=cache)
    yield root
    root.close()


@requires("umoci")
@pytest.mark.parametrize("tag", ["app", "replaced"])
def test_the_tree_is_what_umoci_unpacks(tag: str, made: Path, cache: Path, tmp_path: Path) -> None:
    run("umoci", "unpack", "--image", f"{made}:{tag}", tmp_path / "bundle")
    theirs = DirectoryRoot(str(tmp_path / "bundle" / "rootfs"))
    ours = open_image(f"oci:{made}:{tag}", cache=cache)
    same(ours, theirs)
    same(DirectoryRoot(ours.directory), theirs)
    assert ours.entry("/usr/share/man") is None
    assert ours.read("/new/file") == b"x"
    assert len(ours) > 500


@requires("umoci")
@pytest.mark.parametrize("seed", range(12))
def test_any_layers_are_what_umoci_unpacks(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    names = ["a", "b", "a/x", "a/y", "b/x", "b/x/z", "a/x/z", "c"]
    layers = []
    directories = {"a", "b", "a/x", "b/x"}
    for number in range(4):
        items = [Item(name, "dir", mode=0o700 + number, uid=chance.randrange(3)) for name in ("a", "b", "a/x", "b/x")]
        for name in chance.sample(names, 5):
            kind = chance.choice(["file", "symlink", "gone", "opaque"])
            parent, _, last = name.rpartition("/")
            if kind == "gone":
                items.append(Item(f"{parent}/.wh.{last}".lstrip("/")))
            elif kind == "opaque" and name in directories:
                items.append(Item(f"{name}/.wh..wh..opq"))
            elif name not in directories:
                target = chance.choice(["a", "/b/x", "nowhere"]) if kind == "symlink" else ""
                content = b"%d" % number if kind == "file" else b""
                items.append(
                    Item(name, "symlink" if target else "file", content, target, uid=number, mtime=number * 1000)
                )
        layers.append(tar(*items))
    reference = layout(tmp_path / "image", *layers, tag="t")
    run("umoci", "unpack", "--image", f"{tmp_path / 'image'}:t", tmp_path / "bundle")
    root = open_image(reference, cache=tmp_path / "cache")
    theirs = DirectoryRoot(str(tmp_path / "bundle" / "rootfs"))
    same(root, theirs, times=False)


@requires("umoci", "podman")
@pytest.mark.parametrize("seed", range(8))
def test_stacks_as_builders_write_them_are_what_umoci_and_podman_unpack(
    seed: int, tmp_path: Path, podman_storage: None
) -> None:
    layers, _ = stack(seed)
    reference = layout(tmp_path / "image", *(tar(*layer) for layer in layers), tag="t")
    root = open_image(reference, cache=tmp_path / "cache")
    run("umoci", "unpack", "--image", f"{tmp_path / 'image'}:t", tmp_path / "bundle")
    same(root, DirectoryRoot(str(tmp_path / "bundle" / "rootfs")), times=False)
    run("podman", "pull", "--quiet", f"oci:{tmp_path / 'image'}:t")
    [image] = json.loads(run("podman", "images", "--format", "json"))
    mounted = run("podman", "image", "mount", image["Id"]).strip()
    same(root, DirectoryRoot(mounted), times=False)
    run("podman", "image", "umount", "--force", image["Id"])


FORMS = ["oci-archive:{top}/a.tar:app", "docker-archive:{top}/d.tar:host.example/app:1", "oci:{top}/layout2:other"]


@requires("umoci", "skopeo")
@pytest.mark.parametrize("form", FORMS)
def test_what_skopeo_copies_is_the_same_tree(form: str, made: Path, ours: ImageRoot, tmp_path: Path) -> None:
    target = form.format(top=tmp_path)
    run("skopeo", "copy", "--quiet", f"oci:{made}:app", target)
    with_own_cache = open_image(target, cache=tmp_path / "cache")
    assert seen(with_own_cache) == seen(ours)
    assert json.loads(with_own_cache.config_json)["config"] == {"Cmd": ["/bin/busybox"]}
    for name in ("index", "strings"):
        mine, theirs = Path(ours.directory).with_name(name), Path(with_own_cache.directory).with_name(name)
        assert mine.read_bytes() == theirs.read_bytes()
    if target.startswith("docker-archive"):
        with open(tmp_path / "d.tar", "rb") as stream:
            piped = open_image("-", cache=tmp_path / "cache", stdin=io.BytesIO(stream.read()))
        assert piped.directory == with_own_cache.directory


@requires("umoci", "skopeo", "zstd")
def test_zstd_layers_of_skopeo_are_the_same_tree(made: Path, ours: ImageRoot, tmp_path: Path) -> None:
    run(
        "skopeo", "copy", "--quiet", "--dest-compress-format", "zstd", "--dest-compress",
        f"oci:{made}:app", f"dir:{tmp_path / 'plain'}",
    )  # fmt: skip
    run("skopeo", "copy", "--quiet", f"dir:{tmp_path / 'plain'}", f"oci:{tmp_path / 'zstd'}:app")
    starts = [path.read_bytes()[:4] for path in (tmp_path / "zstd/blobs/sha256").iterdir()]
    assert b"\x28\xb5\x2f\xfd" in starts
    assert seen(open_image(f"oci:{tmp_path / 'zstd'}", cache=tmp_path / "cache")) == seen(ours)


@pytest.fixture
def podman_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """podman's storage in a place of its own."""
    conf = tmp_path / "storage.conf"
    conf.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{tmp_path / "graph"}"\nrunroot = "{tmp_path / "run"}"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(conf))
    yield
    subprocess.run(["podman", "rmi", "--all", "--force"], capture_output=True)


@requires("umoci", "podman")
def test_podmans_storage_and_archives_are_the_same_tree(
    made: Path, ours: ImageRoot, tmp_path: Path, podman_storage: None
) -> None:
    run("podman", "pull", "--quiet", f"oci:{made}:app")
    [image] = json.loads(run("podman", "images", "--format", "json"))
    name = image["Id"]
    stored = open_image(f"containers-storage:{name}", cache=tmp_path / "cache")
    assert seen(stored) == seen(ours)
    mounted = run("podman", "image", "mount", name).strip()
    same(ours, DirectoryRoot(mounted), times=False)
    run("podman", "image", "umount", "--force", name)
    for form in ("docker-archive", "oci-archive"):
        run("podman", "save", "--quiet", "--format", form, "-o", tmp_path / form, name)
        assert seen(open_image(f"{form}:{tmp_path / form}", cache=tmp_path / "cache")) == seen(ours)
    with pytest.raises(SlimmerError, match=r"podman could not export it.*nothing-like-this"):
        open_image("containers-storage:localhost/nothing-like-this:1", cache=tmp_path / "cache")


@requires("umoci", "podman")
def test_a_layer_that_podman_commits_is_the_same_tree(made: Path, tmp_path: Path, podman_storage: None) -> None:
    run("podman", "pull", "--quiet", f"oci:{made}:app")
    [image] = json.loads(run("podman", "images", "--format", "json"))
    container = run("podman", "create", "--network=none", image["Id"], "/bin/busybox").strip()
    top = Path(run("podman", "mount", container).strip())
    shutil.rmtree(top / "usr/share/doc")
    (top / "usr/share/doc/again").mkdir(parents=True)  # an opaque directory
    (top / "usr/share/doc/again/file").write_text("x")
    shutil.rmtree(top / "usr/share/moved")
    (top / "usr/share/moved").write_text("a file now")
    (top / "etc/passwd-link").symlink_to("passwd")
    os.link(top / "usr/bin/chsh", top / "usr/bin/chsh-too")
    (top / "new/file").unlink()
    os.chown(top / "usr/bin", 5, 6)
    (top / "bin2").mkdir(mode=0o700)
    (top / "new/dangling").unlink()
    (top / "new/dangling").mkdir()
    run("podman", "umount", container)
    run("podman", "commit", "--quiet", container, "localhost/committed:1")
    ours = open_image("containers-storage:localhost/committed:1", cache=tmp_path / "cache")
    mounted = run("podman", "image", "mount", "localhost/committed:1").strip()
    same(ours, DirectoryRoot(mounted), times=False)
    run("podman", "image", "umount", "--force", "localhost/committed:1")
    run("podman", "rm", container)
    assert ours.read("/usr/share/moved") == b"a file now"
    assert list(ours.children("/usr/share/doc")) == ["again"]


@dataclass(frozen=True)
class Served:
    host: str
    auth: Path
    log: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def serve(top: Path, *, password: bool) -> Iterator[Served]:
    """Debian's docker-registry on loopback, with or without a password."""
    port = free_port()
    log = top / "log"
    config = f"version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {top / 'data'}}}}}\n"
    config += f"http: {{addr: '127.0.0.1:{port}'}}\n"
    if password:  # "open sesame", hashed by bcrypt
        (top / "htpasswd").write_text("ali:$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n")
        config += f"auth: {{htpasswd: {{realm: cave, path: {top / 'htpasswd'}}}}}\n"
    (top / "config.yml").write_text(config)
    host = f"127.0.0.1:{port}"
    auth = top / "auth.json"
    auth.write_text(json.dumps({"auths": {host: {"auth": "YWxpOm9wZW4gc2VzYW1l"}}} if password else {}))
    with open(log, "wb") as out:
        process = subprocess.Popen(["docker-registry", "serve", top / "config.yml"], stdout=out, stderr=out)
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield Served(host, auth, log)
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(params=[False, True], ids=["open", "password"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "registry").mkdir()
    yield from serve(tmp_path / "registry", password=request.param)


@requires("umoci", "skopeo", "docker-registry")
def test_a_pulled_image_is_the_same_tree(
    made: Path, ours: ImageRoot, registry: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(registry.auth))
    name = f"docker://{registry.host}/team/app"
    run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{made}:app", f"{name}:1")
    pulled = open_image(f"{name}:1", cache=tmp_path / "cache")
    assert seen(pulled) == seen(ours)
    assert pulled.digest == ours.digest
    assert open_image(f"{name}@{pulled.digest}", cache=tmp_path / "cache").directory == pulled.directory
    layers = [f"blobs/{one['digest']}" for one in _manifest(made, pulled.digest)["layers"]]
    assert all(registry.log.read_text().count(f"GET /v2/team/app/{one} ") == 1 for one in layers), "fetched twice"
    with pytest.raises(SlimmerError, match="404"):
        open_image(f"{name}:2", cache=tmp_path / "cache")


def _manifest(made: Path, digest: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads((made / "blobs/sha256" / digest[7:]).read_bytes())
    return found


@requires("umoci", "skopeo", "docker-registry")
def test_a_damaged_blob_in_a_registry_leaves_nothing_in_the_cache(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registry").mkdir()
    for registry in serve(tmp_path / "registry", password=False):
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(registry.auth))
        name = f"docker://{registry.host}/app:1"
        run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{made}:app", name)
        data = max((tmp_path / "registry/data").rglob("data"), key=lambda path: path.stat().st_size)
        content = bytearray(data.read_bytes())
        content[-20] ^= 1
        data.write_bytes(content)
        with pytest.raises(SlimmerError):
            open_image(name, cache=tmp_path / "cache")
    left = [path for path in (tmp_path / "cache").rglob("*") if path.parent.name in ("roots", "building")]
    assert left == []


MEMORY = """
import re, sys
from pathlib import Path
from slimmer.root.source import open_image
root = open_image(sys.argv[1], cache=Path(sys.argv[2]))
print(sum(1 for _ in root.walk()), re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_stays_flat_whatever_the_image(tmp_path: Path) -> None:
    big = tar(Item("big", content=bytes(100_000_000)))
    many = tar(*(Item(f"d{place // 500}/f{place}") for place in range(8_000)))
    reference = layout(tmp_path / "image", big, many, compress=True)
    done = run(sys.executable, "-c", MEMORY, reference, tmp_path / "cache", env={"PYTHONPATH": os.getcwd()})
    entries, kilobytes = map(int, done.split())
    assert entries == 8_000 + 16 + 2
    assert kilobytes < 150_000
