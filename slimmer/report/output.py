"""An output directory as the review reads it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.report.model import KeptPath, RemovedPath, Report
from slimmer.report.read import read_manifest, read_removed, read_report

REMOVED_FILE = "removed.json"
CHECK = "slimmer.check/1"


@dataclass(frozen=True, slots=True)
class Compared:
    """One thing that both were asked, and how it came out: "status 200, the same", or what is wrong."""

    what: str
    word: str


@dataclass(frozen=True, slots=True)
class Vain:
    """A path that the slim image was asked for and lacks: what followed, or why a repair added it."""

    path: str
    followed: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """What check.json says, as far as the review tells it."""

    verdict: str = ""  # "passed", "failed", "not performed", "" without a check.json
    why_not: str = ""
    asked: int = 0
    problems: tuple[str, ...] = ()
    misses: int = 0
    repaired: int = 0
    compared: tuple[Compared, ...] = ()
    vain: tuple[Vain, ...] = ()
    added: tuple[Vain, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A directory that `slim trace` or `slim build` published."""

    directory: Path

    def manifest(self) -> Iterator[KeptPath]:
        return read_manifest(self.directory / "manifest.json")

    def removed(self) -> Iterator[RemovedPath]:
        return read_removed(self.removed_file)

    @property
    def removed_file(self) -> Path:
        """removed.json, or removed.json.gz where it would be large."""
        plain = self.directory / REMOVED_FILE
        packed = self.directory / f"{REMOVED_FILE}.gz"
        return packed if packed.exists() and not plain.exists() else plain

    def counts(self) -> tuple[int, int]:
        """How many paths stay and how many do not: a row is a line, which is quicker than reading them."""
        kept = _lines(self.directory / "manifest.json")
        gone = _lines(self.removed_file)
        return kept or sum(1 for _ in self.manifest()), gone or sum(1 for _ in self.removed())

    def report(self) -> Report:
        return read_report(self.directory / "report.json")

    def check(self) -> Check:
        """Raises SlimmerError when there is a check.json of another form."""
        path = self.directory / "check.json"
        if not path.exists():
            return Check()
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if value["format"] != CHECK:
                raise ValueError(f"its format is {value['format']!r}")
            return Check(
                verdict=str(value["verdict"]),
                why_not=str(value["why_not"]),
                asked=len(value["comparisons"]),
                problems=tuple(f"{row['what']}: {row['problem']}" for row in value["comparisons"] if row["problem"]),
                misses=len(value["misses"]),
                repaired=len(value["repaired"]),
                compared=tuple(Compared(str(row["what"]), _outcome(row)) for row in value["comparisons"]),
                vain=tuple(Vain(str(row["path"]), followed=str(row["followed"])) for row in value["misses"]),
                added=tuple(Vain(str(row["path"]), why=str(row["why"])) for row in value["repaired"]),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise SlimmerError(f"{path} is not of format {CHECK}: {type(error).__name__}: {error}") from error


def _outcome(row: dict[str, Any]) -> str:
    if row["problem"]:
        return str(row["problem"])
    word = "" if row["slim"] == "same" else f"{row['slim']}, "
    return f"{word}varies in the fat root too" if row["varies"] else f"{word}the same"


def _lines(path: Path) -> int:
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
        return sum(line.startswith(b'{"path": ') for line in stream)


def open_output(name: str | Path) -> Output:
    """The output at a path. Raises SlimmerError when that is none."""
    directory = Path(name)
    hint = "name the directory that `slim trace -o DIR` wrote (slim-out by default)"
    if not directory.exists():
        raise SlimmerError(f"there is nothing at {name}", hint)
    if not directory.is_dir():
        raise SlimmerError(f"{name} is a file, not an output directory", hint)
    output = Output(directory)
    parts = (directory / "manifest.json", output.removed_file, directory / "report.json")
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise SlimmerError(f"{name} is not an output: it has no {' and no '.join(missing)}", hint)
    return output
