"""Tables of mounts as text in, paths of the recorded root out."""

from __future__ import annotations

import pytest

from tracer.kernel.mountinfo import parse
from tracer.recorder.mount_namespace import ForeignMountScope, Namespace

HOME = b"""25 1 8:1 / / rw - ext4 /dev/sda1 rw
26 25 0:5 / /proc rw - proc proc rw
27 25 8:2 / /home rw - ext4 /dev/sda2 rw
28 25 8:1 /srv/data /data rw - ext4 /dev/sda1 rw
"""
FOREIGN = b"""90 80 0:40 / / rw - tmpfs tmpfs rw
91 90 8:1 /usr /usr ro - ext4 /dev/sda1 rw
92 90 8:2 /me/my\\040app /app rw - ext4 /dev/sda2 rw
93 90 8:1 /srv/data/deep /deep rw - ext4 /dev/sda1 rw
94 90 0:5 / /proc rw - proc proc rw
95 90 9:9 / /foreign rw - ext4 /dev/other rw
96 92 0:41 / /app/tmp rw - tmpfs tmpfs rw
"""


@pytest.fixture
def namespace() -> Namespace:
    return Namespace(parse(FOREIGN), parse(HOME))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"/usr/bin/x", b"/usr/bin/x"),
        (b"/usr", b"/usr"),
        (b"/app/x", b"/home/me/my app/x"),
        (b"/app", b"/home/me/my app"),
        (b"/application", None),
        (b"/deep/x", b"/data/deep/x"),  # the nearest of two mounts of one filesystem
        (b"/proc/self/maps", b"/proc/self/maps"),
        (b"/app/tmp/x", None),
        (b"/foreign/x", None),
        (b"/etc/passwd", None),
    ],
)
def test_a_path_leads_to_where_it_lies(path: bytes, place: bytes | None, namespace: Namespace) -> None:
    assert namespace.translate(path) == place


def test_the_same_tables_change_nothing() -> None:
    same = Namespace(parse(HOME), parse(HOME))
    for path in (b"/", b"/etc/x", b"/home", b"/home/x", b"/data/x"):
        assert same.translate(path) == path


def test_what_is_named_elsewhere_is_noted_at_once(namespace: Namespace) -> None:
    into: dict[bytes, int] = {}
    scope = ForeignMountScope(namespace, b"/app/dir", into)
    scope[b"x"] = 1
    scope[b"../y"] = 2
    scope[b"/usr/z"] = 4
    scope[b"/nowhere"] = 8
    assert into == {b"/home/me/my app/dir/x": 1, b"/home/me/my app/y": 2, b"/usr/z": 4}
    assert scope.get(b"/nowhere") == 8
