"""Test suites of packages: told by what is in a directory, since a name like `test` is also a kind of plugin."""

from __future__ import annotations

import re
from collections.abc import Iterator

from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root

NAMES = frozenset({"test", "tests", "__tests__", "__mocks__", "testsuite", "spec", "specs", "t"})
FILE = re.compile(
    r"""(?: conftest\.py | test_[^/]*\.(?:py|pyc|rb) | [^/]*_test\.(?:py|pyc|rb|js|go|exs) | [^/]*_spec\.(?:rb|lua)
    | [^/]*[.-](?:test|spec|tests)\.[cm]?[jt]sx? | test-[^/]*\.[cm]?[jt]s | [^/]+Test\.php | [^/]+\.t
    | (?:spec|test)_helper\.rb | phpunit\.xml(?:\.dist)? | pytest\.ini | tox\.ini | \.mocharc[^/]* | mocha\.opts
    | (?:jest|karma|vitest|ava)\.(?:config|conf)\.[cm]?[jt]s | \.rspec | run_?tests?\.(?:py|sh|js) )""",
    re.VERBOSE,
)
ASSERTS = re.compile(
    rb"""^[^\S\n]*+(?:import|from)[^\S\n]++(?:unittest|pytest|nose|hypothesis|doctest|testtools)\b
    | \b(?:require[^\S\n]*+\([^\S\n]*+|from[^\S\n]++|import[^\S\n]++)["'](?:node:)?(?:assert|test|tape|tap|mocha|chai
        |ava|jest|vitest|should
        |expect|expect\.js|power-assert|sinon|lab|vows|nodeunit|qunit|uvu|zora|bare-tape|tape-catch|jasmine
        |@jest/[\w-]++)(?:/[\w/]++)?["']
    | ^[^\S\n]*+(?:describe|suite)[^\S\n]*+\([^\S\n]*+["'`]
    | ^[^\S\n]*+require[^\S\n]++["'](?:test/unit|minitest/\w++|minitest|rspec|spec_helper|test_helper|bacon)""",
    re.VERBOSE | re.MULTILINE,
)
MODULE = re.compile(r"(?:test_[^/]*|[^/]*_tests?)\.py")
COMPILED = re.compile(r"(.*)/__pycache__/([^/]+?)\.[\w-]+(?:\.opt-[12])?\.pyc")  # PEP 3147
SOURCE = re.compile(r"\.(?:py|[cm]?[jt]sx?|rb)$")
LARGEST = 1 << 16  # bytes of a source that are searched
MANY = 400  # files looked at; a suite shows itself sooner


def is_suite(directory: str, root: Root) -> bool:
    """Whether a directory (canonical path) looks like a test suite: a runner's file names, or assertions."""
    sources = []
    for count, entry in enumerate(_files(directory, root)):
        name = entry.path[entry.path.rindex("/") + 1 :]
        if FILE.fullmatch(name):
            return True
        if SOURCE.search(name):
            sources.append(entry)
        if count > MANY:
            break
    return any(ASSERTS.search(_beginning(entry, root)) for entry in sources)


def is_test(entry: Entry, root: Root) -> bool:
    """Whether a Python file, or the bytecode of one, is a test beside the code that it tests."""
    compiled = COMPILED.fullmatch(entry.path)
    path = f"{compiled[1]}/{compiled[2]}.py" if compiled else entry.path
    if not MODULE.fullmatch(path[path.rindex("/") + 1 :]):
        return False
    source = root.entry(path) if compiled else entry
    return source is not None and ASSERTS.search(_beginning(source, root)) is not None


def _files(directory: str, root: Root) -> Iterator[Entry]:
    """Regular files, those of upper directories first."""
    pending = [directory]
    while pending:
        here = pending.pop(0)
        for name in root.children(here):
            entry = root.entry(f"{here}/{name}")
            if entry is None or name == "node_modules":
                continue
            if entry.type is FileType.DIRECTORY:
                pending.append(entry.path)
            elif entry.type is FileType.FILE:
                yield entry


def _beginning(entry: Entry, root: Root) -> bytes:
    try:
        return root.beginning(entry, LARGEST)
    except (SlimmerError, OSError):
        return b""
