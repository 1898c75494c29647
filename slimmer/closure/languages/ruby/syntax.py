"""What a Ruby source loads and starts, from its syntax tree: texts are put together where they are constant.

Concatenation, interpolation, here-documents, `File.join`, `File.expand_path`, `__dir__`, word lists, and variables and
constants with one value are followed; what is only known at run time is `UNKNOWN` in a text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import tree_sitter_ruby
from tree_sitter import Language, Node, Parser

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.syntax_tree import named_nodes, parsed
from slimmer.closure.languages.tokens import ESCAPES, UNKNOWN
from slimmer.facts.remember import remembered

RUBY = Language(tree_sitter_ruby.language())
STARTS = rb"\b(?:system|exec|spawn|popen|getoutput|capture2e?|capture3|popen[23]e?|pipeline\w*)\b|`|%x|%\W"
LOADS = rb"\b(?:require|require_relative|load|autoload)\b[^\n]*(?:__dir__|__FILE__|File\.|\+|<<|#\{)"
VARIABLES = rb"\b(?:require|load)[ (]{1,4}[a-z_]\w{0,60}[ )}]{0,4}\n?"  # what a block is given
OF_INTEREST = re.compile(STARTS + rb"|" + LOADS + rb"|" + VARIABLES)
# Kernel's and Process's (https://docs.ruby-lang.org/en/3.3/Kernel.html), and of these modules all that starts programs.
PLAIN = frozenset({"system", "exec", "spawn"})
OWNERS = frozenset({"", "Kernel", "Process"})
MODULES = {
    "IO": frozenset({"popen"}),
    "PTY": frozenset({"spawn", "getpty"}),
    "Open3": frozenset({"capture2", "capture2e", "capture3", "popen2", "popen2e", "popen3"}),
}
PIPELINES = frozenset({"pipeline", "pipeline_r", "pipeline_w", "pipeline_rw", "pipeline_start"})  # each a command
REQUIRES = frozenset({"require", "require_relative", "load", "autoload"})
SAME = frozenset({"freeze", "to_s", "dup", "strip", "chomp", "squish", "shellescape", "to_path"})
DEEPEST = 40  # of an expression


@dataclass(frozen=True, slots=True)
class Required:
    """A file that is loaded by a name that is put together: a path from its beginning."""

    text: str
    line: int


@dataclass(slots=True)
class RubySource:
    """What one source says."""

    required: list[Required] = field(default_factory=list)
    named: list[Required] = field(default_factory=list)  # names of a list that a block requires one by one
    commands: list[CommandLine] = field(default_factory=list)


@remembered
def scan(source: bytes, path: str) -> RubySource:
    """Read a source. `path` is what `__FILE__` is. Raises Unread for what cannot be parsed within the budget."""
    found = RubySource()
    if OF_INTEREST.search(source) is None:
        return found
    nodes = list(named_nodes(parsed(Parser(RUBY), source).root_node))
    begun = [node.start_byte for node in nodes if node.type == "heredoc_beginning"]
    bodies = [node for node in nodes if node.type == "heredoc_body"]
    reader = _Reader(path, {}, {}, dict(zip(begun, bodies, strict=False)))
    reader.learn(nodes)
    for node in nodes:
        line = node.start_point[0] + 1
        if node.type == "subshell":
            found.commands.append(CommandLine((reader.parts(node),), line, True))
        elif node.type == "call":
            found.commands.extend(_commands(node, reader, line))
            if required := _required(node, reader, line):
                found.required.append(required)
            found.named.extend(_each_required(node, reader, line))
    return found


def _commands(node: Node, reader: _Reader, line: int) -> Iterator[CommandLine]:
    method, receiver = _said(node.child_by_field_name("method")), _said(node.child_by_field_name("receiver"))
    arguments = _arguments(node)
    if receiver == "Open3" and method in PIPELINES:
        for each in arguments:
            yield from _command([each], reader, line)
    elif (method in PLAIN and receiver in OWNERS) or method in MODULES.get(receiver, ()):
        yield from _command(arguments, reader, line, lists=receiver != "IO")


def _command(arguments: list[Node], reader: _Reader, line: int, *, lists: bool = True) -> Iterator[CommandLine]:
    """The command of `system(env, "a", "b", options)`; without `lists` what follows the first is no argument."""
    while arguments and arguments[0].type != "array" and reader.is_environment(arguments[0], len(arguments)):
        arguments = arguments[1:]
    if not arguments:
        return
    first = reader.words(arguments[0])
    if first is None:
        if not lists or len(arguments) == 1:
            text = reader.text(arguments[0])
            if text and not text.startswith(UNKNOWN):
                yield CommandLine((text,), line, True)
            return
        first = [reader.text(arguments[0])]
    rest = arguments[1:] if lists else []
    words = (*first, *(word for each in rest for word in (reader.words(each) or [reader.text(each)])))
    if words and words[0] and UNKNOWN not in words[0]:
        # `[path, name]` as first argument: what is executed, and what it is told to be called.
        yield CommandLine(words, line)


def _required(node: Node, reader: _Reader, line: int) -> Required | None:
    method, arguments = _said(node.child_by_field_name("method")), _arguments(node)
    if method not in REQUIRES or node.child_by_field_name("receiver") is not None or not arguments:
        return None
    what = arguments[-1] if method == "autoload" else arguments[0]
    if what.type == "string" and len(what.named_children) < 2:
        return None  # a name as it stands, which is looked up along the load path
    text = reader.text(what)
    if method == "require_relative" and text and not text.startswith("/"):
        text = posixpath.join(posixpath.dirname(reader.path), text)
    return Required(posixpath.normpath(text), line) if text.startswith("/") and UNKNOWN not in text else None


def _each_required(node: Node, reader: _Reader, line: int) -> Iterator[Required]:
    """`%w[csv set].each { |name| require name }`: every name of the list, looked up along the load path."""
    receiver, block = node.child_by_field_name("receiver"), node.child_by_field_name("block")
    words = reader.words(receiver) if receiver is not None and block is not None else None
    parameters = block.child_by_field_name("parameters") if block is not None else None
    if not words or parameters is None or not parameters.named_children:
        return
    name = _said(parameters.named_children[0])
    for inner in named_nodes(block) if block is not None else ():
        if inner.type != "call" or _said(inner.child_by_field_name("method")) not in REQUIRES:
            continue
        if [_said(each) for each in _arguments(inner)] == [name]:
            yield from (Required(word, line) for word in words if word and UNKNOWN not in word)


def _arguments(node: Node) -> list[Node]:
    """A call's arguments without options (`chdir: "/x"`) and the block."""
    held = node.child_by_field_name("arguments")
    return (
        [each for each in held.named_children if each.type not in ("pair", "block_argument", "comment")] if held else []
    )


def _said(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "surrogateescape") if node is not None else ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Values of expressions."""

    path: str
    constants: dict[str, str]
    lists: dict[str, list[str]]
    heredocs: dict[int, Node]

    def learn(self, nodes: list[Node]) -> None:
        """Variables and constants that are given one value and nothing else."""
        several: set[str] = set()
        seen: set[str] = set()
        for node in nodes:
            if node.type not in ("assignment", "operator_assignment"):
                continue
            name, value = _said(node.child_by_field_name("left")), node.child_by_field_name("right")
            if name in seen or node.type == "operator_assignment" or value is None:
                several.add(name)
                continue
            seen.add(name)
            words = self.words(value)
            if words is not None:
                self.lists[name] = words
            elif text := self.text(value):
                self.constants[name] = text
        for name in several:
            self.constants.pop(name, None)
            self.lists.pop(name, None)

    def is_environment(self, node: Node, count: int) -> bool:
        """Whether a call's first argument is a table of variables and no command."""
        return node.type == "hash" or (count > 1 and _said(node).startswith(("ENV", "env")))

    def text(self, node: Node, depth: int = 0) -> str:
        """The text that an expression comes to; "" when nothing of it is known."""
        value = self._value(node, depth)
        return "" if not value.replace(UNKNOWN, "") else value

    def words(self, node: Node) -> list[str] | None:
        """The words of a list; None when it is no list."""
        match node.type:
            case "string_array":
                return [self.parts(each) for each in node.named_children]
            case "array":
                return [word for each in node.named_children for word in (self.words(each) or [self.text(each)])]
            case "splat_argument" if node.named_children:
                return self.words(node.named_children[0])
            case "identifier" | "constant" | "instance_variable" | "global_variable" | "class_variable":
                return self.lists.get(_said(node))
            case "call" if _said(node.child_by_field_name("method")) in SAME:
                receiver = node.child_by_field_name("receiver")
                return self.words(receiver) if receiver is not None else None
        return None

    def parts(self, node: Node, depth: int = 0) -> str:
        """A text that is written in parts: a here-document, `"a #{b}"`, backticks."""
        found = []
        for each in node.named_children:
            match each.type:
                case "string_content" | "heredoc_content":
                    found.append(_said(each))
                case "escape_sequence":
                    found.append(ESCAPES.get(_said(each)[1:], _said(each)[1:]))
                case "heredoc_end":
                    continue
                case "interpolation" if each.named_children:
                    found.append(self._value(each.named_children[-1], depth + 1))
                case _:
                    found.append(UNKNOWN)
        return "".join(found)

    def _value(self, node: Node, depth: int) -> str:
        if depth > DEEPEST:
            return UNKNOWN
        match node.type:
            case "string" | "bare_string" | "subshell":
                return self.parts(node, depth)
            case "chained_string":
                return "".join(self._value(each, depth + 1) for each in node.named_children)
            case "heredoc_beginning":
                body = self.heredocs.get(node.start_byte)
                return self.parts(body, depth) if body is not None else UNKNOWN
            case "parenthesized_statements" if node.named_children:
                return self._value(node.named_children[-1], depth + 1)
            case "binary":
                left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
                if (
                    left is not None
                    and right is not None
                    and _said(node.child_by_field_name("operator")) in ("+", "<<")
                ):
                    return self._value(left, depth + 1) + self._value(right, depth + 1)
            case "identifier" | "constant" | "instance_variable" | "global_variable" | "class_variable":
                return self.named(_said(node))
            case "file":
                return self.path
            case "call":
                return self._call(node, depth)
        return UNKNOWN

    def named(self, name: str) -> str:
        known = {"__dir__": posixpath.dirname(self.path), "__FILE__": self.path}
        return known.get(name) or self.constants.get(name, UNKNOWN)

    def _call(self, node: Node, depth: int) -> str:
        method, receiver = _said(node.child_by_field_name("method")), node.child_by_field_name("receiver")
        arguments = [self._value(each, depth + 1) for each in _arguments(node)]
        if _said(receiver) == "File" and arguments:
            match method:
                case "join":
                    return re.sub("/{2,}", "/", "/".join(arguments))
                case "expand_path" | "absolute_path" | "realpath":
                    base = arguments[1] if len(arguments) > 1 else ""
                    return posixpath.normpath(posixpath.join(base, arguments[0]))
                case "dirname":
                    return posixpath.dirname(arguments[0])
        if receiver is None:
            return UNKNOWN if arguments else self.named(method)
        if method in SAME:
            return self._value(receiver, depth + 1)
        if method == "join" and (words := self.words(receiver)) is not None:
            return (arguments[0] if arguments else "").join(word or UNKNOWN for word in words)
        return UNKNOWN
