"""Own Java classes name the programs and files that they use, in their string constants."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from slimmer.closure.languages.java.classes import JavaClassesRule
from slimmer.closure.languages.java.constants import constants
from tests.unit.closures import kept

PROGRAMS: dict[str, str | bytes | None] = {
    "/bin/sh": "#755 s",
    "/usr/bin/uname": "#755 u",
    "/usr/bin/convert": "#755 c",
    "/usr/bin/wc": "#755 w",
    "/usr/share/shop/rates": "r",
    "/usr/share/shop/other": "o",
}


def class_file(*texts: str, uses: str = "java/lang/Object") -> bytes:
    """The head of a class whose pool holds a long, a class reference and these strings."""
    pool = [b"\x05" + bytes(8), b"\x07" + struct.pack(">H", 4), b"\x01" + struct.pack(">H", len(uses)) + uses.encode()]
    number = 5  # the long takes two places
    for text in texts:
        raw = text.encode()
        pool += [b"\x08" + struct.pack(">H", number + 1), b"\x01" + struct.pack(">H", len(raw)) + raw]
        number += 2
    return b"\xca\xfe\xba\xbe\0\0\0\x3d" + struct.pack(">H", number) + b"".join(pool)


def jar(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shop/A.class", data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (class_file("uname"), set()),
        (class_file("uname", uses="java/lang/ProcessBuilder"), {"/usr/bin/uname"}),
        (
            class_file("/usr/bin/uname", "/usr/share/shop/rates", "/usr/share/shop"),
            {"/usr/bin/uname", "/usr/share/shop/rates"},
        ),
        (class_file("convert a.png b.png", uses="java/lang/Runtime"), {"/usr/bin/convert"}),
        (
            class_file("sh", "-c", "uname | wc -l", uses="java/lang/ProcessBuilder"),
            {"/bin/sh", "/usr/bin/uname", "/usr/bin/wc"},
        ),
        (class_file("uname", uses="java/lang/ProcessBuilder")[:-3], set()),
        (b"no class", set()),
    ],
)
@pytest.mark.parametrize("name", ["/app/shop/A.class", "/app/shop.jar"])
def test_programs_and_files(tmp_path: Path, data: bytes, found: set[str], name: str) -> None:
    tree = {**PROGRAMS, name: jar(data) if name.endswith(".jar") else data}
    assert kept(tmp_path, tree, name, rules=(JavaClassesRule,)) == {name, *found}


def test_an_archive_that_is_none_has_no_classes(tmp_path: Path) -> None:
    tree = {**PROGRAMS, "/app/shop.jar": b"PK\x03\x04"}
    assert kept(tmp_path, tree, "/app/shop.jar", rules=(JavaClassesRule,)) == {"/app/shop.jar"}


def test_a_pool_of_unknown_tags_has_no_constants() -> None:
    assert constants(b"\xca\xfe\xba\xbe\0\0\0\x3d\0\x02\x63").texts == ()
