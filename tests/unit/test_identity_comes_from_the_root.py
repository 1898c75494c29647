"""--user in the root's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.errors import UsageProblem
from slimmer.exercise.identity import account
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.session import Identity

PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:w:/var/www:/bin/false\nbroken\nodd:x:y:z:::\n"
GROUP = "root:x:0:\nwww:x:33:\nextra:x:44:www,other\nmore:x:45:www\n"


@pytest.mark.parametrize(
    ("user", "identity", "home"),
    [
        ("", Identity(0, 0), "/root"),
        ("www", Identity(33, 33, (44, 45)), "/var/www"),
        ("33", Identity(33, 33, (44, 45)), "/var/www"),
        ("www:extra", Identity(33, 44), "/var/www"),
        ("www:7", Identity(33, 7), "/var/www"),
        ("1000", Identity(1000, 0), "/"),
        ("1000:1000", Identity(1000, 1000), "/"),
    ],
)
def test_names_and_numbers(tmp_path: Path, user: str, identity: Identity, home: str) -> None:
    plant(tmp_path, {"etc/passwd": PASSWD, "etc/group": GROUP})
    found = account(DirectoryRoot(str(tmp_path)), user)
    assert (found.identity, found.home) == (identity, home)


@pytest.mark.parametrize("user", ["nobody", "www:nogroup"])
def test_an_unknown_name_is_said(tmp_path: Path, user: str) -> None:
    plant(tmp_path, {"etc/passwd": PASSWD, "etc/group": GROUP})
    with pytest.raises(UsageProblem, match=r"/etc/(passwd|group)"):
        account(DirectoryRoot(str(tmp_path)), user)


def test_a_root_without_passwd_knows_numbers(tmp_path: Path) -> None:
    assert account(DirectoryRoot(str(tmp_path)), "5:6").identity == Identity(5, 6)
