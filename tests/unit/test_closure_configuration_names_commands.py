"""Commands in configuration, in the environment and in compiled programs stay, with the place that names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.settings import values
from slimmer.closure.languages import compiled, configuration
from slimmer.closure.languages.configuration import ConfigurationRule, crontab, procfile, supervisord
from slimmer.closure.languages.environment import EnvironmentRule
from slimmer.closure.model import Application, Level, Need, Reason, Rule, View
from tests.unit.closures import kept

TOOLS = "cat sh sort head tar gzip ls python3 tac rsvg-convert mysqldump nano date find wc".split()  # noqa: SIM905
ROOT: dict[str, str | bytes | None] = {"/bin": "-> usr/bin", **{f"/usr/bin/{name}": "#755 x" for name in TOOLS}}


class Own(Rule):
    """Says that files below /app are the application's own."""

    level = Level.RECORDED

    def begin(self, view: View) -> list[Need]:
        return [Need("/app", Reason("application", "the application's own"), tree=True)]


def names(found: set[str]) -> set[str]:
    return {path.removeprefix("/usr/bin/") for path in found if path.startswith("/usr/bin/")}


def test_crontabs_are_read_as_cron_reads_them() -> None:
    text = "PATH=/bin\n# 1 2 3 4 5 no\n*/5 * * * 1-5 root ls /x | wc % input\n@daily nobody date +\\%Y\n"
    assert [(each.words[0].strip(), each.line) for each in crontab(text, user=True)] == [
        ("ls /x | wc", 3),
        ("date +%Y", 4),
    ]
    assert [each.words for each in crontab("0 1 * jan sun tac x\n", user=False)] == [("tac x",)]


def test_supervisors_name_programs_that_start_later() -> None:
    text = "[program:late]\ncommand = sort -u -o '/x y' ; later\nautostart=false\n"
    assert list(supervisord(text)) == [CommandLine(("sort", "-u", "-o", "/x y"), 2)]
    assert list(procfile("web: tac x | wc\n# no: tac\n")) == [CommandLine(("tac x | wc",), 1, True)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jobs.json", '{"list": {"cmd": "ls / | sort -r"}, "pack": {"cmd": ["tar", "-cPzf", "/tmp/x.tgz"]}}'),
        ("jobs.toml", '[list]\ncmd = "ls / | sort -r"\n[pack]\ncmd = ["tar", "-cPzf", "x"]\n'),
        ("jobs.yaml", "list:\n  cmd: ls / | sort -r\npack:\n  - tar -cPzf x\n"),
        ("jobs.yml", "list: {}\na:\n  cmd: \"ls / | sort -r\"\n  pack: ['tar', '-cPzf', 'x']\n"),
        ("app.ini", "[list]\ncmd = ls / | sort -r\npack=tar -cPzf x\n# dump = mysqldump -x\n"),
    ],
)
def test_values_that_are_command_lines_stay(tmp_path: Path, name: str, text: str) -> None:
    found = kept(tmp_path, {**ROOT, f"/app/{name}": text}, rules=(Own, ConfigurationRule))
    assert names(found) >= {"ls", "sort", "tar", "gzip"}
    assert "mysqldump" not in names(found)


def test_prose_in_values_is_no_command(tmp_path: Path) -> None:
    text = '{"title": "sort by date", "help": "find the files that are old", "kind": "date", "x": ["date", "cat"]}'
    assert names(kept(tmp_path, {**ROOT, "/app/x.json": text}, rules=(Own, ConfigurationRule))) == set()
    assert list(values("{broken", "x.json")) != []


def test_cron_brings_its_tables_and_what_they_start(tmp_path: Path) -> None:
    tree = {
        **ROOT,
        "/usr/sbin/cron": "#755 x",
        "/etc/cron.d/app": "* * * * * root tac /x | head -1\n",
        "/etc/cron.hourly/clean": "#755 #!/bin/sh\nfind /tmp\n",
        "/var/spool/cron/crontabs/me": "0 0 * * * date\n",
    }
    found = kept(tmp_path, tree, "/usr/sbin/cron", rules=(ConfigurationRule,))
    assert names(found) == {"tac", "head", "date", "sh"}
    assert {"/etc/cron.d/app", "/etc/cron.hourly/clean", "/var/spool/cron/crontabs/me"} <= found
    assert not {"/etc/cron.d/app"} & kept(tmp_path / "b", tree, "/usr/bin/cat", rules=(ConfigurationRule,))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RENDERER": "/usr/bin/rsvg-convert"}, {"/usr/bin/rsvg-convert"}),
        ({"EDITOR": "nano -w"}, {"/usr/bin/nano"}),
        ({"TAC_BIN": "tac"}, {"/usr/bin/tac"}),
        ({"BACKUP": "mysqldump --all | gzip -9"}, {"/usr/bin/mysqldump", "/usr/bin/gzip"}),
        ({"CONF": "/etc/app/fonts.conf"}, {"/etc/app/fonts.conf"}),
        ({"DATA": "/opt/data/words"}, {"/opt/data/words/a"}),
        ({"LD_PRELOAD": "libhook.so.1 /opt/other.so"}, {"/usr/lib/libhook.so.1", "/opt/other.so"}),
        ({"PATH": "/usr/bin", "SHELL": "/bin/sh", "GREETING": "sort of", "DIR": "/usr", "HOME": "/opt/data"}, set()),
    ],
)
def test_what_variables_name_stays(tmp_path: Path, variables: dict[str, str], expected: set[str]) -> None:
    more = {"/etc/app/fonts.conf": "x", "/opt/data/words/a": "x", "/usr/lib/libhook.so.1": "x", "/opt/other.so": "x"}
    application = Application(env=variables)
    found = kept(tmp_path, {**ROOT, **more}, rules=(EnvironmentRule,), application=application)
    assert found - {"/bin"} == expected


def test_texts_of_compiled_programs() -> None:
    assert compiled.plain_texts(b"\0\0ls / | wc -l\0r\0tar\0\x01abc\0") == ["ls / | wc -l", "tar", "abc"]
    packed = b"xxmysqldumprsvg-convertdatesort"
    assert compiled.packed_names(packed, ["mysqldump", "rsvg-convert", "date", "nano"]) == ["mysqldump", "rsvg-convert"]


def test_of_packed_names_that_begin_alike_the_longest_counts() -> None:
    packed = b"xmytool3-configuremytool3.11-dbgmytool3-conf"
    known = ["mytool3", "mytool3-config", "mytool3-configure", "mytool3.11", "mytool3.12-dbg", "ytool3"]
    assert compiled.packed_names(packed, known) == ["mytool3", "mytool3-configure", "mytool3.11"]
    assert compiled.packed_names(b"nothing", known) == compiled.packed_names(b"mysqldump", []) == []


def test_ordinary_settings_name_no_program() -> None:
    assert configuration.NOT_COMMANDS.search("/app/package.json")
