"""The data that a library reads by name come with the library, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.library_data import LibraryDataRule
from slimmer.closure.profiles import Profile, load_all
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
    assert [(doubt.kind, doubt.path) for doubt in grown.unsure] == [("large-package", LIBRARY)]
    assert "thai-words" in grown.unsure[0].text
