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
from tree_sitter import Language, Node, Parser, Query, QueryCursor

from slimmer.closure.calls import CommandLine

LARGEST = 2 << 20  # bytes; larger sources are bundles, which load nothing by name
LOADERS = frozenset(
    {"require", "require.resolve", "import", "import.meta.resolve", "module.require", "jest.requireActual"}
)
STARTERS = frozenset(
    {"spawn", "spawnSync", "execFile", "execFileSync", "exec", "execSync", "execa", "execaSync", "fork"}
)
SHELL_STARTERS = frozenset({"exec", "execSync"})
PACKAGE = re.compile(r"(?:@[a-z0-9][\w.-]*/)?[a-z0-9][\w.-]*(?:/[\w./-]+)?$")
QUERY = """
(import_statement source: (string) @source)
(export_statement source: (string) @source)
(call_expression) @call
(new_expression) @new
(string (string_fragment) @text)
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


@functools.cache
def _language() -> tuple[Parser, Query]:
    language = Language(tree_sitter_javascript.language())
    return Parser(language), Query(language, QUERY)


def scan(source: bytes) -> JavaScript:
    """Read a source; nothing comes of one that is too large."""
    if len(source) > LARGEST:
        return JavaScript()
    parser, query = _language()
    found = QueryCursor(query).captures(parser.parse(source).root_node)
    reader = _Reader()
    for node in found.get("source", ()):
        reader.load(node)
    starts = b"child_process" in source or b"exec" in source
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
    )


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "surrogateescape")


@dataclass(slots=True)
class _Reader:
    loads: list[Load] = field(default_factory=list)
    files: list[Load] = field(default_factory=list)
    commands: list[CommandLine] = field(default_factory=list)
    texts: dict[str, int] = field(default_factory=dict)
    computed: list[int] = field(default_factory=list)

    def load(self, node: Node) -> None:
        text, whole = _beginning(node)
        line = node.start_point[0] + 1
        if text:
            self.loads.append(Load(text, line, whole))
        elif not whole:
            self.computed.append(line)

    def call(self, node: Node, starts: bool) -> None:
        function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or arguments is None or not arguments.named_children:
            return
        name, first = (
            _text(function) if function.end_byte - function.start_byte < 80 else "",
            arguments.named_children[0],
        )
        last = name.rpartition(".")[2]
        if name in LOADERS or name.startswith(("createRequire(", "module.createRequire(")):
            self.load(first)
        elif name in ("path.join", "path.resolve", "join", "resolve") and _text(first) in HERE:
            self._file(arguments.named_children[1:], node)
        elif starts and last in STARTERS:
            self._start(last, arguments.named_children, node)

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
        text, whole = _beginning(first)
        if name == "fork":
            if text:
                self.files.append(Load(text, line, whole))
        elif text and (name in SHELL_STARTERS or any("shell: true" in _text(each) for each in arguments[1:])):
            self.commands.append(CommandLine((text,), line, True))
        elif text and whole:
            listed = arguments[1].named_children if len(arguments) > 1 and arguments[1].type == "array" else ()
            self.commands.append(CommandLine((text, *(_beginning(each)[0] for each in listed)), line))
        elif _text(first) in ("process.execPath", "process.argv[0]", "process.argv0"):
            listed = arguments[1].named_children if len(arguments) > 1 and arguments[1].type == "array" else ()
            self.commands.append(CommandLine(("node", *(_beginning(each)[0] for each in listed)), line))


HERE = frozenset({"__dirname", "import.meta.dirname", "__filename"})


def _beginning(node: Node) -> tuple[str, bool]:
    """What a text is known to begin with, and whether that is all of it."""
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
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if left is not None and right is not None:
                first, whole = (".", True) if _text(left) in HERE else _beginning(left)
                if whole:
                    second, rest = _beginning(right)
                    return first + second, rest
                return first, False
        case "parenthesized_expression":
            if node.named_children:
                return _beginning(node.named_children[0])
        case "call_expression":
            # path.join(__dirname, "plugins", name)
            arguments = node.child_by_field_name("arguments")
            if arguments is not None and arguments.named_children and _text(arguments.named_children[0]) in HERE:
                parts = ["."]
                for part in arguments.named_children[1:]:
                    text, whole = _beginning(part)
                    parts.append(text)
                    if not whole:
                        return "/".join(parts), False
                return "/".join(parts), True
    return "", False


def _fragment(node: Node) -> str:
    text = _text(node)
    return re.sub(r"\\(.)", r"\1", text) if node.type == "escape_sequence" else text


# In packages, whose sources are only asked which files of their own they load.
PLAIN = re.compile(rb"""(?:require(?:\.resolve)?\s*\(\s*|\bfrom\s*|\bimport\s*\(?\s*)["']([^"'\n]{1,200})["']""")


def plain_loads(source: bytes) -> Iterator[str]:
    """Specifiers in a source by pattern: quick, with false ones from comments."""
    for found in dict.fromkeys(PLAIN.findall(source)):
        yield found.decode("utf-8", "surrogateescape")
