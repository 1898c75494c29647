"""--publish: what it takes, what the recipe keeps of it, and that a stranger's recipe opens no port by itself."""

from __future__ import annotations

import tomllib

import pytest

from slimmer.cli.described import recipe_over
from slimmer.errors import UsageProblem
from slimmer.pipeline.consent import Named, unnamed
from slimmer.recipe import Recipe, Sandbox, parse, read_published


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("8080:80", ("127.0.0.1", 8080, 80)),
        ("0.0.0.0:8080:80", ("0.0.0.0", 8080, 80)),
        ("[::1]:8080:80", ("::1", 8080, 80)),
        ("127.0.0.2:1:65535", ("127.0.0.2", 1, 65535)),
    ],
)
def test_an_address_is_loopback_unless_it_is_given(text: str, meant: tuple[str, int, int]) -> None:
    assert read_published(text) == meant


@pytest.mark.parametrize(
    "text", ["80", "8080:", ":80", "0:80", "8080:65536", "localhost:8080:80", "a:b", "8080:80:tcp"]
)
def test_what_names_no_port_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageProblem, match="8080:80"):
        recipe_over(Recipe(), {"publish": (text,)})
    with pytest.raises(UsageProblem, match=r"sandbox\.publish\[0\]"):
        parse({"sandbox": {"publish": [text]}}, "slim.toml")


def test_the_recipe_keeps_it_once() -> None:
    base = Recipe(sandbox=Sandbox(publish=("8080:80",)))
    recipe = recipe_over(base, {"publish": ("8080:80", "9090:90")})
    assert recipe.sandbox.publish == ("8080:80", "9090:90")
    assert parse(tomllib.loads(recipe.dump()), "recipe.toml").sandbox == recipe.sandbox


def test_a_strangers_recipe_publishes_what_the_caller_names() -> None:
    recipe = Recipe(sandbox=Sandbox(publish=("8080:80", "9090:90")))
    assert list(unnamed(recipe, Named(source=True, publish=("8080:80",)))) == ["--publish 9090:90"]
