"""Where a finished image may be wrong: what no rule decides, and a person should look at."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slimmer.closure.commands import shell_syntax
from slimmer.closure.commands.needs import BUILTINS
from slimmer.closure.commands.wrappers import Start, effects
from slimmer.closure.model import ClosureWarning
from slimmer.closure.started import SYSTEM
from slimmer.errors import SlimmerError
from slimmer.image.config import Healthcheck, ImageConfig
from slimmer.packages.model import PackageIndex
from slimmer.recipe import DEFAULT_PATH
from slimmer.report.credentials import credential_variable
from slimmer.report.remedies import with_remedy
from slimmer.root.budget import Unread
from slimmer.root.model import FileType, Root
from tracer.recording import Kind, Recording

LISTED = "listed-directory"
# Weights, 0 harmless … 100 will break.
START = 95
HEALTH = 90
CREDENTIAL = 85
MOUNTED = 55
SOCKET = 40
CALLED = 15
SOCKET_NAME = re.compile(r"(?:\.sock(?:et)?|/socket|/dev/log)$")
SLIGHT = 15
NSCD = ("/run/nscd/socket", "/var/run/nscd/socket")
# Kinds that speak of a kept file: none of them counts when the file is not in the image.
OF_KEPT = frozenset(
    (
        *("siblings", "dlopen-string", "unsound-elf", "missing-library", "loader", "looked-at", "unread", "command"),
        *(
            "python-import",
            "python-command",
            "node",
            "node-command",
            "shell",
            "compiled-command",
            "too-large",
            "refused-shell",
        ),
    )
)
# bootsnap lists all of Ruby's library, to know at once what can be required.
MODULES = re.compile(
    r"/(?:site-packages|dist-packages|node_modules|lib-dynload|python[\d.]+|(?:ruby|perl5?)/\d[\d.]*|gems|vendor)(?:/|$)"
)
# Objects that sources, libc or the files of pam.d(5) ask for by name, one by one: what nobody names is not missed as
# plugins are.
BY_NAME = re.compile(MODULES.pattern + r"|/gconv/|/ruby/|/perl5?/|/lua/|/security/pam_")
PLACES = frozenset(
    (
        *("/", "/bin", "/sbin", "/lib", "/lib64", "/usr", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/share", "/etc"),
        *("/usr/local", "/usr/local/bin", "/usr/local/sbin", "/usr/local/lib", "/opt", "/srv", "/home", "/root"),
        *("/usr/lib/locale", "/usr/share/locale", "/var", "/var/lib", "/var/cache", "/var/tmp", "/tmp", "/run"),
        *("/dev", "/proc", "/sys"),
    )
)
_NEEDS = re.compile(r" needs (\S+), which its loader")
MANY = 3  # names that a sentence can hold


@dataclass(frozen=True, slots=True)
class Packed:
    """What was decided: `paths` are kept, of `root`; the image's `config`; targets of mounts of the runs.

    `left_out` was known and decided against: nobody need be told that it is gone.
    """

    root: Root
    paths: Collection[str]
    config: ImageConfig
    mounts: Sequence[str] = ()
    left_out: Collection[str] = ()


def warnings(
    packed: Packed, recording: Recording, known: Iterable[ClosureWarning], index: PackageIndex | None = None
) -> tuple[ClosureWarning, ...]:
    """All warnings, those `known` from the closure too, each with its remedy, heaviest first.

    With the packages' `index`, what only the libraries of a distribution ask of each other weighs little.
    """
    loaded = _loaded(packed, recording)
    found = dict.fromkeys(each for each in _of_closure(known, packed, index) if _missed(each) not in loaded)
    found.update(dict.fromkeys(_start(packed)))
    found.update(dict.fromkeys(_health(packed)))
    found.update(dict.fromkeys(_outside(packed, recording)))
    found.update(dict.fromkeys(_credentials(packed.config)))
    return tuple(sorted(map(with_remedy, found), key=lambda each: (-each.weight, each.kind, each.path, each.text)))


def _of_closure(
    known: Iterable[ClosureWarning], packed: Packed, index: PackageIndex | None
) -> Iterator[ClosureWarning]:
    """What the closure noted of files that are in the image.

    Directories that were listed: only those that did not stay whole, with what is gone.
    """
    for each in known:
        if each.kind in OF_KEPT and each.path not in packed.paths:
            continue
        if each.kind == "shell-line" and not {"/bin/sh", "/usr/bin/sh"}.isdisjoint(packed.paths):
            continue
        if each.kind == "siblings" and BY_NAME.search(each.path):
            yield replace(each, weight=min(each.weight, SLIGHT))
            continue
        if each.kind == "dlopen-string" and index is not None and _distribution_only(each.path, index):
            yield replace(each, weight=min(each.weight, SLIGHT))
            continue
        if each.kind != LISTED:
            yield each
            continue
        names = packed.root.children(each.path)
        gone = [name for name in names if posixpath.join(each.path, name) not in packed.paths]
        if any(posixpath.join(each.path, name) not in packed.left_out for name in gone):
            said = each.text.partition(";")[0]
            weight = min(each.weight, SLIGHT) if _searched(each.path, packed, index) else each.weight
            text = f"{said}; {len(gone)} of {len(names)} not kept: {_some(gone)}"
            yield ClosureWarning(LISTED, each.path, text, weight)


def _loaded(packed: Packed, recording: Recording) -> frozenset[str]:
    """Names of the kept libraries that a run read.

    What a process has loaded by its path answers for its name from then on, wherever it lies (glibc's dl-load.c,
    _dl_map_object): the JVM's launcher opens libjvm.so first, and then those that need it.
    """
    read = (each.path for each in recording.accesses if Kind.READ in each.kinds and ".so" in each.path)
    return frozenset(posixpath.basename(path) for path in read if path in packed.paths)


def _missed(warning: ClosureWarning) -> str:
    """The library that a warning says no loader finds; "" when it says something else."""
    found = _NEEDS.search(warning.text) if warning.kind == "missing-library" else None
    return found[1] if found else ""


def _distribution_only(path: str, index: PackageIndex) -> bool:
    owner = index.owner(path)
    return owner is not None and owner.type in SYSTEM


def _searched(path: str, packed: Packed, index: PackageIndex | None) -> bool:
    """Whether a directory is listed to look names up in it, and not for what it holds.

    Importers list every directory of a language's search path; a shell those of PATH; who looks
    for a file in a directory of many packages does not use them all.
    """
    if MODULES.search(path) or path in PLACES or path in dict(packed.config.env).get("PATH", DEFAULT_PATH).split(":"):
        return True
    names = packed.root.children(path)
    if any(name.endswith((".py", ".pyc")) or name == "__pycache__" for name in names):
        return True
    return index is not None and len({each.name for each in index.owners(path)}) > 1


def _start(packed: Packed) -> Iterator[ClosureWarning]:
    """The program that the image starts, when the runs started another and it is not kept."""
    config = packed.config
    for word in config.argv[:1]:
        path = _program(packed.root, word, dict(config.env).get("PATH", DEFAULT_PATH), config.workdir)
        if not path:
            yield ClosureWarning("start", "/", f"the image starts {word}, which the fat root has not either", START)
        elif path not in packed.paths:
            text = f"the image starts {word}, and {path} is not kept: --entrypoint says what it is to start"
            yield ClosureWarning("start", path, text, START)


def _credentials(config: ImageConfig) -> Iterator[ClosureWarning]:
    """Secrets in the image's environment: everybody who can pull it reads them. The name is said, never the value."""
    for name, value in config.env:
        if kind := credential_variable(name, value):
            text = f"the image sets {name}, which looks like a secret ({kind}): give it to the runs alone, with --env"
            yield ClosureWarning("credential", "/", text, CREDENTIAL)


def _health(packed: Packed) -> Iterator[ClosureWarning]:
    """Programs and files that a HEALTHCHECK names and the image has not."""
    check = packed.config.healthcheck
    if check is None:
        return
    env = dict(packed.config.env)
    for word in dict.fromkeys(_words(check)):
        path = _program(packed.root, word, env.get("PATH", DEFAULT_PATH))
        if not path:
            if "/" not in word:
                yield ClosureWarning(
                    "healthcheck", "/", f"HEALTHCHECK runs {word}, which the fat root has not either", HEALTH
                )
        elif path not in packed.paths:
            text = f"HEALTHCHECK runs {word}, and {path} is not kept: add --exec with its command, or --include {path}"
            yield ClosureWarning("healthcheck", path, text, HEALTH)


def _words(check: Healthcheck) -> list[str]:
    """What a health check starts: Docker's CMD is an argument vector, CMD-SHELL a line for /bin/sh."""
    kind, *words = check.test or ("NONE",)
    if kind == "CMD" and words:
        return [words[0], *(word for word in words[1:] if word.startswith("/"))]
    if kind != "CMD-SHELL" or not words:
        return []
    try:
        script = shell_syntax.parse(" ".join(words).encode("utf-8", "surrogateescape"))
    except Unread:
        return []
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


def _outside(packed: Packed, recording: Recording) -> Iterator[ClosureWarning]:
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
            yield ClosureWarning("outside-socket", entry.path, text, SOCKET)
        elif entry is None and access.path in NSCD:
            continue  # libc asks whether there is a cache, everywhere, and does without
        elif entry is None and SOCKET_NAME.search(access.path) and Kind.WRITE not in access.kinds:
            yield ClosureWarning(
                "outside-socket", access.path, f"{by} looked for a service here; nobody answered", CALLED
            )
    for target, paths in mounted.items():
        if paths:
            text = f"was mounted for the run, and {len(paths)} paths in it were used: mount it where the image runs"
            yield ClosureWarning("mounted", target, text, MOUNTED)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MANY]) + (", …" if len(names) > MANY else "")
