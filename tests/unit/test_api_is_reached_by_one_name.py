"""`import slimmer` is cheap, gives all of slimmer.api when asked, and refuses what is a stranger's."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import slimmer
from slimmer import api


def test_both_lists_of_names_are_one() -> None:
    assert slimmer.__all__ == api.__all__
    assert set(dir(slimmer)) >= {*api.__all__, "__version__"}
    assert all(getattr(slimmer, name) is getattr(api, name) for name in api.__all__)


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys, slimmer\n"
        "from slimmer import recipe\n"
        "assert 'slimmer.api' not in sys.modules\n"
        "from slimmer import check, trace\n"
        "import slimmer.checks.run\n"
        "assert slimmer.check is check and callable(check)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_none_is_an_ordinary_mistake() -> None:
    with pytest.raises(AttributeError, match="no attribute 'shrink'"):
        _ = slimmer.__getattr__("shrink")


@pytest.mark.parametrize("name", api.__all__)
def test_everything_says_what_it_is(name: str) -> None:
    what = getattr(api, name)
    doc = inspect.getdoc(what) or ""
    assert doc
    assert not doc.startswith(f"{name}("), "a dataclass without a docstring gets its signature"
    if inspect.isfunction(what):
        assert "return" in what.__annotations__


@pytest.mark.parametrize("name", ["Result", "Recorded", "Verdict", "Recording", "Report", "Output", "Image", "Recipe"])
def test_results_are_frozen(name: str) -> None:
    kind = getattr(api, name)
    assert dataclasses.is_dataclass(kind)
    assert vars(kind)["__dataclass_params__"].frozen


def test_a_strangers_recipe_is_not_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    recipe = slimmer.Recipe(runs=(slimmer.Run(command=("true",), client=(("touch", str(tmp_path / "done")),)),))
    (tmp_path / "recipe.toml").write_text(recipe.dump())
    with pytest.raises(slimmer.UsageProblem, match="--client"):
        slimmer.check(tmp_path)
    assert not (tmp_path / "done").exists()


def test_recipes_and_recordings_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(slimmer.SlimmerError, match="no-such"):
        slimmer.load_recipe(tmp_path / "no-such.toml")
    with pytest.raises(slimmer.SlimmerError, match="there is nothing at"):
        slimmer.open_output(str(tmp_path / "nowhere"))
