"""The closure of scripts: the whole chain of interpreters, through links, env and PATH."""

from __future__ import annotations

from pathlib import Path

from slimmer.closure.commands.shebang import ScriptRule
from slimmer.closure.model import Application, Level
from tests.unit.closures import kept
from tracer.recording import Access, Execution, Kind, Recording

RULES = (ScriptRule,)


def test_an_interpreter_that_is_a_script_brings_its_own(tmp_path: Path) -> None:
    tree = {
        "/app/run": "#755 #!/app/outer\n",
        "/app/outer": "#755 #!/usr/bin/inner -x\n",
        "/usr/bin/inner": "-> ../lib/real",
        "/usr/lib/real": "#755 \x7fELF",
        "/usr/lib/other": "#755 \x7fELF",
    }
    assert kept(tmp_path, tree, "/app/run", rules=RULES, level=Level.RECORDED) == {
        "/app/run",
        "/app/outer",
        "/usr/bin/inner",
        "/usr/lib/real",
    }


def test_env_finds_its_program_by_the_path_of_the_application(tmp_path: Path) -> None:
    tree = {
        "/app/run": "#755 #!/usr/bin/env -S tool --fast\n",
        "/usr/bin/env": "#755 \x7fELF",
        "/usr/bin/tool": "#755 \x7fELF",
        "/opt/bin/tool": "#755 \x7fELF",
        "/sbin/tool": "#644 not executable",
    }
    application = Application(env={"PATH": "/sbin:/opt/bin:/usr/bin"})
    found = kept(tmp_path, tree, "/app/run", rules=RULES, application=application)
    assert found == {"/app/run", "/usr/bin/env", "/opt/bin/tool", "/usr/bin/tool"}  # the default PATH is a second guess


def test_a_text_without_a_first_line_is_run_by_sh(tmp_path: Path) -> None:
    tree = {
        "/app/run": "#755 echo hello\n",
        "/app/data": "#755 echo hello\n",
        "/bin/sh": "-> dash",
        "/bin/dash": "#755 x",
    }
    recording = Recording(
        (Access("/app/run", frozenset({Kind.EXEC}), frozenset({"/x"})),), (Execution("/app/run", "/"),)
    )
    assert kept(tmp_path, tree, "/app/run", rules=RULES, recording=recording) == {"/app/run", "/bin/sh", "/bin/dash"}


def test_a_script_that_nobody_may_start_brings_nothing(tmp_path: Path) -> None:
    tree = {"/app/notes": "#644 #!/bin/sh\n", "/bin/sh": "#755 x"}
    assert kept(tmp_path, tree, "/app/notes", rules=RULES) == {"/app/notes"}
