"""What the challenge brings for a question, and what becomes of it when the question is answered no better."""

from __future__ import annotations

from slimmer.checks.challenge.effect import Brought, futile
from slimmer.checks.challenge.model import Difference, Findings, Question, Topic
from slimmer.checks.compare import Comparison, Verdict
from slimmer.pipeline.repairs import Repairs
from slimmer.recipe import Miss

HELP, LIST, TEST = (Question(Topic.PROGRAM, ("/app/tool", f"--{word}")) for word in ("help", "list", "test"))
BEFORE = {HELP: "exit 1", LIST: "exit 2", TEST: "exit 3"}
GOOD = Comparison("GET /", "200", "200")
BAD = Comparison("GET /", "200", "500", "another status")


def test_what_helped_no_question_is_futile_and_what_several_share_is_judged_by_the_best() -> None:
    brought = [Brought((HELP,), frozenset({"/a", "/shared"})), Brought((LIST, TEST), frozenset({"/b", "/shared"}))]
    assert futile(brought, BEFORE, BEFORE) == ["/a", "/b", "/shared"]
    assert futile(brought, BEFORE, {HELP: "exit 1", LIST: "exit 2"}) == ["/a"]  # one of two is mended
    assert futile(brought, BEFORE, {**BEFORE, HELP: "exit 9"}) == ["/b"]  # another problem is progress
    assert futile(brought, BEFORE, {}) == []
    assert futile([], BEFORE, BEFORE) == []


def verdict(
    row: Comparison, needed: tuple[str, ...] = (), futile: tuple[str, ...] = (), differ: int = 0, why_not: str = ""
) -> Verdict:
    found = Findings(
        3,
        differences=(Difference(HELP, "exit 0", "exit 1", "exit 1"),) * differ,
        misses=tuple(Miss(each) for each in needed),
        futile=futile,
        why_not=why_not,
    )
    return Verdict((row,), challenge=found)


def rounds(*verdicts: Verdict, known: tuple[Miss, ...] = (), most: int = 4) -> tuple[list[list[str]], list[str]]:
    """What the image of each round holds beyond its closure, and what the review is told."""
    notes: list[str] = []
    repairs, images = Repairs(known, rounds=most, note=notes.append), []
    for each in verdicts:
        images.append([miss.path for miss in repairs.added])
        if not repairs.follow(each):
            break
    return images, notes


FIRST = verdict(GOOD, ("/a", "/b"), differ=2)
SECOND = verdict(GOOD, ("/a",), ("/a",), differ=1)  # /b helped, /a did not


def test_what_changed_nothing_leaves_the_image_once_and_the_review_says_so() -> None:
    images, notes = rounds(FIRST, SECOND, SECOND, SECOND)
    assert images == [[], ["/a", "/b"], ["/b"]]
    assert notes == ["1 path brought for questions changed no answer: taken out again"]


def test_it_comes_back_when_more_differs_or_the_check_fails_without_it() -> None:
    expected = [[], ["/a", "/b"], ["/b"], ["/a", "/b"]]
    for worse in (verdict(GOOD, differ=2), verdict(BAD), verdict(GOOD, why_not="no sandbox")):
        assert rounds(FIRST, SECOND, worse, SECOND, SECOND)[0] == expected


def test_what_the_exercise_or_the_recipe_needs_is_never_taken_out() -> None:
    again = verdict(GOOD, (), ("/a", "/k"), differ=1)
    assert rounds(FIRST, again, again, known=(Miss("/k"),))[0] == [["/k"], ["/k", "/a", "/b"], ["/k", "/b"]]
    failed = Verdict((BAD,), (Miss("/a"),))
    after = verdict(GOOD, ("/b",), differ=1)
    vain = verdict(GOOD, (), ("/a", "/b"), differ=1)
    assert rounds(failed, after, vain, vain)[0] == [[], ["/a"], ["/a", "/b"], ["/a"]]


def test_it_is_taken_out_also_when_no_round_is_left_and_nothing_is_done_where_nothing_is_repaired() -> None:
    third = verdict(GOOD, ("/a", "/c"), ("/a",), differ=1)
    assert rounds(FIRST, third, third, most=2)[0] == [[], ["/a", "/b"], ["/b"]]
    assert rounds(FIRST, SECOND, most=0)[0] == [[]]


def test_what_does_harm_goes_whole() -> None:
    assert rounds(FIRST, verdict(BAD), verdict(GOOD))[0] == [[], ["/a", "/b"], []]
