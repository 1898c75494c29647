"""What to ask, the most valuable first: what profiles know, programs, modules, shared objects, each with its share."""

from __future__ import annotations

import itertools
import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence

from slimmer.checks.challenge import java, modules, programs
from slimmer.checks.challenge.model import Question, Topic
from slimmer.checks.challenge.subject import Subject
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.load import Challenge, Profile, When

# Of a budget, in the order of asking; what one leaves goes to the rest of all.
SHARES = (0.1, 0.25, 0.4, 0.1, 0.15)
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\(\))?")
SCRIPT = re.compile(r"\.(?:[cm]?js|py|rb|pl|php)$|/www$")  # express-generator's bin/www
PLACE = re.compile(r"\{(\w+)\}")


def questions(
    subject: Subject, found: Sequence[tuple[modules.Interpreter, Sequence[str]]], budget: int
) -> tuple[tuple[Question, ...], int]:
    """The questions to ask, and how many more there would be. `found`: interpreters with their search paths."""
    sources = [
        list(dict.fromkeys(each))
        for each in (
            framework(subject),
            programs.own(subject),
            itertools.chain(java.questions(subject), modules.questions(subject, found)),
            programs.others(subject),
            programs.libraries(subject),
        )
    ]
    shares = [int(budget * share) for share in SHARES]
    first = [each for source, share in zip(sources, shares, strict=True) for each in source[:share]]
    rest = [each for source, share in zip(sources, shares, strict=True) for each in source[share:]]
    every = list(dict.fromkeys([*first, *rest]))
    return tuple(every[:budget]), max(0, len(every) - budget)


def framework(subject: Subject) -> Iterator[Question]:
    """What profiles know to ask of what was kept."""
    for profile in subject.profiles:
        if not profile.challenge or not holds(profile.when, subject):
            continue
        for challenge in profile.challenge:
            if holds(challenge.when, subject):
                yield from _commands(challenge, profile, subject)


def _commands(challenge: Challenge, profile: Profile, subject: Subject) -> Iterator[Question]:
    for line in challenge.ask:
        argv = filled(shlex.split(line), subject)
        if argv and (program := subject.program(argv[0])) and subject.stays(program):
            program_text = any("\n" in word for word in argv)
            yield Question(Topic.FRAMEWORK, argv, label=challenge.why if program_text else "")


def filled(words: Sequence[str], subject: Subject) -> tuple[str, ...]:
    """A command with its places filled from how the application is started; empty when one cannot be.

    {program}: its first word; {arguments}: the others, where the command is of the same program; {target}: an
    argument like module:object; {script}: the absolute path of the source that it is given; {python}, {ruby}, {node},
    {php}, {perl}: the interpreter that ran.
    """
    application = subject.application
    done: list[str] = []
    for word in words:
        if word == "{arguments}":
            same = application.argv and posixpath.basename(application.argv[0]) == posixpath.basename(done[0])
            if not same:
                return ()
            done += application.argv[1:]
            continue
        missing = False

        def value(match: re.Match[str]) -> str:
            nonlocal missing
            found = _value(match[1], subject)
            missing = missing or not found
            return found

        word = PLACE.sub(value, word)
        if missing:
            return ()
        done.append(word)
    return tuple(done)


def _value(name: str, subject: Subject) -> str:
    argv = subject.application.argv
    if name == "program":
        return argv[0] if argv else ""
    if name == "target":
        return next((word for word in argv if TARGET.fullmatch(word)), "").removesuffix("()")
    if name == "script":
        words = ((word, subject.file(word)) for word in argv)
        return next((path for word, path in words if path and SCRIPT.search(word)), "")
    for each in modules.interpreters(subject):
        if each.language.program.fullmatch(name) and (real := subject.root.find(each.path)):
            return each.path if real.path in subject.executed else ""
    return ""


def holds(when: When, subject: Subject) -> bool:
    """Whether a profile's condition holds for what was kept. An empty one does."""
    if not when:
        return True
    if when.paths and any(map(globs.matcher(when.paths).fullmatch, subject.kept)):
        return True
    if when.sonames:
        names = globs.names(when.sonames)
        if any(names.fullmatch(posixpath.basename(each)) for each in subject.kept):
            return True
    if when.interpreters:
        names = globs.names(when.interpreters)
        if any(names.fullmatch(posixpath.basename(each)) for each in subject.executed):
            return True
    if when.packages:
        names = globs.names(when.packages)
        owners = itertools.chain.from_iterable(subject.packages.owners_of_file(each) for each in subject.used)
        if any(names.fullmatch(each.name) for each in owners):
            return True
    variables = {*(subject.application.env or {}), *(n for e in subject.recording.executions for n, _ in e.environment)}
    return not variables.isdisjoint(when.environment)
