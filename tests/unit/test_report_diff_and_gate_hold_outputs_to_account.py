"""`slim diff` finds every kind of change; `slim gate` every kind of violation, each with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slimmer.cli.diff import command as diff_command
from slimmer.cli.gate import command as gate_command
from slimmer.closure.model import Reason
from slimmer.errors import SlimmerError
from slimmer.image.archive import write_archive
from slimmer.image.config import ImageConfig
from slimmer.image.layout import build_image
from slimmer.report.diff import compare
from slimmer.report.gate import judge
from slimmer.report.output import Output
from slimmer.report.policy import parse_policy
from slimmer.report.sides import open_side
from slimmer.root.directory import DirectoryRoot
from tests.report_outputs import make_output
from tests.support import plant
from tests.unit.test_report_files_read_back_as_written import valid

LISTS = {
    "var/lib/dpkg/info/bash.list": "/usr/bin/bash\n/usr/share/doc/bash/copyright\n",
    "var/lib/dpkg/info/libc6.list": "/usr/lib/libc.so.6\n",
}


def status(version: str) -> str:
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: {number}\n"
        for name, number in (("bash", "5"), ("libc6", version))
    )


OLD: dict[str, str | bytes | None] = {
    **LISTS,
    "var/lib/dpkg/status": status("1"),
    "usr/lib/libc.so.6": "old",
    "etc/mode": "x",
    "etc/link": "-> mode",
    "etc/gone": "12345",
    "etc/type": "x",
}
NEW: dict[str, str | bytes | None] = {
    **LISTS,
    "var/lib/dpkg/status": status("2"),
    "usr/lib/libc.so.6": "newer",
    "etc/mode": "#755 x",
    "etc/link": "-> type",
    "etc/type": None,
    "usr/bin/bash": "#755 bash",
    "usr/share/doc/bash/copyright": "Format: https://x/copyright-format/1.0/\nLicense: GPL-3+\n",
}


def made(top: Path, tree: dict[str, str | bytes | None], config: ImageConfig, **options: Any) -> Path:
    fat = plant(top / "fat", tree)
    kept = {f"/{path}": (Reason("recorded", "opened by the app"),) for path in tree if not path.startswith("var/")}
    out = make_output(top / "out", fat, kept, **options)
    paths = [row.entry.path for row in Output(out).manifest()]
    build_image(DirectoryRoot(str(fat)), paths, config, out / "image")
    return out


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    config = ImageConfig(architecture="amd64", env=(("A", "1"), ("B", "1")), user="app")
    other = ImageConfig(architecture="amd64", env=(("A", "2"), ("B", "1")), user="app", cmd=("x", "y"))
    return made(tmp_path / "one", OLD, config), made(tmp_path / "two", NEW, other)


def test_every_kind_of_change_is_found(pair: tuple[Path, Path]) -> None:
    diff = compare(open_side(str(pair[0])), open_side(str(pair[1])))
    added = [each.path for each in diff.added]
    assert "/usr/bin/bash" in added
    assert [each.path for each in diff.removed] == ["/etc/gone"]
    assert {each.path: each.what for each in diff.changed} == {
        "/etc/link": ("target",),
        "/etc/mode": ("mode",),
        "/etc/type": ("type", "mode"),
        "/usr/lib/libc.so.6": ("content",),
    }
    assert [(each.name, each.before, each.after) for each in diff.packages] == [
        ("bash", (), ("5",)),
        ("libc6", ("1",), ("2",)),
    ]
    assert [(each.path, [str(mark) for mark in each.gained]) for each in diff.risks] == [("/usr/bin/bash", ["shell"])]
    assert [(each.field, each.before, each.after) for each in diff.config] == [("cmd", "", "x y"), ("env A", "1", "2")]
    assert diff.new_bytes - diff.old_bytes == sum(each.bytes for each in (*diff.added, *diff.removed, *diff.changed))
    assert not diff.same


def test_an_output_its_layout_and_its_archive_are_the_same(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = pair[1]
    with open(tmp_path / "image.tar", "wb") as stream:
        write_archive(out / "image", stream, "x:1")
    for other in (out / "image", tmp_path / "image.tar"):
        diff = compare(open_side(str(out)), open_side(str(other)))
        assert (diff.added, diff.removed, diff.changed, diff.config) == ((), (), (), ())


@pytest.mark.parametrize(
    ("options", "code"), [([], 0), (["--fail-on", "added"], 3), (["--fail-on", "risk"], 3), (["--fail-on", "any"], 3)]
)
def test_a_change_fails_only_what_asked_for_it(pair: tuple[Path, Path], options: list[str], code: int) -> None:
    done = CliRunner().invoke(diff_command, [str(pair[0]), str(pair[1]), *options])
    assert done.exit_code == code
    assert "+ shell  /usr/bin/bash" in done.stdout
    same = CliRunner().invoke(diff_command, [str(pair[0]), str(pair[0]), *options])
    assert same.exit_code == 0
    assert same.stdout.startswith("no difference")


def test_json_has_everything_and_markdown_is_short(pair: tuple[Path, Path]) -> None:
    value = json.loads(CliRunner().invoke(diff_command, [*map(str, pair), "--json"]).stdout)
    valid(value, "diff")
    assert {each["path"]: each["what"] for each in value["changed"]}["/etc/mode"] == ["mode"]
    text = CliRunner().invoke(diff_command, [*map(str, pair), "--markdown"]).stdout
    assert len(text.splitlines()) < 60
    assert "```diff\n+ shell  /usr/bin/bash\n```" in text


POLICY: dict[str, Any] = {
    "limits": {"size": "10 B", "files": 100},
    "deny": {"risks": ["shell"], "paths": ["/etc/*"], "packages": ["deb:bas*"], "licenses": ["GPL*"]},
    "allow": {"packages": ["libc6"]},
    "require": {"check": "passed", "paths": ["/no/such"], "copyright": True, "user": "non-root"},
    "except": [{"path": "/etc/link", "because": "known"}, {"path": "/never", "risks": ["setuid"]}],
}


def test_every_violation_is_told_with_its_path_and_reason(pair: tuple[Path, Path]) -> None:
    verdict = judge(Output(pair[1]), parse_policy(POLICY))
    found = [(each.rule, each.path, each.reason) for each in verdict.violations]
    assert found == [
        ("limits.size", "", ""),
        ("deny.paths", "/etc/mode", "opened by the app"),
        ("deny.risks", "/usr/bin/bash", "opened by the app"),
        ("deny.packages", "", ""),
        ("deny.licenses", "", ""),
        ("allow.packages", "", ""),
        ("require.paths", "/no/such", ""),
        ("require.copyright", "", ""),
        ("require.user", "", ""),
    ]
    assert [each.path for each in verdict.exempted] == ["/etc/link"]
    assert [each.path for each in verdict.idle] == ["/never"]


def test_a_failed_check_and_a_kept_policy_are_told(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    failed = make_output(tmp_path / "failed", plant(tmp_path / "f", {"a": "x"}), ["/a"], verdict="failed")
    verdict = judge(Output(failed), parse_policy({"require": {"check": "passed"}}))
    assert [each.text for each in verdict.violations] == ["the check failed, not passed"]
    assert judge(Output(pair[1]), parse_policy({"limits": {"files": 100}})).violations == ()


def test_the_command_exits_with_three_and_tells_json(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[deny]\nrisks = ["shell"]\n')
    done = CliRunner().invoke(gate_command, [str(pair[1]), "--policy", str(tmp_path / "p.toml")])
    assert done.exit_code == 3
    assert "deny.risks  /usr/bin/bash: shell  (opened by the app)" in done.stdout
    done = CliRunner().invoke(gate_command, [str(pair[0]), "--policy", str(tmp_path / "p.toml"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["kept"] is True
    done = CliRunner().invoke(gate_command, [str(pair[1]), "--policy", str(tmp_path / "p.toml"), "--json"])
    valid(json.loads(done.stdout), "gate")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"limit": {}}, "has no 'limit'"),
        ({"limits": {"size": "many"}}, "limits.size"),
        ({"limits": {"files": "9 MB"}}, "whole number"),
        ({"limits": {"files": True}}, "whole number"),
        ({"deny": {"risks": ["shel"]}}, "no risk 'shel'"),
        ({"deny": {"paths": "x"}}, "list of texts"),
        ({"require": {"user": "x"}}, "non-root"),
        ({"except": [{}]}, "except number 1"),
        ({"except": {}}, "list of tables"),
    ],
)
def test_a_wrong_policy_says_where(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_policy(value)


def test_a_policy_that_is_no_toml_is_an_error(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    (tmp_path / "p.toml").write_text("[")
    with pytest.raises(SlimmerError, match="not TOML"):
        CliRunner().invoke(gate_command, [str(pair[0]), "--policy", str(tmp_path / "p.toml")], catch_exceptions=False)


def test_what_cannot_be_compared_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no archive")
    for name in (str(tmp_path / "none"), str(tmp_path / "x.tar"), str(tmp_path)):
        with pytest.raises(SlimmerError):
            open_side(name)


@pytest.mark.parametrize("name", ["nosuch", "no/such", "nosuch:tag"])
def test_what_is_not_there_is_said_as_it_was_named(name: str) -> None:
    with pytest.raises(SlimmerError, match=f"there is nothing at '{name}'") as raised:
        open_side(name)
    assert "--image" not in raised.value.message
