"""The comparison: what counts as the same, and what only varies by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slimmer.check import Verdict, better_of, compare, content_differs, misses, varies_alike, worth_another_try
from slimmer.errors import SlimmerError
from slimmer.exercise.model import Answer, Executed, RunOutcome
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.recording import Access, Kind, Recording


def outcome(body: bytes = b"x", status: int = 200, code: int | None = 0, *, stopped: bool = True) -> RunOutcome:
    return RunOutcome(
        ("app",), code, stopped, b"", b"", (Answer("GET /", status, body),), (Executed("ping", 0, b"PONG", b""),)
    )


def problems(fat: RunOutcome, slim: RunOutcome, again: RunOutcome | None = None) -> list[str]:
    return [row.problem for row in compare([fat], [slim], [again] if again else None) if row.problem]


def test_the_same_is_the_same() -> None:
    assert problems(outcome(), outcome()) == []


def test_another_status_body_exit_or_ending_is_a_problem() -> None:
    assert problems(outcome(), outcome(status=500)) == ["another status"]
    assert problems(outcome(b"abc"), outcome(b"abd"))[0].startswith("its content differs: at byte 2")
    assert problems(outcome(), outcome(code=1, stopped=False)) == ["it ends differently"]
    worse = replace(outcome(), executed=(Executed("ping", 1, b"", b"no", "exited with 1: no"),))
    assert problems(outcome(), worse) == ["exited with 1: no"]


def test_a_run_that_does_not_start_is_one_clear_problem() -> None:
    assert problems(outcome(), replace(outcome(), failure=SlimmerError("not found"))) == ["not found"]


def test_what_was_not_asked_any_more_is_a_problem() -> None:
    assert problems(outcome(), replace(outcome(), answers=(), executed=())) == ["the application ended before"] * 2


def test_content_that_differs_between_two_fat_runs_may_differ_in_slim() -> None:
    fat, again, slim = (outcome(b'{"time": %d, "name": "x"}' % number) for number in (1111, 2222, 3333))
    assert content_differs(compare([fat], [slim]))
    assert problems(fat, slim, again) == []
    broken = outcome(b'{"time": 3333, "name": "y"}')
    assert len(problems(fat, broken, again)) == 1


def test_of_measurements_any_number_may_differ_but_no_word() -> None:
    text = b"pid: %d\nuptime: %d\nmemory: %.2f MB\nitems: %d\nstate: %s\n"
    fat, again = text % (30, 1, 5.25, 0, b"up"), text % (41, 1, 5.5, 1, b"up")
    assert varies_alike(fat, again, text % (52, 2, 5.75, 2, b"up"))
    assert not varies_alike(fat, again, text % (52, 2, 5.75, 2, b"down"))
    assert not varies_alike(fat, text % (30, 1, 5.25, 1, b"up"), text % (30, 2, 5.25, 0, b"up"))


def test_the_message_shows_the_line_that_differs() -> None:
    found = problems(outcome(b"same line\nvalue 1\n"), outcome(b"same line\nvalue 2\n"))
    assert found == ["its content differs: at byte 16: 'value 1', in slim 'value 2'"]


def test_content_that_is_always_the_same_may_not_differ() -> None:
    assert not varies_alike(b"one", b"one", b"two")


def test_a_question_that_came_too_early_is_asked_again_of_the_same_image() -> None:
    fat, early = outcome(b"10.0.0.1"), outcome(b"")
    first, second = compare([fat], [early]), compare([fat], [fat])
    assert worth_another_try(first, [early])
    rows, doubts = better_of(first, second)
    assert [(row.what, row.problem, row.varies) for row in rows] == [("GET /", "", True), ("ping", "", False)]
    assert [(doubt.kind, doubt.path) for doubt in doubts] == [("unsteady", "/")]
    assert "went wrong once" in doubts[0].text


def test_what_is_wrong_twice_or_never_started_stays_wrong() -> None:
    fat, other = outcome(b"x"), outcome(b"y")
    first = compare([fat], [other])
    assert better_of(first, compare([fat], [outcome(status=500)])) == (first, ())
    dead = replace(fat, failure=SlimmerError("not found"))
    assert not worth_another_try(compare([fat], [dead]), [dead])
    assert not worth_another_try(compare([fat], [fat]), [fat])


def test_a_miss_is_what_fat_has_and_slim_has_not(tmp_path: Path) -> None:
    plant(tmp_path, {"fat/a": "1", "fat/b": "2", "fat/dangling": "-> nowhere", "slim/a": "1"})
    seen = Recording(
        tuple(Access(path, frozenset({Kind.READ}), frozenset({"/app"})) for path in ("/a", "/b", "/c", "/dangling"))
    )
    found = misses(seen, DirectoryRoot(str(tmp_path / "fat")), DirectoryRoot(str(tmp_path / "slim")))
    assert [miss.path for miss in found] == ["/b", "/dangling"]
    assert found[0].by == ("/app",)


def test_a_check_that_was_not_performed_has_not_passed() -> None:
    assert not Verdict(False).passed
    assert Verdict(False).word == "not performed"
    assert Verdict(True).passed
