"""Shell scripts as data: every command of every branch, with its words as far as they are literal.

The parser is tree-sitter-bash; sh, dash, ash and ksh scripts are read by the same
grammar. Nothing is executed: a word's value is known when it is literal, or
comes from variables that only ever get literal values, from a loop over literals,
or from `dirname "$0"` and its relatives, which is where most scripts find
their neighbours.
"""

from __future__ import annotations

import functools
import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from slimmer.closure.commands.syntax_tree import parsed
from slimmer.closure.commands.wrappers import WRAPPERS
from slimmer.facts.remember import remembered

Word = tuple[str, ...]  # the values that a word may have; empty when unknown
MOST_VALUES = 16  # of one word; beyond it the word counts as unknown
MOST_WORDS = 400  # of a part that the grammar cannot place
DEEPEST = 40  # expansions inside each other; beyond it the word counts as unknown
UNKNOWN: Word = ()
LITERALS = frozenset({"word", "number", "string", "raw_string", "ansi_c_string", "translated_string", "concatenation"})
EXPANSIONS = frozenset({"simple_expansion", "expansion", "command_substitution"})
TRANSPARENT = frozenset({"echo", "realpath", "readlink"})
PRINTS = frozenset({"echo", "printf"})
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
QUOTED = re.compile(r'\\(?:\n|([$`"\\]))')  # what a backslash speaks of between double quotes: POSIX 2.2.3


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command: its words (name first), the line it starts at (from 1), what a here-document feeds it."""

    words: tuple[Word, ...]
    line: int
    document: str = ""

    @property
    def literal(self) -> tuple[str, ...]:
        """One value a word, "" where it is unknown."""
        return tuple(word[0] if word else "" for word in self.words)


@dataclass(frozen=True, slots=True)
class Script:
    """What a shell script can start and name."""

    commands: tuple[Command, ...]
    functions: frozenset[str]
    wrappers: frozenset[str]  # functions that run their arguments
    paths: tuple[tuple[str, int], ...]  # absolute paths and files next to the script that it names, with lines
    search: tuple[str, ...]  # directories that it adds to PATH
    unread: tuple[int, ...] = ()  # lines that the parser could not make sense of


@functools.cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


@remembered
def parse(source: bytes, name: str = "") -> Script:
    """Read a script. `name` is its path, for `$0`; "" when it has none (`sh -c`). Raises Unread."""
    reader = Reader(name)
    top = learned(reader, source)
    reader.read(top)
    return reader.script()


def learned(reader: Reader, source: bytes) -> Node:
    """A script's syntax tree, whose variables the reader knows from now on. Raises Unread."""
    top = parsed(_parser(), source).root_node
    # A variable may be used, in a function, above the line that sets it.
    reader.learn(top)
    reader.learn(top)
    return top


def descend(node: Node) -> Iterator[Node]:
    """Every named node at and below one, in the order of the text."""
    pending = [node]
    while pending:
        here = pending.pop()
        yield here
        pending.extend(reversed(here.named_children))


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "surrogateescape")


def _line(node: Node) -> int:
    return node.start_point[0] + 1


@dataclass(slots=True)
class Reader:
    """What a script's variables and words may be. `name` is the script's path, for `$0`."""

    name: str
    values: dict[str, dict[str, None]] = field(default_factory=dict)
    opaque: set[str] = field(default_factory=set)
    commands: list[Command] = field(default_factory=list)
    functions: dict[str, Node] = field(default_factory=dict)
    wrappers: set[str] = field(default_factory=set)
    paths: dict[str, int] = field(default_factory=dict)
    search: dict[str, None] = field(default_factory=dict)
    unread: list[int] = field(default_factory=list)
    depth: int = 0

    def script(self) -> Script:
        return Script(
            tuple(self.commands),
            frozenset(self.functions),
            frozenset(self.wrappers),
            tuple(self.paths.items()),
            tuple(self.search),
            tuple(self.unread),
        )

    # ------------------------------------------------------------ variables

    def learn(self, root: Node) -> None:
        for node in descend(root):
            if node.type == "variable_assignment":
                self._assign(node)
            elif node.type == "for_statement":
                variable = node.child_by_field_name("variable")
                if variable is not None:
                    for value in node.children_by_field_name("value"):
                        self.set(_text(variable), self.value(value))

    def _assign(self, node: Node) -> None:
        variable, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if variable is None or value is None:
            return
        name = _text(variable)
        if name == "PATH":
            self.search.update(dict.fromkeys(re.findall(r"(?:(?<=:)|(?<=\")|^)(/[^:$\"']+)", _text(value))))
        elif value.type == "array":
            first = next((child for child in value.named_children if child.type != "comment"), None)
            if first is not None:
                self.set(name, self.value(first))
        else:
            self.set(name, self.value(value))

    def set(self, name: str, values: Word) -> None:
        self.values.setdefault(name, {}).update(dict.fromkeys(values))

    # --------------------------------------------------------------- values

    def value(self, node: Node) -> Word:
        """The values that a word's node may have."""
        if self.depth >= DEEPEST:
            return UNKNOWN
        self.depth += 1
        try:
            return self._value(node)
        finally:
            self.depth -= 1

    def _value(self, node: Node) -> Word:
        match node.type:
            case "word" | "variable_name" | "special_variable_name":
                return (ESCAPE.sub(r"\1", _text(node)),)
            case "number":
                return (_text(node),)
            case "string_content":
                return (QUOTED.sub(r"\1", _text(node)),)
            case "raw_string":
                return (_text(node)[1:-1],)
            case "ansi_c_string":
                return (ESCAPE.sub(r"\1", _text(node)[2:-1]),)
            case "string" | "concatenation" | "translated_string":
                return self._joined(node)
            case "simple_expansion":
                return self._variable(_text(node)[1:])
            case "expansion":
                return self._expansion(node)
            case "command_substitution":
                return self._substituted(node)
        return UNKNOWN

    def _joined(self, node: Node) -> Word:
        parts: list[Word] = []
        end = node.start_byte + (1 if node.type == "string" else 0)
        for child in node.named_children:
            if node.type == "string" and child.start_byte > end:
                parts.append((self._between(node, end, child.start_byte),))  # blanks that the grammar skips
            parts.append(self.value(child))
            end = child.end_byte
        if not parts:
            return (_text(node).strip('"'),)
        return self.product(parts)

    def _between(self, node: Node, start: int, end: int) -> str:
        raw = node.text or b""
        return raw[start - node.start_byte : end - node.start_byte].decode("utf-8", "surrogateescape")

    def product(self, parts: list[Word]) -> Word:
        size = 1
        for part in parts:
            size *= len(part)
        if not 0 < size <= MOST_VALUES:
            return UNKNOWN
        return tuple(dict.fromkeys("".join(each) for each in itertools.product(*parts)))

    def _variable(self, name: str) -> Word:
        if name in ("0", "BASH_SOURCE"):
            return (self.name,) if self.name else UNKNOWN
        found = tuple(self.values.get(name, ()))
        return found if len(found) <= MOST_VALUES else UNKNOWN

    def _expansion(self, node: Node) -> Word:
        children = node.named_children
        if not children:
            return UNKNOWN
        first = children[0]
        name = _text(first.named_children[0] if first.type == "subscript" and first.named_children else first)
        found = self._variable(name)
        text = _text(node)[2:-1]
        operator = text[len(_text(first)) :][:2]
        if operator in (":-", ":=", ":+") or operator[:1] in ("-", "=", "+"):
            rest = [child for child in children[1:] if child.type in LITERALS | EXPANSIONS]
            other = self.product([self.value(child) for child in rest]) if rest else UNKNOWN
            return tuple(dict.fromkeys((*found, *other)))
        if operator in ("%/", "%%") and text.endswith("/*"):
            return tuple(posixpath.dirname(value) for value in found)
        if operator == "##" and text.endswith("*/"):
            return tuple(posixpath.basename(value) for value in found)
        return found if not operator else UNKNOWN

    def _substituted(self, node: Node) -> Word:
        """`$(dirname "$0")`, `$(cd "$(dirname "$0")" && pwd)`, `$(which x)`, `$(command -v x)`, `$(basename x)`."""
        found = list(_commands_of(node))
        words = [[self.value(word) for word in _words(each)] for each in found]
        if not words or not words[0] or not words[0][0]:
            return UNKNOWN
        name, arguments = words[0][0][0], [word for word in words[0][1:] if not (word and word[0].startswith("-"))]
        last = words[-1][0][0] if words[-1] and words[-1][0] else ""
        if len(words) == 2 and name == "cd" and (last == "pwd" or (last in PRINTS and "$PWD" in _text(found[-1]))):
            return arguments[0] if arguments else UNKNOWN
        if len(words) != 1 or not arguments:
            return UNKNOWN
        if name == "dirname":
            return tuple(posixpath.dirname(value) or "." for value in arguments[0])
        if name == "basename" and len(arguments) == 1:
            return tuple(posixpath.basename(value) for value in arguments[0])
        if name in TRANSPARENT or (name in ("which", "command") and len(arguments) == 1):
            return arguments[-1]
        return UNKNOWN

    # ------------------------------------------------------------- commands

    def read(self, root: Node) -> None:
        for node in descend(root):
            match node.type:
                case "command":
                    self._command(node)
                case "function_definition":
                    self._function(node)
                case "ERROR":
                    self.unread.append(_line(node))
                    # What the grammar cannot place may be a command all the same.
                    words = re.findall(r"[A-Za-z_./][\w./+-]*", _text(node))[:MOST_WORDS]
                    self.commands.extend(Command(((word,),), _line(node)) for word in words)
                case "string" | "word" | "concatenation" | "raw_string":
                    self._path(node)

    def _command(self, node: Node) -> None:
        words = tuple(self.value(word) for word in _words(node))
        if words:
            self.commands.append(Command(words, _line(node), _document(node)))
        if any(child.type == "ERROR" for child in node.children):  # several commands taken for one
            self.commands.extend(Command((word,), _line(node)) for word in words[1:])

    def _function(self, node: Node) -> None:
        name = node.child_by_field_name("name")
        if name is None:
            return
        self.functions[_text(name)] = node
        for each in descend(node):
            words = [_text(word).strip('"') for word in _words(each)] if each.type == "command" else []
            words = words[1:] if words[:1] and words[0] in WRAPPERS else words[:1]
            if not {"$@", "$*", "$1"}.isdisjoint(words):
                self.wrappers.add(_text(name))

    def _path(self, node: Node) -> None:
        here = posixpath.dirname(self.name)
        for value in self.value(node):
            if value.startswith("/") and len(value) > 1 and "\n" not in value:
                self.paths.setdefault(posixpath.normpath(value), _line(node))
            elif here and "/" in value and re.fullmatch(r"[\w.@+/-]+", value):
                self.paths.setdefault(posixpath.normpath(f"{here}/{value}"), _line(node))


def _commands_of(substitution: Node) -> Iterator[Node]:
    """Its own commands, in their order, not those of substitutions inside it."""
    pending = substitution.named_children[::-1]
    while pending:
        node = pending.pop()
        if node.type != "command_substitution":
            if node.type == "command":
                yield node
            pending.extend(node.named_children[::-1])


def _words(node: Node) -> list[Node]:
    """A command's name and arguments."""
    found = []
    for child in node.named_children:
        if child.type == "command_name":
            found.extend(child.named_children[:1] or [child])
        elif child.type in LITERALS or child.type in EXPANSIONS or child.type == "process_substitution":
            found.append(child)
    return found


def _document(node: Node) -> str:
    """What a here-document or here-string feeds a command."""
    parent = node.parent
    redirected = parent is not None and parent.type == "redirected_statement"
    around: Iterable[Node] = parent.named_children if parent is not None and redirected else ()
    for each in itertools.chain(around, node.named_children):
        if each.type == "heredoc_redirect":
            bodies = [child for child in each.named_children if child.type == "heredoc_body"]
            return "".join(_text(body) for body in bodies)
        if each.type == "herestring_redirect" and each.named_children:
            return _text(each.named_children[0])[1:-1]
    return ""
