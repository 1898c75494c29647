"""What one run touched, as data: accesses and executions. Merges, reads, writes.

The file is JSON, `"format": "slimmer.recording/1"`, sorted throughout, with
ASCII escapes, so that a name that is not UTF-8 (a surrogate escape here)
survives and equal recordings are equal bytes.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.errors import TracerError

FORMAT = "slimmer.recording/1"


class Kind(enum.StrEnum):
    """What was done to a path. A lookup that found nothing has the kind of what was tried."""

    READ = "read"
    WRITE = "write"  # opened for writing, created, truncated, renamed, removed, its metadata changed
    EXEC = "exec"
    STAT = "stat"
    LINK = "link"  # the symbolic link itself was read
    LIST = "list"  # opened as a directory


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """A path (absolute, inside the recorded root, as named: links not resolved) and what was done to it by whom."""

    path: str
    kinds: frozenset[Kind]
    by: frozenset[str]  # paths of the programs, "" when unknown


@dataclass(frozen=True, slots=True, order=True)
class Execution:
    """A program that was started, and what of its environment decides which files it loads."""

    path: str  # absolute inside the root, as named
    workdir: str
    environment: tuple[tuple[str, str], ...] = ()  # sorted; only variables of ENVIRONMENT


# What loaders, shells and language runtimes search by.
ENVIRONMENT = frozenset(
    {
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "NODE_PATH"),
        *("NODE_OPTIONS", "PERL5LIB", "PERLLIB", "RUBYLIB", "RUBYOPT", "GEM_HOME", "GEM_PATH", "BUNDLE_GEMFILE"),
        *("PHPRC", "PHP_INI_SCAN_DIR", "JAVA_HOME", "CLASSPATH", "LANG", "LC_ALL", "LC_CTYPE", "LANGUAGE", "LOCPATH"),
        *("NLSPATH", "TZ", "TZDIR", "TERM", "TERMINFO", "TERMINFO_DIRS", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS"),
        *("FONTCONFIG_PATH", "FONTCONFIG_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "OPENSSL_MODULES"),
        *("GCONV_PATH", "MAGICK_HOME", "MAGICK_CONFIGURE_PATH"),
    }
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A set of accesses with where it comes from. `root` and `architecture` must agree to merge."""

    accesses: tuple[Access, ...]
    executions: tuple[Execution, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()  # argv of each command that was run on purpose
    architecture: str = ""  # "x86_64", "aarch64": of the recorded programs, as uname -m says
    recorder: tuple[str, ...] = ()  # "notify", "ptrace", "fanotify"; several after a merge
    root: str = ""  # the fat root's fingerprint
    notes: tuple[str, ...] = ()  # what a reader should know: "io_uring was refused to /usr/bin/x"
    incomplete: tuple[str, ...] = ()  # why it ends before the run did; empty: it does not

    def merge(self, other: Recording) -> Recording:
        """Both together. Commutative, associative, idempotent. Raises TracerError when they do not belong together."""
        for what in ("root", "architecture"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise TracerError(
                    f"these recordings do not belong together: their {what} differs ({mine or '?'}, {theirs or '?'})",
                    f"record both runs in the same {what}, or build an image from each",
                )
        return Recording(
            accesses=collect(self.accesses + other.accesses),
            executions=tuple(sorted({*self.executions, *other.executions})),
            commands=tuple(sorted({*self.commands, *other.commands})),
            architecture=self.architecture,
            recorder=tuple(sorted({*self.recorder, *other.recorder})),
            root=self.root,
            notes=tuple(sorted({*self.notes, *other.notes})),
            incomplete=tuple(sorted({*self.incomplete, *other.incomplete})),
        )

    def dump(self) -> str:
        """The file's text."""
        value = {
            "format": FORMAT,
            "root": self.root,
            "architecture": self.architecture,
            "recorder": list(self.recorder),
            "commands": [list(command) for command in self.commands],
            "notes": list(self.notes),
            **({"incomplete": list(self.incomplete)} if self.incomplete else {}),
            "executions": [
                {"path": each.path, "workdir": each.workdir, "environment": dict(each.environment)}
                for each in self.executions
            ],
            "accesses": [
                {"path": each.path, "kinds": sorted(each.kinds), "by": sorted(each.by)} for each in self.accesses
            ],
        }
        return json.dumps(value, indent=1) + "\n"


def collect(accesses: Iterable[Access]) -> tuple[Access, ...]:
    """One Access a path, sorted by path as bytes."""
    kinds: dict[str, set[Kind]] = {}
    by: dict[str, set[str]] = {}
    for each in accesses:
        kinds.setdefault(each.path, set()).update(each.kinds)
        by.setdefault(each.path, set()).update(each.by)
    order = sorted(kinds, key=lambda path: path.encode("utf-8", "surrogateescape"))
    return tuple(Access(path, frozenset(kinds[path]), frozenset(by[path])) for path in order)


def merge_all(recordings: Iterable[Recording]) -> Recording:
    """All of them together. Raises TracerError when there is none, or when they do not belong together."""
    merged: Recording | None = None
    for each in recordings:
        merged = each.merge(each) if merged is None else merged.merge(each)
    if merged is None:
        raise TracerError("no recording given", "name at least one recording.json")
    return merged


def load(path: Path) -> Recording:
    """Read a recording file. Raises TracerError with the place of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TracerError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TracerError(
            f"{path} is not a recording: not UTF-8 at byte {error.start}", "write one with `slim record`"
        ) from error
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise TracerError(f"{path} is not a recording: {error}", "write one with `slim record`") from error
    try:
        return _parse(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TracerError(
            f"{path} is not a recording of format {FORMAT}: {type(error).__name__}: {error}",
            "write one with `slim record`",
        ) from error


def _parse(value: Any) -> Recording:
    if value["format"] != FORMAT:
        raise ValueError(f"its format is {value['format']!r}")
    return Recording(
        accesses=collect(
            Access(_text(each["path"]), frozenset(Kind(kind) for kind in each["kinds"]), _texts(each["by"]))
            for each in value["accesses"]
        ),
        executions=tuple(
            sorted(
                Execution(
                    _text(each["path"]),
                    _text(each["workdir"]),
                    tuple(sorted((_text(k), _text(v)) for k, v in each["environment"].items())),
                )
                for each in value["executions"]
            )
        ),
        commands=tuple(tuple(_text(word) for word in command) for command in value["commands"]),
        architecture=_text(value["architecture"]),
        recorder=tuple(sorted(_texts(value["recorder"]))),
        root=_text(value["root"]),
        notes=tuple(sorted(_texts(value["notes"]))),
        incomplete=tuple(sorted(_texts(value.get("incomplete", ())))),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {value!r:.60}")
    return value


def _texts(values: Iterable[object]) -> frozenset[str]:
    return frozenset(_text(value) for value in values)
