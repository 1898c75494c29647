"""`-q` and `--json` mean the same on every verb: no narration, and errors that a program can read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from slimmer.cli.main import VERBS, cli


def _leaves(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _leaves(inner, *words, name)
    else:
        yield words, command


LEAVES = tuple(_leaves(cli))
# A use of each that cannot work, whatever machine this is; the others cannot fail without an application.
WRONG = {
    "sbom": ("nosuch",),
    "vex": ("nosuch", "--scan", "nosuch.json"),
    "gate": ("nosuch", "--policy", "nosuch.toml"),
    "diff": ("nosuch", "nosuch"),
    "debug": ("999999999",),
    "key public": ("nosuch.key",),
    "completion": ("tcsh",),
    "help": ("nosuch",),
    "init": ("--root", "nosuch"),
}


def test_all_verbs_are_looked_at() -> None:
    assert {words[0] for words, _ in LEAVES} == set(VERBS)


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=[" ".join(words) for words, _ in LEAVES])
def test_a_verb_takes_both(words: tuple[str, ...], command: click.Command) -> None:
    known = [name for each in command.params for name in (*each.opts, *each.secondary_opts)]
    assert known.count("--json") == 1
    assert known.count("--quiet") == known.count("-q") == 1


@pytest.mark.parametrize("words", WRONG)
def test_an_error_is_one_line_of_json(words: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "slimmer", *words.split(), *WRONG[words], "--json", "-q"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    (line,) = done.stderr.splitlines()
    told = json.loads(line)
    assert told["format"] == "slimmer.error/1"
    assert told["message"]
    assert told["exit_code"] == done.returncode > 0
    assert done.stdout == ""
