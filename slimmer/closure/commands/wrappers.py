"""What a command line starts beside its first word: `timeout 5 env X=1 git …`, `find -exec`, `sh -c`, `tar -z`.

Knows the shape of the programs that run other programs, as their manuals give it.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slimmer.closure.commands.interpreters import Code, File, Module, interpreted

SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "rbash", "posh", "yash"})
LAUNCHERS = frozenset({"java", "jsvc"})
INTERPRETERS = re.compile(r"(?:pypy)?(python|perl|ruby|node|nodejs|php|swipl)[\d.]*$")


@dataclass(frozen=True, slots=True)
class Start:
    """A program that a command line starts. `inner`: exec'ed by another program, so no shell builtin."""

    word: str
    inner: bool = False


Effect = Start | Code | File | Module


@dataclass(frozen=True, slots=True)
class Wrapper:
    """How a program that runs another takes it: options with a separate value, operands before the command."""

    valued: frozenset[str] = frozenset()
    operands: int = 0


def _wrapper(valued: str = "", operands: int = 0) -> Wrapper:
    return Wrapper(frozenset(valued.split()), operands)


WRAPPERS = {
    "builtin": _wrapper(),
    "busybox": _wrapper(),
    "catatonit": _wrapper(),
    "chpst": _wrapper("-u -U -b -e -m -n -l -L -/"),
    "chroot": _wrapper("", 1),
    "chrt": _wrapper("-T -P -D", 1),
    "command": _wrapper(),
    "doas": _wrapper("-u -C -a"),
    "dumb-init": _wrapper("-r --rewrite"),
    "env": _wrapper("-u --unset -C --chdir"),
    "envdir": _wrapper("", 1),
    "exec": _wrapper("-a"),
    "fakeroot": _wrapper("-l -f -i -s -b"),
    "flock": _wrapper("-w -E --timeout --conflict-exit-code", 1),
    "gosu": _wrapper("", 1),
    "ionice": _wrapper("-c -n -p --class --classdata"),
    "logger-run": _wrapper(),
    "nice": _wrapper("-n --adjustment"),
    "nohup": _wrapper(),
    "nsenter": _wrapper("-t --target -S -G"),
    "parallel": _wrapper("-j --jobs -I --colsep -a --delay --timeout --joblog"),
    "prlimit": _wrapper("-p --pid"),
    "runuser": _wrapper("-u --user -g -G"),
    "s6-setuidgid": _wrapper("", 1),
    "setarch": _wrapper(),
    "setpriv": _wrapper("--reuid --regid --groups"),
    "setsid": _wrapper(),
    "setuidgid": _wrapper("", 1),
    "softlimit": _wrapper("-a -c -d -f -l -m -o -p -r -s -t"),
    "stdbuf": _wrapper("-i -o -e --input --output --error"),
    "su-exec": _wrapper("", 1),
    "sudo": _wrapper("-u -g -h -p -C -T -r -t -U -D -R --user --group"),
    "taskset": _wrapper("", 1),
    "time": _wrapper("-f -o --format --output"),
    "timeout": _wrapper("-k -s --kill-after --signal", 1),
    "tini": _wrapper("-p -e"),
    "unshare": _wrapper("-S -G -R -w"),
    "watch": _wrapper("-n -d --interval"),
    "xargs": _wrapper("-a -d -E -I -L -n -P -s --arg-file --delimiter --max-lines --max-args --max-procs --max-chars"),
}
COMPRESSORS = {
    "z": "gzip", "gzip": "gzip", "gunzip": "gzip", "ungzip": "gzip", "j": "bzip2", "bzip2": "bzip2", "J": "xz",
    "xz": "xz", "zstd": "zstd", "lzma": "lzma", "lzip": "lzip", "lzop": "lzop", "Z": "compress",
}  # fmt: skip
SUFFIXES = {"gz": "gzip", "tgz": "gzip", "bz2": "bzip2", "tbz2": "bzip2", "tbz": "bzip2", "xz": "xz", "txz": "xz",
            "zst": "zstd", "tzst": "zstd", "lzma": "lzma", "lz": "lzip", "lzo": "lzop", "Z": "compress"}  # fmt: skip
LOGIN, INTERACTIVE = "/etc/profile", "/etc/bash.bashrc"
DEEPEST = 40  # wrappers around wrappers
AWKS = frozenset({"awk", "gawk", "mawk", "nawk", "original-awk", "goawk"})
# gawk's long options that take a value, by the letters that they stand for
AWK_LONG = {"assign": "v", "exec": "E", "field-separator": "F", "file": "f", "include": "i", "load": "l", "source": "e"}


def effects(words: Sequence[str], document: str = "", *, inner: bool = False, depth: int = 0) -> Iterator[Effect]:
    """Everything that a command line starts, itself first. An unknown word is "".

    `document` is what a here-document feeds it; `depth` counts the wrappers around it.
    """
    words = [*words]
    if not words or not words[0] or depth > DEEPEST:
        return
    yield Start(words[0], inner)
    name = posixpath.basename(words[0])
    arguments = words[1:]
    if name in ("command", "type", "which", "hash") and (name != "command" or arguments[:1] in (["-v"], ["-V"])):
        yield from (Start(word, True) for word in arguments if word and not word.startswith("-"))
    elif name in WRAPPERS:
        yield from _wrapped(name, arguments, document, depth)
    elif name in SHELLS:
        yield from _profiles(arguments)
        yield from _shell(arguments, document)
    elif name in (".", "source"):
        yield from (File("sh", word) for word in arguments[:1] if word)
    elif name in ("eval", "trap"):
        yield Code("sh", " ".join(arguments if name == "eval" else arguments[:1]))
    elif name in ("su", "script"):
        if name == "su" and not {"-", "-l", "--login"}.isdisjoint(arguments):
            yield File("sh", LOGIN)
        yield from _after(arguments, ("-c", "--command"))
    elif name == "find":
        yield from _find(arguments, depth)
    elif name in ("tar", "bsdtar", "gtar"):
        yield from _tar(arguments)
    elif name in AWKS:
        yield from _awk(arguments, document)
    elif name == "gnuplot" or name.startswith("gnuplot-"):
        yield from _gnuplot(arguments, document)
    elif name == "start-stop-daemon":
        yield from _daemon(arguments)
    elif name == "sort":
        yield from _option(arguments, "--compress-program")
    elif name in LAUNCHERS:
        yield Code("java", shlex.join(arguments))
    elif interpreter := INTERPRETERS.fullmatch(name):
        language = "node" if interpreter[1] == "nodejs" else interpreter[1]
        yield from interpreted(language, arguments, document)


def _wrapped(name: str, arguments: list[str], document: str, depth: int) -> Iterator[Effect]:
    wrapper = WRAPPERS[name]
    operands = wrapper.operands
    while arguments:
        word = arguments[0]
        if name == "env" and (found := re.match(r"-[iv0]*S|--split-string=?", word)):
            rest = word[found.end() :]
            arguments = [*rest.split(), *arguments[1:]]
            continue
        if name == "flock" and word in ("-c", "--command"):
            yield from (Code("sh", text) for text in arguments[1:2])
            return
        if word == "--":
            arguments = arguments[1:]
            break
        if word in wrapper.valued:
            arguments = arguments[2:]
        elif word.startswith("-") or (re.match(r"[A-Za-z_]\w*=", word) and name in ("env", "sudo", "doas")):
            arguments = arguments[1:]
        elif operands:
            operands -= 1
            arguments = arguments[1:]
        else:
            break
    if name == "flock" and arguments[:1] in (["-c"], ["--command"]):
        yield from (Code("sh", text) for text in arguments[1:2])
    elif len(arguments) == 1 and re.search(r"\s", arguments[0]) and name in ("watch", "parallel"):
        yield Code("sh", arguments[0])
    else:
        yield from effects(arguments, document, inner=name not in ("builtin", "command"), depth=depth + 1)


def _shell(arguments: list[str], document: str) -> Iterator[Effect]:
    for at, word in enumerate(arguments):
        if re.fullmatch(r"[-+][a-zA-Z]*o", word):
            continue
        if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*", word):
            rest = [each for each in arguments[at + 1 :] if not re.fullmatch(r"[-+][a-zA-Z]+", each)]
            yield from (Code("sh", text) for text in rest[:1])
            return
        if word in ("--rcfile", "--init-file"):
            yield from (File("sh", path) for path in arguments[at + 1 : at + 2] if path)
        elif at and re.fullmatch(r"[-+][a-zA-Z]*o", arguments[at - 1]):
            continue  # the name of an option
        elif word and not word.startswith(("-", "+")):
            yield File("sh", word)
            return
    if document:
        yield Code("sh", document)


def _profiles(arguments: list[str]) -> Iterator[Effect]:
    """What a login shell and an interactive one read first: bash(1), INVOCATION."""
    for word in arguments:
        if not word.startswith("-") or word in ("-", "--"):
            return
        if word == "--login" or re.fullmatch(r"-[a-zA-Z]*l[a-zA-Z]*", word):
            yield File("sh", LOGIN)
        if re.fullmatch(r"-[a-zA-Z]*i[a-zA-Z]*", word):
            yield File("sh", INTERACTIVE)


def _after(arguments: list[str], options: tuple[str, ...]) -> Iterator[Effect]:
    for at, word in enumerate(arguments[:-1]):
        if word in options:
            yield Code("sh", arguments[at + 1])


def _option(arguments: list[str], option: str) -> Iterator[Effect]:
    for at, word in enumerate(arguments):
        if word.startswith(f"{option}="):
            yield Start(word.partition("=")[2].split(" ")[0], True)
        elif word == option and at + 1 < len(arguments):
            yield Start(arguments[at + 1].split(" ")[0], True)


def _find(arguments: list[str], depth: int) -> Iterator[Effect]:
    at = 0
    while at < len(arguments):
        at += 1
        if arguments[at - 1] in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((place for place in range(at, len(arguments)) if arguments[place] in (";", "+")), len(arguments))
            yield from effects(arguments[at:end], inner=True, depth=depth + 1)
            at = end  # an -exec in between belongs to the command that is run


def _tar(arguments: list[str]) -> Iterator[Effect]:
    yield from _option(arguments, "--use-compress-program")
    yield from _option(arguments, "-I")
    clusters = [word for word in arguments if re.fullmatch(r"-[A-Za-z]+", word)]
    if arguments and re.fullmatch(r"[A-Za-z]+", arguments[0]):
        clusters.append(arguments[0])
    letters = "".join(clusters)
    found = [COMPRESSORS[letter] for letter in letters if letter in COMPRESSORS]
    found += [COMPRESSORS[word[2:]] for word in arguments if word.startswith("--") and word[2:] in COMPRESSORS]
    reads = re.search("[xt]", letters) or {"--extract", "--get", "--list"} & {*arguments}
    if reads or "a" in letters or "--auto-compress" in arguments:
        found += [SUFFIXES[tail] for word in arguments if (tail := word.rpartition(".")[2]) in SUFFIXES and "." in word]
    if reads and not found and "" in arguments:
        found += ["gzip", "bzip2", "xz", "zstd"]  # told by the archive itself, whose name is not known
    if found:
        yield Start("/bin/sh", True)  # GNU tar's xexec (src/system.c) starts compressors by `sh -c`
    yield from (Start(program, True) for program in dict.fromkeys(found))


def _awk(arguments: list[str], document: str) -> Iterator[Effect]:
    """The program, in an argument or in files, with what `-v` gives its names: gawk(1), OPTIONS."""
    pending, given = [*arguments], False
    programs, values = list[str](), list[str]()
    while pending:
        word = pending.pop(0)
        if not word:
            continue  # unknown: an option, or the program
        if word == "--" or not word.startswith("-"):
            if not given:
                programs += pending[:1] if word == "--" else [word]
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            letter = AWK_LONG.get(name, "")
        else:
            letter, value, equals = word[1], word[2:], word[2:]
        if letter not in AWK_LONG.values():
            continue
        value = value if equals else pending.pop(0) if pending else ""
        given = given or letter in "feE"
        if letter in "fE" and value in ("-", "/dev/stdin"):
            programs.append(document)
        elif letter in "fE" and value:
            yield File("awk", value)
        elif letter == "e":
            programs.append(value)
        elif letter in "il" and value:
            directive = "include" if letter == "i" else "load"
            programs.append(f'@{directive} "{value}"')
        elif letter == "v" and "=" in value:
            name, _, text = value.partition("=")
            values.append('{} = "{}"'.format(name, text.replace('"', r"\"")))
        if letter == "E":
            break
    if any(programs):
        yield Code("awk", "\n".join((*values, *programs)))


def _gnuplot(arguments: list[str], document: str) -> Iterator[Effect]:
    """Scripts in files, in `-e`, and in what it reads where it is given neither: gnuplot(1)."""
    pending, given = [*arguments], False
    while pending:
        word = pending.pop(0)
        if word == "-e":
            yield from (Code("gnuplot", text) for text in pending[:1] if text)
            given, pending = True, pending[1:]
        elif word == "-c" or (word and not word.startswith("-")):
            yield from (File("gnuplot", path) for path in ([word] if word != "-c" else pending[:1]) if path)
            given = True
            if word == "-c":
                return  # the rest are the script's own
        elif word == "-":
            given = False
    if document and not given:
        yield Code("gnuplot", document)


def _daemon(arguments: list[str]) -> Iterator[Effect]:
    for at, word in enumerate(arguments[:-1]):
        if word in ("-x", "--exec", "-a", "--startas"):
            yield Start(arguments[at + 1], True)
