"""What an output's recipe may do here: everything if this user has published it, else what the caller names again.

    $XDG_STATE_HOME/slimmer/recipes/<sha256 of recipe.toml>     one empty file for each

An output that came from elsewhere is data. Its recipe may name commands of the host, directories of
the host, files with secrets, and a source: none of these is touched on its word alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from slimmer.errors import UsageProblem
from slimmer.recipe import PIDS, Recipe
from tracer.session import Network

KEPT = 4096  # recipes that are remembered; the oldest give way


@dataclass(frozen=True, slots=True)
class Named:
    """What the caller has named himself."""

    source: bool = False
    clients: Collection[tuple[str, ...]] = ()
    mounts: Collection[str] = ()
    secrets: Collection[str] = ()
    openapis: Collection[str] = ()
    env_files: Collection[str] = ()
    network: bool = False
    publish: Collection[str] = ()
    resets: Collection[tuple[str, ...]] = ()
    capabilities: Collection[str] = ()
    nested: bool = False
    pids: bool = False
    root: bool = False
    qemu: bool = False
    services: Collection[str] = ()


def require(recipe: Recipe, named: Named, what: str) -> None:
    """Raises UsageProblem that lists what a stranger's recipe asks for and the caller has not named."""
    if asked := list(unnamed(recipe, named)):
        raise UsageProblem(
            f"{what} was not made here, and its recipe asks for what is yours to allow:\n  " + "\n  ".join(asked),
            "name these again, or say --trust when you know where it comes from",
        )


def unnamed(recipe: Recipe, named: Named) -> Iterator[str]:
    """What touches the host and is not named by the caller, each as the option that names it."""
    source, sandbox = recipe.source, recipe.sandbox
    if not named.source:
        yield f"--image {source.image}" if source.image else f"--root {source.root}"
    if source.qemu and not named.qemu:
        yield f"--qemu {source.qemu}"
    for run in recipe.runs:
        yield from (f"--client {shlex.join(argv)!r}" for argv in run.client if argv not in named.clients)
        yield from (f"--openapi {name}" for name in run.openapi if "://" not in name and name not in named.openapis)
        yield from (f"--env-file {name}" for name in run.env_file if name not in named.env_files)
    for each in recipe.services:
        if each.name not in named.services:
            yield f"--service {each.name}={each.image or each.root}"
    yield from (f"--mount {text}" for text in sandbox.mounts if text not in named.mounts)
    yield from (f"--secret {text}" for text in sandbox.secrets if text not in named.secrets)
    if sandbox.network != Network.NONE and not named.network:
        yield f"--network {sandbox.network}"
    yield from (f"--reset {shlex.join(argv)!r}" for argv in sandbox.reset if argv not in named.resets)
    yield from (f"--publish {text}" for text in sandbox.publish if text not in named.publish)
    yield from (f"--cap-add {name}" for name in sandbox.cap_add if name not in named.capabilities)
    if sandbox.allow_nested and not named.nested:
        yield "--allow-nested"
    if not 0 < sandbox.pids <= PIDS and not named.pids:
        yield f"--pids {sandbox.pids}"
    if sandbox.trust_root and not named.root:
        yield "--trust-root"


def remember(recipe: bytes) -> None:
    """This user publishes an output with this recipe. Where that cannot be kept, it will have to be named again."""
    with contextlib.suppress(OSError, RuntimeError):
        home = _home()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = sorted(home.iterdir(), key=lambda each: each.stat().st_mtime)
        for old in known[: max(0, len(known) - KEPT)]:
            old.unlink(missing_ok=True)
        (home / hashlib.sha256(recipe).hexdigest()).touch()


def remembered(recipe: bytes) -> bool:
    """Whether this user has published an output with this recipe."""
    with contextlib.suppress(OSError, RuntimeError):
        home = _home()
        status = home.stat()
        mine = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return mine and (home / hashlib.sha256(recipe).hexdigest()).is_file()
    return False


def _home() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local/state"
    return base / "slimmer/recipes"
