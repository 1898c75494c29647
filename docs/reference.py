"""Writes docs/api.md, docs/formats.md and docs/man from what the code says: `python -m docs.reference`.

A test holds both files to what this gives.
"""

from __future__ import annotations

import ast
import enum
import functools
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slimmer import api
from slimmer.report import read

HERE = Path(__file__).parent
SCHEMAS = Path(read.__file__).with_name("schemas")
EXAMPLE = "examples/slim_and_judge.py"
VERBS = ("trace", "record", "build", "check", "open_output", "load_recipe", "load_recording")

API_HEAD = """\
# The Python API

Made by `python -m docs.reference` from the docstrings of `slimmer.api`.

{about}

A whole script is in [examples]({example}).
"""

FORMATS_HEAD = """\
# File formats

Made by `python -m docs.reference` from the JSON schemas in `slimmer/report/schemas/`.

Every document names its format in its first key: `"format": "slimmer.NAME/VERSION"`. A version's meaning
does not change; keys may be added, and then the schema here has them. All text is UTF-8. Paths are
canonical paths of the root; bytes of a name that are not UTF-8 are surrogate escapes, `\\udc80` to `\\udcff`,
so that every name has exactly one spelling. Lists are sorted, by bytes where they are of paths: two equal
outputs are equal files.

An `?` after a key says that it may be absent.
"""

# What has no schema: the few keys say themselves what they are.
OTHERS = {
    "slimmer.summary/1": "`slim trace --json`, `slim build --json`: image id, sizes, verdict, seconds; on stdout",
    "slimmer.batchsummary/1": "the last line of `slim batch --json`: how many images of each status, seconds",
    "slimmer.error/1": "any verb's error under `--json`: message, hint, exit_code; the last line on stderr",
    "slimmer.lock/1": "`slim.lock`, TOML: the digests that `--locked` holds a build to",
    "slimmer.files/1": "the paths and digests of a signed manifest, as `slim verify --files` reads it",
    "slimmer.signed/1": "what `slim sign --json` did: a statement and its file, each",
    "slimmer.verification/1": "`slim verify --json`: who signed what, and what deviates",
    "slimmer.outdated/1": "`slim outdated --json`: what a newer source would change",
    "slimmer.doctor/1": "`slim doctor --json`: what works on this machine",
    "slimmer.output/1": "`.slimmer-output`, text: the files of an output, which alone are ever replaced",
}


def api_page() -> str:
    """docs/api.md."""
    parts = [API_HEAD.format(about=_markdown(inspect.getdoc(api) or ""), example=EXAMPLE)]
    parts.append("## Functions\n")
    parts.extend(_function(name) for name in VERBS)
    values = [name for name in api.__all__ if name not in VERBS]
    errors = [name for name in values if issubclass(getattr(api, name), BaseException)]
    parts.append("## Values\n")
    parts.extend(_class(name) for name in values if name not in errors)
    parts.append("## Errors\n")
    parts.extend(_class(name) for name in errors)
    return "\n".join(parts)


def _markdown(doc: str) -> str:
    """A docstring, whose indented paragraphs are code."""
    lines, code = [], False
    for line in [*doc.split("\n"), "."]:
        indented = line.startswith("    ")
        if indented and not code:
            lines.append("```python")
        elif code and line and not indented:
            lines.insert(len(lines) - 1, "```")
        code = indented or (code and not line)
        lines.append(line.removeprefix("    ") if code else line)
    return "\n".join(lines[:-1])


@functools.cache
def _module(path: str) -> tuple[str, ast.Module]:
    text = Path(path).read_text(encoding="utf-8")
    return text, ast.parse(text)


def _definition(name: str) -> tuple[str, Any]:
    """The source of a name's module, and where in it the name is defined."""
    what = inspect.unwrap(getattr(api, name))  # a decorator's wrapper stands elsewhere
    text, tree = _module(inspect.getsourcefile(what) or "")
    return text, next(node for node in tree.body if getattr(node, "name", "") == what.__name__)


def _signature(text: str, node: Any) -> str:
    lines = text.split("\n")[node.lineno - 1 : node.body[0].lineno - 1]
    return textwrap.dedent("\n".join(lines)).strip().removesuffix(":")


def _function(name: str) -> str:
    text, node = _definition(name)
    signature = _signature(text, node).replace(f"def {node.name}(", f"slimmer.{name}(", 1)
    return f"### {name}\n\n```python\n{signature}\n```\n\n{_markdown(ast.get_docstring(node) or '')}\n"


def _class(name: str) -> str:
    text, node = _definition(name)
    what = inspect.unwrap(getattr(api, name))  # a decorator's wrapper stands elsewhere
    bases = [each.__name__ for each in what.__bases__ if each is not object and each.__name__ in api.__all__]
    lines = [f"### {name}", "", _markdown(ast.get_docstring(node) or ""), ""]
    if bases:
        lines += [f"A kind of {', '.join(f'`{each}`' for each in bases)}.", ""]
    rows = list(_fields(text, node, issubclass(what, enum.Enum)))
    lines += [*rows, ""] if rows else []
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_") and ast.get_docstring(each):
            is_property = any(isinstance(mark, ast.Name) and mark.id == "property" for mark in each.decorator_list)
            call = each.name if is_property else _signature(text, each).removeprefix("def ").replace("self, ", "")
            call = " ".join(call.replace("(self)", "()").split())
            lines += [f"- `{call}`: {' '.join((ast.get_docstring(each) or '').split())}"]
    return "\n".join(lines).rstrip() + "\n"


def _fields(text: str, node: ast.ClassDef, is_enum: bool) -> Iterator[str]:
    """A list item for each field, with what the comment beside it says."""
    lines = text.split("\n")
    for each in node.body:
        if not isinstance(each, ast.AnnAssign | ast.Assign):
            continue
        target = each.target if isinstance(each, ast.AnnAssign) else each.targets[0]
        if not isinstance(target, ast.Name) or target.id.startswith("_"):
            continue
        said = lines[(each.end_lineno or each.lineno) - 1][each.end_col_offset :].strip().removeprefix("#").strip()
        value = ast.get_source_segment(text, each.value) if each.value else ""
        if is_enum:
            spelled = f"`{target.id}` = `{value}`"
        else:
            kind = ast.get_source_segment(text, each.annotation) if isinstance(each, ast.AnnAssign) else ""
            default = "" if not value or value.startswith(("field(", "lambda")) else f" = {value}"
            spelled = f"`{target.id}: {' '.join((kind or '').split())}{default}`" if kind else f"`{target.id}{default}`"
        yield f"- {spelled}{f': {said}' if said else ''}"


def formats_page() -> str:
    """docs/formats.md."""
    parts = [FORMATS_HEAD]
    for path in sorted(SCHEMAS.glob("*.schema.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        name = schema["properties"]["format"]["const"]
        rows = "\n".join(_keys(schema, "", {}))
        parts.append(f"## {name}\n\n{schema['title']}. Schema: `{path.name}`.\n\n{rows}\n")
    others = "\n".join(f"- `{name}`: {text}" for name, text in sorted(OTHERS.items()))
    parts.append(f"## Others\n\n{others}\n")
    return "\n".join(parts)


def _keys(schema: Mapping[str, Any], above: str, shown: dict[str, str]) -> Iterator[str]:
    """A line for each key below a schema; an object that was shown before is only named."""
    needed = schema.get("required", ())
    for key, value in schema.get("properties", {}).items():
        inner = list(_inner(value, ""))
        place = f"{above}{key}{inner[0][0]}"
        optional = "" if key in needed or key == "format" else "?"
        objects = [(f"{above}{key}{marks}", each) for marks, each in inner if "properties" in each]
        known = [shown[name] for _, each in objects if (name := json.dumps(each, sort_keys=True)) in shown]
        text = value.get("description") or next((each["description"] for _, each in inner if "description" in each), "")
        text = " ".join(filter(None, (text, f"as `{known[0]}`" if known else "")))
        yield f"- `{place}`{optional} {_kind(value)}{f': {text}' if text else ''}"
        for where, each in objects:
            name = json.dumps(each, sort_keys=True)
            if name not in shown:
                shown[name] = where
                yield from _keys(each, f"{where}.", shown)


def _inner(value: Mapping[str, Any], marks: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What a value is in the end, through lists (`[]`), named values (`.NAME`) and choices."""
    choices = [each for word in ("anyOf", "oneOf") for each in value.get(word, ()) if each.get("type") != "null"]
    if choices:
        for each in choices:
            yield from _inner(each, marks)
    elif "items" in value:
        yield from _inner(value["items"], f"{marks}[]")
    elif isinstance(value.get("additionalProperties"), dict):
        yield from _inner(value["additionalProperties"], f"{marks}.NAME")
    else:
        yield marks, value


def _kind(value: Mapping[str, Any]) -> str:
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return "one of " + ", ".join(f"`{json.dumps(each)}`" for each in value["enum"])
    for word in ("anyOf", "oneOf"):
        if word in value:
            return " or ".join(dict.fromkeys(_kind(each) for each in value[word]))
    kind = value.get("type", "any value")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_kind(value.get('items', {}))}"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"object of {_kind(value['additionalProperties'])}"
    return f"{kind} that matches `{value['pattern']}`" if "pattern" in value else str(kind)


PAGES = {"api.md": api_page, "formats.md": formats_page}


def main() -> None:
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
    from docs import manual  # click-man is no part of what runs slimmer

    manual.write()


if __name__ == "__main__":
    main()
