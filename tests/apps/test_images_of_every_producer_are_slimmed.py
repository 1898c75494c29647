"""What each tool packs goes the whole way: traced, proved, into an archive, loaded and run by podman."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimmer.pipeline.outputs import Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import trace
from slimmer.recipe import ImageOptions, Recipe, Run, Source
from slimmer.report.output import Output
from tests import daemons, producers
from tests.running import readable_directory
from tests.support import needs_root

pytestmark = needs_root


@pytest.fixture(scope="module")
def podman() -> Iterator[list[str]]:
    with daemons.podman() as command:
        yield command


@pytest.mark.parametrize("name", producers.PRODUCERS)
def test_the_slim_image_runs_as_the_fat_one(name: str, podman: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with readable_directory() as place:
        monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        reference = producers.PRODUCERS[name](producers.context(place))
        tag = f"localhost/slim-{name.split(',')[0].replace(' ', '-')}:1"
        recipe = Recipe(Source(image=reference), (Run(),), image=ImageOptions(tag=tag))
        trace(recipe, Outputs(place / "out", archive=str(place / "slim.tar")), Progress())
        kept = {row.entry.path for row in Output(place / "out").manifest()}
        assert {"/srv/app/greeting"} <= kept
        assert not kept & {"/srv/unused", "/built", "/opt/x", "/ko-app/app", "/stargz.index.json"}
        run(*podman, "load", "-q", "-i", place / "slim.tar")
        try:
            assert run(*podman, "run", *daemons.PODMAN_RUN, tag) == producers.ANSWER
        finally:
            run(*podman, "rmi", "-f", tag)


def run(*words: str | Path) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
