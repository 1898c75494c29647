"""The data that a library reads by name come with the library, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.ownership.library_data import LibraryDataRule
from slimmer.closure.ownership.package_families import FamilyRule
from slimmer.closure.profiles.load import Profile, load_all
from tests.support import plant
from tests.unit.profiles_support import Deb, closure, debian, profile, reached, recorded

ALL = {"Architecture": "all"}
MODULE = "/usr/lib/python3/dist-packages/thai.py"
LIBRARY = "/usr/lib/x86_64-linux-gnu/libthai.so.0"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return debian(
        tmp_path,
        {
            "libthai0": Deb(
                {
                    LIBRARY: "elf",
                    "/usr/share/thai/own": "o",
                    "/usr/share/thai/clean": "#755 #!/bin/sh\n",
                    "/usr/share/doc/libthai0/readme": "r",
                },
                {"Depends": "libthai-data (>= 0.1.10)", "Recommends": "thai-words | thai-more, fonts-thai, thai-tools"},
            ),
            "libthai-data": Deb({"/usr/share/thai/breaks.tri": "tri", "/usr/share/man/man3/thai.3": "m"}, ALL),
            "thai-words": Deb({"/usr/share/words/thai": "words", "/usr/share/fonts/words": "-> ../words"}, ALL),
            "thai-tools": Deb({"/usr/bin/thai": "#755 #!/bin/sh\n", "/usr/share/tools/thai": "t"}, ALL),
            "fonts-thai": Deb({"/usr/share/fonts/thai.ttf": "f"}, ALL),
            "thai-arch": Deb({"/usr/share/thai/other": "x"}),
            "libwords0": Deb({"/usr/lib/libwords.so.0": "elf"}, {"Recommends": "thai-arch, python3-thai"}),
            "python3-thai": Deb({MODULE: "x"}, {**ALL, "Depends": "python3-other, python-thai-data"}),
            "python3-other": Deb({"/usr/lib/python3/dist-packages/other.py": "x"}, ALL),
            "python-thai-data": Deb({"/usr/share/python-thai-data/styles": "s"}, ALL),
        },
    )


def rules(text: str = "") -> list[LibraryDataRule]:
    profiles: tuple[Profile, ...] = load_all()
    if text:
        profiles = (*load_all(without=["programs"]), profile(f'why = "x"\n[programs]\n{text}', "programs"))
    return [LibraryDataRule(profiles)]


def test_a_library_brings_its_data_and_those_of_packages_that_are_data_alone(top: Path) -> None:
    assert reached(top, recorded(read=[LIBRARY]), rules()) == {
        "/usr/share/thai/own",
        "/usr/share/thai/breaks.tri",
        "/usr/share/words/thai",
    }


def test_a_run_program_brings_the_data_that_its_package_depends_on(tmp_path: Path) -> None:
    top = debian(
        tmp_path,
        {
            "pbx": Deb({"/usr/sbin/pbx": "#755 p"}, {"Source": "pbx", "Recommends": "pbx-sounds, pbx-tools"}),
            "pbx-sounds": Deb({"/usr/share/pbx/hello.gsm": "h"}, {**ALL, "Source": "sounds"}),
            "pbx-tools": Deb({"/usr/bin/pbx-tool": "#755 t", "/usr/share/tools/x": "x"}, {**ALL, "Source": "tools"}),
        },
    )
    together = [FamilyRule(load_all()), *rules()]
    assert reached(top, recorded(executed=["/usr/sbin/pbx"]), together) >= {"/usr/share/pbx/hello.gsm"}
    assert "/usr/share/tools/x" not in reached(top, recorded(executed=["/usr/sbin/pbx"]), together)
    assert "/usr/share/pbx/hello.gsm" not in reached(top, recorded(read=["/usr/sbin/pbx"]), together)


def test_a_module_that_every_start_looks_at_brings_its_data_once_it_is_loaded(top: Path) -> None:
    compiled = "/usr/lib/python3/dist-packages/__pycache__/thai.cpython-311.pyc"
    plant(top, {compiled: "x"})
    styles = "/usr/share/python-thai-data/styles"
    assert styles not in reached(top, recorded(looked_at=[MODULE]), rules())
    assert styles in reached(top, recorded(read=[MODULE]), rules())
    assert styles in reached(top, recorded(looked_at=[MODULE], read=[compiled]), rules())


def test_packages_of_one_architecture_and_of_languages_are_left_to_other_rules(top: Path) -> None:
    assert reached(top, recorded(read=["/usr/lib/libwords.so.0"]), rules()) == set()


def test_a_module_brings_its_data_as_a_library_does(top: Path) -> None:
    assert reached(top, recorded(read=[MODULE]), rules()) == {"/usr/share/python-thai-data/styles"}


def test_the_other_archives_of_a_package_are_code_and_no_data(tmp_path: Path) -> None:
    jars = {f"/usr/share/java/{name}.jar": name for name in ("used", "other")}
    plugin = {"/usr/share/thing/plugin.so": "elf", "/usr/share/thing/table": "t"}
    top = debian(tmp_path, {"libthing-java": Deb({**jars, **plugin}, ALL)})
    assert reached(top, recorded(read=["/usr/share/java/used.jar"]), rules()) == {"/usr/share/thing/table"}


def test_the_reason_names_the_package_and_the_library(top: Path) -> None:
    grown = closure(top, recorded(read=[LIBRARY]), rules())
    (reason,) = grown.paths["/usr/share/words/thai"].reasons
    assert (reason.rule, reason.needed_by) == ("library-data", LIBRARY)
    assert "thai-words" in reason.text


def test_data_above_the_limit_stay_with_what_was_used_and_the_report_says_so(top: Path) -> None:
    grown = closure(top, recorded(read=[LIBRARY]), rules('data = ["/usr/share/**"]\ndata_limit = 4'))
    assert "/usr/share/thai/breaks.tri" in grown.paths
    assert "/usr/share/words/thai" not in grown.paths
    assert [(warning.kind, warning.path) for warning in grown.warnings] == [("large-package", LIBRARY)]
    assert "thai-words" in grown.warnings[0].text
