"""--network container:PID and --reset: what is taken and kept, who has to name it, and what a failure says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import replace

import pytest

from slimmer.cli.described import recipe_over
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise import reset as resets
from slimmer.exercise.listening import listeners
from slimmer.exercise.observer import Observer
from slimmer.exercise.reset import reset
from slimmer.pipeline.consent import Named, unnamed
from slimmer.recipe import Recipe, Sandbox, parse
from tests.clusters import until
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


def test_what_listened_before_a_reset_is_awaited_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        again = textwrap.dedent(f"""
            import os, socket, time
            if not os.fork():
                time.sleep(0.5)
                one = socket.create_server(("127.0.0.1", {port}))
                time.sleep(3)
        """)
        # The descriptor that the command holds is the service that it ends: this process holds it no longer.
        sandbox = Sandbox(network=f"container:{os.getpid()}", reset=((sys.executable, "-c", again),))
        looks = [frozenset({port})]

        def look(pid: int) -> frozenset[int]:
            held.close()
            return looks.pop() if looks else listeners(pid)

        monkeypatch.setattr(resets, "listeners", look)
        reset(Recipe(sandbox=sandbox), Observer())
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
        monkeypatch.setattr(resets, "PATIENCE", 0.2)
        looks.append(frozenset({1, 2}))
        with pytest.raises(SlimmerError, match=f"nothing listens on port 1, 2 of {os.getpid()}"):
            reset(Recipe(sandbox=replace(sandbox, reset=(("true",),))), Observer())


@pytest.mark.parametrize("commands", [(), (("true",),)], ids=["no-reset", "reset"])
def test_what_was_started_just_now_is_awaited_until_it_listens(
    commands: tuple[tuple[str, ...], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "import socket, time; time.sleep(1); one = socket.create_server(('', 80)); time.sleep(60)"
    own = subprocess.Popen(["unshare", "--map-root-user", "--net", sys.executable, "-c", late])
    try:
        until(
            "a network of its own", lambda: os.readlink(f"/proc/{own.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        )
        recipe = Recipe(sandbox=Sandbox(network=f"container:{own.pid}", reset=commands))
        # Who is no longer young is believed to have no ports.
        monkeypatch.setattr(resets, "YOUNG", 0.0)
        reset(recipe, Observer())
        assert not listeners(own.pid)
        monkeypatch.setattr(resets, "YOUNG", 30.0)
        stages: list[str] = []
        reset(recipe, Observer(stage=stages.append))
        assert listeners(own.pid) == {80}
        assert sum("waiting until something listens" in each for each in stages) == 1
    finally:
        own.kill()
        own.wait()


def test_a_reset_may_start_what_is_joined() -> None:
    reset(Recipe(sandbox=Sandbox(network="container:4194303", reset=(("true",),))), Observer())


def test_the_callers_own_network_needs_no_entering_and_a_gone_process_is_said() -> None:
    own = joined(os.getpid())
    assert (own.namespaces, own.ids) == ((), None)
    with pytest.raises(TracerError, match="process 4194303"):
        joined(4194303)  # PID_MAX_LIMIT is above every number
