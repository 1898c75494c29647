"""What a JavaScript source can load and start: read by tree-sitter-javascript, never executed.

`require`, `import`, `export … from`, dynamic `import()`, `require.resolve`, workers,
`new URL(…, import.meta.url)`, `path.join(__dirname, …)`, command lines given to
child_process, and literal texts that may be names of packages.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser, Query, QueryCursor, Tree

from slimmer.closure.commands.literals import HOLE, CommandLine, is_statement
from slimmer.closure.commands.syntax_tree import parsed
from slimmer.closure.languages.node.constants import Constants
from slimmer.facts.remember import remembered

LARGEST = 2 << 20  # bytes; larger sources are bundles, which load nothing by name
BUNDLED = 200_000  # bytes; what is larger holds its own way to start programs, and each `pattern.exec(text)` is no such
LOADERS = frozenset(
    {"require", "require.resolve", "import", "import.meta.resolve", "module.require", "jest.requireActual"}
)
STARTERS = frozenset(
    {"spawn", "spawnSync", "execFile", "execFileSync", "exec", "execSync", "execa", "execaSync", "fork"}
)
TEMPLATED = frozenset({"$", "$sync", "execa", "execaCommand", "shell"})  # zx's, execa's
SHELL_STARTERS = frozenset({"exec", "execSync"})
PACKAGE = re.compile(r"(?:@[a-z0-9][\w.-]*/)?[a-z0-9][\w.-]*(?:/[\w./-]+)?$")
STARTS = re.compile(rb"\bchild_process\b|\bexeca\b|\bshelljs\b|\bfrom ['\"]zx|\bzx/globals")
TOGETHER = 200  # values of one expression when an application is read as one
BUDGET = 200_000  # expressions that are looked at then
MOST_LINES = 200  # command lines of one call
QUERY = """
(import_statement source: (string) @source)
(export_statement source: (string) @source)
(call_expression) @call
(new_expression) @new
(string (string_fragment) @text)
[(variable_declarator) (assignment_expression) (assignment_pattern) (pair) (field_definition) (import_specifier)
 (pair_pattern) (function_declaration) (function_expression) (arrow_function) (method_definition)
 (generator_function_declaration) (return_statement) (call_expression)] @bound
"""


@dataclass(frozen=True, slots=True)
class Load:
    """A module that is loaded: the specifier as written, or as far as it is known when not `whole`."""

    specifier: str
    line: int
    whole: bool = True


@dataclass(frozen=True, slots=True)
class JavaScript:
    """Everything that one source says about what it needs."""

    loads: tuple[Load, ...] = ()
    files: tuple[Load, ...] = ()  # relative to the source's directory
    commands: tuple[CommandLine, ...] = ()
    texts: tuple[Load, ...] = ()  # literals that could be a package's name
    computed: tuple[int, ...] = ()  # lines of loads about which nothing is known
    starting: tuple[int, ...] = ()  # lines that start a program whose name is computed
    starts: bool = False  # whether it can start programs at all


@functools.cache
def _language() -> tuple[Parser, Query]:
    language = Language(tree_sitter_javascript.language())
    return Parser(language), Query(language, QUERY)


@remembered
def scan(source: bytes) -> JavaScript:
    """Read a source; nothing comes of one that is too large. Raises Unread for what is built to hold a parser up."""
    if len(source) > LARGEST:
        return JavaScript()
    parser, query = _language()
    found = _captures(query, parsed(parser, source).root_node)
    reader = _Reader()
    for node in found.get("source", ()):
        reader.load(node)
    starts = STARTS.search(source) is not None or (len(source) <= BUNDLED and b"exec" in source)
    if starts:
        reader.constants.read(found.get("bound", ()))
    for node in found.get("call", ()):
        reader.call(node, starts)
    for node in found.get("new", ()):
        reader.new(node)
    for node in found.get("text", ()):
        text = _text(node)
        if PACKAGE.match(text):
            reader.texts.setdefault(text, node.start_point[0] + 1)
    return JavaScript(
        tuple(reader.loads),
        tuple(reader.files),
        tuple(reader.commands),
        tuple(Load(text, line) for text, line in reader.texts.items()),
        tuple(reader.computed),
        tuple(reader.starting),
        STARTS.search(source) is not None,
    )


def scan_together(sources: Sequence[tuple[str, bytes]]) -> dict[str, JavaScript]:
    """What sources of one application start, each with the constants and functions of all of them, by their keys.

    JSON counts as a source that holds nothing but an object. Raises Unread as `scan` does.
    """
    parser, query = _language()
    constants = Constants(most=TOGETHER, budget=BUDGET)
    trees: list[Tree] = []
    calls: list[tuple[str, list[Node]]] = []
    for key, source in sources:
        trees.append(parsed(parser, b"(" + source + b")" if key.endswith(".json") else source))
        found = _captures(query, trees[-1].root_node)
        constants.read(found.get("bound", ()))
        if STARTS.search(source):
            calls.append((key, found.get("call", [])))
    result: dict[str, JavaScript] = {}
    for key, nodes in calls:
        reader = _Reader(constants=constants)
        for node in nodes:
            reader.call(node, True)
        commands = tuple(dict.fromkeys(reader.commands))
        result[key] = JavaScript(commands=commands, starting=tuple(reader.starting), starts=True)
    return result


def _captures(query: Query, node: Node) -> dict[str, list[Node]]:
    """What a query finds, by name, in the order of the source: the binding goes by where the nodes lie in memory."""
    found = QueryCursor(query).captures(node)
    return {name: sorted(nodes, key=lambda each: (each.start_byte, each.end_byte)) for name, nodes in found.items()}


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "surrogateescape")


@dataclass(slots=True)
class _Reader:
    loads: list[Load] = field(default_factory=list)
    files: list[Load] = field(default_factory=list)
    commands: list[CommandLine] = field(default_factory=list)
    texts: dict[str, int] = field(default_factory=dict)
    computed: list[int] = field(default_factory=list)
    starting: list[int] = field(default_factory=list)
    constants: Constants = field(default_factory=Constants)

    def load(self, node: Node) -> None:
        text, whole = _beginning(node)
        line = node.start_point[0] + 1
        if text:
            self.loads.append(Load(text, line, whole))
        elif not whole:
            self.computed.append(line)

    def call(self, node: Node, starts: bool) -> None:
        function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or arguments is None:
            return
        if arguments.type == "template_string" and _text(function)[-40:].rpartition(".")[2] in TEMPLATED:
            texts = [each for each in self.constants.fold(arguments) if isinstance(each, str)] if starts else []
            self.commands.extend(CommandLine((text,), node.start_point[0] + 1, True) for text in texts)
            return
        if not arguments.named_children:
            return
        name, first = (
            _text(function) if function.end_byte - function.start_byte < 80 else "",
            arguments.named_children[0],
        )
        last = self.constants.function(name.rpartition(".")[2])
        if name in LOADERS or name.startswith(("createRequire(", "module.createRequire(")):
            self.load(first)
        elif name in ("path.join", "path.resolve", "join", "resolve") and _text(first) in HERE:
            self._file(arguments.named_children[1:], node)
        elif starts and last in STARTERS and not (last == "exec" and self._asks(function, first)):
            self._start(last, arguments.named_children, node)

    def _asks(self, function: Node, first: Node) -> bool:
        """Whether an `exec` is a pattern's or a database's, which starts nothing."""
        held = function.child_by_field_name("object")
        if held is None:
            return False
        return held.type == "regex" or any(
            is_statement(each) for each in self.constants.fold(first) if isinstance(each, str)
        )

    def new(self, node: Node) -> None:
        constructor, arguments = node.child_by_field_name("constructor"), node.child_by_field_name("arguments")
        if constructor is None or arguments is None or not arguments.named_children:
            return
        if _text(constructor) in ("URL", "Worker", "SharedWorker"):
            self._file(arguments.named_children[:1], node)

    def _file(self, parts: Sequence[Node], node: Node) -> None:
        texts = [_beginning(part) for part in parts]
        known: list[str] = []
        for text, whole in texts:
            known.append(text)
            if not whole:
                break
        path = "/".join(part for part in known if part)
        if path and len(path) < 300:
            self.files.append(Load(path, node.start_point[0] + 1, all(whole for _, whole in texts)))

    def _start(self, name: str, arguments: Sequence[Node], node: Node) -> None:
        first, line = arguments[0], node.start_point[0] + 1
        if name == "fork":
            text, whole = _beginning(first)
            if text:
                self.files.append(Load(text, line, whole))
            return
        shell = name in SHELL_STARTERS or any("shell: true" in _text(each) for each in arguments[1:])
        programs = [each for each in self.constants.fold(first) if isinstance(each, str)]
        if _text(first) in ("process.execPath", "process.argv[0]", "process.argv0"):
            programs, shell = ["node"], False
        lists = [each for each in self.constants.fold(arguments[1]) if isinstance(each, tuple)] if arguments[1:] else []
        for text in programs:
            if shell:
                words = [text, *(word for word in lists[0] if lists)] if lists else [text]
                self.commands.append(CommandLine((" ".join(words),), line, True))
            elif HOLE not in text.split(" ")[0]:
                self.commands.extend(CommandLine((text, *each), line) for each in (lists or [()])[:MOST_LINES])
        if not programs and name not in ("exec",):
            self.starting.append(line)
        if not programs and shell and name != "exec":
            self.commands.append(CommandLine(("",), line, True))


DEEPEST = 50  # brackets and calls inside each other
HERE = frozenset({"__dirname", "import.meta.dirname", "__filename"})


def _beginning(node: Node, depth: int = 0) -> tuple[str, bool]:
    """What a text is known to begin with, and whether that is all of it."""
    if depth > DEEPEST:
        return "", False
    match node.type:
        case "string":
            return "".join(_fragment(child) for child in node.named_children), True
        case "template_string":
            known: list[str] = []
            for child in node.named_children:
                if child.type == "template_substitution":
                    if _text(child)[2:-1].strip() in HERE and not known:
                        known.append(".")
                        continue
                    return "".join(known), False
                known.append(_fragment(child))
            return "".join(known), True
        case "binary_expression":
            terms = _terms(node)
            if terms:
                known = []
                for at, term in enumerate(terms):
                    text, whole = (".", True) if at == 0 and _text(term) in HERE else _beginning(term, depth + 1)
                    known.append(text)
                    if not whole:
                        return "".join(known), False
                return "".join(known), True
        case "parenthesized_expression":
            if node.named_children:
                return _beginning(node.named_children[0], depth + 1)
        case "call_expression":
            # path.join(__dirname, "plugins", name)
            arguments = node.child_by_field_name("arguments")
            if arguments is not None and arguments.named_children and _text(arguments.named_children[0]) in HERE:
                parts = ["."]
                for part in arguments.named_children[1:]:
                    text, whole = _beginning(part, depth + 1)
                    parts.append(text)
                    if not whole:
                        return "/".join(parts), False
                return "/".join(parts), True
    return "", False


def _terms(node: Node) -> list[Node]:
    """The operands of `a + b + c …` in order; none when one is missing. A chain nests to the left, however long."""
    found: list[Node] = []
    while node.type == "binary_expression":
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if left is None or right is None:
            return []
        found.append(right)
        node = left
    return [node, *reversed(found)]


def _fragment(node: Node) -> str:
    text = _text(node)
    return re.sub(r"\\(.)", r"\1", text) if node.type == "escape_sequence" else text


# In packages, whose sources are only asked which files of their own they load.
PLAIN = re.compile(rb"""(?:require(?:\.resolve)?\s*+\(\s*+|\bfrom\s*+|\bimport\s*+\(?\s*+)["']([^"'\n]{1,200})["']""")


def plain_loads(source: bytes) -> Iterator[str]:
    """Specifiers in a source by pattern: quick, with false ones from comments."""
    for found in dict.fromkeys(PLAIN.findall(source)):
        yield found.decode("utf-8", "surrogateescape")
