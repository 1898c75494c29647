"""Holds an output against a policy: every violation with its path and the reason that keeps the path."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from slimmer.errors import UsageProblem
from slimmer.packages.model import Package
from slimmer.packages.purl import OS_TYPES
from slimmer.report.model import KeptPath, PackageReport, PackageState, Report, Risk
from slimmer.report.output import Output
from slimmer.report.policy import TOTAL, Exemption, Policy
from slimmer.report.support import over
from slimmer.report.vulnerabilities import Vulnerabilities
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


def judge(
    output: Output, policy: Policy, now: datetime.datetime | None = None, scanned: Vulnerabilities | None = None
) -> Verdict:
    """`now` is when this is asked, by default this moment; `scanned` what a scan found, where the policy limits that.

    Raises SlimmerError when the output cannot be read, UsageProblem when there is no scan and the policy asks for one.
    """
    report = output.report()
    moment = now or datetime.datetime.now(datetime.UTC)
    found = [*_limits(report, policy), *_age(output, report, policy, moment)]
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
    found += _vulnerable(policy, scanned)
    order = ("limits", "deny", "allow", "require", "vulnerabilities")
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
        if values.get(name, 0) > most:
            show = size if name in ("size", "transfer") else "{:,}".format
            yield Violation(f"limits.{name}", f"{name} is {show(values[name])}, at most {show(most)} is allowed")


def _vulnerable(policy: Policy, scanned: Vulnerabilities | None) -> Iterator[Violation]:
    if not policy.most_vulnerable:
        return
    if scanned is None:
        raise UsageProblem(
            "the policy limits vulnerabilities, and there is no scan of the fat root",
            "give one: slim gate --scan FILE, or slim trace --scan FILE when the image is made",
        )
    left = [
        each
        for each in scanned.staying
        if each.vulnerability not in policy.ignored and (each.fixed or not policy.fixable_only)
    ]
    for name, most in policy.most_vulnerable.items():
        found = [each for each in left if name in (TOTAL, each.severity)]
        if len(found) <= most:
            continue
        rule = f"vulnerabilities.max_{name}"
        kind = "in all" if name == TOTAL else name
        fix = " with a fix" if policy.fixable_only else ""
        yield Violation(rule, f"{len(found)} {kind}{fix} stay, at most {most} {'is' if most == 1 else 'are'} allowed")
        for each in found:
            fixed = f", mended in {each.fixed}" if each.fixed else ""
            text = f"{each.vulnerability} of {each.package} {each.version}".rstrip()
            yield Violation(rule, f"{text}{fixed}: {each.evidence}", each.path, each.reason)


def _age(output: Output, report: Report, policy: Policy, now: datetime.datetime) -> Iterator[Violation]:
    """What time does: an output grows old, a distribution's support ends."""
    if "age" in policy.limits:
        made = datetime.datetime.fromtimestamp((output.directory / "report.json").stat().st_mtime, datetime.UTC)
        days = (now - made).days
        if days > policy.limits["age"]:
            yield Violation("limits.age", f"made {days} days ago, at most {policy.limits['age']} are allowed")
    subject = report.subject
    if not policy.unsupported and over(subject.support_end, now.date()):
        name = f"{subject.distribution} {subject.release}"
        yield Violation("allow.unsupported", f"{name} gets no security updates since {subject.support_end}")


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
