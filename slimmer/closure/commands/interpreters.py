"""Interpreters' options as a grammar: which take a value, which may stand in one cluster, which hold program text.

    perl -i.bak -pe CODE FILE       i has an attached value, p is a flag, e takes the next word
    python3 -uWignore -c CODE       u is a flag, W takes the rest of its word, c ends the options
    node --require ./a app.js       a module first, then the program

Sources: perlrun, python(1), ruby(1), php(1), swipl(1) and "Command-line API" of Node.js.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Code:
    """Program text in an argument. `language` is "sh" or an interpreter's name without version."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class File:
    """A file that a program is told to run or source. `language` as for Code."""

    language: str
    path: str


@dataclass(frozen=True, slots=True)
class Module:
    """`python -m NAME`."""

    name: str


Found = Code | File | Module


@dataclass(frozen=True, slots=True)
class Grammar:
    """An interpreter's options. Letters that are named nowhere are flags, and so are unnamed long options."""

    code: str = ""  # letters whose value is program text
    valued: str = ""  # letters with a value, in the rest of the word or in the next one
    attached: str = ""  # letters whose value, if any, is the rest of the word
    octal: str = ""  # letters with octal digits, if any, behind them; further letters may follow
    modules: str = ""  # letters whose value is a module that is loaded first
    files: str = ""  # letters whose value is a program file
    ends: str = ""  # letters after whose value the program's own arguments begin
    load: str = ""  # program text that loads a module, with {} for its name
    long: Mapping[str, str] = field(default_factory=dict)  # long option with a value → a letter that it stands for

    def kind(self, letter: str) -> str:
        """The field that names a letter; "" for a flag."""
        kinds = ("code", "valued", "attached", "octal", "modules", "files")
        return next((kind for kind in kinds if letter in getattr(self, kind)), "")


def _long(**letters: str) -> dict[str, str]:
    return {f"--{name}": letter for letter, names in letters.items() for name in names.split()}


GRAMMARS: Mapping[str, Grammar] = {
    # A goal (-g, -t) is a call of what the file defines.
    "swipl": Grammar(valued="gtpxo", files="sfl"),
    "python": Grammar(code="c", valued="WXQ", files="", ends="cm", modules="m", long=_long(X="check-hash-based-pycs")),
    "perl": Grammar(code="eE", valued="I", attached="iFCDxdV", octal="0l", modules="mM", load="use {};"),
    "ruby": Grammar(
        code="e",
        valued="ICE",
        attached="iFKTWx",
        octal="0",
        modules="r",
        load="require '{}'",
        long=_long(E="encoding external-encoding internal-encoding enable disable parser dump backtrace-limit"),
    ),
    "php": Grammar(
        code="rBRE",
        valued="cdzSt",
        files="fF",
        long=_long(
            r="run process-begin process-code process-end",
            c="php-ini define zend-extension server docroot rf re rc ri rz",
            f="file process-file",
        ),
    ),
    "node": Grammar(
        code="ep",
        valued="C",
        modules="r",
        load="require('{}')",
        long=_long(
            e="eval print",
            r="require import loader experimental-loader",
            C="""conditions env-file env-file-if-exists input-type inspect-port icu-data-dir openssl-config title
            redirect-warnings trace-event-categories dns-result-order unhandled-rejections cpu-prof-dir diagnostic-dir
            disable-warning experimental-default-type watch-path test-reporter test-name-pattern heap-prof-dir
            localstorage-file max-http-header-size secure-heap tls-keylog trace-require-module build-snapshot-config""",
        ),
    ),
}
CLUSTERED = re.compile(r"-[A-Za-z0-9].*", re.DOTALL)


def interpreted(language: str, arguments: Sequence[str], document: str = "") -> Iterator[Found]:
    """What an interpreter runs when it is started with these arguments. An unknown word is "".

    `document` is what a here-document feeds it: the program, where the arguments name none.
    """
    grammar = GRAMMARS[language]
    pending = [*arguments]
    given = False  # whether the program stood in an option
    while pending:
        word = pending.pop(0)
        if word in ("", "-", "--") or not word.startswith("-"):
            if word == "--" and not given and pending:
                word = pending.pop(0)
            if word not in ("", "-", "--") and not given:
                yield File(language, word)
            given = given or word not in ("-", "--")
            break
        ended = False
        for letter, value in _values(grammar, word, pending):
            found = _effect(language, grammar, letter, value)
            given = given or grammar.kind(letter) in ("code", "files") or letter in grammar.ends
            ended = ended or letter in grammar.ends
            yield from found
        if ended:
            return
    if document and not given:
        yield Code(language, document)


def _values(grammar: Grammar, word: str, pending: list[str]) -> Iterator[tuple[str, str]]:
    """The options of one word with their values; takes what it needs from the words behind it."""
    if word.startswith("--") or not CLUSTERED.fullmatch(word):
        name, equals, value = word.partition("=")
        letter = grammar.long.get(name)
        if letter is not None:
            yield letter, value if equals else (pending.pop(0) if pending else "")
        return
    at = 1
    while at < len(word):
        letter, rest = word[at], word[at + 1 :]
        at += 1
        match grammar.kind(letter):
            case "code" | "valued" | "modules" | "files":
                if letter == "p" and rest.startswith("e"):  # node's -pe is one option
                    rest = rest[1:]
                yield letter, rest or (pending.pop(0) if pending else "")
                return
            case "attached":
                return
            case "octal":
                found = re.match(r"[xX]?[0-9A-Fa-f]*" if rest[:1] in "xX" and rest else r"[0-7]*", rest)
                at += found.end() if found is not None else 0


def _effect(language: str, grammar: Grammar, letter: str, value: str) -> Iterator[Found]:
    if not value:
        return
    match grammar.kind(letter):
        case "code":
            yield Code(language, value)
        case "files":
            yield File(language, value)
        case "modules" if language == "python":
            yield Module(value)
        case "modules":
            name = re.sub(r"[=,].*$", "", value.lstrip("-"), flags=re.DOTALL).split(" ")[0]
            yield Code(language, grammar.load.format(name))
