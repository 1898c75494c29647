"""What a Perl source can load and start: statements found by pattern, POD and data sections left out.

Only perl can parse Perl; as packagers' dependency scanners do, this reads the
statements that name modules, wherever they stand (blocks, `eval`, conditions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from slimmer.closure.commands.literals import STRING, CommandLine, arguments, backticks, call_pattern, started, unquote
from slimmer.facts.remember import remembered

POD = re.compile(r"^=[a-zA-Z].*?(?:^=cut\b[^\n]*$|\Z)", re.M | re.S)
END = re.compile(r"^__(?:END|DATA)__[ \t\r]*$", re.M)
COMMENT = re.compile(r"^[ \t]*#.*$", re.M)
NAME = r"[A-Za-z_]\w{0,250}(?:(?:::|')[A-Za-z_]\w{0,250}){0,20}"
USE = re.compile(rf"(?<![\w$@%>])(?:use|no|require)\s+({NAME})([^;]{{0,4000}})")
FILE = re.compile(r"""(?<![\w$@%>-])(?:require|do)\s*+\(?\s*+(?:"([^"$@]+)"|'([^']+)')""")
LOAD = re.compile(
    rf"""(?:load_class|load_module|use_module|require_module|use_ok|require_ok|_require|load)\s*+\(?\s*+['"]({NAME})['"]"""
)
EVAL = re.compile(r"""\beval\s*+(?:"|qq?\s*+[{(\[])\s*+(?:use|require)\s+([A-Za-z_][\w:]*)(?:::)?(\$)?""")
COMPUTED = re.compile(rf"""["']({NAME}::)["']?\s*[.$]|["']({NAME}::)\$""")
QUOTED = re.compile(rf"""['"]({NAME}(?:::\w{{1,250}}){{1,9}})['"]|\bqw\s*+[(\[{{/<]([^)\]}}/>]{{0,4000}})[)\]}}/>]""")
LIB = re.compile(
    r"\buse\s+lib\s++([^;]{1,2000});|\bunshift\s*+\(?\s*+@INC\s*+,([^;]{1,2000});|\bpush\s*+\(?\s*+@INC\s*+,([^;]{1,2000});"
)
TEXT = re.compile(r"""'([^'\n]*)'|"([^"\n]*)\"""")
START = call_pattern(r"(?:CORE::)?system|(?:CORE::)?exec|(?:IPC::(?:Open[23]::)?)?open[23]|run|capture(?:x)?")
# `open my $f, "-|", "sort", "-u"`, and the two-argument forms "gzip -dc x |" and "| mail"
PIPE = re.compile(
    rf"\bopen\b[^;]{{0,200}}?,\s*[\"'](?:-\||\|-)[\"']((?:\s*+,\s*+(?:{STRING}|[^,;\n()\"']{{1,80}})){{1,50}})"
)
ENDS = re.compile(rf"\bopen\b[^;]{{0,200}}?,\s*({STRING})")
UNICODE = re.compile(r"\\[pPN]\{|\bcharnames\b|\bUnicode::UCD\b|\buse\s+utf8\b|\\X|fc\s*\(")


@dataclass(frozen=True, slots=True)
class Literal:
    """A name and the line where it stands."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Perl:
    """Everything that one source says about what it needs."""

    modules: tuple[Literal, ...] = ()
    files: tuple[Literal, ...] = ()  # of `require "x.pl"` and `do "x"`
    families: tuple[Literal, ...] = ()  # "Driver" for `require "Driver::$name"`
    quoted: tuple[Literal, ...] = ()  # literals that look like names of modules
    libraries: tuple[str, ...] = ()  # literal parts of `use lib`
    commands: tuple[CommandLine, ...] = ()
    unicode: bool = False


@remembered
def scan(source: bytes, *, core: bool = False) -> Perl:
    """Read a source. Of a `core` module only what it loads is looked for."""
    text = source.decode("utf-8", "surrogateescape")
    if "\n=" in text or text.startswith("="):
        text = POD.sub(_blank, text)
    end = END.search(text)
    text = COMMENT.sub("", text[: end.start()] if end else text)
    loads = Perl(
        modules=tuple(_unique(_modules(text))),
        files=tuple(_unique(_each(FILE, text))) if "require" in text or "do " in text else (),
        families=tuple(_unique(_families(text))) if "require" in text or "eval" in text or "load" in text else (),
        quoted=tuple(_unique(_quoted(text))) if "::" in text else (),
    )
    if core:
        return loads
    return replace(
        loads,
        libraries=tuple(dict.fromkeys(part for found in LIB.finditer(text) for part in _texts(found[0]))),
        commands=tuple(dict.fromkeys(_commands(text))),
        unicode=UNICODE.search(text) is not None,
    )


def _blank(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _unique(mentions: Iterator[Literal]) -> Iterator[Literal]:
    seen: set[str] = set()
    for mention in mentions:
        if mention.text and mention.text not in seen:
            seen.add(mention.text)
            yield mention


def _each(pattern: re.Pattern[str], text: str) -> Iterator[Literal]:
    for found in pattern.finditer(text):
        yield Literal(next((group for group in found.groups() if group), ""), _line(text, found.start()))


def _modules(text: str) -> Iterator[Literal]:
    for found in USE.finditer(text):
        name, rest, line = found[1].replace("'", "::"), found[2], _line(text, found.start())
        yield Literal(name, line)
        if name in ("parent", "base", "aliased", "if", "superclass", "fields", "autouse", "maybe", "only"):
            for word in re.findall(NAME, rest):
                if word not in ("qw", "norequire"):
                    yield Literal(word, line)
    for pattern in [LOAD, EVAL] if "eval" in text else [LOAD]:
        for found in pattern.finditer(text):
            yield Literal(found[1].rstrip(":"), _line(text, found.start()))


def _families(text: str) -> Iterator[Literal]:
    for mention in _each(COMPUTED, text):
        yield Literal(mention.text.rstrip(":"), mention.line)
    for found in EVAL.finditer(text):
        if found[2]:
            yield Literal(found[1].rstrip(":"), _line(text, found.start()))


def _quoted(text: str) -> Iterator[Literal]:
    for found in QUOTED.finditer(text):
        line = _line(text, found.start())
        for word in [found[1]] if found[1] else (found[2] or "").split():
            if "::" in word and re.fullmatch(NAME, word):
                yield Literal(word, line)


def _texts(text: str) -> Iterator[str]:
    for single, double in TEXT.findall(text):
        yield re.sub(r"\$\{?\w+(?:::\w+)*\}?", "", single or double)
    for listed in re.findall(r"qw\s*[(\[{/]([^)\]}/]*)", text):
        yield from listed.split()


def _commands(text: str) -> Iterator[CommandLine]:
    yield from started(text, START)
    yield from backticks(text)
    for found in PIPE.finditer(text):
        words = arguments(found[1])
        yield CommandLine(tuple(words), text.count("\n", 0, found.start()) + 1, len(words) == 1)
    for found in ENDS.finditer(text):
        command = unquote(found[1]).strip()
        program = command.strip("|- ")
        if program and "|" in (command[0], command[-1]):
            yield CommandLine((program,), text.count("\n", 0, found.start()) + 1, True)
