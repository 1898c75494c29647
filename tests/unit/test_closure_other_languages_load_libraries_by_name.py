"""Libraries that Ruby, JavaScript, PHP and R load by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.foreign import ForeignLibraryRule
from slimmer.closure.languages.java.classes import JavaClassesRule
from tests.unit.closures import kept
from tests.unit.test_closure_java_classes_name_programs import class_file

LIBRARIES = {
    f"/usr/lib/x86_64-linux-gnu/{each}": "\x7fELF"
    for each in ("libmagic.so.1", "libvips.so.42", "libm.so.6", "libssl.so.3")
}


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("a.rb", "module M\n  extend FFI::Library\n  ffi_lib ['magic', 'libmagic.so.1']\nend", {"libmagic.so.1"}),
        ("a.rb", "ffi_lib %w[vips libvips.so.42]\nattach_function :ssl, 'ssl', [], :int", {"libvips.so.42"}),
        ("a.rb", "LIB = 'libmagic.so.1'\nM = Fiddle.dlopen(LIB)", {"libmagic.so.1"}),
        ("a.js", "const lib = koffi.load('libm.so.6'); const x = 'magic'", {"libm.so.6"}),
        ("a.js", "const lib = ffi.Library('libvips', { f: ['int', []] });", {"libvips.so.42"}),
        ("a.js", "const names = ['libm.so.6', 'libm.so']; for (const n of names) koffi.load(n)", {"libm.so.6"}),
        ("a.php", "<?php $f = FFI::cdef('int magic(void);', 'libmagic.so.1');", {"libmagic.so.1"}),
        ("a.h", '#define FFI_LIB "libm.so.6"\ndouble cos(double x);', {"libm.so.6"}),
        ("a.R", 'dyn.load("/usr/lib/x86_64-linux-gnu/libm.so.6")', {"libm.so.6"}),
        ("a.js", "const x = 'libm.so.6'", set[str]()),
    ],
)
def test_libraries(name: str, source: str, expected: set[str], tmp_path: Path) -> None:
    path = f"/app/{name}"
    found = kept(tmp_path, {**LIBRARIES, path: source}, path, rules=(ForeignLibraryRule,))
    assert {each.rpartition("/")[2] for each in found} - {name} == expected


@pytest.mark.parametrize("uses", ["com/sun/jna/Native", "java/lang/Object"])
def test_classes_that_load_libraries(uses: str, tmp_path: Path) -> None:
    path = "/app/A.class"
    found = kept(tmp_path, {**LIBRARIES, path: class_file("magic", "other", uses=uses)}, path, rules=(JavaClassesRule,))
    expected = {"libmagic.so.1"} if uses != "java/lang/Object" else set()
    assert {each.rpartition("/")[2] for each in found} - {"A.class"} == expected
