"""What the application runs stays with its package's family; what only came along does not; limits hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.families import FamilyRule
from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.closure.profiles import Profile, load_all
from tests.unit.profiles_support import Deb, closure, debian, profile, reached, recorded

POSTGRES = {"Source": "pg"}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return debian(
        tmp_path,
        {
            "pg-15": Deb(
                {
                    "/usr/lib/pg/bin/postgres": "#755 p",
                    "/usr/lib/pg/lib/hstore.so": "h",
                    "/usr/share/man/man1/p.1": "m",
                },
                {**POSTGRES, "Depends": "pg-client, libc6 (>= 2), other"},
            ),
            "pg-client": Deb({"/usr/lib/pg/bin/psql": "#755 psql"}, POSTGRES),
            "pg-data": Deb({"/usr/share/pg/tz": "tz"}, {**POSTGRES, "Depends": "pg-client"}),
            "pg-doc": Deb({"/usr/share/pg/book": "b"}, {**POSTGRES, "Depends": "pg-15"}),
            "pg-unrelated": Deb({"/usr/lib/pg/unrelated": "u"}, POSTGRES),
            "other": Deb({"/usr/bin/other": "#755 o"}),
            "bash": Deb(
                {"/usr/bin/bash": "#755 b", "/usr/share/bash/x": "x", "/etc/bash.bashrc": "rc"},
                {"Essential": "yes", "Conffiles": "\n /etc/bash.bashrc 0123"},
            ),
            "tzdata": Deb({"/usr/sbin/tzconf": "#755 t", "/usr/share/tz/x": "x"}, {"Priority": "required"}),
            "python3.11": Deb({"/usr/bin/python3.11": "#755 p", "/usr/lib/python3.11/os.py": "os"}),
        },
        {"/app/run.sh": "#755 #!/bin/sh\n"},
    )


def rules(text: str = "") -> list[FamilyRule]:
    profiles: tuple[Profile, ...] = load_all()
    if text:
        profiles = (*load_all(without=["programs"]), profile(f'why = "x"\n[programs]\n{text}', "programs"))
    return [FamilyRule(profiles)]


def test_a_run_program_brings_its_package_and_its_relatives(top: Path) -> None:
    found = reached(top, recorded(executed=["/usr/lib/pg/bin/postgres"]), rules())
    assert {"/usr/lib/pg/lib/hstore.so", "/usr/lib/pg/bin/psql", "/usr/share/pg/tz"} <= found
    assert found.isdisjoint(
        {"/usr/share/pg/book", "/usr/lib/pg/unrelated", "/usr/bin/other", "/usr/share/man/man1/p.1"}
    )


def test_the_reason_names_the_program(top: Path) -> None:
    grown = closure(top, recorded(executed=["/usr/lib/pg/bin/postgres"]), rules())
    (reason,) = [each for each in grown.paths["/usr/share/pg/tz"].reasons if each.rule == "family"]
    assert reason.needed_by == "/usr/lib/pg/bin/postgres"
    assert "pg-data" in reason.text
    assert "pg-15" in reason.text


@pytest.mark.parametrize("program", ["/usr/bin/bash", "/usr/sbin/tzconf", "/usr/bin/python3.11"])
def test_the_base_system_and_runtimes_stay_file_by_file(top: Path, program: str) -> None:
    found = reached(top, recorded(executed=[program]), rules())
    assert found <= {"/etc/bash.bashrc"}


def test_configuration_comes_with_any_used_program(top: Path) -> None:
    assert "/etc/bash.bashrc" in reached(top, recorded(executed=["/usr/bin/bash"]), rules())
    assert "/etc/bash.bashrc" not in reached(top, recorded(executed=["/usr/bin/bash"]), rules("config_limit = 1"))


def test_a_package_above_the_limit_stays_file_by_file_and_the_report_says_so(top: Path) -> None:
    grown = closure(top, recorded(executed=["/usr/lib/pg/bin/postgres"]), rules("limit = 3\n"))
    assert "/usr/lib/pg/lib/hstore.so" in grown.paths
    assert "/usr/lib/pg/bin/psql" not in grown.paths
    assert [doubt.kind for doubt in grown.unsure] == ["large-package"]
    assert "pg-client" in grown.unsure[0].text


def test_a_family_takes_its_smallest_relatives_first(top: Path) -> None:
    grown = closure(top, recorded(executed=["/usr/lib/pg/bin/postgres"]), rules("family_limit = 4"))
    assert "/usr/share/pg/tz" in grown.paths
    assert "/usr/lib/pg/bin/psql" not in grown.paths


class Starts(Rule):
    """A rule that says that one thing needs another."""

    name = "shell"
    level = Level.REACHABLE

    def __init__(self, program: str, by: str) -> None:
        self._need = Need(program, Reason(self.name, "started", by))

    def begin(self, view: View) -> list[Need]:
        return [self._need]


def test_what_the_applications_own_script_may_start_brings_its_family_too(top: Path) -> None:
    starts = Starts("/usr/lib/pg/bin/postgres", "/app/run.sh")
    assert "/usr/lib/pg/lib/hstore.so" in reached(top, recorded(), [starts, *rules()])


def test_what_a_packaged_script_may_start_does_not(top: Path) -> None:
    starts = Starts("/usr/lib/pg/bin/postgres", "/usr/bin/other")
    assert "/usr/lib/pg/lib/hstore.so" not in reached(top, recorded(), [starts, *rules()])
    assert "/usr/lib/pg/lib/hstore.so" in reached(top, recorded(executed=["/usr/bin/other"]), [starts, *rules()])


def test_a_helper_in_a_language_that_nothing_else_brings_stays_out(tmp_path: Path) -> None:
    files = {
        "/usr/sbin/server": "#755 s",
        "/usr/bin/enable": "#755 #!/usr/bin/perl -w\n",
        "/usr/bin/reload": "#755 #!/usr/bin/env perl\n",
        "/usr/bin/ctl": "#755 #!/bin/sh\n",
        "/usr/bin/disable": "-> enable",
    }
    top = debian(tmp_path, {"server": Deb(files), "perl": Deb({"/usr/bin/perl": "#755 p", "/bin/sh": "#755 s"})})
    grown = closure(top, recorded(executed=["/usr/sbin/server"]), rules())
    assert "/usr/bin/ctl" in grown.paths
    assert "/usr/bin/enable" not in grown.paths
    assert [(doubt.kind, doubt.path) for doubt in grown.unsure] == [("helpers", "/usr/bin/enable")]
    assert "2 helpers of server not kept, as nothing else needs perl: enable, reload" in grown.unsure[0].text
    with_perl = closure(top, recorded(executed=["/usr/sbin/server", "/usr/bin/perl"]), rules())
    assert {"/usr/bin/enable", "/usr/bin/reload"} <= set(with_perl.paths)


def test_a_large_program_for_a_person_to_call_stays_out_and_a_large_helper_of_the_program_does_not(top: Path) -> None:
    (top / "usr/lib/pg/bin/psql").write_text("psql" * 3)
    (top / "usr/lib/pg/lib/hstore.so").write_text("hstore" * 3)
    grown = closure(top, recorded(executed=["/usr/lib/pg/bin/postgres"]), rules("helper_limit = 10"))
    assert "/usr/lib/pg/lib/hstore.so" in grown.paths
    assert "/usr/lib/pg/bin/psql" not in grown.paths
    assert [doubt.text for doubt in grown.unsure] == [
        "1 helper of pg-client not kept, as they are large and nothing starts them: psql"
    ]


def test_a_command_of_a_package_of_modules_brings_its_like_and_no_modules(tmp_path: Path) -> None:
    files = {
        "/usr/bin/rst2html": "#755 #!/usr/bin/python3\n",
        "/usr/bin/rst2man": "#755 #!/usr/bin/python3\n",
        "/usr/lib/python3/dist-packages/docutils/core.py": "",
        "/usr/lib/python3/dist-packages/docutils/tool": "#755 #!/usr/bin/python3\n",
    }
    top = debian(tmp_path, {"python3-docutils": Deb(files)})
    assert reached(top, recorded(executed=["/usr/bin/rst2html"]), rules()) == {"/usr/bin/rst2html", "/usr/bin/rst2man"}
    tool = "/usr/lib/python3/dist-packages/docutils/tool"
    assert reached(top, recorded(executed=[tool]), rules()) == set()
