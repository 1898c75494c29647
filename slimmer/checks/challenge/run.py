"""A challenge from questions to findings: both roots asked, differences asked again, and what slim lacks named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from slimmer.checks.challenge import modules
from slimmer.checks.challenge.ask import Asked, ask
from slimmer.checks.challenge.differences import differences, suspects
from slimmer.checks.challenge.effect import Brought, futile
from slimmer.checks.challenge.model import Budget, Difference, Findings, Question, Reply, Topic
from slimmer.checks.challenge.questions import questions
from slimmer.checks.challenge.subject import Subject
from slimmer.checks.compare import misses
from slimmer.exercise.place import Place
from slimmer.exercise.source import Opened
from slimmer.recipe import Miss, Recipe
from slimmer.root.model import FileType, Root
from tracer.recording import Kind, Recording
from tracer.runner import sandbox
from tracer.session import Isolation

GROUPS = 12  # of questions whose needs are recorded apart
USES = frozenset({Kind.READ.value, Kind.EXEC.value, Kind.LINK.value, Kind.STAT.value})


@dataclass(slots=True)
class Challenge:
    """Put to one image after another: the fat root is asked once, and later images only what differed at first."""

    opened: Opened
    recipe: Recipe
    budget: Budget = field(default_factory=Budget)
    _questions: tuple[Question, ...] = ()
    _asked: int = -1
    _not_asked: int = 0
    _problems: dict[Question, str] = field(default_factory=dict)  # of the questions that differed at first
    _brought: list[Brought] = field(default_factory=list)
    _fat: dict[Question, Reply] = field(default_factory=dict)
    _again: dict[Question, Reply] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    def put(self, subject: Subject, place: Place, slim: Root) -> Findings:
        """Ask an image at `place`, whose tree is `slim`. Raises TracerError."""
        if why_not := unasked(self.opened.place, self.recipe):
            return Findings(why_not=why_not)
        if self._asked < 0:
            self._begin(subject)
        # What the fat root did not answer tells nothing.
        pending = [each for each in self._questions if each in self._fat and self._fat[each].code is not None]
        asked = self._ask(place, pending)
        first = self._asked < 0
        if first:
            self._asked = sum(reply.code is not None for reply in asked.replies.values())
            self._not_asked += len(self._questions) - self._asked
        found = self._differences(place, pending, asked)
        if first:
            # Mended ones are asked again each time: what is taken out later must not undo them.
            self._questions = tuple(each.question for each in found)
            self._problems = {each.question: each.problem for each in found}
        mended = max(0, len(self._problems) - len(found))
        vain = futile(self._brought, self._problems, {each.question: each.problem for each in found})
        needed = self._needed(place, subject.root, slim, found) if found else ()
        return Findings(
            self._asked, self._not_asked, found, mended, needed, notes=tuple(self._notes), futile=tuple(vain)
        )

    def note(self, text: str) -> None:
        """Something to tell with all that is found from now on."""
        if text not in self._notes:
            self._notes.append(text)

    def _begin(self, subject: Subject) -> None:
        kept = modules.interpreters(subject)
        said = ask(self.opened.place, self.recipe, [each.search for each in kept if each.language.search])
        found = [(each, _lines(said.replies.get(each.search))) for each in kept]
        self._questions, self._not_asked = questions(subject, found, self.budget.questions)
        self._fat = self._ask(self.opened.place, self._questions).replies

    def _ask(self, place: Place, pending: Sequence[Question], *, record: bool = False) -> Asked:
        asked = ask(place, self.recipe, pending, record=record, refused=self._fat or None, seconds=self.budget.seconds)
        if not asked.in_time:
            self.note(f"the challenge was cut short after {self.budget.seconds:g} s: another machine may ask more")
        return asked

    def _differences(self, place: Place, pending: Sequence[Question], asked: Asked) -> tuple[Difference, ...]:
        doubtful = suspects(pending, self._fat, asked.replies)
        if not doubtful:
            return ()
        if fresh := [each for each in doubtful if each not in self._again]:
            self._again.update(self._ask(self.opened.place, fresh).replies)
        still = self._ask(place, doubtful).replies
        return tuple(differences(doubtful, self._fat, asked.replies, self._again, still))

    def _needed(self, place: Place, fat: Root, slim: Root, found: Sequence[Difference]) -> tuple[Miss, ...]:
        """What the questions that differ looked for in vain in slim, and used in fat."""
        needed: dict[str, Miss] = {}
        for group in _groups([each.question for each in found]):
            more: dict[str, Miss] = {}
            for where in (place, self.opened.place):
                recording = self._ask(where, group, record=True).recording
                if recording is not None:
                    for miss in _lacking(recording, fat, slim, group[0]):
                        more.setdefault(miss.path, miss)
            for path in _interpreters(group, fat, slim):
                more.setdefault(path, Miss(path, (group[0].argv[0],), (Kind.EXEC.value,), _why(group[0])))
            self._brought.append(Brought(tuple(group), frozenset(more)))
            if sum(_size(fat, path) for path in more if path not in needed) <= group[0].limit:
                needed = {**more, **needed}
        return tuple(needed[path] for path in sorted(needed))


def unasked(place: Place, recipe: Recipe) -> str:
    """Why there can be no challenge; empty when there can."""
    if not recipe.runs:
        return "nothing says how the application is run"
    if place.in_place:
        return "the application runs in the live root, where strange commands are not for trying"
    if place.isolation is Isolation.CHROOT or sandbox.available():
        return "there is no sandbox here to throw away afterwards"
    if place.architecture:
        return "the root is for another machine, and an emulator is slow"
    return ""


def _lines(reply: Reply | None) -> tuple[str, ...]:
    if reply is None or reply.code != 0:
        return ()
    return tuple(reply.output.decode("utf-8", "surrogateescape").splitlines())


def _groups(found: Sequence[Question]) -> list[list[Question]]:
    """What belongs together: a program's questions, a package's modules; what is over, in one."""
    groups: dict[tuple[str, str], list[Question]] = {}
    for each in found:
        top = re.split(r"[.:/]+", each.item.lstrip("/"))[0] if each.topic is Topic.MODULE else ""
        if each.topic is Topic.CLASS:
            top = each.argv[-1].rpartition(".")[0]
        groups.setdefault((each.argv[0] if each.topic is not Topic.LIBRARY else "", top), []).append(each)
    listed = list(groups.values())
    rest = [each for group in listed[GROUPS:] for each in group]
    return [*listed[:GROUPS], *([rest] if rest else [])]


def _lacking(recording: Recording, fat: Root, slim: Root, question: Question) -> list[Miss]:
    found = []
    for miss in misses(recording, fat, slim):
        there = fat.find(miss.path)
        if there is None or there.type is FileType.DIRECTORY or not USES.intersection(miss.kinds):
            continue  # a directory that stays empty would be seen where there is none
        found.append(replace(miss, why=_why(question)))
    return found


def _why(question: Question) -> str:
    return f"used for the question `{question.what[:160]}`"


def _interpreters(questions: Sequence[Question], fat: Root, slim: Root) -> Iterator[str]:
    """What the first lines of scripts name: the kernel reads it, and no recorder sees that."""
    for path in dict.fromkeys(each.argv[0] for each in questions if each.topic is Topic.PROGRAM):
        script = fat.find(path)
        found = re.match(rb"#![ \t]*(/[^\s]+)", fat.beginning(script, 256)) if script and script.executable else None
        name = found[1].decode("utf-8", "surrogateescape") if found else ""
        if name and slim.find(name) is None and fat.find(name) is not None:
            yield name


def _size(root: Root, path: str) -> int:
    found = root.find(path)
    return found.size if found is not None else 0
