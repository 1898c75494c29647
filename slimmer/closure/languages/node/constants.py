"""What expressions of a JavaScript source are known to be: texts with holes, and lists of them; nothing is executed.

Names are followed through the whole source without regard to scopes: constants, fields of objects, elements of
destructured lists, other names of a function, as in `const run = promisify(exec)`, parameters by the calls of their
functions, and what functions return. Several sources may be read as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tree_sitter import Node

from slimmer.closure.commands.literals import HOLE
from slimmer.closure.commands.values import MOST, Value, combined, elements, few, product, split

MOST_STEPS = 20_000  # expressions of one source that are looked at
PROMISED = re.compile(r"(?:\w{1,40}\.){0,3}promisify\((?:\w{1,40}\.){0,3}(\w{1,40})\)")
DEEPEST = 8  # names between an expression and its value


def text_of(node: Node) -> str:
    """A node's source text."""
    return (node.text or b"").decode("utf-8", "surrogateescape")


@dataclass(slots=True)
class Constants:
    """The names of one source and what they may be."""

    names: dict[str, list[tuple[Node, int]]] = field(default_factory=dict)  # values; the element taken, or -1
    fields: dict[str, list[Node]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)  # another name → the function it calls
    known: dict[int, tuple[Value, ...]] = field(default_factory=dict)
    steps: int = 0
    parameters: dict[str, list[tuple[str, int, bool]]] = field(default_factory=dict)  # function, place, all from there
    returns: dict[str, list[Node]] = field(default_factory=dict)  # by the function's name
    sites: dict[str, list[Node]] = field(default_factory=dict)  # arguments of calls, by the last name called
    most: int = MOST  # values of one expression, and calls of one function, that are followed
    budget: int = MOST_STEPS

    def read(self, nodes: Sequence[Node]) -> None:
        """Learn from variable declarators, assignments, pairs of objects, class fields, imports."""
        for node in nodes:
            match node.type:
                case (
                    "function_declaration"
                    | "function_expression"
                    | "arrow_function"
                    | "method_definition"
                    | "generator_function_declaration"
                ):
                    self._function(node)
                case "return_statement" if node.named_children:
                    for called in _names_of(_enclosing(node)):
                        self.returns.setdefault(called, []).append(node.named_children[0])
                case "call_expression":
                    function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
                    if function is not None and arguments is not None and arguments.type == "arguments":
                        last = text_of(function)[-80:].rpartition(".")[2]
                        self.sites.setdefault(last, []).append(arguments)
                case "variable_declarator":
                    self._bind(node.child_by_field_name("name"), node.child_by_field_name("value"))
                case "assignment_expression":
                    self._bind(node.child_by_field_name("left"), node.child_by_field_name("right"))
                case "assignment_pattern":
                    self._bind(node.child_by_field_name("left"), node.child_by_field_name("right"))
                case "pair":
                    key, value = node.child_by_field_name("key"), node.child_by_field_name("value")
                    if key is not None and value is not None:
                        self.fields.setdefault(text_of(key).strip("'\""), []).append(value)
                case "field_definition":
                    key, value = node.child_by_field_name("property"), node.child_by_field_name("value")
                    if key is not None and value is not None:
                        self.fields.setdefault(text_of(key), []).append(value)
                case "import_specifier":
                    name, alias = node.child_by_field_name("name"), node.child_by_field_name("alias")
                    if name is not None and alias is not None:
                        self.aliases[text_of(alias)] = text_of(name)
                case "pair_pattern":
                    key, value = node.child_by_field_name("key"), node.child_by_field_name("value")
                    if key is not None and value is not None and value.type == "identifier":
                        self.aliases[text_of(value)] = text_of(key)

    def _bind(self, name: Node | None, value: Node | None) -> None:
        if name is None or value is None:
            return
        if name.type == "identifier":
            found = PROMISED.fullmatch(text_of(value)[:200])
            if found is not None:
                self.aliases[text_of(name)] = found[1]
            elif value.type == "member_expression":
                self.aliases.setdefault(text_of(name), text_of(value).rpartition(".")[2])
            self.names.setdefault(text_of(name), []).append((value, -1))
        elif name.type == "array_pattern":
            for at, part in enumerate(name.named_children):
                if part.type == "identifier":
                    self.names.setdefault(text_of(part), []).append((value, at))
        elif name.type == "member_expression":
            self.fields.setdefault(text_of(name).rpartition(".")[2], []).append(value)

    def _function(self, node: Node) -> None:
        names = _names_of(node)
        single = node.child_by_field_name("parameter")
        listed = node.child_by_field_name("parameters")
        for at, each in enumerate([single] if single is not None else listed.named_children if listed else ()):
            rest = each.type == "rest_pattern"
            inner = each.child_by_field_name("left") if each.type == "assignment_pattern" else each
            if rest and each.named_children:
                inner = each.named_children[0]
            if inner is not None and inner.type == "identifier":
                self.parameters.setdefault(text_of(inner), []).extend((name, at, rest) for name in names)
        body = node.child_by_field_name("body")
        if node.type == "arrow_function" and body is not None and body.type != "statement_block":
            for name in names:
                self.returns.setdefault(name, []).append(body)

    def function(self, name: str) -> str:
        """What a called name stands for: "exec" of `run` after `const run = promisify(exec)`."""
        seen = {name}
        while (other := self.aliases.get(name)) is not None and other not in seen:
            name = other
            seen.add(name)
        return name

    # ----------------------------------------------------------------- values

    def fold(self, node: Node | None, depth: int = 0) -> tuple[Value, ...]:
        """The values that an expression may have, as far as they are known."""
        if node is None or depth > DEEPEST:
            return ()
        if node.id not in self.known:
            self.known[node.id] = ()  # for an expression that leads back to itself
            self.steps += 1
            if self.steps <= self.budget:
                self.known[node.id] = few(self._values(node, depth + 1), self.most)
        return self.known[node.id]

    def texts(self, node: Node, depth: int = 0) -> tuple[str, ...]:
        """The texts that an expression may be; one hole when nothing is known."""
        return tuple(each for each in self.fold(node, depth) if isinstance(each, str)) or (HOLE,)

    def _values(self, node: Node, depth: int) -> Iterator[Value]:
        match node.type:
            case "string":
                yield "".join(_fragment(child) for child in node.named_children)
            case "template_string":
                parts = [
                    self.texts(child.named_children[0], depth)
                    if child.type == "template_substitution" and child.named_children
                    else (_fragment(child),)
                    for child in node.named_children
                ]
                yield from product(parts)
            case "array":
                yield from self._list(node.named_children, depth)
            case "binary_expression":
                yield from self._operation(node, depth)
            case "ternary_expression":
                for name in ("consequence", "alternative"):
                    yield from self.fold(node.child_by_field_name(name), depth)
            case "parenthesized_expression" | "await_expression":
                yield from self.fold(node.named_children[0] if node.named_children else None, depth)
            case "identifier":
                for value, place in self.names.get(text_of(node), ())[:MOST]:
                    found = self.fold(value, depth)
                    yield from elements(found, place) if place >= 0 else found
                yield from self._parameter(text_of(node), depth)
            case "member_expression":
                key = node.child_by_field_name("property")
                for value in self.fields.get(text_of(key) if key is not None else "", ())[: self.most]:
                    yield from self.fold(value, depth)
            case "subscript_expression":
                yield from self._item(node, depth)
            case "call_expression":
                yield from self._call(node, depth)

    def _parameter(self, name: str, depth: int) -> Iterator[Value]:
        for function, place, rest in self.parameters.get(name, ())[:MOST]:
            for arguments in self.sites.get(function, ())[: self.most]:
                given = arguments.named_children
                if rest:
                    yield from self._list(given[place:], depth)
                elif place < len(given):
                    yield from self.fold(given[place], depth)

    def _list(self, parts: Sequence[Node], depth: int) -> Iterator[tuple[str, ...]]:
        lists: list[tuple[str, ...]] = [()]
        for part in parts:
            if part.type == "spread_element":
                inner = self.fold(part.named_children[0] if part.named_children else None, depth)
                ends = [each for each in inner if isinstance(each, tuple)] or [(), ("",)]
            else:
                ends = [(each,) for each in self.fold(part, depth) if isinstance(each, str)] or [("",)]
            lists = [(*each, *end) for each in lists for end in ends][:MOST]
        yield from lists

    def _operation(self, node: Node, depth: int) -> Iterator[Value]:
        left, right, sign = (node.child_by_field_name(each) for each in ("left", "right", "operator"))
        if left is None or right is None or sign is None:
            return
        if text_of(sign) in ("||", "??"):
            yield from self.fold(left, depth)
            yield from self.fold(right, depth)
        elif text_of(sign) == "+":
            yield from product([self.texts(left, depth), self.texts(right, depth)])

    def _item(self, node: Node, depth: int) -> Iterator[Value]:
        index, owner = node.child_by_field_name("index"), node.child_by_field_name("object")
        if index is None or owner is None:
            return
        if index.type == "number" and text_of(index).isdigit():
            yield from elements(self.fold(owner, depth), int(text_of(index)))
            return
        exact = self.fields.get(text_of(index).strip("'\""), ()) if index.type == "string" else ()
        for value in exact[:MOST]:
            yield from self.fold(value, depth)
        if not exact and owner.type == "identifier":
            for table, _ in self.names.get(text_of(owner), ()):
                for pair in table.named_children if table.type == "object" else ():
                    yield from self.fold(pair.child_by_field_name("value"), depth)

    def _call(self, node: Node, depth: int) -> Iterator[Value]:
        function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or arguments is None:
            return
        name = text_of(function)[-80:].rpartition(".")[2]
        owner = function.child_by_field_name("object")
        given = arguments.named_children
        if name == "split" and owner is not None:
            yield from (tuple(split(each)) for each in self.texts(owner, depth) if each != HOLE)
        elif name == "join" and owner is not None and text_of(owner) != "path":
            glue = next(iter(self.texts(given[0], depth)), " ") if given else ","
            lists = [each for each in self.fold(owner, depth) if isinstance(each, tuple)]
            yield from (glue.join(word or HOLE for word in each) for each in lists)
        elif name in ("join", "resolve") and given:
            yield from ("/".join(each) for each in combined([self.texts(each, depth) for each in given]))
        elif name == "concat" and owner is not None and given:
            for first in self.fold(owner, depth):
                for second in self.fold(given[0], depth) or ((),):
                    if isinstance(first, tuple) and isinstance(second, tuple):
                        yield (*first, *second)
        elif name in ("trim", "toString", "replace", "toLowerCase") and owner is not None:
            yield from self.fold(owner, depth)
        elif name in self.returns:
            for value in self.returns[name][:MOST]:
                yield from self.fold(value, depth)
        elif name in ("String", "quote", "sync", "which") and given:
            yield from self.fold(given[0], depth)


def _enclosing(node: Node) -> Node | None:
    """The function that a statement lies in."""
    found = node.parent
    while found is not None and not found.type.endswith(("function", "function_declaration", "function_expression")):
        if found.type == "method_definition":
            break
        found = found.parent
    return found


def _names_of(node: Node | None) -> list[str]:
    """The names by which a function is called: its own, or those that it is assigned to."""
    if node is None:
        return []
    name = node.child_by_field_name("name")
    if name is not None:
        return [text_of(name)]
    holder = node.parent
    if holder is None:
        return []
    field_name = {
        "variable_declarator": "name",
        "assignment_expression": "left",
        "pair": "key",
        "field_definition": "property",
    }.get(holder.type, "")
    named = holder.child_by_field_name(field_name) if field_name else None
    return [text_of(named)[-80:].rpartition(".")[2].strip("'\"")] if named is not None else []


def _fragment(node: Node) -> str:
    text = text_of(node)
    if node.type == "escape_sequence":
        return {"\\n": "\n", "\\t": "\t"}.get(text, re.sub(r"\\(.)", r"\1", text))
    return text
