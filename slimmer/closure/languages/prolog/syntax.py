"""Prolog sources as tokens: which files they load, and which programs they start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from slimmer.closure.commands.literals import CommandLine
from slimmer.closure.languages.tokens import UNKNOWN, Kind, Language, Source, Token, arguments, cutter

PROLOG = Language(
    cutter(
        comment=r"%[^\n]*+|/\*.*?(?:\*/|\Z)|0'(?:\\.|''|[^\n])",
        name=r"[A-Za-z_]\w*+",
        quotes="\"'`",
    ),
    frozenset(),
    frozenset(),
)
# What tells a source from one of Perl's, which has the suffix .pl too.
SPEAKS = re.compile(
    r"^\s{0,20}:-\s{0,20}(?:\[|(?:module|use_module|ensure_loaded|consult|include|reexport|autoload|initialization|dynamic"
    r"|discontiguous|multifile|set_prolog_flag|use_foreign_library|load_files|table|op)\b)|^#![^\n]{0,200}\bswipl\b",
    re.M,
)
LOADS = frozenset(
    {"use_module", "consult", "ensure_loaded", "include", "load_files", "reexport", "autoload", "qcompile"}
)
FOREIGN = frozenset({"use_foreign_library", "load_foreign_library"})
SHELL = frozenset({"shell", "pipe"})
FORMAT = re.compile(r"~(?:`.t|[\d*]{0,4}[a-zA-Z|+])")
VARIABLE = re.compile(r"[A-Z_]\w*")
LIBRARY = re.compile(r"\b(library|foreign)\(\s{0,9}([\w/]{1,100})\s{0,9}\)")
REMARK = re.compile(r"%[^\n]*+|/\*.*?(?:\*/|\Z)", re.S)  # one without an end goes to the end of the text


def loaded(source: Source) -> Iterator[tuple[str, str, int]]:
    """What a source loads: alias ("library"; "" for none; "foreign" also for a shared library), name, line."""
    for call in source.calls(LOADS | FOREIGN):
        for argument in call.arguments[:1]:
            for alias, name in _files(argument):
                yield alias or ("foreign" if call.name in FOREIGN else ""), name, call.line
    tokens = source.tokens
    for at in range(len(tokens) - 2):
        if [each.value for each in tokens[at : at + 3]] == [":", "-", "["] and tokens[at].kind is Kind.SIGN:
            for argument in arguments(tokens[at + 3 : at + 200]):
                yield from ((alias, name, tokens[at].line) for alias, name in _files(argument))


def libraries(text: str) -> Iterator[tuple[str, str]]:
    """Libraries that a file of the interpreter's own names: alias and name."""
    for found in LIBRARY.finditer(REMARK.sub("", text)):
        yield found[1], found[2]


def aliases(source: Source) -> Iterator[tuple[str, str]]:
    """`user:file_search_path(own, '/srv/own')`: an alias and its directory."""
    for call in source.calls({"file_search_path"}):
        if len(call.arguments) == 2 and call.arguments[0]:
            for _, name in _files(call.arguments[1]):
                yield call.arguments[0][0].value, name


def words(source: Source) -> frozenset[str]:
    """All names and atoms: what may be a predicate that the interpreter loads a library for."""
    return frozenset(each.value for each in source.tokens if each.kind is Kind.NAME)


def commands(source: Source) -> Iterator[CommandLine]:
    """What a source starts: `shell`, `open(pipe(…))`, `process_create`."""
    values = _values(source)
    for call in source.calls(SHELL):
        if call.arguments and (text := _text(call.arguments[0], values)):
            yield CommandLine((text,), call.line, True)
    for call in source.calls({"process_create"}):
        if not call.arguments:
            continue
        program = [each for each in call.arguments[0] if each.value not in ("path", "(", ")")]
        first = _text(program, values)
        listed = call.arguments[1] if len(call.arguments) > 1 else ()
        rest = [_text(each, values) for each in arguments(listed[1:])] if listed[:1] and listed[0].value == "[" else []
        if first:
            yield CommandLine((first, *("" if UNKNOWN in each else each for each in rest)), call.line)


def _files(argument: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """`library(http/json)`, `'lib/a'`, `[a, b]`, `own(x)`: aliases and names."""
    if argument and argument[0].kind is Kind.SIGN and argument[0].value == "[":
        for each in arguments(argument[1:]):
            yield from _files(each)
        return
    alias = ""
    if len(argument) > 2 and argument[0].kind is Kind.NAME and argument[1].value == "(":
        alias, argument = argument[0].value, argument[2:]
    parts = []
    for token in argument:
        if token.kind is Kind.SIGN and token.value != "/":
            break
        parts.append(token.value)
    name = "".join(parts)
    if name and not VARIABLE.fullmatch(name):
        yield alias, name


def _values(source: Source) -> dict[str, str]:
    """What variables are given by formats and by joining atoms: `format(string(C), "ls ~w", [X])`."""
    found: dict[str, str] = {}
    for call in source.calls({"format", "atom_concat", "string_concat", "atomic_list_concat"}):
        given = call.arguments
        if call.name == "format" and len(given) > 1 and len(given[0]) == 4:
            name, text = given[0][2].value, FORMAT.sub(UNKNOWN, _text(given[1], found)).replace("~~", "~")
        elif call.name == "atomic_list_concat" and len(given) == 2 and given[0][:1] and given[1]:
            name, text = given[1][0].value, "".join(_text(each, found) or UNKNOWN for each in arguments(given[0][1:]))
        elif call.name.endswith("_concat") and len(given) == 3 and given[2]:
            name, text = given[2][0].value, "".join(_text(each, found) or UNKNOWN for each in given[:2])
        else:
            continue
        if VARIABLE.fullmatch(name) and text.replace(UNKNOWN, ""):
            found.setdefault(name, text)
    for at, token in enumerate(source.tokens[:-2]):
        sign, value = source.tokens[at + 1 : at + 3]
        if token.kind is Kind.NAME and sign.kind is Kind.SIGN and sign.value == "=" and value.kind is Kind.TEXT:
            found.setdefault(token.value, value.value)
    return found


def _text(argument: Sequence[Token], values: Mapping[str, str]) -> str:
    """The text of an atom, a string or a known variable; "" where it is not known."""
    if len(argument) != 1:
        return ""
    token = argument[0]
    if token.kind is Kind.NAME and VARIABLE.fullmatch(token.value):
        return values.get(token.value, "")
    return token.value if token.kind is not Kind.SIGN else ""
