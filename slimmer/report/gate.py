"""Holds an output against a policy: every violation with its path and the reason that keeps the path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from slimmer.packages.model import Package
from slimmer.packages.purl import OS_TYPES
from slimmer.report.model import KeptPath, PackageReport, PackageState, Report, Risk
from slimmer.report.output import Output
from slimmer.report.policy import Exemption, Policy
from slimmer.report.words import package_words, size
from slimmer.root.model import FileType


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that the policy does not allow. `path` is empty when it is about the whole."""

    rule: str  # "limits.size", "deny.risks"
    text: str
    path: str = ""
    reason: str = ""  # why the path stays


@dataclass(frozen=True, slots=True)
class Verdict:
    """All violations, in the order of the policy, then of paths; and exemptions that were used, or fit nothing."""

    violations: tuple[Violation, ...]
    exempted: tuple[Violation, ...] = ()
    idle: tuple[Exemption, ...] = ()


def judge(output: Output, policy: Policy) -> Verdict:
    """Raises SlimmerError when the output cannot be read."""
    report = output.report()
    found = list(_limits(report, policy))
    exempted: list[Violation] = []
    used: set[Exemption] = set()
    missing = dict.fromkeys(policy.required_paths)
    for row in output.manifest():
        missing.pop(row.entry.path, None)
        for violation, risk in _path(row, policy):
            exemption = _exempt(row.entry.path, risk, policy)
            if exemption is None:
                found.append(violation)
            else:
                used.add(exemption)
                exempted.append(violation)
    found += [Violation("require.paths", "a required path is not in the image", path) for path in missing]
    found += _packages(report, policy)
    if policy.check and (verdict := output.check().verdict) != policy.check:
        found.append(Violation("require.check", f"the check {verdict or 'was not performed'}, not {policy.check}"))
    if policy.non_root and report.subject.user.split(":")[0] in ("", "0", "root"):
        found.append(Violation("require.user", "the image runs as root"))
    order = ("limits", "deny", "allow", "require")
    found.sort(key=lambda each: order.index(each.rule.partition(".")[0]))
    idle = tuple(each for each in policy.exemptions if each not in used)
    return Verdict(tuple(found), tuple(exempted), idle)


def _limits(report: Report, policy: Policy) -> Iterator[Violation]:
    slim = report.slim
    values = {
        "size": slim.bytes,
        "transfer": report.subject.image_bytes,
        "files": slim.files,
        "packages": slim.packages,
        "executables": slim.executables,
        "shared-objects": slim.shared_objects,
    }
    for name, most in policy.limits.items():
        if values[name] > most:
            show = size if name in ("size", "transfer") else "{:,}".format
            yield Violation(f"limits.{name}", f"{name} is {show(values[name])}, at most {show(most)} is allowed")


def _path(row: KeptPath, policy: Policy) -> Iterator[tuple[Violation, Risk | None]]:
    path = row.entry.path
    reason = row.reasons[0].text if row.reasons else ""
    for mark in row.risks:
        if mark.risk in policy.denied_risks:
            yield Violation("deny.risks", str(mark), path, reason), mark.risk
    if row.entry.type is not FileType.DIRECTORY:
        for pattern in policy.denied_paths:
            if fnmatchcase(path, pattern):
                yield Violation("deny.paths", f"matches {pattern}", path, reason), None
                break


def _exempt(path: str, risk: Risk | None, policy: Policy) -> Exemption | None:
    for each in policy.exemptions:
        if fnmatchcase(path, each.path) and (not each.risks or risk in each.risks):
            return each
    return None


def fits(package: Package, pattern: str) -> bool:
    """Whether a package is what `[type:]name` means, a glob."""
    name = f"{package.type.value}:{package.name}" if ":" in pattern else package.name
    return fnmatchcase(name, pattern)


def _packages(report: Report, policy: Policy) -> Iterator[Violation]:
    for each in report.packages:
        if each.state is PackageState.REMOVED:
            continue
        package, where = each.package, _where(each)
        for pattern in policy.denied_packages:
            if fits(package, pattern):
                yield Violation("deny.packages", f"{package_words(package)} matches {pattern}", where)
                break
        for pattern in policy.denied_licenses:
            if package.license and fnmatchcase(package.license, pattern):
                yield Violation("deny.licenses", f"{package_words(package)} is under {package.license}", where)
                break
        allowed = policy.allowed_packages
        if allowed is not None and not any(fits(package, pattern) for pattern in allowed):
            yield Violation("allow.packages", f"{package_words(package)} is not among the allowed packages", where)
        if policy.copyright and package.type in OS_TYPES and not each.copyright:
            yield Violation("require.copyright", f"no copyright file of {package_words(package)} stays", where)


def _where(each: PackageReport) -> str:
    return each.part[0] if each.part else each.package.location
