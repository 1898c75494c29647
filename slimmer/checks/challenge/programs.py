"""Which programs are asked: the application's, those of the packages that it runs, and what else was kept."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from slimmer.checks.challenge.model import Question, Topic
from slimmer.checks.challenge.subject import Subject
from slimmer.packages.model import Package
from slimmer.root.model import FileType, sort_key

UNKNOWN = "--no-such-option"
MODULES = re.compile(r"/(?:dist-packages|site-packages|gems|node_modules|vendor_ruby|perl5?)/")
LOADER = re.compile(r"/(?:usr/)?lib[0-9a-z]*/(?:[^/]+/)?(?:ld-linux[^/]*\.so\.\d+|ld64\.so\.\d+|ld\.so\.1)")
OBJECT = re.compile(r"\.so(?:\.\d[\w.]*)?$")
# Asked with any argument at all they end or change the machine, or whatever else runs in the sandbox.
DANGEROUS = frozenset({"halt", "init", "killall5", "poweroff", "reboot", "runit", "shutdown", "telinit", "s6-svscan"})


def own(subject: Subject) -> Iterator[Question]:
    """The application's programs, kept or not, and those that the recording saw: each asked in every way."""
    for path in _once(subject, (*_entries(subject), *_siblings(subject))):
        yield from _asked(path)


def others(subject: Subject) -> Iterator[Question]:
    """What else was kept and can be started: asked for its help."""
    asked = {subject.root.resolve(each).path for each in (*_entries(subject), *_siblings(subject))}
    for path in _once(subject, _in_path(subject)):
        if subject.root.resolve(path).path not in asked:
            yield from _helped(path)


def libraries(subject: Subject) -> Iterator[Question]:
    """The loader's own answer for each shared object: plugins first, which no program names."""
    loader = next((each for each in subject.kept if LOADER.fullmatch(each)), "")
    if not loader:
        return
    found = []
    for path in subject.kept:
        if not OBJECT.search(path) or LOADER.fullmatch(path):
            continue
        entry = subject.entry(path)
        if entry is not None and entry.type is FileType.FILE:
            plugin = not posixpath.basename(path).startswith("lib")
            found.append((path in subject.used, not plugin, sort_key(path), path))
    for *_, path in sorted(found):
        yield Question(Topic.LIBRARY, (loader, "--list", path))


def _asked(path: str) -> Iterator[Question]:
    yield from _helped(path)
    yield Question(Topic.PROGRAM, (path, "--version"))
    yield Question(Topic.PROGRAM, (path, UNKNOWN))


def _helped(path: str) -> Iterator[Question]:
    yield Question(Topic.PROGRAM, (path, "--help"))
    yield Question(Topic.PROGRAM, (path, "-h"), fallback_of=(path, "--help"))


def _once(subject: Subject, paths: Iterable[str]) -> Iterator[str]:
    """Each program once, by whichever of its names comes first."""
    seen = set()
    for path in paths:
        found = subject.root.find(path)
        if found is None or not found.executable or posixpath.basename(path) in DANGEROUS:
            continue
        if found.path not in seen:
            seen.add(found.path)
            yield path


def _entries(subject: Subject) -> Iterator[str]:
    for word in subject.commands:
        if path := subject.program(word):
            yield path
    yield from (each for each in subject.entries if subject.stays(each))
    yield from sorted((each for each in subject.executed if subject.stays(each)), key=sort_key)


def _siblings(subject: Subject) -> Iterator[str]:
    """The other programs of the packages that hold the application's programs, then of the modules that it used."""
    seen: set[Package] = set()
    for paths in (subject.entries, sorted((each for each in subject.used if MODULES.search(each)), key=sort_key)):
        for path in paths:
            for package in subject.packages.owners_of_file(path):
                if package in seen or subject.is_base(package):
                    continue
                seen.add(package)
                yield from _programs_of(subject, package)


def _programs_of(subject: Subject, package: Package) -> Iterator[str]:
    places = {subject.root.resolve(each).path for each in subject.directories}
    yield from (each for each in subject.packages.files(package) if posixpath.dirname(each) in places)


def _in_path(subject: Subject) -> Iterator[str]:
    """Kept programs that a shell finds, those of the application first."""
    places = {subject.root.resolve(each).path for each in subject.directories}
    found = []
    for path in subject.kept:
        entry = subject.entry(path)
        if entry is None or entry.type is FileType.DIRECTORY:
            continue
        unowned = not subject.packages.owners_of_file(path)
        if (posixpath.dirname(path) in places or (unowned and entry.executable)) and not OBJECT.search(path):
            found.append((not unowned, sort_key(path), path))
    yield from (path for *_, path in sorted(found))
