"""The comparison: what counts as the same, and what only varies by itself."""

from __future__ import annotations

import json
import random
import string
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from slimmer.checks.compare import (
    Verdict,
    compare,
    content_differs,
    may_be_chance,
    merge_retry,
    misses,
    with_more,
    worth_another_try,
)
from slimmer.checks.variance import of_other_files, varies_alike
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


NOT_FOUND = Executed("perl", 127, b"", b"", "not found")


def test_a_question_at_which_the_fat_root_fails_hides_no_other() -> None:
    fat = replace(outcome(), executed=(NOT_FOUND, Executed("ping", 0, b"PONG", b"")))
    worse = replace(fat, executed=(NOT_FOUND, replace(NOT_FOUND, command="ping")))
    for slim, word in ((fat, "incomplete"), (worse, "failed")):
        verdict = Verdict(compare([fat], [slim]))
        assert (verdict.word, verdict.passed, verdict.performed) == (word, False, True)
        assert verdict.failed == (word == "failed")
        assert [(each.what, each.unusable) for each in verdict.unusable] == [("perl", "not found")]
        assert [each.what for each in verdict.comparisons if not each.unusable] == ["GET /", "ping"]
        rows = json.loads(verdict.dump())["comparisons"]
        assert [row["what"] for row in rows if "unusable" in row] == ["perl"]


def test_what_the_fat_root_fails_at_proves_nothing_whatever_slim_does() -> None:
    bad = replace(outcome(status=500), answers=(Answer("GET /", 500, b"x", problem="status 500"),))
    for slim in (bad, outcome(), outcome(b"y"), replace(bad, answers=())):
        rows = compare([bad], [slim])
        assert [each.unusable for each in rows if each.what == "GET /"] == ["status 500"]
        assert not any(each.problem for each in rows)
        assert Verdict(rows).word == "incomplete"
        assert Verdict(rows).repairs(()) == ()


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


def test_a_measurement_may_be_written_with_an_exponent() -> None:
    text = b"heap %s\npause %s\ntook %s\nlevel %s\n"
    fat, again = text % (b"7.9e+06", b"0", b"8.5e-05", b"3"), text % (b"793368", b"1.2e-05", b"0", b"4")
    slim = text % (b"1.72364e+06", b"2e-05", b"9.1e-05", b"5")
    assert varies_alike(fat, again, slim)
    assert not varies_alike(fat, again, slim.replace(b"level", b"grade"))


def test_a_long_page_of_measurements_is_compared_by_token_and_at_once() -> None:
    """The page that a scraper asks for: a few words, each some thousand times."""

    def page(seed: int, word: str = "gauge") -> bytes:
        chance = random.Random(seed)
        lines = []
        for at in range(1500):
            lines.append(f"# TYPE node_part_{at}_bytes_total {word if at == 700 else 'gauge'}")
            lines.append(f'node_part_{at}_bytes_total{{device="sd{at % 7}"}} {chance.choice([0, at, chance.random()])}')
        return "\n".join(lines).encode()

    fat, again = page(0), page(1)
    begun = time.process_time()
    assert varies_alike(fat, again, page(2))
    assert not varies_alike(fat, again, page(2, "counter"))
    assert not varies_alike(fat, again, page(2).replace(b'node_part_900_bytes_total{device="sd4"}', b"node_none"))
    assert time.process_time() - begun < 60  # token against token it takes minutes for each


def test_a_table_of_measurements_may_have_other_rows_but_no_other_words() -> None:
    """What apache2 says of its workers: whoever took the request."""

    def status(*workers: str, load: float) -> bytes:
        rows = "".join(f"<tr><td>{at}-0</td><td>{9 + at}</td>{each}</tr>" for at, each in enumerate(workers))
        return f"<h1>Status</h1>uptime {load} load {load} {load * 3} <table>{rows}</table>".encode()

    idle, busy, done = "<td>0/0/0</td>", "<td><b>W</b></td><td>GET /status</td>", "<td>0/1/1</td><td>GET /page</td>"
    fat, again = status(done, idle, busy, load=1.5), status(idle, busy, done, done, load=2.25)
    assert varies_alike(fat, again, status(busy, done, idle, done, load=3.75))
    assert not varies_alike(fat, again, status(busy, idle, load=3.75))  # a word of both is gone
    assert not varies_alike(fat, again, status(busy, done, "<td>failed</td>", load=3.75))
    assert not varies_alike(fat, again, status(busy, *[done] * 40, load=3.75))


@pytest.mark.parametrize(
    ("fat", "slim", "same"),
    [
        ("--- a.py\t2026-11-29 20:54:54.303093", "--- a.py\t2026-11-29 20:54:54", True),  # a layer's times
        ("Access: 2026:11:29 21:28:19+00:00 8 bytes", "Access: 2026:11:29 21:28:13+00:00 8 bytes", True),
        ("changed Sun Nov 29 21:28:19 2026", "changed Mon Nov 30 00:01:07 2026", True),
        ("Access: 2026:11:29 21:28:19+00:00 8 bytes", "Access: 2026:11:29 21:28:13+00:00 9 bytes", False),
        ("now 2026-11-29T21:28:19", "now 2026-11-29T12:28:19", False),  # without its time zone
        ("now 2026-11-29 21:28:19.5", "now 2026-11-29 15:43:19.7", False),  # Nepal's
        ("a 2026-11-29 20:54:54 b 2026-11-29 20:54:54", "a 2026-11-29 20:54:51 b", False),
        ("at 2026-99-29 20:54:54", "at 2026-98-29 20:54:54", False),  # no date
        ("built 2026-11-29 20:54:54", "built 1970-01-01 00:00:00", False),  # by a file that is missing
        ("built 2026-11-29 20:54:54", "built 2024-02-03 04:05:06", False),
    ],
)
def test_dates_of_files_are_those_of_other_files_in_the_slim_image(fat: str, slim: str, same: bool) -> None:
    assert of_other_files(fat.encode(), slim.encode()) is same
    assert (problems(outcome(fat.encode()), outcome(slim.encode()), outcome(fat.encode())) == []) is same


def test_the_message_shows_the_line_that_differs() -> None:
    found = problems(outcome(b"same line\nvalue 1\n"), outcome(b"same line\nvalue 2\n"))
    assert found == ["its content differs: at byte 16: 'value 1', in slim 'value 2'"]


def test_what_comes_in_any_order_may_come_in_another_but_must_come() -> None:
    fat = b"<stream id='f00' xmlns='jabber' from='here' version='1.0' lang='en'>"
    again = b"<stream from='here' version='1.0' id='ab7' lang='en' xmlns='jabber'>"
    assert varies_alike(fat, again, b"<stream lang='en' xmlns='jabber' id='c3d' version='1.0' from='here'>")
    assert not varies_alike(fat, again, b"<stream lang='en' xmlns='jabber' id='c3d' version='1.0'>")
    assert not varies_alike(fat, again, b"<stream lang='en' xmlns='jabber' id='c3d' version='1.0' from='there'>")
    assert not varies_alike(
        fat, again, b"<stream lang='en' xmlns='jabber' id='c' version='1.0' from='here'><error no='1'>"
    )


def test_content_that_is_always_the_same_may_not_differ() -> None:
    assert not varies_alike(b"one", b"one", b"two")


def test_bytes_at_random_are_compared_by_their_size() -> None:
    fat, again, slim = (random.Random(seed).randbytes(3000) for seed in range(3))
    assert varies_alike(fat, again, slim)
    assert not varies_alike(fat, again, slim[:900])
    assert not varies_alike(fat, fat, slim)
    # What can be read is none: an error of the same length is no answer.
    noise, more = (random.Random(seed).randbytes(3200) for seed in range(2))
    assert not varies_alike(noise, more, b"Internal error. " * 200)


def test_a_number_that_two_fat_runs_had_in_common_is_asked_for_again() -> None:
    fat, same, third, slim = (outcome(b'{"took": %.3f}' % took) for took in (0.003, 0.003, 0.004, 0.002))
    rows = compare([fat], [slim], [same])
    assert may_be_chance(rows)
    assert not may_be_chance(with_more(rows, compare([fat], [slim], [third])))
    assert [row.problem for row in with_more(rows, compare([fat], [slim], [third]))] == [""] * len(rows)
    # One that no fat run has otherwise is wrong, and so is a word, however often it is asked for.
    assert may_be_chance(with_more(rows, compare([fat], [slim], [same])))
    assert not may_be_chance(compare([fat], [outcome(b'{"took": never}')], [same]))
    assert not may_be_chance(compare([fat], [outcome(status=500)], [same]))


ALPHABETS = {
    "hexadecimal": string.hexdigits[:16],
    "digits": string.digits,
    "letters and digits": string.ascii_letters + string.digits,
    "base64": string.ascii_letters + string.digits + "+/",
    "base64url": string.ascii_letters + string.digits + "-_",
}


def stamp(chance: random.Random) -> str:
    return datetime.fromtimestamp(1.7e9 + 5 * chance.random()).isoformat()


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.hexdigits[:16], k=count))


PAGES: dict[str, Callable[[random.Random, str], str]] = {
    "a uuid and a time": lambda chance, word: (
        f'{{"id": "{uuid.UUID(int=chance.getrandbits(128))}", "at": "{stamp(chance)}", "name": "{word}"}}'
    ),
    "many numbers": lambda chance, word: f"{[chance.random() for _ in range(50)]} {word}",
    "metrics": lambda chance, word: f"cpu {chance.random():.3f}\nmem {chance.randrange(10**8)}\n{word}",
    "a port": lambda chance, word: f"peer 127.0.0.1:{chance.randrange(30000, 60000)} {word}",
    "a link of hexadecimal digits": lambda chance, word: (
        f"<a href='/x/{digits(chance, 26)}'>{word}</a> {digits(chance, 32)}"
    ),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_what_answers_hold_that_no_two_share_may_differ_and_their_words_may_not(
    page: Callable[[random.Random, str], str],
) -> None:
    chance, rounds = random.Random(1), 40

    def text(word: str) -> bytes:
        return page(chance, word).encode()

    assert sum(varies_alike(text("chair"), text("chair"), text("chair")) for _ in range(rounds)) >= rounds - 1
    assert not any(varies_alike(text("chair"), text("chair"), text("broken")) for _ in range(rounds))


def test_a_list_of_any_length_does_not_hide_a_word_behind_it() -> None:
    chance = random.Random(1)

    def text(word: str) -> bytes:
        items = [{"key": digits(chance, 8), "value": at} for at in range(chance.randrange(3, 9))]
        return json.dumps([*items, word]).encode()

    assert not any(varies_alike(text("chair"), text("chair"), text("broken")) for _ in range(100))


@pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)
@pytest.mark.parametrize("length", [8, 26, 64])
def test_pages_with_random_tokens_are_alike_in_all_but_those(alphabet: str, length: int) -> None:
    chance = random.Random(length)

    def page(heading: str) -> bytes:
        session, nonce, field, request = ("".join(chance.choices(alphabet, k=length)) for _ in range(4))
        return (
            f'<meta name="session" content="{session}"><script nonce="{nonce}">var a = 1;</script>'
            f'<form><input name="csrf" value="{field}=="></form> <h1>{heading}</h1> 3 of 17\n<!-- {request} -->'
        ).encode()

    rounds = 20
    alike = sum(varies_alike(page("Log in"), page("Log in"), page("Log in")) for _ in range(rounds))
    assert alike >= rounds - 1  # a second try of the slim image is for what chance makes of the rest
    assert not any(varies_alike(page("Log in"), page("Log in"), page("Log out")) for _ in range(rounds))
    assert not any(varies_alike(page("Log in"), page("Log in"), page("")) for _ in range(rounds))


def test_what_comes_in_any_order_is_alike_in_any_order() -> None:
    fat, again = b'["apple", "pear", "plum", "fig"]', b'["fig", "pear", "apple", "plum"]'
    assert varies_alike(fat, again, b'["plum", "fig", "apple", "pear"]')
    assert not varies_alike(fat, again, b'["plum", "kiwi", "apple", "pear"]')
    assert not varies_alike(fat, fat, again)


def test_a_question_that_came_too_early_is_asked_again_of_the_same_image() -> None:
    fat, early = outcome(b"10.0.0.1"), outcome(b"")
    first, second = compare([fat], [early]), compare([fat], [fat])
    assert worth_another_try(first, [early])
    rows, warnings = merge_retry(first, second)
    assert [(row.what, row.problem, row.varies) for row in rows] == [("GET /", "", True), ("ping", "", False)]
    assert [(warning.kind, warning.path) for warning in warnings] == [("unsteady", "/")]
    assert "went wrong once" in warnings[0].text


def test_what_is_wrong_twice_or_never_started_stays_wrong() -> None:
    fat, other = outcome(b"x"), outcome(b"y")
    first = compare([fat], [other])
    assert merge_retry(first, compare([fat], [outcome(status=500)])) == (first, ())
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
    for nothing in (Verdict(), Verdict(why_not="no namespaces"), Verdict(compare([], []))):
        assert not nothing.passed
        assert nothing.word == "not performed"
    assert Verdict().why_not == "nothing was compared"
    assert json.loads(Verdict().dump())["why_not"] == "nothing was compared"


def test_a_run_that_had_to_be_stopped_in_both_is_one_comparison() -> None:
    still = replace(outcome(), stopped=True, answers=(), executed=())
    (row,) = compare([still], [still])
    assert (row.fat, row.slim, row.problem) == ("stopped by slim", "stopped by slim", "")
