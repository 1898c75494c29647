"""A program that a started one names stays where its package is one that the started one's package speaks of."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.ownership.declared_programs import DeclaredProgramsRule, names
from slimmer.closure.profiles.load import load_all
from tests.unit.profiles_support import Deb, closure, debian, reached, recorded

BOOK = "#755 \x7fELF\0\0weave\0lay %s\0Usage: paint FILE\0perl\0/bin/ps ax\0-lonely\0"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return debian(
        tmp_path,
        {
            "book": Deb({"/usr/bin/book": BOOK}, {"Depends": "layers, procps", "Suggests": "weavers, painters | perl"}),
            "weavers": Deb({"/usr/bin/weave": "#755 w", "/usr/bin/spin": "#755 s", "/usr/share/weave/x": "x"}),
            "layers": Deb({"/usr/bin/lay": "#755 l"}),
            "painters": Deb({"/usr/bin/paint": "#755 p"}),
            "procps": Deb({"/bin/ps": "#755 p", "/bin/top": "#755 t"}),
            "perl": Deb({"/usr/bin/perl": "#755 p"}),
            "lonely": Deb({"/usr/bin/lonely": "#755 l"}),
        },
        {},
    )


def rules() -> list[DeclaredProgramsRule]:
    return [DeclaredProgramsRule(load_all())]


def test_named_programs_of_declared_packages_stay_alone_or_with_arguments(top: Path) -> None:
    found = reached(top, recorded(executed=["/usr/bin/book"]), rules())
    assert {"/usr/bin/weave", "/usr/bin/lay", "/bin/ps"} <= found
    assert "/bin/top" not in found


def test_neither_a_name_nor_a_declaration_alone_is_enough_and_runtimes_are_left_to_their_rules(top: Path) -> None:
    found = reached(top, recorded(executed=["/usr/bin/book"]), rules())
    assert found.isdisjoint({"/usr/bin/spin", "/usr/bin/paint", "/usr/bin/lonely", "/usr/bin/perl"})


def test_a_program_that_only_came_along_brings_nothing(top: Path) -> None:
    assert "/usr/bin/weave" not in reached(top, recorded(read=["/usr/share/weave/x"]), rules())


def test_the_reason_names_program_and_packages(top: Path) -> None:
    grown = closure(top, recorded(executed=["/usr/bin/book"]), rules())
    (reason,) = [each for each in grown.paths["/usr/bin/weave"].reasons if each.rule == "declared-program"]
    assert reason.needed_by == "/usr/bin/book"
    assert "book knows weavers" in reason.text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0dot\0", True),
        (b"\0dot -T%s\0", True),
        (b"\0polkadot\0", False),
        (b"\0dotty\0", False),
        (b"polkadot\0dot\0", True),
        (b"dot\0", False),
    ],
)
def test_a_name_is_a_whole_text_or_its_first_word(data: bytes, said: bool) -> None:
    assert names(data, "dot") is said
