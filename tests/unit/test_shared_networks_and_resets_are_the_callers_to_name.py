"""--network container:PID and --reset: what is taken and kept, who has to name it, and what a failure says."""

from __future__ import annotations

import os
import tomllib

import pytest

from slimmer.cli.described import recipe_over
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise.observer import Observer
from slimmer.exercise.reset import reset
from slimmer.pipeline.consent import Named, unnamed
from slimmer.recipe import Recipe, Sandbox, parse
from tracer.errors import TracerError
from tracer.runner.joined import joined
from tracer.session import Network


def test_a_network_is_none_the_hosts_or_that_of_something_that_runs() -> None:
    for text, joins in (("none", ""), ("host", ""), ("container:4711", "4711"), ("container:podman:db", "podman:db")):
        recipe = recipe_over(Recipe(), {"network": text})
        assert recipe.sandbox.joins == joins
        assert parse(tomllib.loads(recipe.dump()), "recipe.toml").sandbox == recipe.sandbox
    assert Sandbox(network=Network.HOST) == recipe_over(Recipe(), {"network": "host"}).sandbox
    for text in ("container:", "bridge", "podman:db"):
        with pytest.raises(UsageProblem, match=f"--network {text}"):
            recipe_over(Recipe(), {"network": text})


def test_a_strangers_recipe_names_neither() -> None:
    recipe = Recipe(sandbox=Sandbox(network="container:4711", reset=(("a", "b"), ("c",))))
    assert list(unnamed(recipe, Named(source=True, resets=[("c",)]))) == ["--network container:4711", "--reset 'a b'"]


def test_a_reset_that_fails_or_is_not_there_is_named_with_its_last_lines() -> None:
    def said(*argv: str) -> str:
        with pytest.raises(SlimmerError) as caught:
            reset(Recipe(sandbox=Sandbox(reset=(argv,))), Observer())
        return f"{caught.value.message}: {caught.value.hint}"

    assert "exited with 3" in (failed := said("sh", "-c", "echo http://me:word@host/; exit 3"))
    assert "http://me:***@host/" in failed
    assert "--reset nothing-here: No such file" in said("nothing-here")


def test_the_callers_own_network_needs_no_entering_and_a_gone_process_is_said() -> None:
    own = joined(os.getpid())
    assert (own.namespaces, own.ids) == ((), None)
    with pytest.raises(TracerError, match="process 4194303"):
        joined(4194303)  # PID_MAX_LIMIT is above every number
