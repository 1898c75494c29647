"""A policy for images: limits in TOML, read strictly.

[limits]                       # each at most
size = "50 MB"                 # of all files; a number is bytes
transfer = "20 MB"             # of the compressed layers
files = 500
packages = 30
age = 30                       # days since the output was made (the time of its report.json)
executables = 20
shared-objects = 80

[deny]
risks = ["shell", "setuid", "credential"]
paths = ["/usr/share/man/*", "*.pyc"]        # globs; * also matches /
packages = ["perl*", "npm:left-pad"]         # [type:]name globs
licenses = ["AGPL*"]

[allow]
packages = ["libc6", "pypi:*"]               # only these
unsupported = false            # a distribution whose security support has ended; default true

[require]
check = "passed"
paths = ["/etc/ssl/certs/ca-certificates.crt"]
copyright = true               # of each operating system package with a kept file
user = "non-root"

[vulnerabilities]              # of the scan that slim trace or slim gate was given
max_critical = 0
max_high = 3                   # max_medium, max_low, max_negligible, max_unknown, and max_total of all
fixable_only = true            # those without a fix do not count
ignored = ["CVE-2019-1010022"]

[[except]]
path = "/usr/bin/ping"
risks = ["file-capability"]
because = "health checks"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimmer.errors import UsageProblem
from slimmer.report.findings import Severity
from slimmer.report.model import Risk

TOTAL = "total"
LIMITS = ("size", "transfer", "files", "packages", "executables", "shared-objects", "age")
_MOST = {f"max_{name}": name for name in (*Severity, TOTAL)}
_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"\s*+(\d+(?:\.\d+)?)\s*+([A-Za-z]*)\s*")


@dataclass(frozen=True, slots=True)
class Exemption:
    """A path glob that may carry these risks (all when empty), and why."""

    path: str
    risks: frozenset[Risk]
    because: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What an image must be. Empty fields do not limit."""

    limits: Mapping[str, int]
    denied_risks: frozenset[Risk] = frozenset()
    denied_paths: tuple[str, ...] = ()
    denied_packages: tuple[str, ...] = ()
    denied_licenses: tuple[str, ...] = ()
    allowed_packages: tuple[str, ...] | None = None
    unsupported: bool = True
    check: str = ""
    required_paths: tuple[str, ...] = ()
    copyright: bool = False
    non_root: bool = False
    exemptions: tuple[Exemption, ...] = ()
    most_vulnerable: Mapping[str, int] = field(default_factory=dict)  # by severity, and TOTAL
    fixable_only: bool = False
    ignored: frozenset[str] = frozenset()


def load_policy(path: Path) -> Policy:
    """Read a policy file. Raises UsageProblem with the place of what is wrong."""
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"cannot read the policy {path}: {error.strerror}") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise UsageProblem(f"the policy {path} is not TOML: {error}") from error
    try:
        return parse_policy(value)
    except ValueError as error:
        raise UsageProblem(
            f"the policy {path} is wrong: {error}", "`slim gate --help` shows what may stand in it"
        ) from error


def parse_policy(value: Mapping[str, Any]) -> Policy:
    """Raises ValueError."""
    _known(value, "the policy", ("limits", "deny", "allow", "require", "vulnerabilities", "except"))
    limits = _table(value, "limits", LIMITS)
    deny = _table(value, "deny", ("risks", "paths", "packages", "licenses"))
    allow = _table(value, "allow", ("packages", "unsupported"))
    require = _table(value, "require", ("check", "paths", "copyright", "user"))
    scanned = _table(value, "vulnerabilities", (*_MOST, "fixable_only", "ignored"))
    fixable_only = scanned.get("fixable_only", False)
    if not isinstance(fixable_only, bool):
        raise ValueError("vulnerabilities.fixable_only is true or false")
    check = require.get("check", "")
    if check not in ("", "passed"):
        raise ValueError(f'require.check can only be "passed", not {check!r}')
    user = require.get("user", "")
    if user not in ("", "non-root"):
        raise ValueError(f'require.user can only be "non-root", not {user!r}')
    copyright_ = require.get("copyright", False)
    if not isinstance(copyright_, bool):
        raise ValueError("require.copyright is true or false")
    unsupported = allow.get("unsupported", True)
    if not isinstance(unsupported, bool):
        raise ValueError("allow.unsupported is true or false")
    exceptions = value.get("except", [])
    if not isinstance(exceptions, list):
        raise ValueError("except is a list of tables: [[except]]")
    return Policy(
        limits={name: _amount(name, limits[name]) for name in LIMITS if name in limits},
        denied_risks=_risks(deny, "deny.risks"),
        denied_paths=_texts(deny, "paths", "deny.paths"),
        denied_packages=_texts(deny, "packages", "deny.packages"),
        denied_licenses=_texts(deny, "licenses", "deny.licenses"),
        allowed_packages=_texts(allow, "packages", "allow.packages") if "packages" in allow else None,
        unsupported=unsupported,
        check=check,
        required_paths=_texts(require, "paths", "require.paths"),
        copyright=copyright_,
        non_root=user == "non-root",
        exemptions=tuple(_exemption(each, number) for number, each in enumerate(exceptions, 1)),
        most_vulnerable={_MOST[name]: _count(name, scanned[name]) for name in _MOST if name in scanned},
        fixable_only=fixable_only,
        ignored=frozenset(_texts(scanned, "ignored", "vulnerabilities.ignored")),
    )


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"vulnerabilities.{name} is a whole number, not {value!r}")
    return value


def _known(value: Mapping[str, Any], where: str, names: tuple[str, ...]) -> None:
    for name in value:
        if name not in names:
            raise ValueError(f"{where} has no {name!r}; it has {', '.join(names)}")


def _table(value: Mapping[str, Any], name: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    found = value.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name} is a table: [{name}]")
    _known(found, name, names)
    return found


def _texts(table: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"{where} is a list of texts")
    return tuple(found)


def _risks(table: Mapping[str, Any], where: str) -> frozenset[Risk]:
    names = _texts(table, "risks", where)
    known = {risk.value: risk for risk in Risk}
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: there is no risk {name!r}; there are {', '.join(known)}")
    return frozenset(known[name] for name in names)


def _amount(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) and name in ("size", "transfer") else None
    if found is None or found[2] not in _UNITS:
        kind = 'a size such as "50 MB"' if name in ("size", "transfer") else "a whole number"
        raise ValueError(f"limits.{name} is {kind}, not {value!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def _exemption(value: Any, number: int) -> Exemption:
    where = f"except number {number}"
    if not isinstance(value, dict):
        raise ValueError(f"{where} is a table")
    _known(value, where, ("path", "risks", "because"))
    path, because = value.get("path"), value.get("because", "")
    if not isinstance(path, str) or not path or not isinstance(because, str):
        raise ValueError(f"{where} needs a path, and its because is a text")
    return Exemption(path, _risks(value, f"{where}: risks"), because)
