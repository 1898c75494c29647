"""An output of somebody else: its recipe is data until the caller names what it does to this host."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.errors import UsageProblem
from slimmer.pipeline.consent import Named, remember, remembered, require, unnamed
from slimmer.recipe import Recipe, Run, Sandbox, Source
from tracer.session import Network

THEIRS = Recipe(
    source=Source(root="/", qemu="/tmp/qemu"),
    runs=(
        Run(("app",), client=(("curl", "a b"),), openapi=("/etc/passwd", "http://x/o"), env_file=("/root/env",)),
        Run(("app",), client=(("second",),)),
    ),
    sandbox=Sandbox(
        network=Network.HOST,
        mounts=("/:/host:rw",),
        secrets=("/root/.ssh:/s",),
        cap_add=("SYS_ADMIN",),
        allow_nested=True,
        pids=0,
        trust_root=True,
    ),
)


def test_everything_that_touches_the_host_is_named() -> None:
    assert list(unnamed(THEIRS, Named())) == [
        "--root /",
        "--qemu /tmp/qemu",
        "--client \"curl 'a b'\"",
        "--openapi /etc/passwd",
        "--env-file /root/env",
        "--client 'second'",
        "--mount /:/host:rw",
        "--secret /root/.ssh:/s",
        "--network host",
        "--cap-add SYS_ADMIN",
        "--allow-nested",
        "--pids 0",
        "--trust-root",
    ]
    with pytest.raises(UsageProblem, match="--client") as caught:
        require(THEIRS, Named(source=True), "out")
    assert "--trust" in caught.value.hint


def test_what_the_caller_named_again_is_allowed() -> None:
    named = Named(
        source=True,
        qemu=True,
        network=True,
        capabilities=["SYS_ADMIN"],
        nested=True,
        pids=True,
        root=True,
        clients=[("curl", "a b"), ("second",)],
        openapis=["/etc/passwd"],
        env_files=["/root/env"],
        mounts=["/:/host:rw"],
        secrets=["/root/.ssh:/s"],
    )
    require(THEIRS, named, "out")
    require(Recipe(source=Source(image="oci:x")), Named(source=True), "out")


def test_only_the_very_recipe_that_was_published_here_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert not remembered(b"mine")
    remember(b"mine")
    assert remembered(b"mine")
    assert not remembered(b"mine, changed")
    (tmp_path / "slimmer/recipes").chmod(0o777)
    assert not remembered(b"mine")  # anybody may have written there
