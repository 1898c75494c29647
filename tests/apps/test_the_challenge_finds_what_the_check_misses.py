"""A whole run on a small Debian root: an option that no run uses fails in slim, and the challenge brings it back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.roots import RootUnavailable, debian_root
from slimmer.checks.challenge.model import Budget
from slimmer.pipeline.outputs import Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import Result, check_output, trace
from slimmer.recipe import Keep, Reach, Recipe, Run, Source, load
from tests.reach import APPLICATIONS, fat_root

APPLICATION = """#!/usr/bin/python3
import argparse
parser = argparse.ArgumentParser(description="adds")
parser.add_argument("number", type=int, nargs="*", help="to add")
print(sum(parser.parse_args().number))
"""

# Its help looks at a file, and says by a directory that no image holds for its own sake whether the system is whole.
CENSUS = """#!/usr/bin/python3
import os, sys
if "--help" in sys.argv:
    os.path.exists("/usr/share/common-licenses/BSD")
    print("whole" if os.path.isdir("/usr/share/doc/apt") else "bare")
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """What a run of one sum touches and no more: argparse takes textwrap for its help, and only then."""
    overlay = tmp_path_factory.mktemp("overlay")
    (overlay / "app").mkdir()
    for name, text in (("add", APPLICATION), ("census", CENSUS)):
        (overlay / "app" / name).write_text(text)
        (overlay / "app" / name).chmod(0o755)
    try:
        root = debian_root("python3-minimal", overlay=overlay)
    except RootUnavailable as error:
        pytest.skip(str(error))
    return Recipe(Source(root=str(root)), (Run(("/app/add", "1", "2")),), reach=Reach(keep=Keep.RECORDED))


def traced(recipe: Recipe, out: Path, budget: Budget | None) -> Result:
    return trace(recipe, Outputs(out, challenge=budget), Progress())


def test_what_only_the_challenge_asks_is_found_repaired_and_reproduced(recipe: Recipe, tmp_path: Path) -> None:
    plain = traced(recipe, tmp_path / "plain", None)
    assert plain.verdict.passed
    asked = check_output(tmp_path / "plain", load(tmp_path / "plain/recipe.toml"), Progress(), challenge=Budget(60))
    assert asked.passed
    assert asked.challenge is not None
    assert "/app/add --help" in [each.question.what for each in asked.challenge.differences]
    assert "challenge" in {each.kind for each in asked.warnings}

    mended = traced(recipe, tmp_path / "mended", Budget(60))
    assert mended.verdict.passed
    assert mended.verdict.challenge is not None
    assert not mended.verdict.challenge.differences
    assert mended.verdict.challenge.asked > 3
    assert mended.verdict.challenge.mended == 1
    brought = {miss.path: miss.why for miss in mended.verdict.repaired}
    assert brought["/usr/lib/python3.11/textwrap.py"] == "used for the question `/app/add --help`"
    check = json.loads((tmp_path / "mended/check.json").read_text())
    assert check["challenge"]["differ"] == 0
    assert check["challenge"]["asked"] == mended.verdict.challenge.asked

    # The repairs are in the recipe: whoever builds by it need not ask again, nor as fast a machine.
    again = traced(load(tmp_path / "mended/recipe.toml"), tmp_path / "again", None)
    assert again.image.image_id == mended.image.image_id != plain.image.image_id


def test_what_is_brought_in_vain_does_not_stay(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, runs=(Run(("/app/census",)),))
    plain = traced(recipe, tmp_path / "plain", None)
    asked = traced(recipe, tmp_path / "asked", Budget(20))
    assert asked.verdict.challenge is not None
    assert [each.question.what for each in asked.verdict.challenge.differences] == ["/app/census --help"]
    assert asked.verdict.challenge.notes == ("1 path brought for questions changed no answer: taken out again",)
    assert not asked.verdict.repaired
    assert asked.image.image_id == plain.image.image_id


def test_java_classes_that_no_run_loaded_are_loaded_and_their_archives_brought(tmp_path: Path) -> None:
    application = next(each for each in APPLICATIONS if each.name == "java")
    try:
        root = fat_root(application)
    except RootUnavailable as error:
        pytest.skip(str(error))
    # The main class is in an archive that names a provider, which only the archive on its Class-Path has.
    run = Run(("/usr/bin/java", "-cp", "/app/lib/shop.jar", "shop.Main"))
    recipe = Recipe(Source(root=str(root)), (run,), reach=Reach(keep=Keep.RECORDED))
    plain = traced(recipe, tmp_path / "plain", None)
    assert "/app/lib/cash.jar" not in plain.plan.paths
    mended = traced(recipe, tmp_path / "mended", Budget(60))
    assert mended.verdict.challenge is not None
    assert "Java's loading of shop.cash.Cash" not in [
        each.question.what for each in mended.verdict.challenge.differences
    ]
    brought = {miss.path: miss.why for miss in mended.verdict.repaired}
    assert brought["/app/lib/cash.jar"] == "used for the question `Java's loading of shop.cash.Cash`"


SHOP = """from flask import Flask, render_template
app = Flask(__name__)

@app.template_filter("money")
def money(amount):
    return f"{amount:.2f}"

@app.route("/<name>")
def page(name):
    return render_template(f"{name}.html", amount=3)
"""
ASKS = """import sys
from shop import app
print(app.test_client().get(sys.argv[2]).get_data(as_text=True))
"""


def test_a_template_that_no_run_filled_is_compiled_in_both_roots(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    overlay = tmp_path_factory.mktemp("shop")
    files = {
        "shop.py": SHOP,
        "ask.py": ASKS,
        "templates/first.html": "first {{ amount | money }}",
        "templates/second.html": "{% extends 'base.html' %}{{ amount | money }}",
        "templates/base.html": "{{ amount }}",
        "templates/bad.html": "{{ amount | none_such }}",
    }
    for name, text in files.items():
        (overlay / "srv/shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (overlay / "srv/shop" / name).write_text(text)
    try:
        root = debian_root("python3-flask", overlay=overlay)
    except RootUnavailable as error:
        pytest.skip(str(error))
    run = Run(("python3", "ask.py", "shop:app", "/first"), workdir="/srv/shop")
    whole = Recipe(Source(root=str(root)), (run,), reach=Reach(keep=Keep.RECORDED))
    found = traced(whole, tmp_path / "out", Budget(40))
    assert found.verdict.passed
    assert found.verdict.challenge is not None
    brought = {each.path for each in found.verdict.repaired}
    assert {f"/srv/shop/templates/{name}.html" for name in ("second", "base", "bad")} <= brought
    assert not any("templates" in each.question.what for each in found.verdict.challenge.differences)
