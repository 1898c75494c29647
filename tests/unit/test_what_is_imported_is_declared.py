"""pyproject.toml's dependencies are what the two packages import: nothing undeclared, nothing idle."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.unit.test_the_house_stands_on_its_floors import HERE, MODULES, imports


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_dependencies_are_what_is_imported() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared, optional = _names(project["dependencies"]), _names(project["optional-dependencies"]["batch"])
    tops = {each.imported.partition(".")[0] for name, path in MODULES.items() for each in imports(name, path, MODULES)}
    foreign = tops - set(sys.stdlib_module_names) - {"slimmer", "tracer"}
    known = packages_distributions()
    used = {canonical(known.get(top, [top])[0]) for top in foreign}
    assert used == declared | optional
    modules = {
        name for name, path in MODULES.items() for each in imports(name, path, MODULES) if each.imported in optional
    }
    assert {name.rpartition(".")[0] for name in modules} == {"slimmer.batch"}, (
        "what an extra brings is asked for by one room"
    )


def _names(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=!~\[; ]", each)[0]) for each in requirements}
