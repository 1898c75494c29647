"""Which Java classes are loaded: providers of services and main classes of kept archives, in a process each, none run.

`java --dry-run` loads a class with all that it extends and checks whether it could be run; its main is not called
(java(1), "Standard Options"). Most providers have no main, which is said of them when they are loaded, and in the same
words in both roots.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace

from slimmer.checks.challenge.model import MOST_FOR_LIBRARY, Question, Topic
from slimmer.checks.challenge.subject import Subject
from slimmer.closure.languages.java.archive import LARGEST_JAR, Jar, read_jar
from slimmer.closure.languages.java.command import LAUNCHER, JavaCommand, read_command
from slimmer.errors import SlimmerError
from slimmer.root.model import FileType, sort_key

MOST = 60  # each takes a start of the virtual machine


@dataclass(frozen=True, slots=True)
class _ClassPath:
    """A class path that the run used, as it stood there, and the canonical paths of its archives."""

    text: str
    archives: frozenset[str]


def questions(subject: Subject) -> Iterator[Question]:
    """Classes of the application's own archives first, then those of archives that the run read, then of others."""
    java = subject.program("java") or next((each for each in subject.executed if _is_launcher(each)), "")
    if not java or not subject.stays(java):
        return
    used = [*_class_paths(subject)]
    rows = []
    for path in subject.kept:
        entry = subject.entry(path) if path.endswith(".jar") else None
        if entry is None or entry.type is not FileType.FILE or entry.size > LARGEST_JAR:
            continue
        owned = bool(subject.packages.owners_of_file(path))
        on = next((each for each in used if path in each.archives), None)
        for question in _of_archive(java, path, _read(subject, path), on):
            if owned and on is None:
                question = replace(question, limit=MOST_FOR_LIBRARY)
            rows.append((owned, on is None, path not in subject.used, sort_key(path), question))
    rows.sort(key=lambda row: row[:4])
    found = dict.fromkeys(row[4] for row in rows)
    yield from [*found][:MOST]


def _of_archive(java: str, path: str, jar: Jar, on: _ClassPath | None) -> Iterator[Question]:
    for name in jar.providers:
        # Without a class path that was used, the archive's manifest names what belongs to it.
        yield _question(java, ("-cp", on.text if on else path), name, name)
    if jar.main:
        yield _question(java, ("-jar",), path, jar.main)


def _question(java: str, options: tuple[str, ...], last: str, name: str) -> Question:
    return Question(Topic.CLASS, (java, "--dry-run", *options, last), label=f"Java's loading of {name}")


def _class_paths(subject: Subject) -> Iterator[_ClassPath]:
    """Those of the launchers' command lines that the recording saw, and of the image's own."""
    started = [each for each in subject.recording.executions if _is_launcher(each.path)]
    bases = [*(each.workdir for each in started), subject.application.workdir or "/"]
    variables = [value for each in started for name, value in each.environment if name == "CLASSPATH"]
    seen = set()
    for argv in (subject.application.argv, *subject.recording.commands):
        at = next((at for at, word in enumerate(argv) if _is_launcher(word)), None)
        if at is not None:
            command = read_command(argv[at + 1 :], lambda path: _text(subject, path, bases[0]))
            text = _text_of(command, next(iter(variables), ""), bases[0])
            if text and text not in seen:
                seen.add(text)
                yield _ClassPath(text, frozenset(_archives(subject, text)))


def _text_of(command: JavaCommand, variable: str, workdir: str) -> str:
    """A class path whose parts are absolute: questions are asked from another directory."""
    parts = [command.jar] if command.jar else (command.class_path or variable.split(":"))
    return ":".join(posixpath.join(workdir, each) for each in parts if each)


def _archives(subject: Subject, text: str) -> Iterator[str]:
    for part in text.split(":"):
        if posixpath.basename(part) == "*":
            directory = posixpath.dirname(part)
            names = subject.root.children(subject.root.resolve(directory).path)
            places = [f"{directory}/{name}" for name in names if name.lower().endswith(".jar")]
        else:
            places = [part]
        yield from (subject.root.resolve(each).path for each in places)


def _is_launcher(path: str) -> bool:
    return LAUNCHER.fullmatch(posixpath.basename(path)) is not None


def _read(subject: Subject, path: str) -> Jar:
    try:
        return read_jar(subject.root.read(path, LARGEST_JAR))
    except SlimmerError:
        return Jar()


def _text(subject: Subject, path: str, base: str) -> str:
    try:
        return subject.root.read(posixpath.join(base, path), 1 << 16).decode("utf-8", "surrogateescape")
    except SlimmerError:
        return ""
