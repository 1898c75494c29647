"""--remove-… of the source's configuration; --hostname and --add-host of the runs."""

from __future__ import annotations

import pytest

from slimmer.cli.described import recipe_from
from slimmer.errors import UsageProblem
from slimmer.exercise.perform import session_options
from slimmer.exercise.place import Place, Start
from slimmer.image.config import ImageConfig
from slimmer.recipe import Sandbox
from slimmer.root.directory import DirectoryRoot


def test_a_configuration_without_them_and_without_what_is_not_there() -> None:
    config = ImageConfig(
        env=(("PATH", "/bin"), ("SECRET", "x")),
        exposed_ports=("53/udp", "8080/tcp"),
        volumes=("/a", "/b"),
        labels=(("one", "1"), ("two", "2")),
    )
    found = config.without(env=("SECRET", "NONE"), labels=("one",), volumes=("/b",), ports=("8080", "53"))
    assert (found.env, found.exposed_ports) == ((("PATH", "/bin"),), ("53/udp",))
    assert (found.volumes, found.labels) == (("/a",), (("two", "2"),))


def test_names_of_hosts_reach_the_session() -> None:
    recipe = recipe_from({"hostname": "web", "add_hosts": ("db:127.0.0.1", "six:::1"), "remove_envs": ("SECRET",)})
    assert recipe.image.remove_env == ("SECRET",)
    options = session_options(Place("/usr", DirectoryRoot("/usr"), Start()), recipe)
    assert (options.hostname, options.hosts) == ("web", (("db", "127.0.0.1"), ("six", "::1")))


@pytest.mark.parametrize(
    "wrong", [{"hosts": ("db",)}, {"hosts": ("db:here",)}, {"hosts": (":::1",)}, {"hostname": "a b"}]
)
def test_what_is_no_host_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageProblem):
        Sandbox(**wrong)  # type: ignore[arg-type]
