"""`slim gate`: an output against a policy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click

from slimmer.cli.narration import narrate
from slimmer.cli.scans import vulnerabilities
from slimmer.report.gate import Verdict, Violation, judge
from slimmer.report.output import open_output
from slimmer.report.policy import load_policy
from slimmer.report.words import plural, shown

FORMAT = "slimmer.gate/1"
FAILED = 3


@click.command("gate")
@click.argument("out", default="slim-out", metavar="[OUT]")
@click.option("--policy", "policy_file", required=True, metavar="FILE", help="The limits, in TOML.")
@click.option("--scan", "scans", multiple=True, metavar="FILE", help="grype's or trivy's JSON of the fat root.")
@click.option("--json", "as_json", is_flag=True, help="The violations as JSON on stdout.")
def command(out: str, policy_file: str, scans: tuple[str, ...], as_json: bool) -> None:
    """Hold OUT against a policy; exit 3 when it violates it.

    \b
    [limits]   size = "50 MB", transfer, files, packages, executables, shared-objects
    [deny]     risks = ["shell", "setuid"], paths = ["*.pyc"], packages = ["perl*"], licenses = ["AGPL*"]
               age = 30 (days)
    [allow]    packages = ["libc6", "pypi:*"]      only these; unsupported = false
    [require]  check = "passed", paths = […], copyright = true, user = "non-root"
    [vulnerabilities]  max_critical = 0, max_high, …, max_total, fixable_only = true, ignored = ["CVE-…"]
    [[except]] path = "/usr/bin/ping", risks = ["file-capability"], because = "health checks"
    """
    policy = load_policy(Path(policy_file))
    output = open_output(out)
    verdict = judge(output, policy, scanned=vulnerabilities(output, scans))
    if as_json:
        click.echo(json.dumps(_value(verdict), indent=1))
    else:
        _print(verdict)
    if verdict.violations:
        click.get_current_context().exit(FAILED)


def _print(verdict: Verdict) -> None:
    for each in verdict.violations:
        place = f"{shown(each.path)}: " if each.path else ""
        reason = f"  ({shown(each.reason)})" if each.reason else ""
        click.echo(f"{click.style(each.rule, fg='red')}  {place}{shown(each.text)}{reason}")
    for exemption in verdict.idle:
        narrate(f"slim: the exception for {exemption.path} fits nothing")
    words = plural(len(verdict.violations), "violation") if verdict.violations else "the policy is kept"
    click.echo(words + (f", {plural(len(verdict.exempted), 'exception')} used" if verdict.exempted else ""))


def _rows(violations: Iterable[Violation]) -> list[dict[str, str]]:
    return [{"rule": each.rule, "path": each.path, "text": each.text, "reason": each.reason} for each in violations]


def _value(verdict: Verdict) -> dict[str, object]:
    return {
        "format": FORMAT,
        "kept": not verdict.violations,
        "violations": _rows(verdict.violations),
        "exempted": _rows(verdict.exempted),
        "idle_exceptions": [each.path for each in verdict.idle],
    }
