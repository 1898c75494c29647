"""Replies side by side: only what differs, and differs each time, counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slimmer.checks.challenge.model import Difference, Question, Replies, Reply, Topic
from slimmer.checks.variance import NUMBER, varies_alike
from slimmer.exercise.probe import show


def suspects(questions: Sequence[Question], fat: Replies, slim: Replies) -> tuple[Question, ...]:
    """Questions whose replies are not the same words: to be asked once more in both roots."""
    return tuple(
        each
        for each in questions
        if (one := fat.get(each)) and (other := slim.get(each)) and one.code is not None and other.code is not None
        if one.code != other.code or _words(one) != _words(other)
    )


def differences(
    questions: Sequence[Question], fat: Replies, slim: Replies, fat_again: Replies, slim_again: Replies
) -> Iterator[Difference]:
    """What differs in both rounds, and not only as two replies of the fat root differ."""
    told: set[tuple[str, ...]] = set()  # a fallback says nothing more
    for each in questions:
        if each.fallback_of in told:
            continue
        replies = [found.get(each) for found in (fat, slim, fat_again, slim_again)]
        if any(reply is None or reply.code is None for reply in replies):
            continue
        one, other, again, still = (reply for reply in replies if reply is not None)
        if one.code != again.code or other.code != still.code:
            continue  # chance: nothing that a repair could go by
        problem = _problem(each, one, again, other)
        if problem and _problem(each, one, again, still):
            told.add(each.argv)
            yield Difference(each, _end(one), _end(other), problem)


def _problem(question: Question, fat: Reply, again: Reply, slim: Reply) -> str:
    if fat.code != slim.code:
        if question.topic is Topic.MODULE and fat.code == 0:
            return f"in the slim image: {show(slim.output or slim.errors, 1)}"
        said = show(slim.errors or slim.output, 1) if slim.errors or slim.output else "nothing"
        return f"{_end(fat)}, in the slim image {_end(slim)}: {said}"
    if question.topic is Topic.MODULE:
        if fat.code != 0:
            return ""  # two refusals, each in its own words
        names, same, here = ({*each.output.split()} for each in (fat, again, slim))
        gone = sorted((names & same) - here)
        return f"without {_list(gone)}" if gone else ""
    for one, two, three in ((fat.output, again.output, slim.output), (fat.errors, again.errors, slim.errors)):
        one, two, three = (NUMBER.sub(b"0", each).strip() for each in (one, two, three))
        if one != three and not varies_alike(one, two, three):
            return f"other words: {_first(one, three)}"
    return ""


def _first(fat: bytes, slim: bytes) -> str:
    """The first line that is not in both."""
    known, here = fat.splitlines(), slim.splitlines()
    fresh = next((each for each in here if each not in known), b"")
    if fresh:
        return show(fresh, 1)
    gone = next((each for each in known if each not in here), b"")
    return f"without {show(gone, 1)!r}"


def _list(names: Sequence[bytes]) -> str:
    text = ", ".join(each.decode("utf-8", "replace") for each in names[:4])
    return text + (f" and {len(names) - 4} more names" if len(names) > 4 else "")


def _words(reply: Reply) -> tuple[bytes, bytes]:
    return NUMBER.sub(b"0", reply.output).strip(), NUMBER.sub(b"0", reply.errors).strip()


def _end(reply: Reply) -> str:
    return f"exit {reply.code}"
