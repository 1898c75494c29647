"""Every image knows who it is and whose licences it carries; none carries what belongs to the build machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.essentials import EssentialsRule, never
from slimmer.closure.model import Application, Level
from slimmer.closure.ownership.whole_packages import PackagesRule
from slimmer.closure.profiles.load import load_all
from tests.support import plant
from tests.unit.profiles_support import Deb, closure, debian, reached, recorded

LICENCE = "the full text is in /usr/share/common-licenses/GPL-3.\n"
ROOT = {
    "/etc/os-release": "-> ../usr/lib/os-release",
    "/usr/lib/os-release": "ID=debian\n",
    "/etc/debian_version": "12\n",
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh\n",
    "/etc/group": "web:x:33:\n",
    "/root": None,
    "/var/www": None,
    "/proc/1": None,
    "/sys": None,
    "/dev/null": "",
    "/tmp": None,
    "/work/dir": None,
    "/usr/share/common-licenses/GPL-3": "GPL",
    "/usr/share/common-licenses/GPL-2": "GPL",
    "/etc/hosts": "127.0.0.1 builder",
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    packages = {
        "tool": Deb(
            {
                "/usr/bin/tool": "#755 t",
                "/usr/share/tool/data": "d",
                "/usr/share/doc/tool/copyright": LICENCE,
                "/usr/share/man/man1/tool.1": "m",
            }
        ),
        "unused": Deb({"/usr/bin/unused": "#755 u", "/usr/share/doc/unused/copyright": LICENCE}),
    }
    return debian(tmp_path, packages, ROOT)


def always(top: Path, application: Application | None = None) -> set[str]:
    return reached(top, recorded(executed=["/usr/bin/tool"]), [EssentialsRule()], application, Level.RECORDED)


def test_the_distribution_the_mount_points_and_the_working_directory_stay(top: Path) -> None:
    found = always(top, Application(workdir="/work/dir"))
    assert {"/usr/lib/os-release", "/etc/debian_version", "/proc", "/sys", "/dev", "/tmp", "/work/dir"} <= found


def test_what_lies_in_mounts_does_not(top: Path) -> None:
    grown = closure(top, recorded(read=["/dev/null", "/proc/1", "/etc/hosts"]), [EssentialsRule()])
    assert set(grown.paths).isdisjoint({"/dev/null", "/proc/1", "/etc/hosts"})


@pytest.mark.parametrize(
    ("user", "named", "home"),
    [("web", True, "/var/www"), ("33:web", True, "/var/www"), ("33", False, "/var/www"), ("", False, "/root")],
)
def test_users_by_name_need_the_tables_and_everybody_a_home(top: Path, user: str, named: bool, home: str) -> None:
    found = always(top, Application(user=user))
    assert ({"/etc/passwd", "/etc/group"} <= found) is named
    assert home in found


def test_licences_come_with_what_is_kept_and_what_they_refer_to(top: Path) -> None:
    found = always(top)
    assert {"/usr/share/doc/tool/copyright", "/usr/share/common-licenses/GPL-3"} <= found
    assert found.isdisjoint({"/usr/share/doc/unused/copyright", "/usr/share/common-licenses/GPL-2"})


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/etc/resolv.conf", False),
        ("/etc/hosts", False),
        ("/etc/hostname", False),
        ("/etc/mtab", False),
        ("/etc/machine-id", False),
        ("/proc", True),
        ("/proc/self/maps", False),
        ("/sys/fs", False),
        ("/dev", True),
        ("/dev/null", False),
        ("/etc/ssh/ssh_host_ed25519_key", False),
        ("/etc/ssh/ssh_host_ed25519_key.pub", True),
        ("/run/secrets/token", False),
        ("/etc/hosts.allow", True),
        ("/process", True),
    ],
)
def test_never_says_why(path: str, kept: bool) -> None:
    assert (never(path) == "") is kept


def test_a_host_key_stays_only_when_the_server_read_it() -> None:
    key = "/etc/ssh/ssh_host_ed25519_key"
    assert "private host key" in never(key)
    assert never(key, read=True) == ""
    assert never("/run/secrets/token", read=True)
    assert never("/etc/machine-id", read=True)


def test_the_packages_level_adds_the_run_time_files_of_what_was_used(top: Path) -> None:
    rules = [PackagesRule(load_all())]
    recording = recorded(executed=["/usr/bin/tool"])
    assert "/usr/share/tool/data" not in set(closure(top, recording, rules).at(Level.REACHABLE))
    found = reached(top, recording, rules, level=Level.PACKAGES)
    assert "/usr/share/tool/data" in found
    assert found.isdisjoint({"/usr/share/man/man1/tool.1", "/usr/bin/unused"})


def test_the_packages_level_counts_a_link_that_was_passed(top: Path) -> None:
    plant(top, {"/usr/bin/t": "-> tool"})
    found = reached(top, recorded(executed=["/usr/bin/t"]), [PackagesRule(load_all())], level=Level.PACKAGES)
    assert "/usr/share/tool/data" in found
