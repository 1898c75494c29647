"""What README tells people to install is what this project builds, and its versions are those that are tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import slimmer

HOUSE = Path(__file__).parents[2]
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]


def test_readme_installs_this_distribution_and_no_other() -> None:
    """Another project is called slimmer on the Python registry."""
    text = (HOUSE / "README.md").read_text()
    wheel = PROJECT["name"].replace("-", "_")
    asked = re.findall(r"pip install (?:-\S+ )*([^\s`]+)", text)
    assert asked
    for each in asked:
        assert each in (".", PROJECT["name"]) or wheel in each or each.startswith("git+"), each


def test_the_version_is_said_once() -> None:
    assert PROJECT["version"] == slimmer.__version__


def test_the_versions_of_python_that_are_promised_are_those_that_are_run() -> None:
    promised = {each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)}
    script = (HOUSE / "fixtures/all-pythons.sh").read_text()
    found = re.search(r"for version in ([\d. ]+); do", script)
    assert found
    assert set(found[1].split()) == promised
    assert min(promised, key=lambda each: int(each.partition(".")[2])) == PROJECT["requires-python"].removeprefix(">=")


def test_the_commands_are_still_called_slim() -> None:
    assert PROJECT["scripts"] == {"slim": "slimmer.cli.main:main"}
