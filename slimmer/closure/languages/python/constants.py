"""What expressions of a Python module are known to be: texts with holes, and lists of them; nothing is executed.

Names are followed through the module without regard to the order of its statements:
assignments and `+=`, attributes of classes and instances, loops over literals, default
arguments, arguments at the calls of a module's own functions, and what those return.
What is not known inside a text stays as a shell's unknown variable, and as an empty word in a list.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from slimmer.closure.commands.literals import HOLE
from slimmer.closure.commands.values import LONGEST, MOST, Value, combined, elements, few, grow, product, split

MOST_STEPS = 20_000  # expressions of one module that are looked at
DEEPEST = 8  # names and calls between an expression and its value
PERCENT = re.compile(r"%(?:\((\w++)\))?[-#0 +]*+[\d*]*+(?:\.[\d*]++)?[a-zA-Z%]")
BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
SAME = frozenset(
    """strip lstrip rstrip lower casefold encode decode replace expandtabs dedent quote str fspath expanduser realpath
    abspath resolve Path PurePath PosixPath list tuple sorted deepcopy copy removeprefix removesuffix fsencode
    """.split()  # noqa: SIM905
)
OF_OWNER = frozenset("replace encode decode strip lstrip rstrip expandtabs removeprefix removesuffix".split())  # noqa: SIM905
Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | None


@dataclass(frozen=True, slots=True)
class Binding:
    """One way in which a name gets a value. `how`: "=", "+=", "each" (an element of it), "append"."""

    how: str
    value: ast.expr
    scope: Scope
    place: int = -1  # of the element that unpacking takes


@dataclass(slots=True)
class Constants:
    """The names of one module and what they may be."""

    names: dict[tuple[int, str], list[Binding]] = field(default_factory=dict)
    attributes: dict[str, list[Binding]] = field(default_factory=dict)
    functions: dict[str, list[Function]] = field(default_factory=dict)
    sites: dict[str, list[tuple[ast.Call, Scope]]] = field(default_factory=dict)  # calls by the last name called
    returns: dict[int, list[ast.expr]] = field(default_factory=dict)
    order: list[tuple[ast.expr, Scope]] = field(default_factory=list)  # calls, texts, lists, in their scopes
    known: dict[tuple[int, int], tuple[Value, ...]] = field(default_factory=dict)  # what was folded before
    steps: int = 0
    most: int = MOST  # values of one expression, and calls of one function, that are followed
    budget: int = MOST_STEPS
    documents: set[int] = field(default_factory=set)  # docstrings

    # ---------------------------------------------------------------- reading

    def read(self, tree: ast.Module) -> None:
        """Learn every binding of a module."""
        pending: list[tuple[ast.AST, Scope, bool]] = [(tree, None, False)]
        while pending:
            node, scope, body = pending.pop()
            inner, classed = scope, body
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.functions.setdefault(node.name, []).append(node)
                    inner, classed = node, False
                case ast.ClassDef():
                    classed = True
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._bind(target, "=", value, scope, body)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._bind(target, "=", value, scope, body)
                case ast.NamedExpr(target=target, value=value):
                    self._bind(target, "=", value, scope, body)
                case ast.AugAssign(target=target, op=ast.Add(), value=value):
                    self._bind(target, "+=", value, scope, body)
                case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                    self._bind(target, "each", value, scope, body)
                case ast.Return(value=ast.expr() as value) if scope is not None:
                    self.returns.setdefault(id(scope), []).append(value)
                case ast.Expr(value=ast.Constant() as text):
                    self.documents.add(id(text))
                case ast.Call():
                    self._site(node, scope, body)
                case ast.JoinedStr(values=parts):
                    self.order.append((node, scope))
                    pending.extend((part, scope, body) for part in parts if isinstance(part, ast.FormattedValue))
                    continue
                case ast.Constant(value=str()) | ast.List() | ast.Tuple() | ast.Set():
                    self.order.append((node, scope))
                case ast.BinOp(op=ast.Add() | ast.Mod(), left=left) if _texty(left):
                    self.order.append((node, scope))
            pending.extend((child, inner, classed) for child in reversed([*ast.iter_child_nodes(node)]))

    def _bind(self, target: ast.expr, how: str, value: ast.expr, scope: Scope, body: bool, place: int = -1) -> None:
        match target:
            case ast.Name(id=name):
                binding = Binding(how, value, scope, place)
                self.names.setdefault((id(scope), name), []).append(binding)
                if body:
                    self.attributes.setdefault(name, []).append(binding)
            case ast.Attribute(attr=name):
                self.attributes.setdefault(name, []).append(Binding(how, value, scope, place))
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for at, part in enumerate(parts):
                    if isinstance(part, ast.Starred):
                        break
                    self._bind(part, how, value, scope, body, at)

    def _site(self, node: ast.Call, scope: Scope, body: bool) -> None:
        self.order.append((node, scope))
        match node.func:
            case ast.Name(id=name):
                self.sites.setdefault(name, []).append((node, scope))
            case ast.Attribute(attr=name, value=owner):
                self.sites.setdefault(name, []).append((node, scope))
                if name in ("append", "extend", "insert") and node.args:
                    how = "+=" if name == "extend" else "append"
                    self._bind(owner, how, node.args[-1], scope, body)

    # ----------------------------------------------------------------- values

    def fold(self, node: ast.expr | None, scope: Scope, depth: int = 0) -> tuple[Value, ...]:
        """The values that an expression may have, as far as they are known; none when nothing is."""
        if node is None or depth > DEEPEST:
            return ()
        key = (id(node), id(scope))
        if key not in self.known:
            self.known[key] = ()  # for an expression that leads back to itself
            self.steps += 1
            if self.steps <= self.budget:
                self.known[key] = few(self._values(node, scope, depth + 1), self.most)
        return self.known[key]

    def texts(self, node: ast.expr, scope: Scope, depth: int = 0) -> tuple[str, ...]:
        """The texts that an expression may be; one hole when nothing is known."""
        found = tuple(each for each in self.fold(node, scope, depth) if isinstance(each, str))
        return found or (HOLE,)

    def listed(self, parts: Sequence[ast.expr], scope: Scope) -> tuple[Value, ...]:
        """The lists that these elements may make."""
        return few(self._list(parts, scope, 0), self.most)

    def words(self, node: ast.expr, scope: Scope) -> tuple[str, ...]:
        """The first list that an expression may be."""
        return next((each for each in self.fold(node, scope) if isinstance(each, tuple)), ())

    def _values(self, node: ast.expr, scope: Scope, depth: int) -> Iterator[Value]:
        match node:
            case ast.Constant(value=str(text)):
                if len(text) <= LONGEST:
                    yield text
            case ast.Constant(value=bytes(raw)):
                if len(raw) <= LONGEST:
                    yield raw.decode("utf-8", "replace")
            case ast.Constant(value=int(number)):
                yield str(number)
            case ast.JoinedStr(values=parts):
                yield from product([self.texts(part, scope, depth) for part in parts])
            case ast.FormattedValue(value=value):
                yield from self.texts(value, scope, depth)
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                yield from self._list(parts, scope, depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                yield from self._sum(left, right, scope, depth)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                yield from product([self.texts(left, scope, depth), ("/",), self.texts(right, scope, depth)])
            case ast.BinOp(left=left, op=ast.Mod(), right=right):
                yield from self._percent(left, right, scope, depth)
            case ast.BoolOp(values=parts):
                for part in parts:
                    yield from self.fold(part, scope, depth)
            case ast.IfExp(body=body, orelse=other):
                yield from self.fold(body, scope, depth)
                yield from self.fold(other, scope, depth)
            case ast.Name(id=name):
                yield from self._name(name, scope, depth)
            case ast.Attribute(attr=name):
                yield from self._bound(self.attributes.get(name, ()) or self.names.get((id(None), name), ()), depth)
            case ast.Subscript(value=owner, slice=key):
                yield from self._item(owner, key, scope, depth)
            case ast.NamedExpr(value=value) | ast.Await(value=value) | ast.Starred(value=value):
                yield from self.fold(value, scope, depth)
            case ast.Call():
                yield from self._call(node, scope, depth)

    def _list(self, parts: Sequence[ast.expr], scope: Scope, depth: int) -> Iterator[tuple[str, ...]]:
        lists: list[tuple[str, ...]] = [()]
        for part in parts:
            if isinstance(part, ast.Starred):
                known = [each for each in self.fold(part.value, scope, depth) if isinstance(each, tuple)]
                more: Iterable[tuple[str, ...]] = known or ((), ("",))
            else:
                found = [each for each in self.fold(part, scope, depth) if isinstance(each, str)]
                more = [(each,) for each in found] or [("",)]
            lists = [(*each, *end) for each in lists for end in more][:MOST]
        yield from lists

    def _sum(self, left: ast.expr, right: ast.expr, scope: Scope, depth: int) -> Iterator[Value]:
        first, second = self.fold(left, scope, depth), self.fold(right, scope, depth)
        if any(isinstance(each, tuple) for each in (*first, *second)):
            heads = [each for each in first if isinstance(each, tuple)] or [(), ("",)]
            tails = [each for each in second if isinstance(each, tuple)] or [()]
            yield from ((*head, *tail) for head in heads for tail in tails)
        elif first or second:
            yield from product([[*map(str, first)] or [HOLE], [*map(str, second)] or [HOLE]])

    def _percent(self, left: ast.expr, right: ast.expr, scope: Scope, depth: int) -> Iterator[str]:
        values: list[ast.expr] = [*right.elts] if isinstance(right, ast.Tuple) else [right]
        named = {}
        if isinstance(right, ast.Dict):
            pairs = zip(right.keys, right.values, strict=True)
            named = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
        for text in self.texts(left, scope, depth):
            parts: list[Sequence[str]] = []
            end = at = 0
            for found in PERCENT.finditer(text):
                parts.append((text[end : found.start()],))
                end = found.end()
                if found[0].endswith("%"):
                    parts.append(("%",))
                    continue
                value = named.get(found[1]) if found[1] else (values[at] if at < len(values) else None)
                at += 1
                parts.append(self.texts(value, scope, depth) if value is not None else (HOLE,))
            yield from product([*parts, (text[end:],)])

    def _format(self, text: str, node: ast.Call, scope: Scope, depth: int) -> Iterator[str]:
        named = {each.arg: each.value for each in node.keywords if each.arg}
        parts: list[Sequence[str]] = []
        end = at = 0
        for found in BRACES.finditer(text):
            parts.append((text[end : found.start()],))
            end = found.end()
            if found[1] is None:
                parts.append((found[0][0],))
                continue
            name = re.split(r"[!:.\[]", found[1])[0]
            place = int(name) if name.isdigit() else at
            at += not name
            value = (
                named.get(name) if name and not name.isdigit() else node.args[place] if place < len(node.args) else None
            )
            parts.append(self.texts(value, scope, depth) if value is not None else (HOLE,))
        yield from product([*parts, (text[end:],)])

    # ------------------------------------------------------------------ names

    def _name(self, name: str, scope: Scope, depth: int) -> Iterator[Value]:
        bindings = self.names.get((id(scope), name), ())
        if scope is not None:
            yield from self._parameter(name, scope, depth)
            if not bindings and name not in _parameters(scope):
                bindings = self.names.get((id(None), name), ())
        yield from self._bound(bindings, depth)

    def _bound(self, bindings: Sequence[Binding], depth: int) -> Iterator[Value]:
        bases: list[Value] = []
        for each in bindings:
            if each.how in ("=", "each"):
                found = self.fold(each.value, each.scope, depth)
                bases += elements(found, each.place) if each.place >= 0 or each.how == "each" else found
        grown = few(bases, self.most)
        for each in bindings:
            if each.how in ("+=", "append"):
                ends = self.fold(each.value, each.scope, depth)
                grown = few(joined for base in grown for joined in grow(base, ends, each.how)) or grown
        yield from (each for each in grown if each not in bases)
        yield from bases

    def _parameter(self, name: str, function: Function, depth: int) -> Iterator[Value]:
        arguments = function.args
        listed = [*arguments.posonlyargs, *arguments.args]
        names = [each.arg for each in listed]
        rest = arguments.vararg.arg if arguments.vararg else None
        if name == rest:
            for call, scope in self.sites.get(function.name, ())[: self.most]:
                skip = len(names) - (1 if names[:1] in (["self"], ["cls"]) else 0)
                yield from self._list(call.args[skip:], scope, depth)
            return
        if name not in _parameters(function):
            return
        defaults: dict[str, ast.expr | None] = dict(zip(reversed(names), reversed(arguments.defaults), strict=False))
        defaults |= {each.arg: value for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
        yield from self.fold(defaults.get(name), None, depth)
        place = names.index(name) if name in names else -1
        if names[:1] in (["self"], ["cls"]):
            place -= 1
        for call, scope in self.sites.get(function.name, ())[: self.most]:
            given = next((each.value for each in call.keywords if each.arg == name), None)
            if (
                given is None
                and 0 <= place < len(call.args)
                and not any(isinstance(each, ast.Starred) for each in call.args[: place + 1])
            ):
                given = call.args[place]
            yield from self.fold(given, scope, depth)

    def _item(self, owner: ast.expr, key: ast.expr, scope: Scope, depth: int) -> Iterator[Value]:
        tables = list(self._tables(owner, scope, depth))
        for table in tables:
            wanted = key.value if isinstance(key, ast.Constant) else None
            pairs = list(zip(table.keys, table.values, strict=True))
            exact = [value for each, value in pairs if isinstance(each, ast.Constant) and each.value == wanted]
            for value in exact or ([value for _, value in pairs] if wanted is None else []):
                yield from self.fold(value, scope, depth)
        if not tables and isinstance(key, ast.Constant) and isinstance(key.value, int):
            yield from elements(self.fold(owner, scope, depth), key.value)
        elif not tables and isinstance(key, ast.Slice):
            for whole in self.fold(owner, scope, depth):
                if isinstance(key.lower, ast.Constant) and isinstance(key.lower.value, int):
                    yield whole[key.lower.value :]

    def _tables(self, node: ast.expr, scope: Scope, depth: int) -> Iterator[ast.Dict]:
        match node:
            case ast.Dict():
                yield node
            case ast.Name(id=name) if depth <= DEEPEST:
                for each in self.names.get((id(scope), name), ()) or self.names.get((id(None), name), ()):
                    yield from self._tables(each.value, each.scope, depth + 1)
            case ast.Attribute(attr=name) if depth <= DEEPEST:
                for each in self.attributes.get(name, ()) or self.names.get((id(None), name), ()):
                    yield from self._tables(each.value, each.scope, depth + 1)

    # ------------------------------------------------------------------ calls

    def _call(self, node: ast.Call, scope: Scope, depth: int) -> Iterator[Value]:
        name = called(node)
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        first = node.args[0] if node.args else None
        if name == "split" and owner is not None and not (isinstance(owner, ast.Name) and owner.id == "shlex"):
            yield from (tuple(split(each)) for each in self.texts(owner, scope, depth) if each != HOLE)
        elif name == "split" and first is not None:
            yield from (tuple(split(each)) for each in self.texts(first, scope, depth) if each != HOLE)
        elif name == "format" and owner is not None:
            for text in self.texts(owner, scope, depth):
                yield from self._format(text, node, scope, depth)
        elif name == "join" and first is not None:
            yield from self._joined(node, owner, scope, depth)
        elif name in ("get", "getenv", "setdefault", "pop", "getattr") and len(node.args) > 1:
            yield from self.fold(node.args[-1], scope, depth)
            if owner is not None:
                yield from self._item(owner, first or node.args[-1], scope, depth)
        elif name == "get" and owner is not None and first is not None:
            yield from self._item(owner, first, scope, depth)
        elif name == "which" and first is not None:
            yield from self.fold(first, scope, depth)
        elif name in self.functions:
            for function in self.functions[name][:MOST]:
                for value in self.returns.get(id(function), ())[:MOST]:
                    yield from self.fold(value, function, depth)
        elif name in SAME:
            yield from self.fold(first if first is not None and name not in OF_OWNER else owner, scope, depth)

    def _joined(self, node: ast.Call, owner: ast.expr | None, scope: Scope, depth: int) -> Iterator[str]:
        if len(node.args) == 1 and owner is not None:
            for glue in self.texts(owner, scope, depth):
                if glue == HOLE:
                    glue = " "
                for words in self.fold(node.args[0], scope, depth):
                    if isinstance(words, tuple):
                        yield glue.join(word or HOLE for word in words)
        elif len(node.args) > 1:  # os.path.join
            parts = [self.texts(each, scope, depth) for each in node.args]
            yield from ("/".join(each) for each in combined(parts))


def called(node: ast.Call) -> str:
    """The last name of what is called: "run" of `subprocess.run(…)`."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _parameters(function: Function) -> set[str]:
    arguments = function.args
    return {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}


def _texty(node: ast.expr) -> bool:
    """Whether a sum begins with a text."""
    while isinstance(node, ast.BinOp):
        node = node.left
    return isinstance(node, ast.JoinedStr) or _is_text(node)


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
