"""What stays and is risky as SARIF 2.1.0 (OASIS), for code-scanning pages."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from slimmer.report.model import KeptPath, Mark, Report, Risk
from slimmer.report.output import Output
from slimmer.report.risk import DEFINITIONS
from slimmer.report.words import package_words, shown

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Risk.CREDENTIAL: "error", Risk.SETUID: "warning", Risk.SETGID: "warning", Risk.CAPABILITY: "warning"}
LEVELS |= dict.fromkeys((Risk.WORLD_WRITABLE, Risk.PRIVILEGE_TOOL, Risk.DEBUGGER, Risk.PACKAGE_MANAGER), "warning")
TOP = "IMAGE"


def sarif(output: Output, report: Report) -> dict[str, Any]:
    """The log's JSON value: one result for each mark of each kept path, in path order."""
    order = list(Risk)
    results = [_result(row, mark, order) for row in output.manifest() for mark in row.risks]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "slimmer",
                        "version": report.subject.version or "0",
                        "rules": [_rule(risk) for risk in order],
                    }
                },
                "originalUriBaseIds": {TOP: {"description": {"text": "the top of the image"}}},
                "columnKind": "utf16CodeUnits",
                "results": results,
            }
        ],
    }


def _rule(risk: Risk) -> dict[str, Any]:
    return {
        "id": risk.value,
        "name": "".join(part.title() for part in risk.value.split("-")),
        "shortDescription": {"text": risk.value.replace("-", " ")},
        "fullDescription": {"text": DEFINITIONS[risk]},
        "help": {"text": DEFINITIONS[risk] + ". `slim why OUT PATH` shows what keeps a path."},
        "defaultConfiguration": {"level": LEVELS.get(risk, "note")},
    }


def _result(row: KeptPath, mark: Mark, order: list[Risk]) -> dict[str, Any]:
    path = shown(row.entry.path)
    text = f"{path} stays in the image: {mark}"
    if row.reasons:
        text += f"; {shown(row.reasons[0].text)}"
    if row.package:
        text += f"; from {package_words(row.package)}"
    name = row.entry.path.lstrip("/").encode("utf-8", "surrogateescape")
    return {
        "ruleId": mark.risk.value,
        "ruleIndex": order.index(mark.risk),
        "level": LEVELS.get(mark.risk, "note"),
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(name), "uriBaseId": TOP}}}],
        "partialFingerprints": {"pathAndMark/v1": hashlib.sha256(name + b"\0" + str(mark).encode()).hexdigest()},
    }
