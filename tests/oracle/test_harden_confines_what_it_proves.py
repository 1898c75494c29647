"""A policy on trial holds: no write beside its places, no call beside its list, no capability beside its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from slimmer.cli.main import main
from slimmer.exercise.observer import Observer
from slimmer.harden import policy as policies
from slimmer.harden.calls import Possible
from slimmer.harden.policy import Policy, policy
from slimmer.harden.prove import Rehearsal, prove, proved, rehearsed
from slimmer.harden.seccomp import Level, safe
from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import trace
from slimmer.recipe import Recipe, Run, Source, load
from slimmer.report import read
from slimmer.report.output import Output
from tests.running import readable_directory, shell, small_root
from tests.support import needs_root
from tracer.runner.confinement import Confinement
from tracer.session import Session, SessionOptions

pytestmark = needs_root
SCRIPT = "echo new > /var/lib/app/data; cat /var/lib/app/data; rm -f /var/lib/app/p; mkfifo /var/lib/app/p; true"
MKFIFO = "perl -e 'require POSIX; POSIX::mkfifo(\"/var/lib/app/p\", 384) or die $!'"


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with readable_directory() as place:
        yield small_root(place / "root")


def confined(root: Path) -> Session:
    program = safe(Possible(wide=True), "amd64").program()
    held = Confinement(program, ("SETUID",), ("/var/lib/app",))
    return Session.start(SessionOptions(root=str(root), record=False, confinement=held, fresh_tmp=False))


def test_only_what_is_named_can_be_written_called_and_used(root: Path) -> None:
    with confined(root) as session:
        assert shell(session, "echo x > /var/lib/app/new && cat /var/lib/app/data /var/lib/app/new") == "before\nx\n"
        for place in ("/etc/new", "/tmp/new", "/new"):
            assert "Read-only file system" in shell(session, f"echo x > {place}")
        status = dict(line.split(":\t", 1) for line in shell(session, "cat /proc/self/status").splitlines())
        assert int(status["CapBnd"], 16) == 1 << 7
        assert status["NoNewPrivs"] == "1"
        # mknod(2) of a pipe is made by mkfifo alone, which nothing here imports.
        assert "Operation not permitted" in shell(session, MKFIFO)
    assert not (root / "var/lib/app/new").exists()


@pytest.fixture(scope="module")
def out(root: Path) -> Iterator[Path]:
    with readable_directory() as place:
        recipe = Recipe(
            Source(root=str(root)),
            (
                Run(
                    ("/bin/sh", "-c", SCRIPT),
                ),
            ),
        )
        trace(recipe, Outputs(place / "out", check=CheckMode.OFF), Progress())
        yield place / "out"


def test_a_policy_that_fits_is_proved(out: Path) -> None:
    recipe = load(out / "recipe.toml")
    found = policy(Output(out), recipe)
    assert [each.path for each in found.needs.writable] == ["/var/lib/app"]
    with rehearsed(Output(out), recipe, Observer()) as rehearsal:
        assert isinstance(rehearsal, Rehearsal)
        proof = prove(found, rehearsal)
    assert (proof.passed, proof.problems, proof.denied) == (True, (), ())


def test_a_policy_that_takes_too_much_is_not_and_the_part_is_named(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = policies.of

    def less(*parts: object) -> Policy:
        found = whole(*parts)  # type: ignore[arg-type]
        return replace(found, needs=replace(found.needs, writable=()))

    monkeypatch.setattr(policies, "of", less)
    shutil.rmtree(out / "harden", ignore_errors=True)
    with pytest.raises(SystemExit) as ended:
        main(["harden", str(out), "-q", "--trust"])
    assert ended.value.code == 3
    assert "read-only root that makes the difference" in capsys.readouterr().err
    assert not (out / "harden").exists()


def test_a_refused_call_that_the_run_makes_fails_the_check_though_nothing_is_seen_of_it(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = policies.of

    def less(*parts: object) -> Policy:
        found = whole(*parts)  # type: ignore[arg-type]
        allowed = {call: why for call, why in found.seccomp.allowed.items() if call not in ("mknod", "mknodat")}
        return replace(found, seccomp=replace(found.seccomp, allowed=allowed))

    monkeypatch.setattr(policies, "of", less)
    shutil.rmtree(out / "harden", ignore_errors=True)
    with pytest.raises(SystemExit) as ended:
        main(["harden", str(out), "-q", "--trust"])
    assert ended.value.code == 3
    assert "system call mknodat: the exercise makes it, and the policy refuses it" in capsys.readouterr().err
    assert not (out / "harden").exists()


def test_a_strict_profile_is_what_the_exercise_called_and_why_says_so(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schemas = Path(read.__file__).with_name("schemas")

    def asked(*words: str, schema: str) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        assert not ended.value.code
        value = json.loads(capsys.readouterr().out)
        jsonschema.validate(value, json.loads((schemas / f"{schema}.schema.json").read_text()))
        return value

    levels = {
        level: asked("harden", str(out), "-q", "--trust", "--json", "--level", level, schema="harden")
        for level in ("safe", "strict")
    }
    assert "mknodat" in levels["strict"]["made"]
    assert {"mknodat", "unlinkat", "execve"} <= set(levels["strict"]["allowed"]) < set(levels["safe"]["allowed"])
    assert "symlink" in levels["strict"]["refused"]
    assert "symlink" in levels["safe"]["allowed"]
    allowed = asked("why", str(out), "syscall:mknodat", "--json", schema="why")
    assert (allowed["status"], allowed["reasons"][0]["text"]) == ("allowed", "the exercise made it")
    refused = asked("why", str(out), "syscall:symlink", "--json", schema="why")
    assert (refused["status"], len(refused["reasons"])) == ("refused", 1)
    assert "did not make it" in refused["reasons"][0]["text"]


def test_a_call_that_no_run_made_is_refused_and_told_of(out: Path) -> None:
    """What a run under a strict policy calls beyond it comes back, and is allowed where the exercise needs it."""
    recipe = load(out / "recipe.toml")
    with rehearsed(Output(out), recipe, Observer()) as rehearsal:
        assert isinstance(rehearsal, Rehearsal)
        assert rehearsal.made is not None
        missed = policy(Output(out), recipe, level=Level.STRICT, made=rehearsal.made - {"mknodat"})
        found, proof = proved(missed, replace(rehearsal, made=missed.made))
    assert "mknodat" not in missed.seccomp.allowed
    assert "mknodat" in found.seccomp.allowed
    assert (proof.passed, proof.denied) == (True, ())
