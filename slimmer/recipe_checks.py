"""What the values of a recipe must be, each check on its own: URLs, headers, words of commands, signals."""

from __future__ import annotations

import ipaddress
import re
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from slimmer.errors import UsageProblem
from slimmer.toml_position import Place
from slimmer.values import LAST_PORT, masked, natural


class FieldProblem(UsageProblem):
    """A value that cannot be meant. `place` leads to it from the table that was read, or from its dataclass."""

    def __init__(self, message: str, hint: str = "", place: Place = ()) -> None:
        super().__init__(message, hint)
        self.place = place


SCHEMES = ("http", "https", "tcp", "unix")
_REALTIME = re.compile(r"(RTMIN|RTMAX)(?:([+-])(\d{1,2}))?")
HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2


def check_url(url: str, schemes: tuple[str, ...], *place: str | int) -> None:
    """Raises FieldProblem unless a request can go there."""
    shape = {"tcp": "tcp://127.0.0.1:6379", "unix": "unix:///run/app.sock"}
    scheme = url.partition("://")[0]
    hint = f"write {shape.get(scheme, 'http://127.0.0.1:8080/path, or with a status: http://127.0.0.1:8080/x=404')}"
    shown = masked(url)
    if scheme not in schemes or "://" not in url:
        raise FieldProblem(f"{shown}: not a URL of {', '.join(schemes)}", hint, place)
    if any(ord(each) < 32 or ord(each) == 127 for each in url):
        raise FieldProblem(f"{shown!r}: a control character in a URL", hint, place)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FieldProblem(f"{shown}: not a URL: {error}", hint, place) from None
    if scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise FieldProblem(f"{shown}: an absolute path is missing", hint, place)
    elif not parts.netloc.isascii() or " " in parts.netloc or not parts.hostname:
        raise FieldProblem(f"{shown}: {parts.netloc!r} is no host", hint, place)
    elif scheme == "tcp" and port is None:
        raise FieldProblem(f"{shown}: a port is missing", hint, place)


def check_host(text: str, place: Place) -> None:
    """NAME:ADDRESS. Raises FieldProblem."""
    name, _, address = text.partition(":")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        address = ""
    if not address or not HOST.fullmatch(name):
        raise FieldProblem(f"{text!r} is no host and its address", "write NAME:ADDRESS, as in db:127.0.0.1", place)


def read_published(text: str, place: Place = ()) -> tuple[str, int, int]:
    """[ADDRESS:]HOST:PORT as the address, the port there, and the port that it leads to. Raises FieldProblem."""
    rest, _, inside = text.rpartition(":")
    address, _, outside = rest.rpartition(":")
    address = address.removeprefix("[").removesuffix("]") or "127.0.0.1"
    ports = [natural(each, LAST_PORT) for each in (outside, inside)]
    try:
        ipaddress.ip_address(address)
    except ValueError:
        ports = [None]
    if not all(ports):
        hint = "write HOST:PORT, as in 8080:80, or with an address of this machine: 0.0.0.0:8080:80"
        raise FieldProblem(f"{text!r} publishes no port", hint, place)
    return address, ports[0] or 0, ports[1] or 0


def check_header(name: str, value: str) -> None:
    if not TOKEN.fullmatch(name):
        raise FieldProblem(f"{name!r} is no name of a header", "letters, digits and -", ("headers", name))
    if any(each in value for each in "\r\n\0") or any(ord(each) > 255 for each in value):
        hint = "one line of Latin-1; encode what is more"
        raise FieldProblem(f"the header {name} cannot have the value {value!r:.60}", hint, ("headers", name))


def check_pattern(pattern: str, name: str) -> None:
    """Raises FieldProblem unless it is a regular expression over bytes."""
    try:
        re.compile(pattern.encode())
    except (re.error, RecursionError, OverflowError, UnicodeEncodeError) as error:
        hint = "write a Python regular expression; \\\\( stands for a bracket itself"
        raise FieldProblem(f"{pattern!r} is no pattern: {error}", hint, (name,)) from None


def check_ready(ready: str) -> None:
    if ready.isdigit():
        if not natural(ready, LAST_PORT):
            raise FieldProblem(f"ready: {ready} is no port", "they go from 1 to 65535", ("ready",))
    elif len(ready) > 1 and ready.startswith("/") and ready.endswith("/"):
        check_pattern(ready[1:-1], "ready")
    elif ready:
        try:
            check_url(ready, SCHEMES)
        except FieldProblem as error:
            hint = "write a port, a URL, or /REGEX/ for what it prints"
            raise FieldProblem(f"ready: {error.message}", hint, ("ready",)) from None


_SIZE = re.compile(r"([0-9]{1,12})([kmgt]?)(?:i?b)?", re.IGNORECASE)


def size_of(text: str) -> int:
    """ "512M" → bytes, in powers of 1024 as docker and podman have it; "" and "0" → 0, negative: it is no size."""
    found = _SIZE.fullmatch(text or "0")
    return int(found[1]) << (10 * " kmgt".index(found[2].lower() or " ")) if found else -1


def check_size(text: str, name: str) -> None:
    size = size_of(text)
    if size < 0 or 0 < size < 6 << 20:
        raise FieldProblem(f"{name} {text}: no size of memory", "write 512M or 2G; 6M at the least", (name,))


_ATTRIBUTES = {
    "chmod": (re.compile(r"[0-7]{3,4}"), "an octal mode: 0755, 4755"),
    "chown": (re.compile(r"[^:\s\0]+(?::[^:\s\0]*)?|:[^:\s\0]+"), "USER, USER:GROUP or :GROUP"),
}


def check_attribute(name: str, path: str, value: str) -> None:
    """A path or glob and the mode or owner that it gets. Raises FieldProblem."""
    form, hint = _ATTRIBUTES[name]
    if not path.startswith("/") or not path.strip("/") or "\0" in path:
        raise FieldProblem(f"{name} {path!r}: no absolute path", "write /srv/app/run.sh=…", (name, path))
    if not form.fullmatch(value):
        raise FieldProblem(f"{name} {path}: {value!r} is not {hint}", f"write {hint}", (name, path))


def check_argv(argv: tuple[str, ...], place: Place) -> None:
    if not argv or not argv[0]:
        raise FieldProblem("the command is empty", "write a program and its arguments", place)
    check_text(argv, place)


def check_text(words: tuple[str, ...], place: Place) -> None:
    for at, word in enumerate(words):
        if "\0" in word:
            raise FieldProblem(f"{word!r:.60}: an argument cannot hold a NUL", place=(*place, at))


def known_signal(name: str) -> int:
    """ "TERM", "SIGTERM", "15", "RTMIN+3" → its number; 0 when there is no such signal."""
    text = name.upper().removeprefix("SIG")
    if text.isascii() and text.isdigit() and len(text) <= 3:
        number = int(text)
    elif realtime := _REALTIME.fullmatch(text):
        base, sign, offset = realtime.groups()
        number = int(signal.SIGRTMIN if base == "RTMIN" else signal.SIGRTMAX)
        number += int(f"{sign}{offset}") if offset else 0
        if not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return 0
    else:
        number = int(getattr(signal.Signals, f"SIG{text}", 0))
    return number if 0 < number < signal.NSIG else 0


def signal_number(name: str) -> int:
    """The same. Raises FieldProblem when there is no such signal."""
    number = known_signal(name)
    if not number:
        hint = "write TERM, QUIT, INT, RTMIN+3 or a number"
        raise FieldProblem(f"stop signal {name}: no such signal", hint, ("stop_signal",))
    return number


SHELL_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "(", ")", "2>"})


def split_command(text: str) -> tuple[str, ...]:
    """argv of a command line. One that needs a shell (&&, |, $X, >) becomes /bin/sh -c. Raises UsageProblem."""
    try:
        words = shlex.split(text)
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        tokens = list(lexer)
    except ValueError as error:
        raise UsageProblem(f"cannot split the command {text!r}: {error}", "check its quotes") from error
    if not words:
        raise UsageProblem("the command is empty")
    if SHELL_OPERATORS & set(tokens) and len(tokens) != len(words):
        return ("/bin/sh", "-c", text)
    if SHELL_OPERATORS & set(words) or any(word.startswith("$") for word in tokens if "'" not in text):
        return ("/bin/sh", "-c", text)
    return tuple(words)


def split_words(text: str) -> tuple[str, ...]:
    """argv of a command line that no shell reads. Raises UsageProblem."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageProblem(f"cannot split the command {text!r}: {error}", "check its quotes") from error
    if not words:
        raise UsageProblem("the command is empty", "write a program and its arguments")
    return words


def read_environment(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """An --env-file as docker and podman read it: NAME=VALUE, or NAME for the caller's own. Raises UsageProblem."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageProblem(f"cannot read --env-file {path}: {error.strerror}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip().lstrip("\ufeff")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name or any(character.isspace() for character in name) or "\0" in line:
            raise UsageProblem(f"--env-file {path}, line {number}: no NAME=VALUE", "write NAME=VALUE, or NAME alone")
        if equals:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
    return found


def spelled(place: Place) -> str:
    """("run", 0, "exec", 1) as "run 1.exec[1]"."""
    words = ""
    for at, part in enumerate(place):
        if isinstance(part, int):
            words += f" {part + 1}" if at == 1 else f"[{part}]"
        else:
            words += f".{part}" if words else part
    return words


def wrong(place: Place, message: str, hint: str = "") -> FieldProblem:
    return FieldProblem(f"{spelled(place)}: {message}", hint, place)
