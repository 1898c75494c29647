"""Plugins that stay behind are counted, where something of their directory and package was kept."""

from __future__ import annotations

from pathlib import Path

from slimmer.closure.binaries.plugins import standing, unkept
from slimmer.closure.model import ClosureWarning
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.unit.profiles_support import Deb, debian


def test_unkept_siblings_are_one_warning_a_directory(tmp_path: Path) -> None:
    modules = {f"/usr/lib/web/{name}.so": "m" for name in "abcde"}
    libraries = {"/usr/lib/x86_64-linux-gnu/liba.so.1": "a", "/usr/lib/x86_64-linux-gnu/libb.so.1": "b"}
    debian(tmp_path, {"web": Deb({**modules, **libraries}), "other": Deb({"/usr/lib/web/z.so": "z"})})
    root = DirectoryRoot(str(tmp_path))
    kept = {"/usr/lib/web/a.so", "/usr/lib/x86_64-linux-gnu/liba.so.1"}
    (warning,) = unkept(kept, root, index(root))
    assert warning.path == "/usr/lib/web/a.so"
    assert warning.text == "4 siblings of /usr/lib/web/a.so not kept: b.so, c.so, d.so, …"
    assert unkept(set(modules), root, index(root)) == ()
    (warning,) = unkept(kept, root, index(root), {f"/usr/lib/web/{name}.so" for name in "bcd"})
    assert warning.text == "1 sibling of /usr/lib/web/a.so not kept: e.so"  # the others were left out on purpose


def test_a_warning_about_an_absent_path_falls_when_it_came_in() -> None:
    warnings = [
        ClosureWarning("heavy-plugin", "/a.so", "x"),
        ClosureWarning("heavy-plugin", "/b.so", "x"),
        ClosureWarning("elf", "/a.so", "x"),
    ]
    assert standing(warnings, {"/a.so"}) == warnings[1:]
