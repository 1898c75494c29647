"""Path globs match and expand as profiles are written to expect."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimmer.closure.profiles import globs
from slimmer.root.directory import DirectoryRoot
from tests.support import plant


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/usr/bin/*", "/usr/bin/env", True),
        ("/usr/bin/*", "/usr/bin/x/y", False),
        ("/usr/**", "/usr/bin/x/y", True),
        ("/usr/**", "/usr", False),
        ("/usr/**/env", "/usr/env", True),
        ("/usr/**/env", "/usr/a/b/env", True),
        ("**/.git", "/.git", True),
        ("**/.git", "/a/b/.git", True),
        ("**/.git", "/a/b.git", False),
        ("/{,usr/}bin/sh", "/bin/sh", True),
        ("/{,usr/}bin/sh", "/usr/bin/sh", True),
        ("/usr/lib{,64}{,/*-linux-*}/gconv/*.so", "/usr/lib/x86_64-linux-gnu/gconv/A.so", True),
        ("/usr/lib{,64}{,/*-linux-*}/gconv/*.so", "/usr/lib64/gconv/A.so", True),
        ("/a/{b{c,d},e}", "/a/bd", True),
        ("/a/{b{c,d},e}", "/a/e", True),
        ("/a/{b{c,d},e}", "/a/b", False),
        ("/a/[bc]?", "/a/cx", True),
        ("/a/[!b]?", "/a/bx", False),
        ("/a.b/*", "/axb/c", False),
        ("/a/*", "/a/with\nline", True),
    ],
)
def test_a_glob_matches_whole_components(pattern: str, path: str, matches: bool) -> None:
    assert bool(globs.matcher([pattern]).fullmatch(path)) is matches


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("relative/*", "begin"),
        ("/a/../b", ".."),
        ("/a/{b", "braces"),
        ("/a/b**", "whole component"),
        ("/a/[z-a]", "bad"),
    ],
)
def test_a_wrong_glob_is_told_why(pattern: str, word: str) -> None:
    assert word in globs.problem(pattern)


def test_no_pattern_matches_nothing() -> None:
    assert globs.matcher([]).fullmatch("/a") is False
    assert globs.names([]).fullmatch("") is False


def test_expansion_names_what_is_there_through_links_as_spelled(tmp_path: Path) -> None:
    plant(tmp_path, {"/usr/lib/a.so": "", "/usr/lib/deep/b.so": "", "/lib": "-> usr/lib", "/usr/loop": "-> /usr"})
    root = DirectoryRoot(str(tmp_path))
    assert list(globs.expand(root, "/lib/*.so")) == ["/lib/a.so"]
    assert list(globs.expand(root, "/{,usr/}lib/*.so")) == ["/lib/a.so", "/usr/lib/a.so"]
    assert list(globs.expand(root, "/usr/**/*.so")) == ["/usr/lib/a.so", "/usr/lib/deep/b.so"]
    assert list(globs.expand(root, "/usr/lib/**")) == ["/usr/lib/a.so", "/usr/lib/deep", "/usr/lib/deep/b.so"]
    assert list(globs.expand(root, "/nowhere/*")) == []


names = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))


@settings(max_examples=60, deadline=None)
@given(
    tree=st.sets(st.lists(names, min_size=1, max_size=3).map(tuple), max_size=6),
    parts=st.lists(st.one_of(names, st.sampled_from(["*", "**", "a*", "?", "[ab]*"])), min_size=1, max_size=4),
)
def test_expansion_finds_exactly_what_matches(
    tmp_path_factory: pytest.TempPathFactory, tree: set[tuple[str, ...]], parts: list[str]
) -> None:
    top = tmp_path_factory.mktemp("tree")
    for each in tree:
        top.joinpath(*each).mkdir(parents=True, exist_ok=True)
    root = DirectoryRoot(str(top))
    pattern = "/" + "/".join(parts)
    everything = [entry.path for entry in root.walk("/") if entry.path != "/"]
    matching = {path for path in everything if globs.matcher([pattern]).fullmatch(path)}
    assert set(globs.expand(root, pattern)) == matching
