"""Everything that decides a result, as one frozen value: from the flags, from slim.toml, and back to TOML."""

from __future__ import annotations

import dataclasses
import enum
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from slimmer.errors import UsageProblem
from slimmer.recipe_checks import (
    SCHEMES,
    TOKEN,
    FieldProblem,
    check_argv,
    check_header,
    check_pattern,
    check_ready,
    check_text,
    check_url,
    signal_number,
    spelled,
    wrong,
)
from slimmer.recipe_checks import check_attribute as check_attribute
from slimmer.recipe_checks import read_environment as read_environment
from slimmer.recipe_checks import read_published as read_published
from slimmer.recipe_checks import split_command as split_command
from slimmer.recipe_checks import split_words as split_words
from slimmer.recipe_options import MOST_PIDS as MOST_PIDS
from slimmer.recipe_options import ImageOptions as ImageOptions
from slimmer.recipe_options import Keep as Keep
from slimmer.recipe_options import Layers as Layers
from slimmer.recipe_options import LockOptions as LockOptions
from slimmer.recipe_options import Reach as Reach
from slimmer.recipe_options import Sandbox as Sandbox
from slimmer.recipe_options import Source as Source
from slimmer.service import Service
from slimmer.toml_position import Place, place_of
from slimmer.toml_values import plain
from slimmer.values import natural
from tracer.runner.limits import PIDS as PIDS
from tracer.runner.programs import DEFAULT_PATH as DEFAULT_PATH

FORMAT = "slimmer.recipe/1"


@dataclass(frozen=True, slots=True)
class Probe:
    """One request, and what must come back. `url` is http(s)://, tcp://HOST:PORT or unix:///PATH."""

    url: str
    status: int | None = None  # None: below 400
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""  # or what a tcp or unix probe sends
    pattern: str = ""  # regular expression that the answer's body must match somewhere
    json: Mapping[str, Any] = field(default_factory=dict)  # JSON pointer → value that the body must hold there

    def __post_init__(self) -> None:
        check_url(self.url, SCHEMES, "url")
        if self.status is not None and not 100 <= self.status <= 599:
            raise FieldProblem(f"{self.status} is no status of HTTP", "they go from 100 to 599", ("status",))
        if not TOKEN.fullmatch(self.method):
            raise FieldProblem(f"{self.method!r} is no method of HTTP", "write GET, POST, PUT …", ("method",))
        for name, value in self.headers.items():
            check_header(name, value)
        check_pattern(self.pattern, "pattern")
        for pointer in self.json:
            if pointer and not pointer.startswith("/"):
                hint = 'write "/items/0/name", as RFC 6901 has it'
                raise FieldProblem(f"{pointer!r} is no JSON pointer", hint, ("json", pointer))
        if self.url.startswith(("tcp://", "unix://")):
            try:
                self.payload()
            except UnicodeError as error:
                hint = "write bytes as \\x00 and newlines as \\r\\n; text as UTF-8"
                raise FieldProblem(f"the body {self.body!r:.60} cannot be sent: {error}", hint, ("body",)) from None

    def payload(self) -> bytes:
        """What a tcp or unix probe sends: the body with its escapes read. Raises UnicodeError."""
        return self.body.encode().decode("unicode_escape").encode("latin-1")


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded run: a command, what makes it work, and how it ends."""

    command: tuple[str, ...] = ()  # empty: the image's own entrypoint
    env: Mapping[str, str] = field(default_factory=dict)  # of the run alone; the image's is in ImageOptions
    env_file: tuple[str, ...] = ()  # files with more of it, whose values stay where they are
    user: str | None = None
    workdir: str | None = None
    ready: str = ""  # PORT, URL or /REGEX/; empty: the first probe answers
    ready_timeout: float = 60.0
    probes: tuple[Probe, ...] = ()
    crawl: tuple[str, ...] = ()  # pages whose same-origin links are followed
    openapi: tuple[str, ...] = ()  # documents whose GET operations are called: URL of the application, or a host file
    exec: tuple[tuple[str, ...], ...] = ()  # commands inside the sandbox, each an argv
    client: tuple[tuple[str, ...], ...] = ()  # commands of the host, in the sandbox's network, each an argv
    exec_timeout: float = 300.0  # seconds that each of these commands may take
    seconds: float | None = None  # how long it goes on after that; None: not at all, or until it exits by itself
    default_exercise: bool = True  # one that names nothing to ask is asked what can be found out; False: it just runs
    expect_exit: int = 0
    stop_signal: str = "TERM"
    grace: float = 10.0

    @property
    def exercised(self) -> bool:
        """Something of it is asked or run, or looked at."""
        return bool(self.probes or self.exec or self.client or self.crawl or self.openapi)

    def __post_init__(self) -> None:
        for name in ("exec", "client"):
            for at, argv in enumerate(getattr(self, name)):
                check_argv(argv, (name, at))
        check_text(self.command, ("command",))
        for variable, value in self.env.items():
            if not variable or "=" in variable or "\0" in variable + value:
                hint = "a name has no =, and neither has a NUL"
                raise FieldProblem(f"{variable!r} is no environment variable", hint, ("env", variable))
        for name in ("ready_timeout", "exec_timeout", "seconds", "grace"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 0 <= value < 1e8):
                raise FieldProblem(f"{value} is no time", "write seconds, as in 30 or 2.5", (name,))
        check_ready(self.ready)
        for name in ("crawl", "openapi"):
            for at, text in enumerate(getattr(self, name)):
                if name == "crawl" or "://" in text:
                    check_url(text, ("http", "https"), name, at)
        if self.stop_signal:
            signal_number(self.stop_signal)


@dataclass(frozen=True, slots=True)
class Miss:
    """A path that a check found missing in the slim image; in a recipe: one that was added for it."""

    path: str
    by: tuple[str, ...] = ()  # the programs that looked for it
    kinds: tuple[str, ...] = ()
    why: str = ""  # a repair that was not looked for in vain: "used in the fat root", "its directory was listed"

    @property
    def who(self) -> str:
        """A program that looked for it."""
        return next((each for each in self.by if each), "a program")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of it. What is written to recipe.toml does exactly the same again."""

    source: Source = field(default_factory=Source)
    runs: tuple[Run, ...] = ()
    services: tuple[Service, ...] = ()  # beside each run, started in this order
    sandbox: Sandbox = field(default_factory=Sandbox)
    reach: Reach = field(default_factory=Reach)
    image: ImageOptions = field(default_factory=ImageOptions)
    lock: LockOptions = field(default_factory=LockOptions)
    repairs: tuple[Miss, ...] = ()

    def dump(self) -> str:
        """recipe.toml's text: only what differs from the defaults, sorted as declared."""
        value: dict[str, Any] = {"format": FORMAT}
        value |= {
            name: part
            for name, part in (
                ("source", plain(self.source)),
                ("sandbox", plain(self.sandbox)),
                ("reach", plain(self.reach)),
                ("image", plain(self.image)),
                ("lock", plain(self.lock)),
                ("run", [plain(run) for run in self.runs]),
                ("service", [plain(each) for each in self.services]),
                ("repair", [plain(each) for each in self.repairs]),
            )
            if part
        }
        return tomli_w.dumps(value)


def load(path: Path) -> Recipe:
    """Read slim.toml or recipe.toml. Raises UsageProblem that names the key."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"cannot read the recipe {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{path} is not a recipe: not UTF-8 at byte {error.start}") from error
    try:
        return parse(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(f"{path}: {error}") from error
    except RecursionError:
        raise UsageProblem(f"{path} is not a recipe: its values are nested too deeply") from None
    except FieldProblem as error:
        line, column = place_of(text, error.place)
        raise UsageProblem(f"{path}:{line}:{column}: {error.message}", error.hint) from error


def parse(value: Mapping[str, Any], where: str) -> Recipe:
    """A Recipe from TOML's dictionaries. Raises FieldProblem, whose place is the key that is wrong."""
    found = value.get("format", FORMAT)
    if found != FORMAT:
        raise FieldProblem(f"format is {found!r}, this program reads {FORMAT!r}", place=("format",))
    known = {"format", "source", "sandbox", "reach", "image", "lock", "run", "service", "repair"}
    if unknown := sorted(set(value) - known):
        raise FieldProblem(f"unknown key {unknown[0]!r}", f"known are {', '.join(sorted(known))}", (unknown[0],))
    runs, services, repairs = (value.get(name, []) for name in ("run", "service", "repair"))
    for name, rows in (("run", runs), ("service", services), ("repair", repairs)):
        if not isinstance(rows, list):
            raise FieldProblem(f"{name} is a table", f"write [[{name}]], in double brackets", (name,))
    return Recipe(
        source=_build(Source, value.get("source", {}), ("source",)),
        runs=tuple(_build(Run, each, ("run", at)) for at, each in enumerate(runs)),
        services=tuple(_build(Service, each, ("service", at)) for at, each in enumerate(services)),
        sandbox=_build(Sandbox, value.get("sandbox", {}), ("sandbox",)),
        reach=_build(Reach, value.get("reach", {}), ("reach",)),
        image=_build(ImageOptions, value.get("image", {}), ("image",)),
        lock=_build(LockOptions, value.get("lock", {}), ("lock",)),
        repairs=tuple(_build(Miss, each, ("repair", at)) for at, each in enumerate(repairs)),
    )


def environment_of(run: Run, environ: Mapping[str, str]) -> dict[str, str]:
    """What a run's environment has beyond the image's: its files, then its own. Raises UsageProblem."""
    found: dict[str, str] = {}
    for name in run.env_file:
        found |= read_environment(Path(name), environ)
    return {**found, **run.env}


def _build(kind: Any, value: Any, place: Place) -> Any:
    """A dataclass from a TOML table, each value checked against the field's type."""
    if not isinstance(value, Mapping):
        raise wrong(place, f"a table was expected, not {value!r:.40}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        message = f"{spelled(place)}: unknown key {unknown[0]!r}"
        raise FieldProblem(message, f"known are {', '.join(hints)}", (*place, unknown[0]))
    needed = [each.name for each in dataclasses.fields(kind) if each.default is each.default_factory]
    if missing := [name for name in needed if name not in value]:
        raise wrong(place, f"the key {missing[0]!r} is missing")
    found = {name: _convert(hints[name], each, (*place, name)) for name, each in value.items()}
    try:
        return kind(**found)
    except FieldProblem as error:
        raise wrong((*place, *error.place), error.message, error.hint) from None


def _convert(hint: Any, value: Any, place: Place) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _convert(next(each for each in arguments if each is not types.NoneType), value, place)
    if origin is tuple:
        if isinstance(value, str) and arguments[0] is str:
            try:
                if place[-1] in ("command", "entrypoint", "cmd"):
                    return split_command(value)
                if isinstance(place[-1], int):
                    return split_words(value)  # one command of exec or client
            except UsageProblem as error:
                raise wrong(place, error.message, error.hint) from None
        if not isinstance(value, list):
            raise wrong(place, f"a list was expected, not {value!r:.40}")
        return tuple(_convert(arguments[0], each, (*place, at)) for at, each in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise wrong(place, f"a table was expected, not {value!r:.40}")
        return {key: _convert(arguments[1], each, (*place, key)) for key, each in value.items()}
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        if hint is Probe and isinstance(value, str):
            try:
                return probe(value)
            except FieldProblem as error:
                raise wrong(place, error.message, error.hint) from None
        return _build(hint, value, place)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            choices = ", ".join(str(each.value) for each in hint)
            raise wrong(place, f"{value!r:.40} is none of {choices}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > 10**9:
            raise wrong(place, f"{value!r:.40} is too large")
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise wrong(place, f"{hint.__name__} was expected, not {value!r:.40}")
    return value


def probe(text: str) -> Probe:
    """`URL[=STATUS]` as --probe takes it. Raises FieldProblem."""
    url, equals, status = text.rpartition("=")
    number = natural(status, 999) if equals and len(status) == 3 else None
    return Probe(text) if number is None else Probe(url, number)
