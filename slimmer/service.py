"""A service of a recipe: an image or a root that runs beside the application, unrecorded, in its network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slimmer.errors import UsageProblem
from slimmer.recipe_checks import HOST, FieldProblem, check_ready, check_text, split_command


@dataclass(frozen=True, slots=True)
class Service:
    """How it is started. Each run and each check has one of its own, whose state is the root's own again."""

    name: str  # its host name, for the application and for the services after it
    image: str = ""
    root: str = ""
    command: tuple[str, ...] = ()  # empty: the image's own
    entrypoint: tuple[str, ...] | None = None  # in the place of the image's
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    env_file: tuple[str, ...] = ()
    user: str | None = None
    workdir: str | None = None
    ready: str = ""  # PORT, URL or /REGEX/; empty: its health check says so, or it listens
    ready_timeout: float = 60.0
    health: tuple[str, ...] = ()  # a command of its root that ends with 0 when it is ready; empty: the image's own
    completes: bool = False  # it has one thing to do: what follows waits until it has ended well
    aliases: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()  # SOURCE:TARGET[:rw]

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not HOST.fullmatch(name):
                raise FieldProblem(f"{name!r} is no name of a host", "letters, digits, - and .", ("name",))
        if bool(self.image) == bool(self.root):
            raise FieldProblem(f"the service {self.name} needs an image or a root", "give one of them", ("image",))
        check_ready(self.ready)
        check_text(self.command, ("command",))
        check_text(self.health, ("health",))


def service(text: str) -> Service:
    """`NAME=IMAGE|DIR[,env=NAME=VALUE][,ready=…][,user=…]…` as --service takes it. Raises UsageProblem."""
    name, _, rest = text.partition("=")
    source, *others = re.split(r",(?=(?:env|ready|user|workdir|command|alias|mount)=)", rest)
    if not name or not source:
        raise UsageProblem(f"--service {text}: an image or a directory is missing", "write NAME=IMAGE or NAME=DIR")
    given: dict[str, list[str]] = {}
    for each in others:
        key, _, value = each.partition("=")
        given.setdefault(key, []).append(value)
    env = dict.fromkeys(given.get("env", ()), "")
    for each in env:
        if "=" not in each:
            raise UsageProblem(f"--service {text}: env={each} has no value", "write env=NAME=VALUE")
    command = given.get("command", [""])[-1]
    directory = Path(source).is_dir()
    return Service(
        name,
        image="" if directory else source,
        root=str(Path(source).absolute()) if directory else "",
        command=split_command(command) if command else (),
        env=dict(each.split("=", 1) for each in env),
        user=given["user"][-1] if "user" in given else None,
        workdir=given["workdir"][-1] if "workdir" in given else None,
        ready=given.get("ready", [""])[-1],
        aliases=tuple(given.get("alias", ())),
        mounts=tuple(given.get("mount", ())),
    )
