"""Numbers, URLs and texts from outside: one reader each, and one way to show them."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from slimmer.errors import UsageProblem

IDS = (1 << 32) - 2  # the highest user or group; the one above means "no change" to the kernel, chown(2)
LAST_PORT = (1 << 16) - 1
_USER = re.compile(r"(://[^\s/@:'\"<>]{0,200}:)[^\s/@'\"<>]{1,500}(?=@)")
_QUERY = re.compile(
    r"(?i)([?&;][\w.~%-]{0,60}(?:token|secret|passw|key|signature|sig|auth|credential|session)[\w.~%-]{0,60}=)"
    r"[^&;#\s'\"<>]{1,4000}"
)


def natural(text: str, most: int) -> int | None:
    """The number that some decimal digits write; None for anything else, and for what is larger than `most`."""
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    number = int(text)
    return number if number <= most else None


def url(text: str, schemes: tuple[str, ...], *, what: str = "") -> SplitResult:
    """The parts of a URL, all of which can be asked for. Raises UsageProblem."""
    said = f"{what} {masked(text)}".strip()
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  a number, or ValueError
    except ValueError as error:
        raise UsageProblem(f"{said}: not a URL: {error}", "write http://127.0.0.1:8080/path") from error
    if parts.scheme not in schemes or "://" not in text:
        raise UsageProblem(
            f"{said}: not a URL of {', '.join(schemes)}",
            "write http://127.0.0.1:8080/path, or with a status: http://127.0.0.1:8080/x=404",
        )
    return parts


_WITHHELD = re.compile(r"://[^\s/@]{0,200}:\*\*\*@|[?&;][^=&\s]{1,200}=\*\*\*(?:[&;#]|$)")


def masked(text: str) -> str:
    """A text with the passwords of its URLs and the values of telling query parameters replaced."""
    if "://" not in text and "?" not in text:
        return text
    return _QUERY.sub(r"\1***", _USER.sub(r"\1***", text))


def withheld(text: str) -> bool:
    """Whether a URL is one that `masked` has written: what it stands for is not known any more."""
    return bool(_WITHHELD.search(text))


def plain(text: str) -> str:
    """What is said of strangers' words: each line as `printable` has it, credentials of URLs as `masked` has them."""
    return "\n".join(printable(line) for line in masked(text).split("\n"))


def printable(text: str) -> str:
    """A text as it can be shown anywhere: bytes that are no UTF-8 and control characters as escapes."""
    if text.isprintable():
        return text
    plain = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in plain)
