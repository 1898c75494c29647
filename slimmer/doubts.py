"""Where a finished image may be wrong: what no rule decides, and a person should look at."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slimmer.closure import shell_syntax
from slimmer.closure.commands import Start, effects
from slimmer.closure.model import Unsure
from slimmer.closure.started import BUILTINS
from slimmer.errors import SlimmerError
from slimmer.image.config import Healthcheck, ImageConfig
from slimmer.recipe import DEFAULT_PATH
from slimmer.root.model import FileType, Root
from tracer.recording import Kind, Recording

LISTED = "listed-directory"
# Weights, 0 harmless … 100 will break.
START = 95
HEALTH = 90
MOUNTED = 55
SOCKET = 40
CALLED = 15
SOCKET_NAME = re.compile(r"(?:\.sock(?:et)?|/socket|/dev/log)$")
MANY = 3  # names that a sentence can hold


@dataclass(frozen=True, slots=True)
class Packed:
    """What was decided: `paths` are kept, of `root`; the image's `config`; targets of mounts of the runs."""

    root: Root
    paths: Collection[str]
    config: ImageConfig
    mounts: Sequence[str] = ()


def doubts(packed: Packed, recording: Recording, known: Iterable[Unsure]) -> tuple[Unsure, ...]:
    """All doubts, those `known` from the closure too, heaviest first."""
    found = dict.fromkeys(_of_closure(known, packed))
    found.update(dict.fromkeys(_start(packed)))
    found.update(dict.fromkeys(_health(packed)))
    found.update(dict.fromkeys(_outside(packed, recording)))
    return tuple(sorted(found, key=lambda each: (-each.weight, each.kind, each.path, each.text)))


def _of_closure(known: Iterable[Unsure], packed: Packed) -> Iterator[Unsure]:
    """Directories that were listed: only those that did not stay whole, with what is gone."""
    for each in known:
        if each.kind != LISTED:
            yield each
            continue
        names = packed.root.children(each.path)
        gone = [name for name in names if posixpath.join(each.path, name) not in packed.paths]
        if gone:
            said = each.text.partition(";")[0]
            yield Unsure(LISTED, each.path, f"{said}; {len(gone)} of {len(names)} not kept: {_some(gone)}", each.weight)


def _start(packed: Packed) -> Iterator[Unsure]:
    """The program that the image starts, when the runs started another and it is not kept."""
    config = packed.config
    for word in config.argv[:1]:
        path = _program(packed.root, word, dict(config.env).get("PATH", DEFAULT_PATH), config.workdir)
        if not path:
            yield Unsure("start", "/", f"the image starts {word}, which the fat root has not either", START)
        elif path not in packed.paths:
            text = f"the image starts {word}, and {path} is not kept: --entrypoint says what it is to start"
            yield Unsure("start", path, text, START)


def _health(packed: Packed) -> Iterator[Unsure]:
    """Programs and files that a HEALTHCHECK names and the image has not."""
    check = packed.config.healthcheck
    if check is None:
        return
    env = dict(packed.config.env)
    for word in dict.fromkeys(_words(check)):
        path = _program(packed.root, word, env.get("PATH", DEFAULT_PATH))
        if not path:
            if "/" not in word:
                yield Unsure("healthcheck", "/", f"HEALTHCHECK runs {word}, which the fat root has not either", HEALTH)
        elif path not in packed.paths:
            text = f"HEALTHCHECK runs {word}, and {path} is not kept: add --exec with its command, or --include {path}"
            yield Unsure("healthcheck", path, text, HEALTH)


def _words(check: Healthcheck) -> list[str]:
    """What a health check starts: Docker's CMD is an argument vector, CMD-SHELL a line for /bin/sh."""
    kind, *words = check.test or ("NONE",)
    if kind == "CMD" and words:
        return [words[0], *(word for word in words[1:] if word.startswith("/"))]
    if kind != "CMD-SHELL" or not words:
        return []
    script = shell_syntax.parse(" ".join(words).encode("utf-8", "surrogateescape"))
    found = ["/bin/sh"]
    for command in script.commands:
        line = command.literal
        if not line or not line[0] or line[0] in script.functions | BUILTINS:
            continue
        found.append(line[0])
        found += [each.word for each in effects(line) if isinstance(each, Start) and each.word not in BUILTINS]
        found += [word for word in line[1:] if word.startswith("/")]
    return found


def _program(root: Root, word: str, search: str, workdir: str = "") -> str:
    """The canonical path that a word runs or names; "" when there is none."""
    if "/" in word:
        places = [posixpath.join("/", workdir, word)]
    else:
        places = [posixpath.join(each or "/", word) for each in search.split(":")]
    for place in places:
        found = root.find(place)
        if found is not None and found.type is FileType.FILE:
            return found.path
    return ""


def _outside(packed: Packed, recording: Recording) -> Iterator[Unsure]:
    """Services that the run reached and no image holds: sockets, and what was mounted for it."""
    mounted: Mapping[str, list[str]] = {target: [] for target in packed.mounts}
    for access in recording.accesses:
        under = next((top for top in mounted if access.path == top or access.path.startswith(f"{top}/")), None)
        if under is not None:
            mounted[under].append(access.path)
            continue
        try:
            entry = packed.root.find(access.path)
        except SlimmerError:
            continue
        by = next((each for each in sorted(access.by) if each), "a program")
        if entry is not None and entry.type is FileType.SOCKET:
            text = f"{by} used this socket; who answers there is not in the image: mount it where the image runs"
            yield Unsure("outside-socket", entry.path, text, SOCKET)
        elif entry is None and SOCKET_NAME.search(access.path) and Kind.WRITE not in access.kinds:
            yield Unsure("outside-socket", access.path, f"{by} looked for a service here; nobody answered", CALLED)
    for target, paths in mounted.items():
        if paths:
            text = f"was mounted for the run, and {len(paths)} paths in it were used: mount it where the image runs"
            yield Unsure("mounted", target, text, MOUNTED)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MANY]) + (", …" if len(names) > MANY else "")
