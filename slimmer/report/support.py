"""Until when the distribution of a root gets security updates, as far as it is known.

The date is a fact of the root and of a dated table; whether it has passed is asked by whoever reads the review, so that
the same image has the same review on any day.
"""

from __future__ import annotations

import csv
import datetime
import io
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from slimmer.errors import SlimmerError
from slimmer.report.model import Subject
from slimmer.root.model import Root

DISTRO_INFO = "/usr/share/distro-info"
_LARGEST = 1 << 20  # bytes of a table in a root


def support_end(root: Root, release: Mapping[str, str]) -> str:
    """The last day, "YYYY-MM-DD"; empty when nobody knows. `release` is the root's os-release(5)."""
    said = _date(release.get("SUPPORT_END", ""))
    if said:
        return said
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    known = _table().get(name, {})
    for each in (version, ".".join(version.split(".")[:2])):  # Alpine says 3.20.3
        if each in known:
            return known[each].isoformat()
    return _own(root, name, version)


def over(end: str, today: datetime.date) -> bool:
    """Whether support has ended; what is not known has not."""
    return bool(end) and today > datetime.date.fromisoformat(end)


def support_words(subject: Subject) -> str:
    """The distribution and its date for a person: "debian 12, security updates until 2028-06-30"."""
    name = f"{subject.distribution} {subject.release}".strip()
    if not name or not subject.support_end:
        return name
    return f"{name}, security updates until {subject.support_end}"


@cache
def _table() -> Mapping[str, Mapping[str, datetime.date]]:
    return tomllib.loads(Path(__file__).with_name("support.toml").read_text(encoding="utf-8"))


def _own(root: Root, name: str, version: str) -> str:
    """From the distro-info-data that lies in the root itself."""
    if not name.isalnum() or not version:
        return ""
    try:
        text = root.read(f"{DISTRO_INFO}/{name}.csv", _LARGEST).decode("utf-8", "replace")
    except SlimmerError:
        return ""
    for row in csv.DictReader(io.StringIO(text)):
        if (row.get("version") or "").removesuffix(" LTS") == version:
            return _date(row.get("eol-lts") or row.get("eol") or "")
    return ""


def _date(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        return ""
