"""What a Python source can import, start and load: read from its syntax tree, never executed.

Function-level imports, `try`, `importlib.import_module("literal")`, `__import__`,
names built from a literal beginning (`f"plugins.{name}"`), dotted names in
string tables, command lines given to subprocess and os, libraries given to
ctypes and cffi. Blocks under `TYPE_CHECKING` never run and are left out.
"""

from __future__ import annotations

import ast
import contextlib
import enum
import gc
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.languages.python.commands import CANDIDATE, LOOKS_UP, STARTERS, Commands, scan_commands
from slimmer.facts.remember import remembered


class When(enum.IntEnum):
    """When an import statement runs."""

    LOADED = 0  # whenever the module is imported
    LATER = 1  # in a function, a `try` or a condition
    MAIN = 2  # only when the file is the program


@dataclass(frozen=True, slots=True)
class Import:
    """`import module` (no names) or `from module import names`; `level` counts the leading dots."""

    module: str
    line: int
    names: tuple[str, ...] = ()
    level: int = 0
    when: When = When.LOADED


@dataclass(frozen=True, slots=True)
class Family:
    """An import whose name is only known to begin with `prefix`."""

    prefix: str
    line: int
    level: int = 0


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal text and where it stands."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Imports:
    """Everything that one source says about what it needs."""

    imports: tuple[Import, ...] = ()
    families: tuple[Family, ...] = ()
    computed: tuple[int, ...] = ()  # lines of imports about whose names nothing is known
    exported: tuple[str, ...] = ()  # of `__all__`
    commands: tuple[CommandLine, ...] = ()
    mentioned: tuple[CommandLine, ...] = ()  # texts and lists that look like command lines; nothing here starts them
    starting: tuple[int, ...] = ()  # lines that start a program whose name is computed
    starts: bool = False  # whether the source can start programs at all
    libraries: tuple[Literal, ...] = ()
    dotted: tuple[Literal, ...] = ()  # literals that look like "package.module" or "package.module:object"
    words: tuple[Literal, ...] = ()  # literals of one identifier; only when asked for
    fonts: tuple[Literal, ...] = ()  # file names of fonts
    paths: tuple[str, ...] = ()  # literal directories added to sys.path
    groups: frozenset[str] = frozenset()  # literals of a source that looks up entry points


# Only when one of these is in a source is the whole tree walked: most sources only have statements to look at.
IMPORTS = (b"__import__", b"import_module", b"import_string", b"lazy_import", b"import_object", b"find_spec")
LOADERS = (b"CDLL", b"LoadLibrary", b"dlopen", b"find_library")
# What a loading function may be given in the end: a file's name, or one without the usual decorations.
LIBRARY = re.compile(r"lib[\w.+-]{1,60}|[A-Za-z][\w.+-]{2,40}")
FONT = re.compile(rb"""["']([\w .+-]{1,80}\.(?:ttf|otf|ttc|pfb))["']""")
CALLS = (*IMPORTS, b"CDLL", b"LoadLibrary", b"dlopen", b"find_library", b"sys.path", b"addsitedir")
ENTRY_POINTS = (b"entry_point", b"EntryPoint", b"stevedore")
# `import_optional_dependency("tabulate")`: a helper that says so in its name; a skipped test needs nothing.
HELPER = re.compile(rb"import(?!orskip)\w{0,40}+\((?=\s{0,80}+[\"'])")
NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
# Where a statement of a module begins that does not continue the one before.
BOUNDARY = re.compile(rb"\n(?!else\b|elif\b|except\b|finally\b)(?=[A-Za-z_@])")
DOTTED = re.compile(rb"""["']((?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*)(?::[\w.]+)?["']""")
PLAIN = re.compile(rb"""["']([A-Za-z_]\w*)(?::[A-Za-z_]\w*)?["']""")
TEXT = re.compile(rb"""["']([\w.:-]+)["']""")
STATEMENT = re.compile(
    rb"^[ \t]*(?:from[ \t]++(\.*+)([\w.]*+)[ \t]++import[ \t]++\(?([\w, \t]*)|import[ \t]+([\w., \t]+))", re.M
)
LIBRARY_CALLS = frozenset({"CDLL", "PyDLL", "WinDLL", "LoadLibrary", "dlopen", "find_library"})
IMPORT_CALLS = frozenset({"import_module", "__import__", "lazy_import", "import_string", "import_object", "find_spec"})
CALLED = LIBRARY_CALLS | IMPORT_CALLS | {"insert", "append", "addsitedir", "extend"}
ATOMS = frozenset({int, str, bytes, type(None), ast.Name, ast.Constant, ast.Load, ast.Store, ast.Del})


@remembered
def scan(source: bytes, *, words: bool = False, commands: bool = True, texts: bool = False) -> Imports:
    """Read a source. `words` also collects literals of a single identifier; without `commands` none are looked for.

    With `words` or `texts` all its texts may be command lines; else only where one of them has the looks of one.

    A source that this Python cannot parse (another version's syntax) is read line by line instead.
    """
    calls = [word for word in (CALLS if commands else IMPORTS) if word in source]
    calls += sorted({*HELPER.findall(source)}) if commands else ()
    loads = commands and any(word in source for word in LOADERS)
    starts = commands and STARTERS.search(source) is not None
    mentions = commands and (words or texts or CANDIDATE.search(source) is not None)
    found = Commands()
    reader = _Reader()
    with _uncollected():
        tree = _parse(source) if starts or mentions or loads else _parse_beginning(source, calls)
        if tree is None:
            reader.imports.extend(_lines(source))
        else:
            reader.block(tree.body, When.LOADED)
            if calls:
                reader.calls(tree)
            if loads and reader.libraries:
                reader.library_names(tree)
            if starts or mentions or LOOKS_UP.search(source):
                found = scan_commands(tree, lists=starts, mentions=mentions, vocabularies=words or texts)
        del tree
    lookup = any(word in source for word in ENTRY_POINTS)
    return Imports(
        tuple(reader.imports),
        tuple(reader.families),
        tuple(reader.computed),
        tuple(reader.exported),
        tuple(found.started),
        tuple(found.mentioned),
        tuple(found.computed) if starts else (),
        starts,
        tuple(dict.fromkeys(each for each in reader.libraries if each.text)),
        tuple(_mentions(DOTTED, source)),
        tuple(_mentions(PLAIN, source)) if words else (),
        tuple(_mentions(FONT, source)) if commands else (),
        tuple(reader.paths),
        frozenset(text.decode() for text in TEXT.findall(source)) if lookup else frozenset(),
    )


def _parse_beginning(source: bytes, calls: Sequence[bytes]) -> ast.Module | None:
    """The syntax tree, at least up to the last statement that is looked for: parsing is what takes the time."""
    words = (word for word in (b"import", b"__all__", *calls) if word in source)
    last = max((source.rfind(word) for word in words), default=-1)
    boundary = BOUNDARY.search(source, max(last, 0))
    tree = _parse(source[: boundary.start() + 1]) if boundary is not None else None
    return tree if tree is not None else _parse(source)


def _parse(source: bytes) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """A syntax tree has no cycles, and collecting while its million nodes live costs four times the parsing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _mentions(pattern: re.Pattern[bytes], source: bytes) -> Iterator[Literal]:
    seen = set()
    for found in pattern.finditer(source):
        if found[1] not in seen:
            seen.add(found[1])
            with contextlib.suppress(UnicodeDecodeError):
                yield Literal(found[1].decode(), source.count(b"\n", 0, found.start()) + 1)


def _lines(source: bytes) -> Iterator[Import]:
    for found in STATEMENT.finditer(source):
        line = source.count(b"\n", 0, found.start()) + 1
        try:
            dots, module, names, plain = (part.decode() if part else "" for part in found.groups())
        except UnicodeDecodeError:
            continue
        if plain:
            for each in plain.split(","):
                if each.strip():
                    yield Import(each.split()[0], line, when=When.LATER)
        else:
            listed = tuple(each.split()[0] for each in names.split(",") if each.strip())
            yield Import(module, line, listed, len(dots), When.LATER)


@dataclass(slots=True)
class _Reader:
    imports: list[Import] = field(default_factory=list)
    families: list[Family] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)
    libraries: list[Literal] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    # ----------------------------------------------------------- statements

    def block(self, body: Sequence[ast.stmt], when: When) -> None:
        for node in body:
            match node:
                case ast.Import():
                    self.imports.extend(Import(alias.name, node.lineno, when=when) for alias in node.names)
                case ast.ImportFrom():
                    names = tuple(alias.name for alias in node.names)
                    self.imports.append(Import(node.module or "", node.lineno, names, node.level, when))
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.block(node.body, max(when, When.LATER))
                case ast.ClassDef() | ast.With() | ast.AsyncWith():
                    self.block(node.body, when)
                case ast.If():
                    self._if(node, when)
                case ast.Try() | ast.TryStar():
                    self._try(node, max(when, When.LATER))
                case ast.For() | ast.AsyncFor() | ast.While():
                    self.block(node.body, when)
                    self.block(node.orelse, when)
                case ast.Match():
                    for case in node.cases:
                        self.block(case.body, max(when, When.LATER))
                case (
                    ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                    | ast.AugAssign(target=ast.Name(id="__all__"), value=value)
                ):
                    self.exported.extend(_texts(value))

    def _if(self, node: ast.If, when: When) -> None:
        later = max(when, When.LATER)
        match node.test:
            case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
                self.block(node.orelse, when)
            case ast.Compare(
                left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]
            ):
                self.block(node.body, When.MAIN)
                self.block(node.orelse, when)
            case _ if _elsewhere(node.test):
                self.block(node.orelse, when)
            case _:
                self.block(node.body, later)
                while len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If) and not _special(node.orelse[0]):
                    node = node.orelse[0]  # `elif` after `elif`, each inside the one before
                    self.block(node.body, later)
                self.block(node.orelse, later)

    def _try(self, node: ast.Try | ast.TryStar, when: When) -> None:
        self.block(node.body, when)
        for handler in node.handlers:
            self.block(handler.body, when)
        self.block(node.orelse, when)
        self.block(node.finalbody, when)

    # ---------------------------------------------------------------- calls

    def calls(self, tree: ast.Module) -> None:
        for node in _nodes(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)):
                    if name in CALLED or ("import" in name and "importorskip" not in name):
                        self._call(name, node)

    def _call(self, name: str, node: ast.Call) -> None:
        if not node.args:
            return
        first = node.args[0]
        if name in IMPORT_CALLS:
            self._import(first, node)
        elif name in LIBRARY_CALLS:
            self.libraries.extend(Literal(text, node.lineno) for text in _texts(first))
            if not any(_texts(first)):
                self.libraries.append(Literal("", node.lineno))
        elif name in ("insert", "append", "addsitedir", "extend"):
            if _is_path(node.func):
                self.paths.extend(text for argument in node.args for text in _texts(argument) if text)
        elif isinstance(first, ast.Constant) and isinstance(first.value, str) and NAME.fullmatch(first.value):
            self._import(first, node)

    def library_names(self, tree: ast.Module) -> None:
        """Every literal that may be a library's name, where something loads one: lists of names, tables, defaults."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and LIBRARY.fullmatch(node.value):
                self.libraries.append(Literal(node.value, node.lineno))

    def _import(self, first: ast.expr, node: ast.Call) -> None:
        text, whole = _beginning(first)
        bare = text.lstrip(".")
        level = len(text) - len(bare)
        if whole and text:
            module, _, _ = bare.partition(":")
            self.imports.append(Import(module, node.lineno, level=level, when=When.LATER))
            for keyword in node.keywords:
                if keyword.arg == "fromlist":
                    self.imports.append(Import(module, node.lineno, tuple(_texts(keyword.value)), level, When.LATER))
        elif text:
            self.families.append(Family(bare, node.lineno, level))
        else:
            self.computed.append(node.lineno)


def _special(node: ast.If) -> bool:
    """Whether a condition says when its branches run."""
    match node.test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
        case ast.Compare(left=ast.Name(id="__name__")):
            return True
    return _elsewhere(node.test)


def _elsewhere(test: ast.expr) -> bool:
    """Whether a condition holds on other systems only."""
    match test:
        case ast.Compare(left=ast.Attribute(attr="platform"), ops=[ast.Eq()], comparators=[ast.Constant(value=value)]):
            return isinstance(value, str) and not value.startswith("linux")
        case ast.Compare(left=ast.Attribute(attr="name"), ops=[ast.Eq()], comparators=[ast.Constant(value="nt")]):
            return True
        case ast.Call(
            func=ast.Attribute(attr="startswith", value=ast.Attribute(attr="platform")),
            args=[ast.Constant(value=value)],
        ):
            return isinstance(value, str) and not value.startswith("linux")
    return False


def _is_path(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Attribute(attr="path", value=ast.Name(id="sys"))):
            return True
        case ast.Attribute(attr="addsitedir"):
            return True
    return False


def _nodes(top: ast.AST) -> Iterator[ast.Call]:
    """The calls of a tree: ast.walk, without what makes it slow."""
    pending = [top]
    while pending:
        node = pending.pop()
        if type(node) is ast.Call:
            yield node
        for value in node.__dict__.values():
            kind = type(value)
            if kind in ATOMS:
                continue
            if kind is list:
                pending.extend([each for each in value if isinstance(each, ast.AST) and each._fields])
            elif isinstance(value, ast.AST):
                pending.append(value)


def _texts(node: ast.AST) -> Iterator[str]:
    """Every literal text below a node."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def _beginning(node: ast.expr) -> tuple[str, bool]:
    """What a text is known to begin with, and whether that is all of it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            node = node.left
        return _beginning(node)[0], False
    match node:
        case ast.Constant(value=str(text)):
            return text, True
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *rest]):
            return text, not rest
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return text.partition("%")[0], False
        case ast.Call(func=ast.Attribute(attr="format", value=ast.Constant(value=str(text)))):
            return text.partition("{")[0], False
    return "", False
