"""A program that stays keeps its other names in PATH, and only those."""

from __future__ import annotations

from pathlib import Path

from slimmer.closure.binaries.aliases import NamesRule
from slimmer.closure.model import Application
from tests.support import plant
from tests.unit.profiles_support import closure, recorded

TREE = {
    "/bin/busybox": "#755 box",
    "/bin/ls": "-> busybox",
    "/bin/sh": "-> dash",
    "/bin/dash": "#755 dash",
    "/usr/bin/convert": "-> /etc/alternatives/convert",
    "/etc/alternatives/convert": "-> /usr/bin/convert-6",
    "/usr/bin/convert-6": "#755 c",
    "/usr/bin/dangling": "-> nowhere",
    "/own/tool": "-> /bin/busybox",
    "/elsewhere/tool": "-> /bin/busybox",
}


def test_names_lead_to_what_is_kept(tmp_path: Path) -> None:
    plant(tmp_path, TREE)
    (tmp_path / "bin/cat").hardlink_to(tmp_path / "bin/busybox")
    grown = closure(
        tmp_path, recorded(executed=["/bin/busybox"]), [NamesRule()], Application(env={"PATH": "/own:/bin"})
    )
    names = {path for path, kept in grown.paths.items() if any(each.rule == "name" for each in kept.reasons)}
    assert names - {"/bin/busybox"} == {"/bin/ls", "/bin/cat", "/own/tool"}


def test_alternatives_stay_with_every_link_on_the_way(tmp_path: Path) -> None:
    plant(tmp_path, TREE)
    found = set(closure(tmp_path, recorded(executed=["/usr/bin/convert-6"]), [NamesRule()]).paths)
    assert {"/usr/bin/convert", "/etc/alternatives/convert"} <= found
    assert found.isdisjoint({"/bin/ls", "/usr/bin/dangling"})


def test_an_alternative_of_any_file_keeps_its_name_when_the_file_stays(tmp_path: Path) -> None:
    group = "auto\n/usr/bin/plot\nplot.help\n/usr/share/plot/plot.help\nplot.1.gz\n/usr/share/man/man1/plot.1.gz\n"
    plant(
        tmp_path,
        {
            "/usr/share/plot/plot.help": "-> /etc/alternatives/plot.help",
            "/etc/alternatives/plot.help": "-> /usr/share/plot/plot-text.help",
            "/usr/share/plot/plot-text.help": "help",
            "/usr/share/man/man1/plot.1.gz": "-> /etc/alternatives/plot.1.gz",
            "/etc/alternatives/plot.1.gz": "-> /usr/share/man/man1/plot-text.1.gz",
            "/usr/share/man/man1/plot-text.1.gz": "m",
            "/var/lib/dpkg/alternatives/plot": group + "\n/usr/bin/plot-text\n50\n/usr/share/plot/plot-text.help\n",
        },
    )
    found = set(closure(tmp_path, recorded(read=["/usr/share/plot/plot-text.help"]), [NamesRule()]).paths)
    assert {"/usr/share/plot/plot.help", "/etc/alternatives/plot.help"} <= found
    assert not {path for path in found if "man1" in path}
