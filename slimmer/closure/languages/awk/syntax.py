"""Awk programs as tokens: the commands that they run, the files that they read, and what gawk includes and loads.

A string and a name beside one another are joined (POSIX awk, "Expressions"), so what is run is a row of tokens:
`print | ("sort -k" n)`, `"date +%s" | getline now`, `system(sprintf("convert %s", file))`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.commands.values import MOST, product
from slimmer.closure.languages.tokens import LONGEST, UNKNOWN, Kind, Language, Token, arguments, cutter

# A slash begins a pattern where no value can stand before it; else it divides.
REGEXP = r"(?:(?<=[(,~!{};&|])|(?m:^))[ \t]*+/(?:[^/\\\n\[]|\\.|\[\^?\]?[^\]\n]{0,200}\]){1,1000}+/"
AWK = Language(
    cutter(
        comment=rf"{REGEXP}|#[^\n]*+|\\\n",
        name=r"@?[A-Za-z_]\w*+",
        quotes='"',
        signs=r"\|&|\|\||&&|>>|[=!<>]=|\n|\S",
    ),
    frozenset(),
)
PIPES = ("|", "|&")
BEFORE = frozenset({"\n", ";", "{", "}", "!", "&&", "||", ",", "=", ">", "<", "?", ":", "~", *PIPES})
BEHIND = frozenset({"\n", ";", "}", "&&", "||", ",", ">", "<", "==", "!=", "<=", ">=", *PIPES})
TESTS = frozenset({"if", "while", "for"})
FUNCTION = ("function", "func")
WORDS = TESTS | {"return", "do", "else", "print", "printf", "in"}
FORMAT = re.compile(r"%(?:%|[-+ #0]{0,5}[\d*.]{0,20}[a-zA-Z])")
ROUNDS = 2

Tokens = tuple[Token, ...]


@dataclass(slots=True)
class Program:
    """One program. `values` are texts that its names are given, those of its functions' parameters included."""

    tokens: Tokens
    values: dict[str, dict[str, None]] = field(default_factory=dict)

    @classmethod
    def read(cls, source: bytes) -> Program:
        program = cls(AWK.read(source).tokens)
        given = [*program._assigned(), *program._called()]
        for _ in range(ROUNDS):  # a name may be used, in a function, above the line that sets it
            for name, expression in given:
                known = program.values.setdefault(name, {})
                if len(known) < MOST:
                    known.update(dict.fromkeys(program.texts(expression)))
        return program

    def commands(self) -> Iterator[CommandLine]:
        """What is handed to sh -c: by `system`, and by pipes to and from a command."""
        for at, token in enumerate(self.tokens):
            following = self.tokens[at + 1 : at + 2]
            if token.kind is Kind.NAME and token.value == "system" and _are(following, "("):
                expression = next(self._arguments(at + 2), ())
            elif token.kind is Kind.SIGN and token.value in PIPES:
                expression = self._before(at) if _are(following, "getline") else self._behind(at + 1)
            else:
                continue
            yield from (CommandLine((text,), token.line, True) for text in self.texts(expression))

    def files(self) -> Iterator[tuple[str, int]]:
        """Files that `getline < "file"` reads, with their lines."""
        for at, token in enumerate(self.tokens):
            if token.kind is Kind.NAME and token.value == "getline":
                begin = self._target(at + 1)
                if _are(self.tokens[begin : begin + 1], "<"):
                    for text in self.texts(self._behind(begin + 1)):
                        if UNKNOWN not in text:
                            yield text, token.line

    def directives(self, name: str) -> Iterator[tuple[str, int]]:
        """What `@include "name"` or `@load "name"` of gawk name, with their lines."""
        for token, value in zip(self.tokens, self.tokens[1:], strict=False):
            if token.value == name and token.kind is Kind.NAME and value.kind is Kind.TEXT:
                yield value.value, token.line

    def texts(self, expression: Iterable[Token]) -> list[str]:
        """The texts that an expression may be, at most `values.MOST`; none where nothing of it is known."""
        parts: list[list[str]] = []
        tokens = [*expression]
        at = 0
        while at < len(tokens):
            token = tokens[at]
            at += 1
            found = [UNKNOWN]
            if token.kind is Kind.TEXT:
                found = [token.value]
            elif token.kind is Kind.NAME and _are(tokens[at : at + 1], "(", "["):
                if token.value == "sprintf":
                    found = self._formatted([*arguments(tokens[at + 1 : at + LONGEST])]) or found
                at = _closed(tokens, at)
            elif token.kind is Kind.NAME:
                found = [*self.values.get(token.value, found)][:MOST] or found
            elif token.value in "()":
                continue
            if found != [UNKNOWN] or not parts or parts[-1] != found:
                parts.append(found)
        texts = dict.fromkeys(product(parts)) if parts else ()
        return [text for text in texts if text.replace(UNKNOWN, "").strip()]

    def _formatted(self, given: Sequence[Tokens]) -> list[str]:
        """`sprintf`'s texts: the format with its values put in, each by its first text."""
        found = []
        for text in self.texts(given[0]) if given else ():
            values = iter(given[1:])

            def put(match: re.Match[str], values: Iterator[Tokens] = values) -> str:
                if match[0] == "%%":
                    return "%"
                return next(iter(self.texts(next(values, ()))), UNKNOWN)

            found.append(FORMAT.sub(put, text))
        return found

    # ---------------------------------------------------------- expressions

    def _assigned(self) -> Iterator[tuple[str, Tokens]]:
        for at, token in enumerate(self.tokens[:-2]):
            if token.kind is Kind.NAME and _are(self.tokens[at + 1 : at + 2], "="):
                yield token.value, self._behind(at + 2)

    def _called(self) -> Iterator[tuple[str, Tokens]]:
        """The parameters of the program's own functions, with what its calls give them."""
        functions: dict[str, list[str]] = {}
        for at, token in enumerate(self.tokens[:-3]):
            if _are((token,), *FUNCTION) and _are(self.tokens[at + 2 : at + 3], "("):
                parameters = [each[0].value for each in self._arguments(at + 3) if len(each) == 1]
                functions[self.tokens[at + 1].value] = parameters
        for at, token in enumerate(self.tokens[:-2]):
            declared = _are(self.tokens[max(0, at - 1) : at], *FUNCTION)
            if token.value in functions and not declared and _are(self.tokens[at + 1 : at + 2], "("):
                yield from zip(functions[token.value], self._arguments(at + 2), strict=False)

    def _arguments(self, at: int) -> Iterator[Tokens]:
        return arguments(self.tokens[at : at + LONGEST])

    def _behind(self, at: int) -> Tokens:
        """The expression that begins at a place."""
        depth = 0
        end = at
        for end in range(at, min(len(self.tokens), at + LONGEST)):
            token = self.tokens[end]
            if token.kind is not Kind.SIGN:
                continue
            if token.value in "([":
                depth += 1
            elif token.value in ")]":
                depth -= 1
            if depth < 0 or (not depth and token.value in BEHIND):
                return self.tokens[at:end]
        return self.tokens[at : end + 1]

    def _before(self, at: int) -> Tokens:
        """The expression that ends before a place."""
        depth, begin = 0, at
        while begin > max(0, at - LONGEST):
            token = self.tokens[begin - 1]
            if token.kind is Kind.SIGN and token.value in ")]":
                depth += 1
            elif token.kind is Kind.SIGN and token.value in "([":
                if not depth:
                    break
                depth -= 1
                if not depth and begin > 1 and self.tokens[begin - 2].value in TESTS:
                    return self.tokens[_closed(self.tokens, begin - 1) : at]  # `if (x) "date" | getline`
            elif not depth and token.kind is not Kind.TEXT and token.value in BEFORE | WORDS:
                break
            begin -= 1
        return self.tokens[begin:at]

    def _target(self, at: int) -> int:
        """The place behind what `getline` is told to fill: nothing, a name, an element or a field."""
        if _are(self.tokens[at : at + 1], "$"):
            at += 1
        if self.tokens[at : at + 1] and self.tokens[at].value != "<":
            at += 1
            if _are(self.tokens[at : at + 1], "[", "("):
                at = _closed(self.tokens, at)
        return at


def _are(tokens: Sequence[Token], *values: str) -> bool:
    """Whether a row of one token is one of these signs or names."""
    return len(tokens) == 1 and tokens[0].kind is not Kind.TEXT and tokens[0].value in values


def _closed(tokens: Sequence[Token], at: int) -> int:
    """The place behind the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(tokens)):
        if tokens[place].kind is Kind.SIGN:
            depth += (tokens[place].value in "([") - (tokens[place].value in ")]")
            if not depth:
                return place + 1
    return len(tokens)
