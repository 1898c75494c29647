"""Which texts count as command lines when nothing starts them: options and operators speak, prose does not."""

from __future__ import annotations

import pytest

from slimmer.closure.commands.evidence import Belief, belief
from slimmer.closure.commands.literals import CommandLine

PROGRAMS = frozenset(
    "ls sort head wc tar find date test git pdftotext convert mkdir install mysqldump ffmpeg which sh".split()  # noqa: SIM905
)


def shell(text: str) -> Belief:
    return belief(CommandLine((text,), 1, True), lambda word: word in PROGRAMS or word.startswith("/usr/bin/"))


@pytest.mark.parametrize(
    "text",
    [
        "ls / | wc -l",
        "sort -u",
        "find $UNKNOWN -type f",
        "date +%Y; ls",
        "tar -cz $UNKNOWN",
        "git log --oneline",
        "mkdir -p $UNKNOWN && ls",
        "mysqldump $UNKNOWN > /tmp/x",
        "pdftotext -layout in.pdf -",
        "ls $(which git)",
        "/usr/bin/rsvg-convert -o x",
    ],
)
def test_command_lines_are_believed(text: str) -> None:
    assert shell(text) is Belief.LINE


@pytest.mark.parametrize("text", ["pdftotext", "mysqldump", "ffmpeg", "git status"])
def test_a_bare_name_is_a_word(text: str) -> None:
    assert shell(text) is Belief.WORD


@pytest.mark.parametrize(
    "text",
    [
        "sort",
        "date",
        "test the thing",
        "install it first",
        "convert the image to another format",
        "find is slow",
        "unknown --option",
        "which one is it?",
        "tar was not found.",
        "",
    ],
)
def test_words_of_a_language_are_not(text: str) -> None:
    assert shell(text) is Belief.NONE


def test_a_list_of_words_counts_by_its_program() -> None:
    def listed(*words: str) -> Belief:
        return belief(CommandLine(words, 1), lambda word: word in PROGRAMS)

    assert listed("pdftotext", "in.pdf") is Belief.LINE
    assert listed("sort", "-u") is Belief.LINE
    assert listed("sort", "") is Belief.LINE
    assert listed("date", "size", "name") is Belief.NONE
    assert listed("nowhere", "-x") is Belief.NONE
