"""Everything that decides a result, as one frozen value: from the flags, from slim.toml, and back to TOML."""

from __future__ import annotations

import dataclasses
import enum
import shlex
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from slimmer.errors import UsageProblem
from tracer.recorder import Choice
from tracer.session import Network

FORMAT = "slimmer.recipe/1"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Keep(enum.StrEnum):
    RECORDED = "recorded"
    REACHABLE = "reachable"
    PACKAGES = "packages"


class Layers(enum.StrEnum):
    ONE = "one"
    SPLIT = "split"


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


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded run: a command, what makes it work, and how it ends."""

    command: tuple[str, ...] = ()  # empty: the image's own entrypoint
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    workdir: str | None = None
    ready: str = ""  # PORT, URL or /REGEX/; empty: the first probe answers
    ready_timeout: float = 60.0
    probes: tuple[Probe, ...] = ()
    crawl: tuple[str, ...] = ()  # pages whose same-origin links are followed
    openapi: tuple[str, ...] = ()  # documents whose GET operations are called: URL of the application, or a host file
    exec: tuple[str, ...] = ()  # commands inside the sandbox
    client: tuple[str, ...] = ()  # commands of the host, in the sandbox's network
    seconds: float | None = None  # how long it goes on after that; None: not at all, or until it exits by itself
    expect_exit: int = 0
    stop_signal: str = "TERM"
    grace: float = 10.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where the fat root comes from."""

    root: str = "/"
    image: str = ""
    platform: str = ""
    qemu: str = ""
    limits: tuple[str, ...] = ()  # NAME=VALUE, over the defaults of what an image may hold
    insecure: bool = False  # its registry may speak plain HTTP or show an unknown certificate


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How the runs are held."""

    recorder: Choice = Choice.AUTO
    network: Network = Network.NONE
    mounts: tuple[str, ...] = ()  # SOURCE:TARGET[:rw]
    secrets: tuple[str, ...] = ()  # SOURCE:TARGET


@dataclass(frozen=True, slots=True)
class Reach:
    """What the closure holds beyond the recording."""

    keep: Keep = Keep.REACHABLE
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    no_profiles: tuple[str, ...] = ()
    scanner_data: bool = True
    cpu: str = ""  # keep library variants for this CPU level only ("x86-64-v3"); empty: all


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What the image's configuration says, over what the source image says; None leaves that as it is."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    workdir: str | None = None
    expose: tuple[str, ...] = ()
    label: Mapping[str, str] = field(default_factory=dict)
    volume: tuple[str, ...] = ()
    stop_signal: str | None = None
    tag: str = "latest"
    compression: str = "gzip"
    layers: Layers = Layers.ONE
    mtime: str = "keep"  # "keep" or "epoch"; SOURCE_DATE_EPOCH clamps
    source_date_epoch: int | None = None  # used when the environment has none


@dataclass(frozen=True, slots=True)
class Repair:
    """A path that a check found missing, and why it was added."""

    path: str
    by: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    why: str = ""  # empty: it was looked for in vain


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of it. What is written to recipe.toml does exactly the same again."""

    source: Source = field(default_factory=Source)
    runs: tuple[Run, ...] = ()
    sandbox: Sandbox = field(default_factory=Sandbox)
    reach: Reach = field(default_factory=Reach)
    image: ImageOptions = field(default_factory=ImageOptions)
    repairs: tuple[Repair, ...] = ()

    def dump(self) -> str:
        """recipe.toml's text: only what differs from the defaults, sorted as declared."""
        value: dict[str, Any] = {"format": FORMAT}
        value |= {
            name: part
            for name, part in (
                ("source", _plain(self.source)),
                ("sandbox", _plain(self.sandbox)),
                ("reach", _plain(self.reach)),
                ("image", _plain(self.image)),
                ("run", [_plain(run) for run in self.runs]),
                ("repair", [_plain(each) for each in self.repairs]),
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
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(f"{path}: {error}") from error
    try:
        return parse(value, str(path))
    except UsageProblem as error:
        if str(path) in error.message:
            raise
        raise UsageProblem(f"{path}: {error.message}", error.hint) from error


def parse(value: Mapping[str, Any], where: str) -> Recipe:
    """A Recipe from TOML's dictionaries."""
    found = value.get("format", FORMAT)
    if found != FORMAT:
        raise UsageProblem(f"{where}: format is {found!r}, this program reads {FORMAT!r}")
    known = {"format", "source", "sandbox", "reach", "image", "run", "repair"}
    if unknown := sorted(set(value) - known):
        raise UsageProblem(f"{where}: unknown key {unknown[0]!r}", f"known are {', '.join(sorted(known))}")
    runs, repairs = value.get("run", []), value.get("repair", [])
    for name, rows in (("run", runs), ("repair", repairs)):
        if not isinstance(rows, list):
            raise UsageProblem(f"{where}: {name} is a table", f"write [[{name}]], in double brackets")
    return Recipe(
        source=_build(Source, value.get("source", {}), f"{where}: source"),
        runs=tuple(_build(Run, each, f"{where}: run {at + 1}") for at, each in enumerate(runs)),
        sandbox=_build(Sandbox, value.get("sandbox", {}), f"{where}: sandbox"),
        reach=_build(Reach, value.get("reach", {}), f"{where}: reach"),
        image=_build(ImageOptions, value.get("image", {}), f"{where}: image"),
        repairs=tuple(_build(Repair, each, f"{where}: repair {at + 1}") for at, each in enumerate(repairs)),
    )


SHELL_OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "(", ")", "2>"})


def split_command(text: str) -> tuple[str, ...]:
    """argv of a command line. One that needs a shell (&&, |, $X, >) becomes /bin/sh -c. Raises UsageProblem."""
    try:
        words = shlex.split(text)
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        tokens = list(lexer)
    except ValueError as error:
        raise UsageProblem(f"cannot split the command {text!r}: {error}", "check its quotes") from error
    if not words:
        raise UsageProblem("the command is empty")
    if SHELL_OPERATORS & set(tokens) and len(tokens) != len(words):
        return ("/bin/sh", "-c", text)
    if SHELL_OPERATORS & set(words) or any(word.startswith("$") for word in tokens if "'" not in text):
        return ("/bin/sh", "-c", text)
    return tuple(words)


def _plain(part: Any) -> dict[str, Any]:
    """A dataclass as TOML's values, without what is as by default."""
    plain: dict[str, Any] = {}
    for each in dataclasses.fields(part):
        value = getattr(part, each.name)
        default = each.default if each.default is not dataclasses.MISSING else None
        if each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        if value != default and value is not None:
            plain[each.name] = _value(value)
    return plain


def _value(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return _plain(value)
    if isinstance(value, Mapping):
        return {key: _value(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_value(each) for each in value]
    return value


def _build(kind: Any, value: Any, where: str) -> Any:
    """A dataclass from a TOML table, each value checked against the field's type."""
    if not isinstance(value, Mapping):
        raise UsageProblem(f"{where}: a table was expected, not {value!r:.40}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise UsageProblem(f"{where}: unknown key {unknown[0]!r}", f"known are {', '.join(hints)}")
    return kind(**{name: _convert(hints[name], each, f"{where}.{name}") for name, each in value.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _convert(next(each for each in arguments if each is not types.NoneType), value, where)
    if origin is tuple:
        if isinstance(value, str) and arguments[0] is str and where.endswith((".command", ".entrypoint", ".cmd")):
            return split_command(value)
        if not isinstance(value, list):
            raise UsageProblem(f"{where}: a list was expected, not {value!r:.40}")
        return tuple(_convert(arguments[0], each, f"{where}[{at}]") for at, each in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise UsageProblem(f"{where}: a table was expected, not {value!r:.40}")
        return {key: _convert(arguments[1], each, f"{where}.{key}") for key, each in value.items()}
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        if hint is Probe and isinstance(value, str):
            return probe(value)
        return _build(hint, value, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            choices = ", ".join(str(each.value) for each in hint)
            raise UsageProblem(f"{where}: {value!r:.40} is none of {choices}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UsageProblem(f"{where}: {hint.__name__} was expected, not {value!r:.40}")
    return value


def probe(text: str) -> Probe:
    """`URL[=STATUS]` as --probe takes it. Raises UsageProblem."""
    url, equals, status = text.rpartition("=")
    if equals and len(status) == 3 and status.isdigit():
        found = Probe(url, int(status))
    else:
        found = Probe(text)
    if not found.url.startswith(("http://", "https://", "tcp://", "unix://")):
        raise UsageProblem(
            f"--probe {text}: not a URL",
            "write http://127.0.0.1:8080/path, or with a status: http://127.0.0.1:8080/x=404",
        )
    return found
