"""Packages inside files: Go modules in ELF binaries, coordinates in Java archives; damage is never an error."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from slimmer.packages.golang import SMALLEST
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.support import plant

MARK = b"\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6"
LINES = (
    "path\texample.org/app/cmd\nmod\texample.org/app\tv1.0.0\th1:x=\n"
    "dep\tgolang.org/x/net\tv0.1.0\th1:y=\ndep\told.org/lib\tv1\n=>\tnew.org/lib\tv2\th1:z=\nbuild\tCGO_ENABLED=0\n"
)
BASE = 0x400000


def elf(data: bytes, order: str = "<", wide: bool = True) -> bytes:
    """An ELF with one writable segment that holds `data` at BASE, padded to a believable size."""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + b"\0" * 9
    if wide:
        head = ident + struct.pack(f"{order}HHIQQQIHHHHHH", 2, 62, 1, BASE, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        segment = struct.pack(f"{order}IIQQQQQQ", 1, 6, 4096, BASE, BASE, len(data), len(data), 4096)
    else:
        head = ident + struct.pack(f"{order}HHIIIIIHHHHHH", 2, 3, 1, BASE, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        segment = struct.pack(f"{order}IIIIIIII", 1, 4096, BASE, BASE, len(data), len(data), 6, 4096)
    content = (head + segment).ljust(4096, b"\0") + data
    return content.ljust(SMALLEST + 1, b"\0")


def inline() -> bytes:
    modules = MARK + LINES.encode() + MARK
    head = (b"\xff Go buildinf:" + bytes([8, 2])).ljust(32, b"\0")
    version = b"go1.21.5"
    length = bytes([len(modules) & 0x7F | 0x80, len(modules) >> 7])
    return b"\0" * 64 + head + bytes([len(version)]) + version + length + modules


def pointers(order: str, size: int) -> bytes:
    word = "Q" if size == 8 else "I"
    version, modules = b"go1.17", MARK + LINES.encode() + MARK
    strings = BASE + 16 + 64
    texts = strings + 4 * size
    head = b"\xff Go buildinf:" + bytes([size, 1 if order == ">" else 0])
    head += struct.pack(f"{order}{word}{word}", strings, strings + 2 * size)
    table = struct.pack(f"{order}{word * 4}", texts, len(version), texts + len(version), len(modules))
    return b"\0" * 16 + head.ljust(64, b"\0") + table + version + modules


@pytest.mark.parametrize(
    ("content", "version"),
    [
        (elf(inline()), "1.21.5"),
        (elf(inline(), wide=False), "1.21.5"),
        (elf(pointers("<", 8)), "1.17"),
        (elf(pointers(">", 8), ">"), "1.17"),
        (elf(pointers("<", 4), wide=False), "1.17"),
    ],
    ids=["inline", "inline 32 bits", "pointers", "big-endian", "pointers 32 bits"],
)
def test_the_modules_of_a_go_program_are_its_packages(tmp_path: Path, content: bytes, version: str) -> None:
    place = plant(tmp_path, {"usr/bin/app": content, "usr/bin/app.txt": "x"})
    (place / "usr/bin/app").chmod(0o755)
    found = index(DirectoryRoot(str(place)))
    assert [(each.name, each.version) for each in found.owners("/usr/bin/app")] == [
        ("stdlib", version),
        ("example.org/app", "v1.0.0"),
        ("golang.org/x/net", "v0.1.0"),
        ("new.org/lib", "v2"),  # the replacement, not what it replaces
    ]
    assert len(found.packages()) == 4
    assert found.files(found.packages()[0]) == ("/usr/bin/app",)
    assert found.owners("/usr/bin/app.txt") == []


@pytest.mark.parametrize("damage", [slice(0, 70), slice(0, 4200), slice(100, None)])
def test_a_damaged_or_other_program_holds_no_modules(tmp_path: Path, damage: slice) -> None:
    content = elf(inline())[damage].ljust(SMALLEST + 1, b"\0")
    place = plant(tmp_path, {"usr/bin/app": content})
    (place / "usr/bin/app").chmod(0o755)
    assert index(DirectoryRoot(str(place))).packages() == []


def archive(files: dict[str, str | bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return stream.getvalue()


POM = "META-INF/maven/org.x/lib/pom.properties"
LIB = archive({POM: "#c\ngroupId=org.x\nartifactId=lib\nversion=1.5\n"})


@pytest.mark.parametrize(
    ("name", "content", "packages"),
    [
        ("lib.jar", LIB, ["org.x:lib 1.5"]),
        ("app-2.0.jar", archive({"BOOT-INF/lib/lib-1.5.jar": LIB, "A.class": "x"}), ["app 2.0", "org.x:lib 1.5"]),
        (
            "osgi.jar",
            archive({"META-INF/MANIFEST.MF": "Bundle-SymbolicName: org.y.osgi;x:=y\r\nBundle-Ver\r\n sion: 3.1\r\n"}),
            ["org.y:osgi 3.1"],
        ),
        ("plain.jar", archive({"A.class": "x"}), []),  # neither coordinates nor a version
        ("broken.jar", b"PK\3\4 nothing", []),
        ("empty.jar", b"", []),
    ],
)
def test_the_coordinates_of_an_archive_and_of_those_in_it_are_its_packages(
    tmp_path: Path, name: str, content: bytes, packages: list[str]
) -> None:
    found = index(DirectoryRoot(str(plant(tmp_path, {f"opt/{name}": content}))))
    assert [f"{each.name} {each.version}" for each in found.owners(f"/opt/{name}")] == packages
    assert sorted(f"{each.name} {each.version}" for each in found.packages()) == sorted(packages)
