"""What the application runs stays with its package's family; what only came along does not; limits hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.shell.rule import ShellRule
from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.closure.ownership.package_families import FamilyRule
from slimmer.closure.profiles.load import Profile, load_all
from tests.support_elf import elf, program
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


def test_where_a_familys_own_link_leads_what_packages_hold_stays_and_nobodys_files_do_not(tmp_path: Path) -> None:
    top = debian(
        tmp_path,
        {
            "proxy": Deb(
                {
                    "/usr/sbin/proxy": "#755 p",
                    "/usr/share/proxy/errors": "-> ../proxy-languages",
                    "/lib": "-> usr/lib",  # as a merged root has what a package lists as a directory
                    "/usr/lib/shared": "-> ../share",
                }
            ),
            "other": Deb({"/usr/lib/other.so": "o", "/usr/share/other/x": "x"}),
            "proxy-languages": Deb({"/usr/share/proxy-languages/de/DENIED": "Nein"}),
        },
        {"/usr/share/proxy-languages/private.key": "k"},
    )
    found = reached(top, recorded(executed=["/usr/sbin/proxy"]), rules())
    assert "/usr/share/proxy-languages/de/DENIED" in found
    assert found.isdisjoint({"/usr/share/proxy-languages/private.key", "/usr/lib/other.so", "/usr/share/other/x"})
    small = closure(top, recorded(executed=["/usr/sbin/proxy"]), rules("mention_limit = 3"))
    assert "/usr/share/proxy-languages/de/DENIED" not in small.paths
    assert [(each.kind, each.path) for each in small.warnings] == [
        ("mentioned-directory", "/usr/share/proxy-languages")
    ]


@pytest.mark.parametrize(("executed", "stays"), [(True, True), (False, False)])
def test_a_plugin_of_a_part_that_the_run_program_needs_may_bring_what_its_package_declares(
    executed: bool, stays: bool, tmp_path: Path
) -> None:
    plugin = program((1, "libgvc.so"), (1, "libgd.so"))
    top = debian(
        tmp_path,
        {
            "graph": Deb({"/usr/bin/dot": "#755 d"}, {"Source": "g", "Depends": "libgvc6"}),
            "libgvc6": Deb(
                {"/usr/lib/graph/gd.so": plugin, "/usr/lib/libgvc.so": elf((14, "libgvc.so"))},
                {"Source": "g", "Depends": "libgd3"},
            ),
            "libgd3": Deb({"/usr/lib/libgd.so": elf((14, "libgd.so"))}),
        },
        {"/app/draw.sh": "#755 #!/bin/sh\ndot x\n", "/lib64/ld-linux-x86-64.so.2": elf((14, "ld-linux-x86-64.so.2"))},
    )
    recording = recorded(executed=["/usr/bin/dot"]) if executed else recorded(read=["/app/draw.sh"])
    text = "max_dependency_bytes = 10\ndeclared_limit = 100_000\nlimit = 1_000_000\nfamily_limit = 1_000_000\n"
    grown = closure(top, recording, [ShellRule(), *rules(text)])
    assert "/usr/bin/dot" in grown.paths
    assert ("/usr/lib/graph/gd.so" in grown.paths) is stays


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
    assert [warning.kind for warning in grown.warnings] == ["large-package"]
    assert "pg-client" in grown.warnings[0].text


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
    grown = closure(top, recorded(executed=["/usr/sbin/server"]), rules("interpreter_limit = 1"))
    assert "/usr/bin/ctl" in grown.paths
    assert "/usr/bin/enable" not in grown.paths
    assert [(warning.kind, warning.path) for warning in grown.warnings] == [("helpers", "/usr/bin/enable")]
    assert (
        "2 helpers of server not kept, as nothing else needs perl, which would bring 2 bytes: enable, reload"
        in grown.warnings[0].text
    )
    with_perl = closure(top, recorded(executed=["/usr/sbin/server", "/usr/bin/perl"]), rules())
    assert {"/usr/bin/enable", "/usr/bin/reload"} <= set(with_perl.paths)


def test_a_large_program_for_a_person_to_call_stays_out_and_a_large_helper_of_the_program_does_not(top: Path) -> None:
    (top / "usr/lib/pg/bin/psql").write_text("psql" * 3)
    (top / "usr/lib/pg/lib/hstore.so").write_text("hstore" * 3)
    grown = closure(top, recorded(executed=["/usr/lib/pg/bin/postgres"]), rules("helper_limit = 10"))
    assert "/usr/lib/pg/lib/hstore.so" in grown.paths
    assert "/usr/lib/pg/bin/psql" not in grown.paths
    assert [warning.text for warning in grown.warnings] == [
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


def test_the_servers_own_commands_stay_whatever_their_size(tmp_path: Path) -> None:
    files = {"/usr/bin/metricsd": "#755 d" * 9, "/usr/bin/metricsctl": "#755 c" * 9, "/usr/share/metrics/ui": "u" * 99}
    top = debian(tmp_path, {"metrics": Deb(files)})
    for text in ("helper_limit = 3", "limit = 50"):
        grown = closure(top, recorded(executed=["/usr/bin/metricsd"]), rules(text))
        assert "/usr/bin/metricsctl" in grown.paths
    assert "/usr/share/metrics/ui" not in grown.paths


def test_a_script_of_the_servers_own_package_may_bring_a_small_interpreter(tmp_path: Path) -> None:
    packages = {
        "mta": Deb({"/usr/sbin/mta": "#755 s", "/usr/sbin/mtagrep": "#755 #!/usr/bin/perl\n"}, {"Depends": "mta-base"}),
        "mta-base": Deb({"/usr/sbin/mtastats": "#755 #!/usr/bin/perl\n"}, {"Source": "mta"}),
        "perl-base": Deb({"/usr/bin/perl": "#755 p" * 3, "/usr/share/perl/strict.pm": "1" * 40}, {"Source": "perl"}),
    }
    top = debian(tmp_path, packages)
    run = recorded(executed=["/usr/sbin/mta"])
    found = closure(top, run, rules("interpreter_limit = 1000")).paths
    assert {"/usr/sbin/mtagrep", "/usr/sbin/mtastats"} <= set(found)
    grown = closure(top, run, rules("interpreter_limit = 10"))
    assert "/usr/sbin/mtagrep" not in grown.paths
    assert "nothing else needs perl, which would bring 53 bytes" in grown.warnings[0].text


def test_companions_of_one_source_stay_where_they_cost_little(tmp_path: Path) -> None:
    store = {"Source": "store"}
    packages = {
        "store-server": Deb({"/usr/bin/stored": "#755 s"}, store),
        "store-tools": Deb({"/usr/bin/store-cli": "#755 c", "/usr/share/store/x": "x"}, store),
        "store-bench": Deb({"/usr/bin/store-bench": "#755 " + "b" * 500}, store),
        "store-dev": Deb({"/usr/bin/store-config": "#755 c"}, store),
        "libstore": Deb({"/usr/lib/libstore.so.1": "l"}, store),
    }
    top = debian(tmp_path, packages)
    found = reached(top, recorded(executed=["/usr/bin/stored"]), rules("companion_limit = 100\nparts = ['*-dev']"))
    assert {"/usr/bin/store-cli", "/usr/share/store/x"} <= found
    assert not {path for path in found if "bench" in path or "config" in path or "lib" in path}


SPOOLER = {
    "cups": Deb({"/usr/sbin/cupsd": "#755 c", "/usr/lib/spool/filter/raw": "r"}, {"Recommends": "filters"}),
    "filters": Deb(
        {"/usr/lib/spool/filter/pdf": "p", "/usr/share/filters/x": "x", "/usr/bin/pdfs": "#755 p"},
        {"Source": "filters"},
    ),
    "driver": Deb({"/usr/lib/spool/filter/raster": "0123456789"}, {"Source": "driver", "Depends": "cups (>= 2)"}),
    "stranger": Deb({"/usr/lib/spool/filter/strange": "s"}),
}


def test_what_a_plugin_package_has_in_the_familys_directories_stays_and_the_rest_of_it_does_not(tmp_path: Path) -> None:
    packages = {name: package for name, package in SPOOLER.items() if name != "stranger"}
    found = reached(debian(tmp_path, packages), recorded(executed=["/usr/sbin/cupsd"]), rules())
    assert {"/usr/lib/spool/filter/pdf", "/usr/lib/spool/filter/raster"} <= found
    assert found.isdisjoint({"/usr/share/filters/x", "/usr/bin/pdfs"})


def test_directories_that_others_share_are_no_familys_and_large_plugins_are_told(tmp_path: Path) -> None:
    shared = reached(debian(tmp_path / "shared", SPOOLER), recorded(executed=["/usr/sbin/cupsd"]), rules())
    assert shared.isdisjoint({"/usr/lib/spool/filter/pdf", "/usr/lib/spool/filter/strange"})
    packages = {name: package for name, package in SPOOLER.items() if name != "stranger"}
    grown = closure(
        debian(tmp_path / "own", packages), recorded(executed=["/usr/sbin/cupsd"]), rules("helper_limit = 9\n")
    )
    assert "/usr/lib/spool/filter/pdf" in grown.paths
    assert "/usr/lib/spool/filter/raster" not in grown.paths
    assert [each.text.split()[0] for each in grown.warnings if each.kind == "large-package"] == ["driver"]
