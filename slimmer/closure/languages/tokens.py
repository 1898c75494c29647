"""Calls in sources of languages without a parser here: names, texts and signs in a row, comments left out.

What is put in at run time is `UNKNOWN` in a text, as an unknown variable is for a shell.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

UNKNOWN = "$UNKNOWN"
LONGEST = 400  # tokens of one call that are looked at
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "0": "\0"}
ESCAPE = re.compile(r"\\(.)", re.S)
OPEN, CLOSE = "([{", ")]}"


class Kind(Enum):
    NAME = "name"
    TEXT = "text"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    value: str  # of a text: what it means
    line: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function: its arguments are tokens in a row, commas left out."""

    name: str
    arguments: tuple[tuple[Token, ...], ...]
    line: int


@dataclass(frozen=True, slots=True)
class Language:
    """How a language's sources are cut: `tokens` has groups "raw" and "text" (quoted texts) and "name".

    What matches and is in no group is a comment. `joins` are the signs between two texts that become one.
    """

    tokens: re.Pattern[str]
    joins: frozenset[str]
    assigns: frozenset[str] = frozenset({"="})

    def read(self, source: bytes) -> Source:
        return Source(self, tuple(self._cut(source.decode("utf-8", "surrogateescape"))))

    def _cut(self, text: str) -> Iterator[Token]:
        line, at = 1, 0
        for found in self.tokens.finditer(text):
            line += text.count("\n", at, found.start())
            at = found.start()
            match found.lastgroup:
                case "raw":
                    yield Token(Kind.TEXT, found["raw"], line)
                case "text":
                    value = found["text"][1:-1]
                    yield Token(Kind.TEXT, ESCAPE.sub(lambda each: ESCAPES.get(each[1], each[1]), value), line)
                case "name":
                    yield Token(Kind.NAME, found["name"], line)
                case "sign":
                    yield Token(Kind.SIGN, found["sign"], line)


@dataclass(frozen=True, slots=True)
class Source:
    """One source, cut."""

    language: Language
    tokens: tuple[Token, ...]

    def constants(self) -> dict[str, str]:
        """Names that are given one text and nothing else: `local tool = "convert"`."""
        found: dict[str, str] = {}
        several = set()
        for at, token in enumerate(self.tokens[:-2]):
            if token.kind is Kind.NAME and self.tokens[at + 1].value in self.language.assigns:
                value = self.tokens[at + 2]
                following = self.tokens[at + 3].value if at + 3 < len(self.tokens) else ""
                if value.kind is not Kind.TEXT or following in self.language.joins or token.value in found:
                    several.add(token.value)
                else:
                    found[token.value] = value.value
        return {name: value for name, value in found.items() if name not in several}

    def calls(self, names: Collection[str]) -> Iterator[Call]:
        """Calls of functions by these names, with brackets or with one text behind the name."""
        for at, token in enumerate(self.tokens[:-1]):
            if token.kind is Kind.NAME and token.value in names:
                following = self.tokens[at + 1]
                if following.kind is Kind.TEXT:
                    yield Call(token.value, ((following,),), token.line)
                elif following.kind is Kind.SIGN and following.value == "(":
                    yield Call(token.value, tuple(arguments(self.tokens[at + 2 : at + 2 + LONGEST])), token.line)

    def texts(self) -> Iterator[Token]:
        return (token for token in self.tokens if token.kind is Kind.TEXT)

    def folded(self, argument: Sequence[Token], constants: Mapping[str, str]) -> str:
        """The text that an argument comes to; "" when nothing of it is known."""
        parts = []
        for token in argument:
            if token.kind is Kind.TEXT:
                parts.append(token.value)
            elif token.kind is Kind.NAME and token.value in constants:
                parts.append(constants[token.value])
            elif token.value not in self.language.joins and (not parts or parts[-1] != UNKNOWN):
                parts.append(UNKNOWN)
        return "" if set(parts) <= {UNKNOWN} else "".join(parts)


def arguments(tokens: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    """Up to the bracket that closes the call; none when it does not come soon."""
    depth, current = 0, list[Token]()
    for token in tokens:
        if token.kind is Kind.SIGN:
            if token.value in OPEN:
                depth += 1
            elif token.value in CLOSE:
                if not depth:
                    if current:
                        yield tuple(current)
                    return
                depth -= 1
            elif token.value == "," and not depth:
                yield tuple(current)
                current = []
                continue
        current.append(token)


def cutter(*, comment: str, name: str, raw: str = "", quotes: str = "\"'", signs: str = r"\S") -> re.Pattern[str]:
    """A pattern for `Language.tokens`: `raw` has its group itself. Each part takes a text of any length in one way."""
    texts = "|".join(rf"{quote}(?:[^{quote}\\]|\\.)*+(?:{quote}|\Z)" for quote in quotes)
    group = rf"|(?:{raw})" if raw else ""
    return re.compile(rf"(?:{comment}){group}|(?P<text>{texts})|(?P<name>{name})|(?P<sign>{signs})", re.S)
