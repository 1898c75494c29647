from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.root.image import ImageRoot
from slimmer.root.limits import Limits
from slimmer.root.source import chain_id, open_image, open_source
from tests.unit.imagemaker import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Item,
    LayoutMaker,
    digest,
    dump,
    layout,
    tar,
)

BASE = tar(Item("etc/os-release", content=b"ID=x\n"), Item("bin/app", content=b"#!/bin/sh\n", mode=0o755))
TOP = tar(Item("bin/app", content=b"#!/bin/bash\n", mode=0o755), Item("etc/.wh.os-release"))
CONFIG = {
    "os": "linux",
    "architecture": "amd64",
    "config": {"Cmd": ["/bin/app"]},
    "rootfs": {"type": "layers", "diff_ids": [digest(BASE), digest(TOP)]},
}


def app(root: ImageRoot) -> bytes:
    return root.read("/bin/app")


def archive(path: Path, members: dict[str, bytes | str]) -> Path:
    """A tar of members; text is a link's target."""
    with tarfile.open(path, "w") as out:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                out.addfile(info)
            else:
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))
    return path


def docker_save(
    *, tags: tuple[str, ...] = ("app:1",), config: bytes = dump(CONFIG), plain: bool = False
) -> dict[str, bytes | str]:
    """What docker save wrote before Docker 25."""
    name = digest(config)[7:]
    return {
        f"{name}.json": config,
        "a" * 64 + "/VERSION": b"1.0",
        "a" * 64 + "/layer.tar": BASE,
        "b" * 64 + "/layer.tar": TOP if plain else "../" + "c" * 64 + "/layer.tar",
        **({} if plain else {"c" * 64 + "/layer.tar": TOP}),
        "manifest.json": dump(
            [
                {
                    "Config": f"{name}.json",
                    "RepoTags": list(tags),
                    "Layers": ["a" * 64 + "/layer.tar", "b" * 64 + "/layer.tar"],
                }
            ]
        ),
        "repositories": b"{}",
    }


def hybrid() -> dict[str, bytes | str]:
    """What docker save writes from Docker 25 on, and what podman's and our own hybrid archives are."""
    config = dump(CONFIG)
    manifest = dump(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": OCI_LAYER, "digest": digest(data), "size": len(data)} for data in (BASE, TOP)],
        }
    )
    entry = {
        "mediaType": OCI_MANIFEST,
        "digest": digest(manifest),
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": "registry.example/app:1", "org.opencontainers.image.ref.name": "1"},
    }
    blobs = {f"blobs/sha256/{digest(data)[7:]}": data for data in (config, manifest, BASE, TOP)}
    names = [f"blobs/sha256/{digest(data)[7:]}" for data in (config, BASE, TOP)]
    return {
        **blobs,
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": dump({"schemaVersion": 2, "manifests": [entry]}),
        "manifest.json": dump([{"Config": names[0], "RepoTags": ["app:1"], "Layers": names[1:]}]),
    }


def test_a_layout_gives_its_tree_its_config_and_its_digest(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "image")
    entry = maker.image([BASE, TOP], tag="app", config={"config": {"Env": ["A=b"]}})
    root = open_image(f"oci:{maker.top}:app", cache=tmp_path / "cache")
    assert app(root) == b"#!/bin/bash\n"
    assert [entry.path for entry in root.walk()] == ["/", "/bin", "/bin/app", "/etc"]
    assert root.digest == entry["digest"]
    assert json.loads(root.config_json)["config"] == {"Env": ["A=b"]}
    assert root.image_id == digest(root.config_json)
    assert root.name == root.reference == f"oci:{maker.top}:app"
    assert Path(root.directory, "bin/app").read_bytes() == b"#!/bin/bash\n"


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip in members": lambda data: b"".join(gzip.compress(data[at : at + 1000]) for at in range(0, len(data), 1000)),
    "gzip with zeros after it": lambda data: gzip.compress(data) + bytes(100),
    "zstd": zstandard.ZstdCompressor(3).compress,
    "zstd in frames, one to skip": lambda data: (
        b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstandard.compress(data[:700]) + zstandard.compress(data[700:])
    ),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("how", PACKERS)
def test_layers_are_told_by_their_bytes_whatever_packed_them(how: str, tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "image")
    data = tar(Item("bin/app", content=os.urandom(5000) + b"end"))
    described = maker.blob(PACKERS[how](data), OCI_LAYER)
    config = maker.blob(dump({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(data)]}}), OCI_CONFIG)
    maker.manifests = [maker.blob(dump({"schemaVersion": 2, "config": config, "layers": [described]}), OCI_MANIFEST)]
    maker.finish()
    assert app(open_image(f"oci:{maker.top}", cache=tmp_path / "cache")).endswith(b"end")


@pytest.mark.parametrize(
    "spoil",
    [lambda data: data[:-9], lambda data: data + b"more", lambda data: data[:40] + b"\0\0\0\0" + data[44:]],
    ids=["cut", "longer", "damaged"],
)
@pytest.mark.parametrize("how", ["gzip", "zstd", "xz", "bzip2"])
def test_what_cannot_be_unpacked_whole_is_refused(how: str, spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "image")
    data = tar(Item("bin/app", content=os.urandom(5000)))
    described = maker.blob(spoil(PACKERS[how](data)), OCI_LAYER)
    config = maker.blob(dump({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(data)]}}), OCI_CONFIG)
    maker.manifests = [maker.blob(dump({"schemaVersion": 2, "config": config, "layers": [described]}), OCI_MANIFEST)]
    maker.finish()
    with pytest.raises(SlimmerError):
        open_image(f"oci:{maker.top}", cache=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.parent.name in ("layers", "roots", "building")]


@pytest.mark.parametrize("plain", [True, False])
def test_old_docker_archives_are_read_with_their_links(plain: bool, tmp_path: Path) -> None:
    path = archive(tmp_path / "old.tar", docker_save(plain=plain))
    for reference in (f"docker-archive:{path}", f"docker-archive:{path}:app:1", f"docker-archive:{path}:@0"):
        root = open_image(reference, cache=tmp_path / "cache")
        assert app(root) == b"#!/bin/bash\n"
        assert root.config_json == dump(CONFIG)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor(1).compress])
def test_archives_may_be_compressed_as_a_whole_and_come_through_a_pipe(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = archive(tmp_path / "plain.tar", docker_save())
    packed = tmp_path / "packed"
    packed.write_bytes(pack(path.read_bytes()))
    assert app(open_image(f"docker-archive:{packed}", cache=tmp_path / "one")) == b"#!/bin/bash\n"
    stream = io.BytesIO(packed.read_bytes())
    assert app(open_image("-", cache=tmp_path / "two", stdin=stream)) == b"#!/bin/bash\n"
    assert list((tmp_path / "two").rglob("spool-*")) == []


def test_new_docker_archives_are_docker_archives_and_layouts_at_once(tmp_path: Path) -> None:
    path = archive(tmp_path / "new.tar", hybrid())
    roots = [
        open_image(f"{transport}:{path}{name}", cache=tmp_path / "cache")
        for transport, name in [
            ("docker-archive", ""),
            ("docker-archive", ":app"[:0]),
            ("docker-archive", ":app:1"),
            ("oci-archive", ""),
            ("oci-archive", ":1"),
            ("oci-archive", ":app:1"),
        ]
    ]
    roots.append(open_image("-", cache=tmp_path / "cache", stdin=io.BytesIO(path.read_bytes())))
    assert {app(root) for root in roots} == {b"#!/bin/bash\n"}
    assert {root.config_json for root in roots} == {dump(CONFIG)}
    assert len({root.directory for root in roots}) == 1


def test_archives_older_than_manifests_are_read_along_their_parents(tmp_path: Path) -> None:
    low, high = "1" * 64, "2" * 64
    members: dict[str, bytes | str] = {
        "repositories": dump({"host.example/app": {"1": high, "old": low}}),
        f"{high}/json": dump({"id": high, "parent": low, "os": "linux", "config": {"Cmd": ["/bin/app"]}}),
        f"{high}/layer.tar": TOP,
        f"{low}/json": dump({"id": low}),
        f"{low}/layer.tar": BASE,
    }
    path = archive(tmp_path / "ancient.tar", members)
    root = open_image(f"docker-archive:{path}:app:1", cache=tmp_path / "cache")
    assert app(root) == b"#!/bin/bash\n"
    config = json.loads(root.config_json)
    assert config["config"] == {"Cmd": ["/bin/app"]}
    assert config["rootfs"]["diff_ids"] == [digest(BASE), digest(TOP)]
    assert "older than 1.10" in root.notes[0]
    assert app(open_image(f"docker-archive:{path}:app:old", cache=tmp_path / "cache")) == b"#!/bin/sh\n"
    with pytest.raises(SlimmerError, match="2 images"):
        open_image(f"docker-archive:{path}", cache=tmp_path / "cache")


def test_a_docker_archive_whose_config_or_layer_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    members = docker_save(plain=True)
    members[digest(dump(CONFIG))[7:] + ".json"] = dump({**CONFIG, "os": "Linux"})
    with pytest.raises(SlimmerError, match="config: content is"):
        open_image(f"docker-archive:{archive(tmp_path / 'a.tar', members)}", cache=tmp_path / "cache")
    members = {**docker_save(plain=True), "a" * 64 + "/layer.tar": TOP}
    with pytest.raises(SlimmerError, match="layer 1 unpacked: content is"):
        open_image(f"docker-archive:{archive(tmp_path / 'b.tar', members)}", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"manifest.json": b"[]"}, "names no image"),
        ({"manifest.json": b"{}"}, "names no image"),
        ({"manifest.json": b"[1]"}, "not a list of images"),
        ({"manifest.json": b'[{"Layers":[]}]'}, "lacks Config"),
        ({"manifest.json": b'[{"Config":"c.json","Layers":[3]}]'}, "names that are no text"),
        ({"manifest.json": b'[{"Config":"c.json","Layers":[]}]'}, "no member 'c.json'"),
        ({"manifest.json": b'[{"Config":"../../../etc/passwd","Layers":[]}]'}, "no member"),
        ({"manifest.json": b"[" * 5000}, "json_depth"),
        ({"manifest.json": "manifest.json"}, "no manifest.json"),
        ({"repositories": b"{}"}, "0 images, and none is named"),
        ({"repositories": b'{"a":{"1":"../../etc"}}'}, "is no image id"),
        ({"repositories": b'{"a":3}'}, "has no tags"),
        ({"repositories": dump({"a": {"1": "e" * 64}})}, "no member"),
        (
            {"repositories": dump({"a": {"1": "e" * 64}}), "e" * 64 + "/json": dump({"parent": "e" * 64})},
            "lead nowhere",
        ),
        ({"repositories": dump({"a": {"1": "e" * 64}}), "e" * 64 + "/json": dump({"parent": "../x"})}, "lead nowhere"),
        ({"etc/passwd": b"root"}, "given as --root"),
    ],
)
def test_archives_that_are_none_are_refused(members: dict[str, bytes | str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SlimmerError, match=words):
        open_image(f"docker-archive:{archive(tmp_path / 'a.tar', members)}", cache=tmp_path / "cache")


def test_an_empty_stream_and_a_stream_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SlimmerError, match="is empty"):
        open_image("-", cache=tmp_path / "cache", stdin=io.BytesIO())
    with open("/dev/zero", "rb") as endless, pytest.raises(SlimmerError, match="archive_bytes"):
        open_image("-", cache=tmp_path / "cache", stdin=endless, limits=Limits(archive_bytes=10**6))


def test_an_archive_of_very_many_members_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "many.tar", {f"f{place}": b"" for place in range(20)})
    with pytest.raises(SlimmerError, match="--limit members="):
        open_image(f"docker-archive:{path}", cache=tmp_path / "cache", limits=Limits(members=19))


def test_of_several_images_one_must_be_named(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "image")
    maker.image([BASE], tag="one")
    maker.image([BASE, TOP], tag="two")
    with pytest.raises(SlimmerError, match=r"2 images, and none is named\n.*one, two"):
        open_image(f"oci:{maker.top}", cache=tmp_path / "cache")
    with pytest.raises(SlimmerError, match="no image is called 'three'"):
        open_image(f"oci:{maker.top}:three", cache=tmp_path / "cache")
    assert app(open_image(f"oci:{maker.top}:one", cache=tmp_path / "cache")) == b"#!/bin/sh\n"
    assert app(open_image(f"oci:{maker.top}:@1", cache=tmp_path / "cache")) == b"#!/bin/bash\n"
    chosen = maker.manifests[0]["digest"]
    assert app(open_image(f"oci:{maker.top}@{chosen}", cache=tmp_path / "cache")) == b"#!/bin/sh\n"
    members = docker_save(tags=("host:5000/library/app:1", "other:2"))
    members["manifest.json"] = dump(json.loads(members["manifest.json"]) * 2)
    path = archive(tmp_path / "two.tar", members)
    with pytest.raises(SlimmerError, match="2 images, and none is named"):
        open_image(f"docker-archive:{path}", cache=tmp_path / "cache")
    assert app(open_image(f"docker-archive:{path}:app:1", cache=tmp_path / "cache")) == b"#!/bin/bash\n"


PLATFORMS = [
    {"os": "linux", "architecture": "amd64"},
    {"os": "linux", "architecture": "arm64", "variant": "v8"},
    {"os": "linux", "architecture": "arm", "variant": "v6"},
    {"os": "linux", "architecture": "arm", "variant": "v7"},
]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("linux/amd64", "amd64"),
        ("amd64", "amd64"),
        ("x86_64", "amd64"),
        ("linux/arm64", "arm64v8"),
        ("linux/arm64/v8", "arm64v8"),
        ("linux/arm64/v9", "arm64v8"),
        ("linux/arm/v6", "armv6"),
        ("linux/arm", "armv7"),
        ("linux/arm/v8", "armv7"),
    ],
)
def test_a_platform_is_picked_as_containerd_picks_it(wanted: str, found: str, nested: bool, tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "image")
    for platform in PLATFORMS:
        name = platform["architecture"] + platform.get("variant", "")
        maker.image([tar(Item("bin/app", content=name.encode()))], platform=platform)
    attestation = maker.blob(dump({"schemaVersion": 2}), OCI_MANIFEST)
    attestation["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    attestation["platform"] = {"os": "unknown", "architecture": "unknown"}
    maker.manifests.append(attestation)
    if nested:
        index = maker.blob(dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": maker.manifests}), OCI_INDEX)
        maker.manifests = [index]
    maker.finish()
    root = open_image(f"oci:{maker.top}", platform=wanted, cache=tmp_path / "cache")
    assert app(root) == found.encode()


def test_a_platform_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    maker = LayoutMaker(tmp_path / "image")
    for platform in PLATFORMS:
        maker.image([BASE], platform=platform)
    with pytest.raises(SlimmerError, match=r"no image for linux/s390x\n.*linux/amd64, linux/arm/v6"):
        open_image(f"oci:{maker.top}", platform="linux/s390x", cache=tmp_path / "cache")
    single = layout(tmp_path / "single", BASE)
    assert app(open_image(single, platform="amd64", cache=tmp_path / "cache"))
    with pytest.raises(SlimmerError, match="the image is for linux/amd64, not for linux/arm64"):
        open_image(single, platform="arm64", cache=tmp_path / "cache")
    with pytest.raises(UsageProblem):
        open_image(single, platform="windows/amd64", cache=tmp_path / "cache")
    with pytest.raises(UsageProblem):
        open_image(single, platform="a/b/c/d", cache=tmp_path / "cache")


def test_the_entries_say_what_the_headers_said_whatever_the_disk_can_hold(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    data = tar(
        Item("secret", "dir", mode=0o000, uid=1234, gid=4321, mtime=5),
        Item("secret/file", content=b"x", mode=0o000, uid=4294967294),
        Item("su", content=b"x", mode=0o6755, mtime=-1),
        Item("ping", content=b"x", pax={"SCHILY.xattr.security.capability": capability.decode("latin-1")}),
        Item("marked", "dir", pax={"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.kept": "1"}),
        Item("pipe", "fifo", mode=0o640),
        Item("far", content=b"x", pax={"mtime": "32503680000.123456789"}),
        Item("nought", content=b"x", pax={"mtime": "-62135596800"}),  # the year 1, Go's time of nothing
    )
    root = open_image(layout(tmp_path / "image", data), cache=tmp_path / "cache")
    found = {entry.path: entry for entry in root.walk()}
    assert (found["/secret"].mode, found["/secret"].uid, found["/secret"].gid) == (0, 1234, 4321)
    assert (found["/secret/file"].mode, found["/secret/file"].uid) == (0, 4294967294)
    assert (found["/su"].mode, found["/su"].mtime_ns) == (0o6755, -(10**9))
    assert found["/far"].mtime_ns == 32503680000_123456789
    assert found["/nought"].mtime_ns == -62135596800 * 10**9
    assert root.xattrs("/marked") == {"user.kept": b"1"}
    assert list(root.xattrs("/ping")) == ["security.capability"]
    assert found["/pipe"].type.value == "fifo"
    with root.open("/secret/file") as stream:
        assert stream.read() == b"x"


def test_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    root = open_image(layout(tmp_path / "image", tar(Item(name, content=b"x"))), cache=tmp_path / "cache")
    assert list(root.children("/")) == [name]
    assert root.read(f"/{name}") == b"x"


def test_chain_ids_are_those_of_the_image_spec() -> None:
    first, second = digest(b"a"), digest(b"b")
    assert chain_id([first]) == first
    assert chain_id([first, second]) == digest(f"{first} {second}".encode())


def test_a_directory_is_a_source_but_no_image(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("x")
    root = open_source(f"dir:{tmp_path / 'root'}")
    assert list(root.children("/")) == ["file"]
    with pytest.raises(UsageProblem, match="--root"):
        open_image(f"dir:{tmp_path / 'root'}", cache=tmp_path / "cache")
    with pytest.raises(SlimmerError, match="no such directory"):
        open_source(f"dir:{tmp_path / 'nothing'}")
    with pytest.raises(SlimmerError, match="no such directory"):
        open_image(f"oci:{tmp_path / 'nothing'}", cache=tmp_path / "cache")
    with pytest.raises(SlimmerError, match="cannot read"):
        open_image(f"oci-archive:{tmp_path / 'nothing'}", cache=tmp_path / "cache")


def test_a_missing_local_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlimmerError, match=r"no tool here .* podman, buildah, skopeo"):
        open_image("containers-storage:app", cache=tmp_path / "cache")
    with pytest.raises(SlimmerError, match=r"no tool here .* docker, skopeo"):
        open_image("docker-daemon:app", cache=tmp_path / "cache")


def test_a_local_tools_complaint_is_passed_on_and_its_archive_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = archive(tmp_path / "saved.tar", hybrid())
    tools = tmp_path / "bin"
    tools.mkdir()
    docker = tools / "docker"
    docker.write_text(
        f'#!/bin/sh\n[ "$4" = app ] || {{ echo "no such image: $4" >&2; exit 1; }}\n/bin/cp {saved} "$3"\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    assert app(open_image("docker-daemon:app", cache=tmp_path / "cache")) == b"#!/bin/bash\n"
    with pytest.raises(SlimmerError, match="no such image: other"):
        open_image("docker-daemon:other", cache=tmp_path / "cache")
