"""docs/api.md and docs/formats.md are what docs.reference makes of the code, and leave nothing out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from docs.reference import HERE, OTHERS, PAGES, SCHEMAS
from slimmer import api


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_what_the_code_makes_it(name: str) -> None:
    assert (HERE / name).read_text(encoding="utf-8") == PAGES[name](), "`python -m docs.reference` writes it anew"


def test_every_public_name_has_its_place() -> None:
    headings = re.findall(r"^### (\w+)$", PAGES["api.md"](), re.MULTILINE)
    assert sorted(headings) == sorted(api.__all__)


def test_every_format_of_the_code_is_named() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in Path(api.__file__).parent.rglob("*.py"))
    named = set(re.findall(r'"(slimmer\.[a-z]+/[0-9]+)"', code)) - {"slimmer.cache/1", "slimmer.part/1"}
    page = PAGES["formats.md"]()
    assert [name for name in sorted(named) if f"## {name}\n" not in page and name not in OTHERS] == [], (
        "give it a schema in slimmer/report/schemas, or a line in docs/reference.py"
    )


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.name)
def test_every_key_of_a_schema_is_told(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    section = PAGES["formats.md"]().split(f"## {schema['properties']['format']['const']}\n")[1].split("\n## ")[0]

    def keys(value: object) -> set[str]:
        if isinstance(value, list):
            return {name for each in value for name in keys(each)}
        if not isinstance(value, dict):
            return set()
        below = {name for each in value.values() for name in keys(each)}
        return below | set(value["properties"]) if isinstance(value.get("properties"), dict) else below

    told = {
        part for place in re.findall(r"^- `([^`]+)`", section, re.MULTILINE) for part in re.split(r"[.\[\]]+", place)
    }
    assert keys(schema) - told == set()
