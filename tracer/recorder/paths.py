"""From what a stopped process passed to a path inside the recorded root.

A path is recorded *as named*: absolute, inside the recorded root, links not
resolved, without empty parts and `.`. A `..` is kept, because across a link it
means something else than the text says, and whoever reads the recording can look;
but one that follows the working directory, or the directory of a descriptor, is
taken away with its part: the kernel gave those names, and no part of them is a link.

Below /proc and /dev, numbers of processes and descriptors differ from run to run
and say nothing, so they have a normal form (`normal_form`); what a link such as
/proc/self/fd/3 leads to is recorded as well, by its own name.

What needs the process (its root, its directories) is read while it is stopped; what
is only text is done once for each distinct string, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

_NUMBERED = {b"fd", b"fdinfo", b"task", b"map_files", b"pts"}


def join(root: bytes, base: bytes, raw: bytes) -> bytes:
    """`raw` as named by a process whose root is `root` and whose directory is `base`, both inside the recorded root.

    `root` is b"" for the recorded root itself, else like b"/srv/jail"; `base` is b"" when unknown.
    """
    absolute = raw.startswith(b"/")
    if not (b"//" in raw or b"/." in raw or raw.startswith(b".") or raw.endswith(b"/")):
        if absolute:
            return root + raw
        return (b"" if base == b"/" else base) + b"/" + raw
    canonical: list[bytes] = []  # of the base: its parts are known to be directories
    named: list[bytes] = []
    if not absolute:
        inside = base[len(root) :] if base == root or base.startswith(root + b"/") else base
        root = root if inside is not base or not root else b""
        canonical = [part for part in inside.split(b"/") if part]
    for part in raw.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if named:
                named.append(part)
            elif canonical:
                canonical.pop()
            continue
        named.append(part)
    return root + b"/" + b"/".join(canonical + named) if canonical or named else root or b"/"


def normal_form(path: bytes) -> bytes:
    """The same for every run: no process numbers, no descriptor numbers."""
    if path.startswith(b"/proc/"):
        return b"/" + b"/".join(_without_numbers(path[1:].split(b"/")))
    if path.startswith((b"/dev/fd/", b"/dev/pts/")):
        return b"/" + b"/".join(_without_numbers(path[1:].split(b"/")))
    return path


def _without_numbers(parts: Sequence[bytes]) -> list[bytes]:
    result: list[bytes] = []
    for place, part in enumerate(parts):
        if part.isdigit() or part == b"thread-self":
            if place == 1 and parts[0] == b"proc":
                result.append(b"self")
                continue
            if result[-1] in _NUMBERED:
                break
        if result and result[-1] == b"map_files":
            break
        result.append(part)
    return result


def relative_to(prefix: bytes, path: bytes) -> bytes | None:
    """A path of the mount namespace as one inside the recorded root at `prefix` (b"" for all of it); None outside."""
    if not prefix:
        return path
    if path == prefix:
        return b"/"
    return path[len(prefix) :] if path.startswith(prefix + b"/") else None
