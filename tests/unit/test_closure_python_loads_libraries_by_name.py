"""Python: names of libraries and fonts that stand away from the call that loads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.python.rule import PythonRule
from tests.unit.closures import kept

LIBRARIES = "libgnutls.so.30 libseccomp.so.2 libsemanage.so.2 libapt-pkg.so.6.0 libpango-1.0.so.0 libz.so.1".split()  # noqa: SIM905


def loaded(tmp_path: Path, source: str) -> set[str]:
    tree: dict[str, str | bytes | None] = {f"/usr/lib/{name}": "x" for name in LIBRARIES}
    tree |= {"/usr/share/fonts/truetype/demo/Demo Sans.ttf": "x", "/app/main.py": source}
    found = kept(tmp_path, tree, "/app/main.py", rules=(PythonRule,))
    return {path.rpartition("/")[2] for path in found} - {"main.py"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def f(*names):\n for n in names:\n  ctypes.CDLL(n)\nf("libgnutls-30", "gnutls")', "libgnutls.so.30"),
        ('for n in ("a.dylib", "libseccomp.so.2"):\n ctypes.CDLL(n)', "libseccomp.so.2"),
        ('name = "libsemanage.so.2"\nctypes.CDLL(name)', "libsemanage.so.2"),
        ('N = {"linux": "libapt-pkg.so.6.0"}\nctypes.CDLL(N["linux"])', "libapt-pkg.so.6.0"),
        ('def f(names):\n return ffi.dlopen(names[0])\nx = f(("pango-1", "libpango-1.0.so.0"))', "libpango-1.0.so.0"),
        ('NAME = "seccomp"\nctypes.util.find_library(NAME)', "libseccomp.so.2"),
        ('ctypes.CDLL(x)\nLATER = "libpango-1.0"', "libpango-1.0.so.0"),
    ],
)  # fmt: skip
def test_names_count_where_something_loads_a_library(tmp_path: Path, source: str, expected: str) -> None:
    assert loaded(tmp_path, source) == {expected}


def test_names_alone_load_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'x = "libgnutls.so.30"\ny = ["gnutls"]') == set()


def test_fonts_are_found_by_their_file_name(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'def font(name="Demo Sans.ttf"):\n return name') == {"Demo Sans.ttf"}
