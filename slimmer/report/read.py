"""Reads manifest.json, removed.json and report.json again; rows one by one, memory flat.

Anything else than what `write` writes is an error with its place, except the line breaks: a
file that was formatted anew is read whole.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

from slimmer.closure.model import ClosureWarning, LevelSize, Reason
from slimmer.errors import SlimmerError
from slimmer.packages.model import Package, PackageType
from slimmer.report.model import (
    MANIFEST,
    REMOVED,
    REPORT,
    Folder,
    Held,
    KeptPath,
    Mark,
    PackageReport,
    PackageState,
    RemovedPath,
    Report,
    Risk,
    RiskCount,
    RiskyPath,
    Subject,
    Total,
    Tree,
)
from slimmer.root.model import Entry, FileType

_Row = TypeVar("_Row")
_HINT = "`slim trace` and `slim build` write it into the output directory"
_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def read_manifest(path: Path) -> Iterator[KeptPath]:
    """Every kept path, in the file's order. Raises SlimmerError."""
    return _rows(path, MANIFEST, parse_kept)


def read_removed(path: Path) -> Iterator[RemovedPath]:
    """Every removed path, in the file's order. Raises SlimmerError."""
    return _rows(path, REMOVED, parse_removed)


def read_report(path: Path) -> Report:
    """A report. Raises SlimmerError."""
    value = _json(path)
    try:
        if value["format"] != REPORT:
            raise ValueError(f"its format is {value['format']!r}")
        return _report(value)
    except _WRONG as error:
        raise _not(path, REPORT, error) from error


def _not(path: Path, name: str, error: Exception) -> SlimmerError:
    return SlimmerError(f"{path} is not of format {name}: {type(error).__name__}: {error}", _HINT)


def _json(path: Path) -> Any:
    try:
        with _opened(path) as stream:
            return json.loads(stream.read())
    except (OSError, EOFError, zlib.error) as error:
        raise SlimmerError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise SlimmerError(f"{path} is not JSON: {error}", _HINT) from error


def _rows(path: Path, name: str, parse: Callable[[Any], _Row]) -> Iterator[_Row]:
    lines = _lines(path, name)
    if lines is None:
        value = _json(path)
        if not isinstance(value, dict) or value.get("format") != name or not isinstance(value.get("paths"), list):
            raise SlimmerError(f"{path} is not of format {name}", _HINT)
        lines = iter(value["paths"])
    number = 0
    try:
        for value in lines:
            number += 1
            yield parse(value)
    except (*_WRONG, RecursionError) as error:
        raise SlimmerError(
            f"{path}: path number {number or 1} is wrong: {type(error).__name__}: {error}", _HINT
        ) from error


def _lines(path: Path, name: str) -> Iterator[Any] | None:
    """The values of a file that `write` wrote, a line each; None when its lines are others."""
    try:
        stream = _opened(path)
    except OSError as error:
        raise SlimmerError(f"cannot read {path}: {error.strerror}", _HINT) from error
    try:
        head = [stream.readline(200) for _ in range(3)]
    except (OSError, EOFError, zlib.error) as error:  # a damaged removed.json.gz
        stream.close()
        raise SlimmerError(f"cannot read {path}: {error}", _HINT) from error
    except UnicodeDecodeError as error:
        stream.close()
        raise SlimmerError(f"{path} is not of format {name}: not UTF-8 at byte {error.start}", _HINT) from error
    if head != ["{\n", f'"format": "{name}",\n', '"paths": [\n']:
        stream.close()
        return None
    return _values(stream, path)


def _opened(path: Path) -> TextIO:
    """The file's text, also of one that was compressed."""
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8")
    return path.open(encoding="utf-8")


def _values(stream: Any, path: Path) -> Iterator[Any]:
    decode = json.JSONDecoder().decode
    with stream:
        for line in _whole(stream, path):
            if line == "]\n":
                if stream.read() == "}\n":
                    return
                break
            yield decode(line[:-2] if line.endswith(",\n") else line)
    raise SlimmerError(f"{path} ends early", "it was cut off; write the output again")


def _whole(stream: TextIO, path: Path) -> Iterator[str]:
    try:
        yield from iter(stream.readline, "")
    except (EOFError, OSError, zlib.error) as error:
        raise SlimmerError(f"cannot read {path}: {error}", "it was cut off; write the output again") from error


def parse_kept(value: Mapping[str, Any]) -> KeptPath:
    """A row of manifest.json."""
    return KeptPath(
        entry=_entry(value),
        sha256=_text(value.get("sha256", "")),
        xattrs={name: base64.b64decode(text, validate=True) for name, text in value.get("xattrs", {}).items()},
        package=_named(value["package"]),
        reasons=tuple(_reason(each) for each in value["reasons"]),
        risks=_marks(value.get("risks", ())),
        also=_also(value.get("also", ())),
        was=_text(value.get("was", "")),
    )


def parse_removed(value: Mapping[str, Any]) -> RemovedPath:
    """A row of removed.json."""
    return RemovedPath(
        _entry(value),
        _named(value["package"]),
        _marks(value.get("risks", ())),
        _also(value.get("also", ())),
        _tree(value.get("tree")),
    )


def _tree(value: Mapping[str, Any] | None) -> Tree | None:
    if value is None:
        return None
    held = []
    for each in value.get("packages", ()):
        package = _named(each)
        if package is not None:
            held.append(Held(package, int(each["files"]), int(each["bytes"])))
    risks = tuple((Risk(name), int(count)) for name, count in value.get("risks", {}).items())
    return Tree(int(value["paths"]), int(value["files"]), int(value["bytes"]), tuple(held), risks)


_TYPES = {each.value: each for each in FileType}


def _entry(value: Mapping[str, Any]) -> Entry:
    device = value.get("device")
    return Entry(
        path=_text(value["path"]),
        type=_TYPES[value["type"]],
        mode=int(value["mode"], 8),
        uid=_number(value["uid"]),
        gid=_number(value["gid"]),
        size=_number(value["size"]),
        mtime_ns=_number(value.get("mtime", 0)) * 1_000_000_000,
        target=_text(value.get("target", "")),
        device=os.makedev(*device) if device else 0,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {value!r:.60}")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a whole number was expected, not {value!r:.60}")
    return value


_packages: dict[tuple[str, ...], Package] = {}  # the same few objects for a million rows


def _named(value: Mapping[str, str] | None) -> Package | None:
    if value is None:
        return None
    key = (value["type"], value["name"], value["version"], value.get("location", ""))
    found = _packages.get(key)
    if found is None:
        found = Package(PackageType(key[0]), _text(key[1]), _text(key[2]), location=_text(key[3]))
        _packages[key] = found
    return found


def _also(values: Any) -> tuple[Package, ...]:
    return tuple(found for each in values if (found := _named(each)) is not None) if values else ()


def _marks(values: Any) -> tuple[Mark, ...]:
    return tuple(parse_mark(each) for each in values) if values else ()


def parse_mark(text: str) -> Mark:
    """ "credential:private-key" as a Mark. Raises ValueError."""
    risk, _, kind = text.partition(":")
    return Mark(Risk(risk), kind)


def _reason(value: Mapping[str, Any]) -> Reason:
    return Reason(_text(value["rule"]), _text(value["text"]), _text(value["needed_by"]))


def _package(value: Mapping[str, Any]) -> Package:
    names = ("architecture", "source", "source_version", "license", "location")
    more = {name: _text(value.get(name, "")) for name in names}
    return Package(PackageType(value["type"]), _text(value["name"]), _text(value["version"]), **more)


def _report(value: Mapping[str, Any]) -> Report:
    subject = value["subject"]
    return Report(
        subject=Subject(
            source=_text(subject["source"]),
            source_digest=_text(subject.get("source_digest", "")),
            command=tuple(map(_text, subject["command"])),
            architecture=_text(subject["architecture"]),
            image=_text(subject["image"]),
            image_bytes=_number(subject["image_bytes"]),
            version=_text(subject["version"]),
            recorder=tuple(map(_text, subject["recorder"])),
            user=_text(subject["user"]),
            distribution=_text(subject["distribution"]),
            release=_text(subject["release"]),
            support_end=_text(subject.get("support_end", "")),
            compressor=_text(subject.get("compressor", "")),
        ),
        fat=_total(value["fat"]),
        slim=_total(value["slim"]),
        packages=tuple(_package_report(each) for each in value["packages"]),
        risks=tuple(
            RiskCount(Risk(each["risk"]), _number(each["fat"]), _number(each["slim"])) for each in value["risks"]
        ),
        risky=tuple(
            RiskyPath(
                _text(each["path"]),
                _marks(each["risks"]),
                _named(each["package"]),
                _reason(each["reason"]) if each["reason"] else None,
            )
            for each in value["risky"]
        ),
        folders=tuple(
            Folder(
                _text(each["path"]),
                _number(each["kept_files"]),
                _number(each["kept_bytes"]),
                _number(each["removed_files"]),
                _number(each["removed_bytes"]),
            )
            for each in value["folders"]
        ),
        rules={_text(name): _number(count) for name, count in value["rules"].items()},
        warnings=tuple(
            ClosureWarning(
                _text(each["kind"]),
                _text(each["path"]),
                _text(each["text"]),
                _number(each["weight"]),
                _text(each.get("remedy", "")),
            )
            for each in value["unsure"]
        ),
        levels=tuple(
            LevelSize(
                _text(each["level"]),
                _number(each["paths"]),
                _number(each["bytes"]),
                bool(each["chosen"]),
                bool(each.get("estimate", False)),
            )
            for each in value["levels"]
        ),
        notes=tuple(map(_text, value["notes"])),
    )


def _total(value: Mapping[str, Any]) -> Total:
    names = ("paths", "files", "bytes", "packages", "executables", "shared_objects")
    return Total(*(_number(value[name]) for name in names))


def _package_report(each: Mapping[str, Any]) -> PackageReport:
    return PackageReport(
        package=_package(each["package"]),
        state=PackageState(each["state"]),
        kept_files=_number(each["kept_files"]),
        kept_bytes=_number(each["kept_bytes"]),
        removed_files=_number(each["removed_files"]),
        removed_bytes=_number(each["removed_bytes"]),
        copyright=bool(each["copyright"]),
        part=tuple(map(_text, each["part"])),
    )
