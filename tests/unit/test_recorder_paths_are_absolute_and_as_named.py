"""Joining and normal forms: text in, text out."""

from __future__ import annotations

import pytest

from tracer.recorder.paths import join, normal_form, relative_to


@pytest.mark.parametrize(
    ("root", "base", "raw", "path"),
    [
        (b"", b"/a", b"/x/y", b"/x/y"),
        (b"", b"/a", b"x/y", b"/a/x/y"),
        (b"", b"/", b"x", b"/x"),
        (b"", b"/a", b".", b"/a"),
        (b"", b"/a", b"./x//y/./z/", b"/a/x/y/z"),
        (b"", b"/a", b"/", b"/"),
        (b"", b"/a", b"//", b"/"),
        (b"", b"/a", b"/.", b"/"),
        (b"", b"/a/b", b"..", b"/a"),
        (b"", b"/a/b", b"../../../x", b"/x"),
        (b"", b"/a/b", b"../..", b"/"),
        (b"", b"/a/b", b"x/../y", b"/a/b/x/../y"),  # x may be a link
        (b"", b"/a/b", b"../x/../y", b"/a/x/../y"),
        (b"", b"/", b"/usr/lib/../bin", b"/usr/lib/../bin"),
        (b"", b"/", b"/../x", b"/x"),
        (b"", b"/a", b".hidden", b"/a/.hidden"),
        (b"", b"/a", b"..two", b"/a/..two"),
        (b"", b"/a", b"x...", b"/a/x..."),
        (b"", b"/a", b"x/.git", b"/a/x/.git"),
        (b"/jail", b"/jail/etc", b"/x", b"/jail/x"),
        (b"/jail", b"/jail/etc", b"x", b"/jail/etc/x"),
        (b"/jail", b"/jail/etc", b"../../../x", b"/jail/x"),
        (b"/jail", b"/jail", b"..", b"/jail"),
        (b"/jail", b"/jail", b"../x", b"/jail/x"),
        (b"/jail", b"/jail", b"/..", b"/jail"),
        (b"/jail", b"/outside/dir", b"../x", b"/outside/x"),  # a directory kept open across chroot
        (b"/jail", b"/jailor", b"../x", b"/x"),
    ],
)
def test_join(root: bytes, base: bytes, raw: bytes, path: bytes) -> None:
    assert join(root, base, raw) == path


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        (b"/proc/self/fd/3", b"/proc/self/fd"),
        (b"/proc/1234/fd/3/x", b"/proc/self/fd"),
        (b"/proc/1234/maps", b"/proc/self/maps"),
        (b"/proc/thread-self/attr/current", b"/proc/self/attr/current"),
        (b"/proc/12/task/13/comm", b"/proc/self/task"),
        (b"/proc/self/map_files/7f-8f", b"/proc/self/map_files"),
        (b"/proc/sys/kernel/ngroups_max", b"/proc/sys/kernel/ngroups_max"),
        (b"/proc/cpuinfo", b"/proc/cpuinfo"),
        (b"/dev/fd/7", b"/dev/fd"),
        (b"/dev/pts/0", b"/dev/pts"),
        (b"/dev/null", b"/dev/null"),
        (b"/srv/proc/1/x", b"/srv/proc/1/x"),
        (b"/process/1", b"/process/1"),
    ],
)
def test_normal_form(path: bytes, normal: bytes) -> None:
    assert normal_form(path) == normal


@pytest.mark.parametrize(
    ("prefix", "path", "inside"),
    [
        (b"", b"/x", b"/x"),
        (b"/r", b"/r", b"/"),
        (b"/r", b"/r/x", b"/x"),
        (b"/r", b"/rx", None),
        (b"/r", b"/", None),
    ],
)
def test_relative_to(prefix: bytes, path: bytes, inside: bytes | None) -> None:
    assert relative_to(prefix, path) == inside
