"""An OpenAPI document in YAML asks the same as its JSON, and links that nobody can follow are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimmer.errors import UsageProblem
from slimmer.exercise.discover import crawl, openapi
from slimmer.exercise.model import Answer
from slimmer.recipe import Probe

YAML = """\
openapi: 3.0.3
servers: [{url: https://example.org/v1}]
paths:
  /notes/{day}:
    get:
      parameters:
        - {name: day, in: path, required: true, schema: {type: string}, example: 2024-02-03}
        - $ref: '#/components/parameters/Limit'
      responses: {200: {description: fine}}
  /notes:
    post: {responses: {201: {description: made}}}
  /a b: {get: {}}
components:
  parameters:
    Limit: {name: limit, in: query, required: true, schema: {type: integer, default: 7}}
"""


def asked(document: str) -> list[str]:
    urls: list[str] = []

    def ask(probe: Probe) -> Answer:
        urls.append(probe.url)
        return Answer(probe.url, 200, b"")

    list(openapi(document, ask, "http://127.0.0.1:80"))
    return urls


def test_yaml_asks_what_json_asks(tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(YAML)
    expected = ["http://127.0.0.1:80/v1/a b", "http://127.0.0.1:80/v1/notes/2024-02-03?limit=7"]
    assert asked(str(tmp_path / "api.yaml")) == expected
    gets: dict[str, object] = {"/a b": {"get": {}}, "/notes/2024-02-03": {"get": {}}}
    (tmp_path / "api.json").write_text(json.dumps({"basePath": "/v1", "paths": gets}))
    assert asked(str(tmp_path / "api.json")) == [each.partition("?")[0] for each in expected]


@pytest.mark.parametrize(
    "text", ["a: [", "just words", "paths: {1: {get: {}}, a: {get: {}}}", "\x00", "paths: 3", "[" * 9000]
)
def test_what_is_no_document_is_one_message(tmp_path: Path, text: str) -> None:
    (tmp_path / "api.yaml").write_text(text)
    with pytest.raises(UsageProblem, match="not an OpenAPI document in JSON or YAML"):
        asked(str(tmp_path / "api.yaml"))


def test_links_that_are_no_urls_are_not_followed() -> None:
    page = b"<a href='http://[x'>1</a><a href='/b c'>2</a><a href='http://h:x/'>3</a><a href='mailto:a@b'>4</a>"
    found: list[str] = []

    def ask(probe: Probe) -> Answer:
        found.append(probe.url)
        return Answer(probe.url, 200, page if probe.url.endswith("/") else b"", "text/html")

    list(crawl("http://h/", ask))
    assert found == ["http://h/", "http://h/b c"]
