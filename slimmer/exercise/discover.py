"""Probes that are found, not written: same-origin links from a page, and the GETs of an OpenAPI document."""

from __future__ import annotations

import html.parser
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import yaml

from slimmer.errors import UsageProblem
from slimmer.exercise.model import Answer
from slimmer.recipe import Probe
from slimmer.values import url as read_url

Ask = Callable[[Probe], Answer]

MAX_PAGES = 100
MAX_DEPTH = 4

LINKS = {"a": "href", "link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "form": "action"}


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = LINKS.get(tag)
        values = dict(attrs)
        if tag == "form" and (values.get("method") or "get").lower() != "get":
            return  # following it would be a write
        value = values.get(wanted or "")
        if value:
            self.found.append(value)


def crawl(start: str, ask: Ask, *, pages: int = MAX_PAGES, depth: int = MAX_DEPTH) -> Iterator[Answer]:
    """Ask for a page and what it links to on the same origin, breadth first, each once."""
    origin = read_url(start, ("http", "https"), what="--crawl")[:2]
    seen = {start}
    queue = deque([(start, 0)])
    while queue and pages > 0:
        url, level = queue.popleft()
        pages -= 1
        answer = ask(Probe(url))
        yield _lenient(answer) if level else answer  # only the page that the user named must be there
        if level >= depth:
            continue
        parser = _Links()
        if "html" in answer.content_type:
            parser.feed(answer.body.decode("utf-8", "replace"))
        for link in [answer.location, *parser.found] if answer.location else parser.found:
            try:
                target = urljoin(url, link.strip()).partition("#")[0]
                if urlsplit(target)[:2] != origin or target in seen:
                    continue
                Probe(target)
            except (ValueError, UsageProblem):
                continue  # pages link to all kinds of things
            seen.add(target)
            queue.append((target, level + 1))


def openapi(document: str, ask: Ask, base: str) -> Iterator[Answer]:
    """Call each GET of an OpenAPI 3 (or Swagger 2) document in JSON or YAML, with its examples.

    `document` is a URL of the application or a file of the host. Raises UsageProblem.
    """
    if "://" in document:
        fetched = ask(Probe(document))
        yield fetched
        if fetched.problem:
            return
        text, base = fetched.body, "{0.scheme}://{0.netloc}".format(urlsplit(document))
    else:
        try:
            text = Path(document).read_bytes()
        except OSError as error:
            raise UsageProblem(f"--openapi {document}: {error.strerror}") from error
    try:
        urls = [each.url for each in map(Probe, _gets(_document(text), base))]
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError, yaml.YAMLError, UsageProblem) as error:
        raise UsageProblem(f"--openapi {document}: not an OpenAPI document in JSON or YAML: {error}") from error
    for url in urls:
        yield _lenient(ask(Probe(url)))


def is_openapi(text: bytes) -> bool:
    """Whether a text is an OpenAPI 3 or Swagger 2 document with paths."""
    try:
        found = _document(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        return False
    return isinstance(found, Mapping) and bool({"openapi", "swagger"} & set(found)) and "paths" in found


def _document(text: bytes) -> Any:
    """JSON, or YAML, of which it is nearly a subset: told apart by what reads it."""
    try:
        return json.loads(text)
    except ValueError:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _lenient(answer: Answer) -> Answer:
    """What was found may well be a 404: what counts is that slim and fat agree."""
    return replace(answer, problem="") if answer.status else answer


def _gets(document: Mapping[str, Any], base: str) -> Iterator[str]:
    prefix = document.get("basePath", "")
    servers = document.get("servers") or []
    if servers:
        prefix = urlsplit(servers[0].get("url", "")).path
    for path, item in sorted(document["paths"].items()):
        operation = item.get("get")
        if operation is None:
            continue
        query: dict[str, str] = {}
        target = path
        for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]:
            parameter = _follow(document, parameter)
            value = _example(document, parameter)
            if parameter.get("in") == "path":
                target = target.replace(f"{{{parameter['name']}}}", quote(str(value), safe=""))
            elif parameter.get("in") == "query" and (parameter.get("required") or "example" in parameter):
                query[parameter["name"]] = str(value)
        yield base + prefix.rstrip("/") + target + (f"?{urlencode(query)}" if query else "")


def _follow(document: Mapping[str, Any], value: Any) -> Any:
    for _ in range(8):
        reference = value.get("$ref") if isinstance(value, Mapping) else None
        if not reference or not reference.startswith("#/"):
            break
        value = document
        for part in reference[2:].split("/"):
            value = value[part]
    return value


EXAMPLES: Mapping[str, object] = {"integer": 1, "number": 1, "boolean": "true", "string": "x", "array": "x"}


def _example(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> object:
    schema = _follow(document, parameter.get("schema", parameter))
    examples = parameter.get("examples") or {}
    if isinstance(examples, Mapping) and examples:
        return next(iter(examples.values())).get("value", "x")
    choices: Sequence[object] = [
        parameter.get("example"),
        schema.get("example"),
        schema.get("default"),
        *schema.get("enum", []),
    ]
    return next((each for each in choices if each is not None), EXAMPLES.get(schema.get("type", "string"), "x"))
