"""What a PHP source includes and starts, from its syntax tree: texts are put together where they are constant.

`__DIR__`, `dirname(__DIR__, 2)`, concatenation, interpolation, here-documents, and variables and constants with one
value are followed; what is only known at run time is `UNKNOWN` in a text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import tree_sitter_php
from tree_sitter import Language, Node, Parser

from slimmer.closure.commands.literals import CommandLine, is_statement
from slimmer.closure.commands.syntax_tree import named_nodes, parsed
from slimmer.closure.languages.tokens import ESCAPES, UNKNOWN
from slimmer.facts.remember import remembered

PHP = Language(tree_sitter_php.language_php())
OF_INTEREST = re.compile(
    rb"\b(?:include|include_once|require|require_once|exec|pcntl_exec|shell_exec|system|passthru|popen|proc_open|Process)\b|`"
)
INCLUDES = frozenset(f"{verb}{once}_expression" for verb in ("include", "require") for once in ("", "_once"))
SHELL = frozenset({"exec", "shell_exec", "system", "passthru", "popen", "proc_open", "fromShellCommandline"})
PROGRAM = frozenset({"pcntl_exec"})
PROCESS = frozenset({"Process", "PhpProcess"})
METHODS = frozenset({"member_call_expression", "nullsafe_member_call_expression", "scoped_call_expression"})
TRANSPARENT = frozenset({"escapeshellcmd", "trim", "rtrim", "strtolower", "realpath"})
FORMATS = re.compile(r"%[\d$.'-]{0,20}[a-zA-Z%]")
DEEPEST = 40  # of an expression


@dataclass(frozen=True, slots=True)
class Include:
    """A file that is included: a path from its beginning, or what is known of it."""

    text: str
    line: int


@dataclass(slots=True)
class PhpSource:
    """What one source says."""

    includes: list[Include] = field(default_factory=list)
    commands: list[CommandLine] = field(default_factory=list)


@remembered
def scan(source: bytes, path: str) -> PhpSource:
    """Read a source. `path` is what `__FILE__` is. Raises Unread for what cannot be parsed within the budget."""
    found = PhpSource()
    if OF_INTEREST.search(source) is None:
        return found
    nodes = list(named_nodes(parsed(Parser(PHP), source).root_node))
    reader = _Reader(path, {})
    reader.constants.update(_constants(nodes, reader))
    for node in nodes:
        line = node.start_point[0] + 1
        if node.type in INCLUDES:
            text = reader.text(node.named_children[0]) if node.named_children else ""
            if text:
                found.includes.append(Include(text, line))
        elif node.type == "shell_command_expression":
            found.commands.append(CommandLine((reader.parts(node),), line, True))
        else:
            found.commands += _commands(node, reader, line)
    return found


def _constants(nodes: list[Node], reader: _Reader) -> dict[str, str]:
    """Variables and constants that are given one text and nothing else: names with their sign, as written."""
    found: dict[str, str] = {}
    several: set[str] = set()
    for node in nodes:
        name, value = "", None
        if node.type in ("assignment_expression", "augmented_assignment_expression"):
            name, value = _said(node.child_by_field_name("left")), node.child_by_field_name("right")
        elif node.type == "const_element" and len(node.named_children) == 2:
            name, value = _said(node.named_children[0]), node.named_children[1]
        elif node.type == "property_element" and len(node.named_children) == 2:
            name, value = _said(node.named_children[0]).lstrip("$"), node.named_children[1]
        elif node.type == "function_call_expression" and _name(node) == "define":
            arguments = _arguments(node)
            if len(arguments) > 1:
                name, value = reader.text(arguments[0]), arguments[1]
        if not name or value is None:
            continue
        text = reader.text(value) if node.type != "augmented_assignment_expression" else UNKNOWN
        if name in found or not text or UNKNOWN in text:
            several.add(name)
        found.setdefault(name, text)
        reader.constants[name] = text
    reader.constants.clear()
    return {name: text for name, text in found.items() if name not in several}


def _commands(node: Node, reader: _Reader, line: int) -> Iterator[CommandLine]:
    """What a call starts; an empty line for a shell that is handed nobody knows what."""
    name = _name(node)
    if name not in SHELL | PROGRAM | PROCESS:
        return
    if name in PROCESS and node.type != "object_creation_expression":
        return
    arguments = _arguments(node)
    if not arguments:
        return
    if name == "Process":
        yield CommandLine(("",), line, True)  # Symfony gives a shell `exec` and the words
    words = reader.list(arguments[0])
    if words:
        if words[0] and UNKNOWN not in words[0]:
            yield CommandLine(tuple(words), line)
        return
    text = reader.text(arguments[0])
    if not text or text.startswith(UNKNOWN):
        if (
            name in SHELL
            and node.type == "function_call_expression"
            and arguments[0].type != "array_creation_expression"
        ):
            yield CommandLine(("",), line, True)
    elif not (name == "exec" and node.type in METHODS and is_statement(text)):
        yield CommandLine((text,), line, name not in PROGRAM)


def _name(node: Node) -> str:
    """The last part of what is called or made."""
    match node.type:
        case "function_call_expression":
            called = node.child_by_field_name("function")
        case each if each in METHODS:
            called = node.child_by_field_name("name")
        case "object_creation_expression":
            called = next((each for each in node.named_children if each.type in ("name", "qualified_name")), None)
        case _:
            return ""
    return _said(called).rpartition("\\")[2]


def _arguments(node: Node) -> list[Node]:
    held = next((each for each in node.named_children if each.type == "arguments"), None)
    if held is None:
        return []
    return [each.named_children[-1] for each in held.named_children if each.type == "argument" and each.named_children]


def _said(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "surrogateescape") if node is not None else ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Values of expressions."""

    path: str
    constants: dict[str, str]

    def text(self, node: Node, depth: int = 0) -> str:
        """The text that an expression comes to; "" when nothing of it is known."""
        value = self._value(node, depth)
        return "" if not value.replace(UNKNOWN, "") else value

    def list(self, node: Node) -> list[str]:
        """The words of an array; none when it is no array."""
        if node.type != "array_creation_expression":
            return []
        elements = [each for each in node.named_children if each.type == "array_element_initializer"]
        return [self.text(each.named_children[-1]) for each in elements if each.named_children]

    def parts(self, node: Node, depth: int = 0) -> str:
        """A text that is written in parts: a here-document, `"a $b"`, backticks."""
        found = []
        for each in node.named_children:
            match each.type:
                case "string_content" | "nowdoc_string":
                    found.append(_said(each))
                case "escape_sequence":
                    found.append(ESCAPES.get(_said(each)[1:], _said(each)[1:]))
                case "heredoc_body" | "nowdoc_body":
                    found.append(self.parts(each, depth + 1))
                case "heredoc_start" | "heredoc_end":
                    continue
                case _:
                    found.append(self._value(each, depth + 1))
        return "".join(found)

    def _value(self, node: Node, depth: int) -> str:
        if depth > DEEPEST:
            return UNKNOWN
        match node.type:
            case "string" | "encapsed_string" | "heredoc" | "nowdoc":
                return self.parts(node, depth)
            case "parenthesized_expression" if node.named_children:
                return self._value(node.named_children[0], depth + 1)
            case "binary_expression":
                left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
                if left is not None and right is not None and _said(node.child_by_field_name("operator")) == ".":
                    return self._value(left, depth + 1) + self._value(right, depth + 1)
            case "variable_name":
                return self.constants.get(_said(node), UNKNOWN)
            case "name":
                return self._constant(_said(node))
            case "class_constant_access_expression" | "member_access_expression" if node.named_children:
                return self.constants.get(_said(node.named_children[-1]), UNKNOWN)
            case "function_call_expression":
                return self._call(node, depth)
        return UNKNOWN

    def _constant(self, name: str) -> str:
        known: Mapping[str, str] = {
            "__DIR__": posixpath.dirname(self.path),
            "__FILE__": self.path,
            "DIRECTORY_SEPARATOR": "/",
            "PHP_EOL": "\n",
        }
        return known.get(name, self.constants.get(name, UNKNOWN))

    def _call(self, node: Node, depth: int) -> str:
        name, arguments = _name(node), _arguments(node)
        if not arguments:
            return UNKNOWN
        first = self._value(arguments[0], depth + 1)
        if name == "dirname":
            levels = _said(arguments[1]) if len(arguments) > 1 else "1"
            for _ in range(int(levels) if levels.isdigit() and len(levels) < 3 else 1):
                first = posixpath.dirname(first)
            return first
        if name == "sprintf":
            values = iter(arguments[1:])
            return FORMATS.sub(
                lambda each: (
                    "%"
                    if each[0] == "%%"
                    else self._value(value, depth + 1)
                    if (value := next(values, None)) is not None and each[0] == "%s"
                    else UNKNOWN
                ),
                first,
            )
        if name == "implode" and len(arguments) > 1:
            return first.join(word or UNKNOWN for word in self.list(arguments[1])) or UNKNOWN
        return first if name in TRANSPARENT else UNKNOWN
