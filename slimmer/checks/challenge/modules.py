"""Which modules are imported: what of each kept interpreter's search path was kept, the application's own first."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slimmer.checks.challenge import drivers
from slimmer.checks.challenge.model import MOST_FOR_LIBRARY, Question, Topic
from slimmer.checks.challenge.subject import Subject
from slimmer.packages.model import Package
from slimmer.root.model import FileType, sort_key

SUITES = frozenset({"test", "tests", "testing", "conftest", "setup"})  # asked last
SCRIPT = re.compile(r"\.(?:py|pl|rb|js)$")


@dataclass(frozen=True, slots=True)
class Language:
    """How a language's interpreter is known, asked where it searches, and made to import."""

    name: str
    program: re.Pattern[str]  # a base name
    search: tuple[str, ...]  # its arguments to print its search path
    driver: tuple[str, ...]  # its arguments to import
    spelled: Callable[[str], str]  # a file, relative to the search path → a module's name, or ""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A kept interpreter, as named; `search` is the question that tells its search path."""

    language: Language
    path: str

    @property
    def search(self) -> Question:
        return Question(Topic.MODULE, (self.path, *self.language.search))


def _python(path: str) -> str:
    found = re.fullmatch(r"((?:[^\W\d]\w*/)*[^\W\d]\w*)(?:\.py|\.(?:cpython|abi3)[\w.-]*\.so|\.abi3\.so|\.so)", path)
    name = found[1].replace("/", ".") if found else ""
    name = name.removesuffix(".__init__")
    return "" if name.rpartition(".")[2] in ("__main__", "__init__") else name


def _perl(path: str) -> str:
    found = re.fullmatch(r"((?:[A-Za-z]\w*/)*[A-Za-z]\w*)\.pm", path)
    return found[1].replace("/", "::") if found else ""


def _ruby(path: str) -> str:
    found = re.fullmatch(r"((?:[\w-]+/)*[\w-]+)\.(?:rb|so)", path)
    return found[1] if found else ""


LANGUAGES = (
    Language("Python", re.compile(r"python3?(\.\d+)?"), ("-c", drivers.PYTHON_PATH), ("-c", drivers.PYTHON), _python),
    Language("Perl", re.compile(r"perl"), ("-e", drivers.PERL_PATH), ("-e", drivers.PERL), _perl),
    Language("Ruby", re.compile(r"ruby(\d[\d.]*)?"), ("-e", drivers.RUBY_PATH), ("-e", drivers.RUBY), _ruby),
    Language("Node.js", re.compile(r"node(js)?"), (), ("-e", drivers.NODE), lambda path: ""),
)


def interpreters(subject: Subject) -> tuple[Interpreter, ...]:
    """One for each environment: those that ran first, a virtual environment before what it stands on."""
    found: dict[tuple[str, str], tuple[bool, bool, bytes, Interpreter]] = {}
    for path in subject.kept:
        name = posixpath.basename(path)
        language = next((each for each in LANGUAGES if each.program.fullmatch(name)), None)
        if language is None or posixpath.basename(posixpath.dirname(path)) not in ("bin", "sbin"):
            continue
        real = subject.root.find(path)
        if real is None or not real.executable or real.path not in subject.keeps:
            continue
        prefix = posixpath.dirname(posixpath.dirname(path))
        virtual = subject.root.find(f"{prefix}/pyvenv.cfg") is not None
        row = (real.path not in subject.executed, not virtual, sort_key(path), Interpreter(language, path))
        key = (prefix if virtual else "", real.path)
        if key not in found or row[:3] < found[key][:3]:
            found[key] = row
    return tuple(row[3] for row in sorted(found.values(), key=lambda row: row[:3]))


def extras(subject: Subject) -> tuple[str, ...]:
    """Directories that the application's own start adds to the search: those of its scripts, and where it works."""
    scripts = [posixpath.dirname(each) for each in subject.entries if SCRIPT.search(each)]
    places = [*scripts, subject.root.resolve(subject.application.workdir or "/").path]
    return tuple(each for each in dict.fromkeys(places) if each != "/" and each in subject.keeps)


def questions(subject: Subject, found: Sequence[tuple[Interpreter, Sequence[str]]]) -> Iterator[Question]:
    """An import for each module, the most telling first. `found`: interpreters with their search paths, as they say."""
    own = extras(subject)
    used = {owner for each in subject.used for owner in subject.packages.owners_of_file(each)}
    asked: set[str] = set()
    rows = []
    for place, (interpreter, search) in enumerate(found):
        argv = (interpreter.path, *interpreter.language.driver, ":".join(own))
        for path, name in _modules(subject, interpreter, (*own, *search)):
            if path not in asked:
                asked.add(path)
                question = Question(Topic.MODULE, argv, name, f"{interpreter.language.name}'s import of {name}")
                if subject.packages.owners_of_file(path):
                    question = replace(question, limit=MOST_FOR_LIBRARY)
                rows.append(
                    (_rank(subject, used, path, name), place, name.count(".") + name.count(":"), name, question)
                )
    rows.sort(key=lambda row: (row[0], row[1], row[2], sort_key(row[3])))
    yield from dict.fromkeys(row[4] for row in rows)


def _rank(subject: Subject, used: Collection[Package], path: str, name: str) -> int:
    """Lower is asked earlier."""
    if SUITES & set(re.split(r"[.:/]+", name)):
        return 4
    owners = subject.packages.owners_of_file(path)
    if not owners:
        return 0
    if all(subject.is_base(each) for each in owners):
        return 3
    return 1 if any(each in used for each in owners) else 2


def _modules(subject: Subject, interpreter: Interpreter, search: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(path, name) of what was kept in a search path."""
    if interpreter.language.name == "Node.js":
        yield from _packages(subject)
        return
    places = _canonical(subject, search)
    for path in subject.kept:
        top = posixpath.dirname(path)
        while top != "/" and top not in places:
            top = posixpath.dirname(top)
        if top == "/":
            continue
        relative = path[len(top) + 1 :]
        entry = subject.entry(path)
        if entry is None:
            continue
        if entry.type is FileType.DIRECTORY:
            # A kept directory whose package was not kept imports as an empty namespace: in the fat root it does not.
            init = f"{path}/__init__.py"
            if interpreter.language.name == "Python" and init not in subject.keeps and subject.entry(init) is not None:
                relative = f"{relative}/__init__.py"
            else:
                continue
        if name := interpreter.language.spelled(relative):
            yield path, name


def _canonical(subject: Subject, search: Sequence[str]) -> Mapping[str, None]:
    found = (subject.root.resolve(each) for each in search if each.startswith("/"))
    return dict.fromkeys(each.path for each in found if each.entry is not None and each.path != "/")


def _packages(subject: Subject) -> Iterator[tuple[str, str]]:
    """Node's packages, by the directories of their package.json, and native addons."""
    for path in subject.kept:
        if path.endswith(".node"):
            yield path, path
        elif path.endswith("/package.json"):
            top = posixpath.dirname(path)
            parent = posixpath.dirname(top)
            if posixpath.basename(parent).startswith("@"):
                parent = posixpath.dirname(parent)
            if posixpath.basename(parent) == "node_modules":
                yield path, top
