"""Command lines in calls of Perl, Ruby and PHP, found by pattern: `system("date | wc")`, `exec('git', 'log')`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

HOLE = "$UNKNOWN"  # what is put in at run time, as a shell's unknown variable
DOUBLE = r'"(?:\\.|[^"\\\n]){0,2000}"'
SINGLE = r"'(?:\\.|[^'\\\n]){0,2000}'"
STRING = rf"(?:{DOUBLE}|{SINGLE})"
LISTED = r"qw\s*+[(/\[{][^)/\]}\n]{0,1000}"
# What may follow the first word: further texts, or short expressions whose value is not known.
REST = rf"((?:\s*+,\s*+(?:{STRING}|[^,;\n()\"']{{1,80}})){{0,50}})"
BACKTICKS = re.compile(r"`((?:\\.|[^`\\\n]){1,2000})`|(?<!\w)(?:qx|%x)\s*[{(/\[]([^})/\]\n]{1,2000})[})/\]]")
INTERPOLATED = re.compile(r"[#$]\{[^}\n]{0,200}\}|\$\w+(?:->)?(?:\[[^\]\n]{0,80}\]|\{[^}\n]{0,80}\})")
STATEMENT = re.compile(
    r"\s*+(?:alter|analyze|attach|begin|commit|create|delete|drop|explain|grant|insert|lock|pragma|replace|rollback"
    r"|select|set(?!\s+[-+])|show|truncate|update|use|vacuum|values|with)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A literal command line; one word when a shell reads it. Unknown words are ""."""

    words: tuple[str, ...]
    line: int
    shell: bool = False


def is_statement(text: str) -> bool:
    """Whether a text is SQL: a database's `exec` is a method as a process's is. `set -e` is a shell's."""
    return STATEMENT.match(text) is not None


def call_pattern(names: str) -> re.Pattern[str]:
    """For `started`: calls of these functions (alternatives of a pattern) whose first argument is a text or a list."""
    block = r"(?:\{[^}\n]{0,80}\}\s*+)?"  # Perl's `system { $program } @words`
    return re.compile(rf"(?<![\w$@%>:.'\"])(?:{names})\s*+\(?\s*+{block}(\[?)\s*+({STRING}|{LISTED}){REST}")


def started(text: str, pattern: re.Pattern[str], *, lists: bool = True) -> Iterator[CommandLine]:
    """The command lines of calls; without `lists` only a bracketed list is one, and other arguments are options."""
    for found in pattern.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        bracket, first, rest = found.groups()
        if first.startswith("qw"):
            yield CommandLine(tuple(re.sub(r"^qw\s*.", "", first).split()), line)
            continue
        more = arguments(rest)
        if bracket or (lists and more):
            yield CommandLine((unquote(first), *more), line)
        elif unquote(first):
            yield CommandLine((unquote(first),), line, True)


def backticks(text: str) -> Iterator[CommandLine]:
    """Command lines between backticks, and of `qx` and `%x`."""
    for found in BACKTICKS.finditer(text):
        yield CommandLine((plain(found[1] or found[2]),), text.count("\n", 0, found.start()) + 1, True)


def arguments(text: str) -> list[str]:
    """The words of ", 'a', $b": unknown ones are ""."""
    parts = re.findall(rf",\s*({STRING}|[^,]+)", text)
    return [unquote(part) if part[0] in "\"'" else "" for part in parts]


def unquote(text: str) -> str:
    """The value of a quoted text; what is put in at run time stays as a shell's unknown variable."""
    inner = text[1:-1]
    if text.startswith("'"):
        return re.sub(r"\\(['\\])", r"\1", inner)
    return plain(inner)


def plain(text: str) -> str:
    """A double-quoted text without its escapes."""
    text = INTERPOLATED.sub(HOLE, text)
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text)
