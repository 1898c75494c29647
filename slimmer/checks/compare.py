"""Slim against fat: the same exercise in both, compared; and the lookups that fail only in the slim one.

A *miss* is a path that a program looked for in the slim image, that is not there,
and that the fat root has. Misses alone do not fail a check: they are shown, and
they are what a repair adds when the results differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from slimmer.checks.challenge.model import Findings
from slimmer.checks.variance import NUMBER, of_other_files, varies_alike, without_numbers
from slimmer.closure.essentials import never
from slimmer.closure.model import ClosureWarning
from slimmer.exercise.model import Answer, Executed, RunOutcome
from slimmer.exercise.probe import show
from slimmer.recipe import Miss
from slimmer.root.model import FileType, Root
from slimmer.values import masked
from tracer.recording import Kind, Recording

FORMAT = "slimmer.check/1"
NOTHING = "nothing was compared"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing that was asked of both. `problem` is empty when slim did as fat did.

    `unusable` says what went wrong with it in the fat root: then nothing was compared, whatever slim did.
    """

    what: str
    fat: str
    slim: str
    problem: str = ""
    varies: bool = False  # the content differs as it does between two fat runs
    unusable: str = ""
    slight: bool = False  # with a problem: only numbers differ, or the content of two fat runs does too


@dataclass(frozen=True, slots=True)
class Verdict:
    """The check's result, which follows from what was compared: there is no saying "passed" without it.

    Without a comparison it is unproved, and `why_not` says what stood in the way. Where the fat root itself failed at
    some of the questions, all others being well, it is incomplete: what cannot be compared is no proof.
    """

    comparisons: tuple[Comparison, ...] = ()
    misses: tuple[Miss, ...] = ()
    repaired: tuple[Miss, ...] = ()
    why_not: str = ""
    notes: tuple[str, ...] = field(default=())
    touched: tuple[
        Miss, ...
    ] = ()  # what the fat run used, slim lacks, and the slim run did not get as far as asking for
    listed: tuple[Miss, ...] = ()  # names that slim lacks in directories that it listed
    warnings: tuple[ClosureWarning, ...] = ()
    challenge: Findings | None = None  # None: nothing was asked beyond the exercise

    def __post_init__(self) -> None:
        if not self.comparisons and not self.why_not:
            object.__setattr__(self, "why_not", NOTHING)

    @property
    def performed(self) -> bool:
        return not self.why_not

    def followed(self, miss: Miss) -> str:
        """What came of a miss, for a person."""
        if self.passed:
            return "harmless: everything went as in the fat root"
        if not self.failed:
            return "without effect on what could be compared"
        problem = next((each for each in self.comparisons if each.problem), None)
        return f"then {problem.what}: {problem.problem}" if problem else ""

    def repairs(self, known: Sequence[Miss], *, last: bool = False) -> tuple[Miss, ...]:
        """What the next round is to add, makejail's way: the misses; when there is none that is new, what the fat
        run used and slim lacks; then the names in directories that were listed. All of it when it is the last round.
        When the exercise went well: what the challenge found.
        """
        paths = {each.path for each in known}
        if not self.failed:
            return tuple(each for each in self.challenge.misses if each.path not in paths) if self.challenge else ()
        found: list[Miss] = []
        for each in (self.misses, self.touched, self.listed):
            fresh = [miss for miss in each if miss.path not in paths]
            paths |= {miss.path for miss in fresh}
            found += fresh
            if fresh and not last:
                break
        return tuple(found)

    @property
    def failed(self) -> bool:
        """Slim did something not as fat did."""
        return self.performed and any(each.problem for each in self.comparisons)

    @property
    def unusable(self) -> tuple[Comparison, ...]:
        """What could not be compared, since the fat root failed at it."""
        return tuple(each for each in self.comparisons if each.unusable)

    @property
    def passed(self) -> bool:
        return self.performed and not self.failed and not self.unusable

    @property
    def word(self) -> str:
        if not self.performed:
            return "not performed"
        return "failed" if self.failed else "incomplete" if self.unusable else "passed"

    def dump(self) -> str:
        """check.json's text."""
        value: dict[str, object] = {
            "format": FORMAT,
            "verdict": self.word,
            "why_not": masked(self.why_not),
            "comparisons": [
                {
                    "what": masked(each.what),
                    "fat": each.fat,
                    "slim": each.slim,
                    "problem": masked(each.problem),
                    "varies": each.varies,
                    **({"unusable": masked(each.unusable)} if each.unusable else {}),
                }
                for each in self.comparisons
            ],
            "misses": [{**_row(miss), "followed": masked(self.followed(miss))} for miss in self.misses],
            "repaired": [{**_row(miss), "why": miss.why or "looked for in vain"} for miss in self.repaired],
            "notes": [masked(each) for each in self.notes],
        }
        if self.challenge is not None:
            value["challenge"] = _challenge(self.challenge)
        return json.dumps(value, indent=1) + "\n"


def _challenge(found: Findings) -> dict[str, object]:
    return {
        "why_not": found.why_not,
        "asked": found.asked,
        "not_asked": found.not_asked,
        "differ": len(found.differences),
        "mended": found.mended,
        "differences": [
            {
                "topic": each.question.topic.value,
                "question": masked(each.question.what),
                "fat": each.fat,
                "slim": each.slim,
                "problem": masked(each.problem),
            }
            for each in found.differences
        ],
        "notes": list(found.notes),
    }


def _row(miss: Miss) -> dict[str, object]:
    return {"path": miss.path, "by": list(miss.by), "kinds": list(miss.kinds)}


def misses(recording: Recording, fat: Root, slim: Root) -> tuple[Miss, ...]:
    """What the slim run looked for in vain."""
    found = []
    for access in recording.accesses:
        if slim.find(access.path) is None and slim.resolve(access.path, follow=False).entry is None:
            there = fat.resolve(access.path, follow=False).entry
            if there is not None and not never(there.path):
                found.append(Miss(access.path, tuple(sorted(access.by)), tuple(sorted(access.kinds))))
    return tuple(found)


def listed(recording: Recording, fat: Root, slim: Root) -> tuple[Miss, ...]:
    """The names that the slim run did not see in directories that it listed."""
    found: dict[str, Miss] = {}
    for access in recording.accesses:
        if Kind.LIST not in access.kinds:
            continue
        there, here = fat.find(access.path), slim.find(access.path)
        if there is None or here is None or there.type is not FileType.DIRECTORY:
            continue
        by = tuple(sorted(access.by))
        for name in sorted(set(fat.children(there.path)) - set(slim.children(here.path))):
            path = f"{there.path.rstrip('/')}/{name}"
            found.setdefault(path, Miss(path, by, (Kind.LIST.value,), "its directory was listed"))
    return tuple(found.values())


def complaints(fat: Sequence[RunOutcome], slim: Sequence[RunOutcome]) -> tuple[ClosureWarning, ...]:
    """Programs that print other errors in slim than in fat, numbers apart."""
    found: dict[ClosureWarning, None] = {}
    for one, other in zip(fat, slim, strict=False):
        pairs = [(" ".join(one.command), one.errors, other.errors)]
        pairs += [(a.command, a.errors, b.errors) for a, b in zip(one.executed, other.executed, strict=False)]
        for command, before, after in pairs:
            known = {_plain(line) for line in before.splitlines()}
            fresh = [line for line in after.splitlines() if _plain(line) not in known and line.strip()]
            if fresh:
                text = f"{command[:80]} says in the slim image only: {show(fresh[0], 1)}"
                more = f", and {len(fresh) - 1} more lines" if len(fresh) > 1 else ""
                found[ClosureWarning("error-output", command.split()[0], text + more, COMPLAINT)] = None
    return tuple(found)


COMPLAINT = 60  # weight: the exercise went well, and yet something was amiss
# Ids in a log: of a job, a request, a container.
ID = re.compile(rb"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b(?=[a-f]*[0-9])[0-9a-f]{12,}\b")


def _plain(line: bytes) -> bytes:
    return NUMBER.sub(b"0", ID.sub(b"0", line)).strip()


def compare(
    fat: Sequence[RunOutcome], slim: Sequence[RunOutcome], second: Sequence[RunOutcome] | None = None
) -> tuple[Comparison, ...]:
    """All runs side by side. `second` is another run of the fat root: what differs there may differ in slim."""
    rows: list[Comparison] = []
    for at, (fat_run, slim_run) in enumerate(zip(fat, slim, strict=False)):
        again = second[at] if second and at < len(second) else None
        rows.extend(_run(fat_run, slim_run, again))
    if len(slim) < len(fat):
        rows.append(Comparison("runs", str(len(fat)), str(len(slim)), "not all runs were done in slim"))
    return tuple(rows)


def content_differs(rows: Sequence[Comparison]) -> bool:
    """Only contents differ: worth a second fat run to see whether they always do."""
    return any(each.problem.startswith(CONTENT) for each in rows)


def may_be_chance(rows: Sequence[Comparison]) -> bool:
    """All that is wrong may be what two fat runs had in common by chance: worth another fat run."""
    return any(each.problem for each in rows) and all(each.slight for each in rows if each.problem)


def with_more(rows: tuple[Comparison, ...], others: tuple[Comparison, ...]) -> tuple[Comparison, ...]:
    """Rows of the same questions, compared with other fat runs: what is well in one of them is well."""
    pairs = zip(rows, others, strict=False)
    return tuple(other if row.problem and not other.problem else row for row, other in pairs)


def worth_another_try(rows: Sequence[Comparison], slim: Sequence[RunOutcome]) -> bool:
    """Slim started and answered, and not all as fat did: a second run of slim tells chance from a lack."""
    return any(each.problem for each in rows) and bool(slim) and all(each.failure is None for each in slim)


def merge_retry(
    first: tuple[Comparison, ...], second: tuple[Comparison, ...]
) -> tuple[tuple[Comparison, ...], tuple[ClosureWarning, ...]]:
    """The second run's rows when all of it went well, and a warning for each thing that the first run got wrong."""
    if any(each.problem for each in second):
        return first, ()
    wrong = {each.what: each.problem for each in first if each.problem}
    rows = tuple(replace(each, varies=True) if each.what in wrong else each for each in second)
    return rows, tuple(
        ClosureWarning(
            "unsteady",
            next((word for word in what.split() if "/" in word), what),
            f"{what[:80]} went wrong once, and well when tried again: {problem}",
            CHANCE,
        )
        for what, problem in wrong.items()
    )


CONTENT = "its content differs"
CHANCE = 55  # weight: chance, as far as can be told


def _run(fat: RunOutcome, slim: RunOutcome, again: RunOutcome | None) -> Iterator[Comparison]:
    name = " ".join(fat.command)[:120]
    if slim.failure is not None and fat.failure is None:
        yield Comparison(name, _end(fat), "failed", str(slim.failure))
        return
    if not (fat.stopped and slim.stopped) and not fat.interrupted:
        end_fat, end_slim = _end(fat), _end(slim)
        problem = "" if end_fat == end_slim else "it ends differently"
        if problem and slim.errors:
            problem += f": {show(slim.errors[-600:])}"
        yield Comparison(name, end_fat, end_slim, problem)
        if not fat.stopped:
            yield _content(f"{name}: output", fat.output, slim.output, again.output if again else None)
    elif fat.interrupted and fat.stopped:
        problem = "" if slim.stopped else f"it ends by itself: {show(slim.errors[-600:])}"
        yield Comparison(name, "ran until Ctrl-C", "runs on" if slim.stopped else _end(slim), problem)
    elif not fat.answers and not fat.executed:
        yield Comparison(name, _end(fat), _end(slim))
    for at, (fat_answer, slim_answer) in enumerate(zip(fat.answers, slim.answers, strict=False)):
        yield _answer(fat_answer, slim_answer, again.answers[at] if again and at < len(again.answers) else None)
    for missing in fat.answers[len(slim.answers) :]:
        yield _unasked(missing.probe, _status(missing), "not asked", missing.problem)
    for at, (fat_done, slim_done) in enumerate(zip(fat.executed, slim.executed, strict=False)):
        yield _executed(fat_done, slim_done, again.executed[at] if again and at < len(again.executed) else None)
    for undone in fat.executed[len(slim.executed) :]:
        yield _unasked(undone.command, _exit(undone), "not run", undone.problem)


def _unasked(what: str, fat: str, word: str, unusable: str) -> Comparison:
    """What slim did not get to."""
    return Comparison(what, fat, word, "" if unusable else "the application ended before", unusable=unusable)


def _end(outcome: RunOutcome) -> str:
    return "stopped by slim" if outcome.stopped else f"exit {outcome.exit_code}"


def _status(answer: Answer) -> str:
    return f"status {answer.status}" if answer.status is not None else answer.problem or "answered"


def _answer(fat: Answer, slim: Answer, again: Answer | None) -> Comparison:
    if fat.problem:
        return Comparison(fat.probe, _status(fat), _status(slim), unusable=fat.problem)
    if fat.status != slim.status or slim.problem:
        return Comparison(fat.probe, _status(fat), _status(slim), slim.problem or "another status")
    return _content(fat.probe, fat.body, slim.body, again.body if again else None, _status(fat))


def _executed(fat: Executed, slim: Executed, again: Executed | None) -> Comparison:
    if fat.problem:
        return Comparison(fat.command, _exit(fat), _exit(slim), unusable=fat.problem)
    if fat.exit_code != slim.exit_code:
        return Comparison(fat.command, _exit(fat), _exit(slim), slim.problem or "another exit")
    return _content(fat.command, fat.output, slim.output, again.output if again else None, _exit(fat))


def _exit(done: Executed) -> str:
    return "did not end" if done.exit_code is None else f"exit {done.exit_code}"


def _content(what: str, fat: bytes, slim: bytes, again: bytes | None, word: str = "same") -> Comparison:
    if fat == slim:
        return Comparison(what, word, word)
    if of_other_files(fat, slim) or (again is not None and varies_alike(fat, again, slim)):
        return Comparison(what, word, word, varies=True)
    slight = again not in (None, fat) or without_numbers(fat) == without_numbers(slim)
    said = f"{CONTENT}: {_first(fat, slim)}"
    return Comparison(what, f"{word}, {len(fat)} bytes", f"{word}, {len(slim)} bytes", said, slight=slight)


def _first(fat: bytes, slim: bytes) -> str:
    """Where two contents part, for a message."""
    at = next((i for i, (a, b) in enumerate(zip(fat, slim, strict=False)) if a != b), min(len(fat), len(slim)))
    begin = max(0, at - 20, fat.rfind(b"\n", 0, at) + 1)
    return f"at byte {at}: {show(fat[begin : at + 60], 1)!r}, in slim {show(slim[begin : at + 60], 1)!r}"
