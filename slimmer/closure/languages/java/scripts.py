"""Class paths that start scripts put together: what of each word is known, the rest as wherever it may be.

CLASSPATH="$CLASSPATH:$BASE/lib/shop.jar"     for jar in "$BASE"/lib/*.jar     java -cp "$LIB/*:$CONF" shop.Main
find "$BASE/lib" -name '*.jar'                find_jars commons-io servlet-api (java-wrappers(7), Debian)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node

from slimmer.closure.commands.shell_syntax import MOST_VALUES, Reader, Word, descend, learned
from slimmer.facts.remember import remembered
from slimmer.root.budget import Unread

ABOUT_JAVA = re.compile(rb"\bjava\b|\.jar\b|CLASSPATH|find_jars|\bjsvc\b")
HOLE = "\0"  # stands for what is not known
WORDS = frozenset({"string", "concatenation", "word", "raw_string"})
# What a script calls its class path; its directories count too.
CLASS_PATHS = re.compile(r"(?i)[A-Za-z_]*(?:class_?path|module_?path|(?:^|_)cp)")
TAKES_PATH = frozenset({b"-cp", b"-classpath", b"--class-path", b"-p", b"--module-path"})
# Functions and programs of distributions that look for jars by name in /usr/share/java.
FINDERS = frozenset({"find_jars", "build-classpath", "build_classpath"})
PART = re.compile(r"""[:;,\s"'\\]+""")


@dataclass(frozen=True, slots=True)
class Named:
    """A part of a class path, HOLE for what is not known. `directory`: also where it is no archive."""

    text: str
    line: int
    directory: bool = False


@dataclass(frozen=True, slots=True)
class ClassPath:
    """What a script puts on class paths; `trees` are directories below which every jar counts, `names` bare names."""

    parts: tuple[Named, ...] = ()
    trees: tuple[Named, ...] = ()
    names: tuple[Named, ...] = ()


class _Loose(Reader):
    """Keeps what is known of a word that is not known whole."""

    __slots__ = ()

    def product(self, parts: list[Word]) -> Word:
        size = 1
        for at, part in enumerate(parts):
            size *= max(1, len(part))
            if not part:
                parts[at] = (HOLE,)
            elif size > MOST_VALUES:
                size //= len(part)
                parts[at] = part[:1]
        return Reader.product(self, parts)

    def set(self, name: str, values: Word) -> None:
        # A class path that grows is known part by part, where its parts stand.
        Reader.set(self, name, tuple(each for each in values if ":" not in each and each != HOLE))


@remembered
def class_path(source: bytes, name: str, known: tuple[tuple[str, str], ...]) -> ClassPath:
    """Read a script, `name` its path. `known` are variables of its environment."""
    reader = _Loose(name)
    for variable, value in known:
        reader.set(variable, (value,))
    try:
        top = learned(reader, source)
    except Unread:
        return ClassPath()
    parts: dict[Named, None] = {}
    trees: dict[Named, None] = {}
    names: dict[Named, None] = {}
    for node in descend(top):
        line = node.start_point[0] + 1
        if node.type == "command":
            words = _words(reader, node)
            program = words[0][0] if words and words[0] else ""
            if program in FINDERS:
                names.update(dict.fromkeys(Named(word[0], line) for word in words[1:] if word))
            elif program == "find" and any(each.endswith(".jar") for word in words for each in word):
                places = [each for word in words[1:2] for each in word]
                trees.update(dict.fromkeys(Named(each, line) for each in places))
        elif node.type in WORDS:
            directory = _is_class_path(node)
            for value in reader.value(node):
                for text in PART.split(value):
                    if _counts(text, directory=directory):
                        parts[Named(text, line, directory)] = None
    return ClassPath(tuple(parts), tuple(trees), tuple(names))


def _words(reader: Reader, node: Node) -> list[Word]:
    return [
        reader.value(child.named_children[0] if child.type == "command_name" and child.named_children else child)
        for child in node.named_children
    ]


def _counts(text: str, *, directory: bool) -> bool:
    """Whether a part of a word may be a part of a class path."""
    if text.lower().endswith((".jar", ".war")) or text.endswith("/*"):
        return not text.startswith("-") and bool(re.search(r"[^\0*/.]", text))
    return directory and text.startswith(("/", f"{HOLE}/")) and len(text) > 2


def _is_class_path(node: Node) -> bool:
    """Whether a word is all of what is assigned to a class path, or is handed to the launcher as one."""
    parent = node.parent
    if parent is None:
        return False
    if parent.type == "variable_assignment":
        name = parent.child_by_field_name("name")
        return name is not None and CLASS_PATHS.fullmatch((name.text or b"").decode("utf-8", "replace")) is not None
    before = node.prev_named_sibling
    if before is None or before.text not in TAKES_PATH:
        return False
    # `mkdir -p` is nobody's module path.
    return before.text != b"-p" or b"java" in (parent.named_children[0].text or b"").lower()


def patterns(text: str, bases: tuple[str, ...]) -> Iterator[str]:
    """Absolute globs for a part: what is unknown before a slash may be any of the bases, within a name anything."""
    if text.startswith(HOLE):
        text = text.lstrip(HOLE).lstrip("/")
    directory, _, last = text.rpartition("/")
    if HOLE in directory or "*" in directory or (HOLE in last and len(re.sub(r"\.\w+$|[\0*?-]", "", last)) < 3):
        return
    last = last.replace(HOLE, "*")
    for base in ("",) if text.startswith("/") else bases:
        yield f"{base}/{directory}/{last}" if directory else f"{base}/{last}"
