"""Profiles: what kinds of applications need beyond what a run shows, as TOML files.

A profile is one file, `NAME.toml`. Its grammar is `profile.schema.json` beside this
module; `docs` for a person is `slim profiles NAME`. The shipped ones are the
package's data (`slimmer/_profiles`), or `profiles/` of the checkout.

    why = "nginx loads modules, types and error pages only when a request asks for them"

    [when]                       # any of these in the closure; without [when]: always
    paths = ["/usr/sbin/nginx"]

    [[keep]]
    paths = ["/etc/nginx"]       # a directory: with everything below it
    why = "…"
"""

from __future__ import annotations

import contextlib
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from slimmer.closure.profiles.modules import Modules, read_modules
from slimmer.closure.profiles.start import Start, read_start
from slimmer.closure.profiles.values import Values
from slimmer.errors import SlimmerError
from slimmer.toml_position import Place


@dataclass(frozen=True, slots=True)
class When:
    """A condition: any one of its words holds. Empty: it always holds."""

    paths: tuple[str, ...] = ()  # path globs: a kept path
    sonames: tuple[str, ...] = ()  # name globs: a kept file or link of that base name
    packages: tuple[str, ...] = ()  # name globs: an OS package with a kept file
    interpreters: tuple[str, ...] = ()  # name globs: a program of that base name that the application runs
    environment: tuple[str, ...] = ()  # variables: set for the application, or in a recorded program

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays, and why. Everything named is optional in the root: what is not there is not missed."""

    why: str
    paths: tuple[str, ...] = ()  # path globs; a directory stays with everything below it
    directories: tuple[str, ...] = ()  # path globs of directories (or links to them) that stay without content
    packages: tuple[str, ...] = ()  # name globs of OS packages that stay with all run-time files
    siblings: tuple[str, ...] = ()  # path globs: a kept match keeps its package's other matches in its directory
    excluding: tuple[str, ...] = ()  # path globs that this entry leaves out
    when: When = field(default_factory=When)  # besides the profile's own condition
    max_dependency_bytes: int = (
        0  # bytes of further libraries that one plugin of this entry may bring. 0: as [programs] says
    )
    limit: int = 0  # bytes that this entry may add; above it nothing is added and the report says so. 0: any


# Whose paths a drop entry speaks of: an application's units, an OS package's, a language package's, a Java runtime's.
OF = ("application", "packages", "python", "node", "ruby", "java")


@dataclass(frozen=True, slots=True)
class Drop:
    """What whole units leave out. Globs of "packages" are absolute, the others relative to the unit's top."""

    why: str
    of: str  # one of OF
    paths: tuple[str, ...]
    excluding: tuple[str, ...] = ()  # of these, what stays after all
    beside: tuple[str, ...] = ()  # only where a directory from the unit's top down to the file's own holds one of these


@dataclass(frozen=True, slots=True)
class Challenge:
    """Commands that tell what a framework or a program can do: asked in the fat root and in the slim one.

    `ask` are command lines whose words may hold {program}, {arguments}, {target}, {python} and the like: how the
    application is started.
    """

    why: str
    ask: tuple[str, ...]
    when: When = field(default_factory=When)


@dataclass(frozen=True, slots=True)
class Commands:
    """Where a program's own configuration names what it starts.

    `line` finds them in the files' text, one line or several (`^` and `$` fit at each line): its first group that
    matches is a command line.
    """

    why: str
    files: tuple[str, ...]  # path globs; they stay while `when` holds
    line: str
    shell: bool = True  # whether a shell reads it
    when: When = field(default_factory=When)


@dataclass(frozen=True, slots=True)
class Writable:
    """Directories that must exist, and be writable as they are in the fat root, for the application to work."""

    paths: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Where an application's own files are told from the system's."""

    containers: tuple[str, ...] = ()  # directories that hold units, and are none themselves
    managed: tuple[str, ...] = ()  # trees that other rules, or nobody at run time, care for
    markers: tuple[str, ...] = ()  # a directory that holds one of these (relative globs) is managed
    large: int = 0  # bytes above which a unit is worth a word in the report


@dataclass(frozen=True, slots=True)
class Programs:
    """Which packages stay whole because the application runs their programs."""

    base: tuple[str, ...] = ()  # package names that never do: the system's own, and what language rules know better
    priorities: tuple[str, ...] = ()  # dpkg priorities that never do
    modules: tuple[str, ...] = ()  # those of them that hold modules of a language: a command brings its like
    parts: tuple[str, ...] = ()  # package names that are no run-time part of a family: "*-dev", "*-doc"
    limit: int = 0  # bytes of one package above which only used files stay
    family_limit: int = 0  # bytes of a program's whole family; smaller relatives come first
    helper_limit: int = 0  # bytes of one program in PATH that nothing starts
    max_dependency_bytes: int = 0  # of further libraries that one unused plugin may bring
    companion_limit: int = 0  # bytes of a package with commands from the same source that no dependency ties
    interpreter_limit: int = 0  # bytes of an interpreter that only scripts of the program's own package need
    declared_limit: int = 0  # bytes of further libraries that the program's own package declares
    config_limit: int = 0  # bytes of /etc that a package with a used program or library brings
    mention_limit: int = 0  # bytes of a packaged directory that a configuration file names
    data: tuple[str, ...] = ()  # where the data of libraries lie
    finer: tuple[str, ...] = ()  # what other rules choose from there: languages, fonts
    data_limit: int = 0  # bytes of one package of such data


TABLES = frozenset(
    "why when keep writable drop application programs challenge commands modules start".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile, checked."""

    name: str
    why: str
    when: When = field(default_factory=When)
    keep: tuple[Keep, ...] = ()
    writable: Writable = field(default_factory=Writable)
    drop: tuple[Drop, ...] = ()
    places: Places = field(default_factory=Places)
    programs: Programs = field(default_factory=Programs)
    challenge: tuple[Challenge, ...] = ()
    commands: tuple[Commands, ...] = ()
    modules: Modules = field(default_factory=Modules)
    starts: tuple[Start, ...] = ()
    source: str = ""  # the file it was read from
    text: str = ""  # the file, for `slim profiles NAME`


def directory() -> Path:
    """Where the shipped profiles are. Raises SlimmerError when the installation has none."""
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "_profiles", package.parent / "profiles"):
        if candidate.is_dir():
            return candidate
    raise SlimmerError(
        f"no profiles are installed: neither {package / '_profiles'} nor {package.parent / 'profiles'} is there",
        "install slimmer again, or run it from a whole checkout",
    )


@cache
def shipped() -> tuple[Profile, ...]:
    """The profiles that come with slimmer, by name. Raises SlimmerError."""
    return tuple(load(path) for path in sorted(directory().glob("*.toml"), key=lambda path: path.name))


def load_all(extra: Sequence[str | Path] = (), without: Sequence[str] = ()) -> tuple[Profile, ...]:
    """The shipped profiles and those of `extra` files, less those named in `without`, sorted by name.

    An extra profile replaces the shipped one of its name. An `extra` that is no file
    but the name of a shipped profile is allowed and changes nothing. Raises SlimmerError.
    """
    known = {each.name: each for each in shipped()}
    for each in extra:
        if str(each) in known and not Path(each).exists():
            continue
        found = load(Path(each))
        known[found.name] = found
    for name in without:
        if name not in known:
            raise SlimmerError(f"no profile is named {name!r}", f"the profiles are: {', '.join(sorted(known))}")
        del known[name]
    return tuple(known[name] for name in sorted(known))


def texts(extra: Sequence[str | Path] = ()) -> tuple[bytes, ...]:
    """All that `load_all` would read, unread: what tells its result from another. Raises SlimmerError."""
    found = [path.name.encode() + b"\0" + path.read_bytes() for path in sorted(directory().glob("*.toml"))]
    for each in extra:
        with contextlib.suppress(OSError):
            found.append(str(each).encode("utf-8", "surrogateescape") + b"\0" + Path(each).read_bytes())
    return tuple(found)


def load(path: Path) -> Profile:
    """Read and check one file. Raises SlimmerError that names file, line and column."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SlimmerError(
            f"cannot read the profile {path}: {error.strerror}", "give a file, or a name that `slim profiles` lists"
        ) from error
    except UnicodeDecodeError as error:
        raise SlimmerError(f"{path}: a profile is UTF-8 text; byte {error.start} is not") from error
    return parse(text, path.stem, str(path))


def parse(text: str, name: str, source: str) -> Profile:
    """A profile from its text. Raises SlimmerError that names source, line and column."""
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SlimmerError(f"{source}: not TOML: {error}", "see `slim profiles nginx` for a profile that is") from error
    return _Reader(text, source).profile(value, name)


class _Reader(Values):
    """Turns parsed TOML into a Profile; knows the text, so that an error can say where."""

    def profile(self, value: Mapping[str, Any], name: str) -> Profile:
        self.only(value, (), TABLES)
        return Profile(
            name=name,
            why=self.sentence(value, ()),
            when=self._when(self.table(value, (), "when"), ("when",)),
            keep=tuple(self._keep(each, ("keep", place)) for place, each in enumerate(self.tables(value, (), "keep"))),
            writable=self._writable(self.table(value, (), "writable"), ("writable",)),
            drop=tuple(self._drop(each, ("drop", place)) for place, each in enumerate(self.tables(value, (), "drop"))),
            places=self._places(self.table(value, (), "application"), ("application",)),
            programs=self._programs(self.table(value, (), "programs"), ("programs",)),
            challenge=tuple(
                self._challenge(each, ("challenge", place))
                for place, each in enumerate(self.tables(value, (), "challenge"))
            ),
            commands=tuple(
                self._commands(each, ("commands", place))
                for place, each in enumerate(self.tables(value, (), "commands"))
            ),
            modules=read_modules(self, self.table(value, (), "modules"), ("modules",)),
            starts=tuple(
                read_start(self, each, ("start", place)) for place, each in enumerate(self.tables(value, (), "start"))
            ),
            source=self.source,
            text=self.text,
        )

    def _when(self, value: Mapping[str, Any], at: Place) -> When:
        words = tuple(each.name for each in fields(When))
        self.only(value, at, set(words))
        return When(
            paths=self.globs(value, at, "paths"),
            **{word: self.names(value, at, word) for word in words if word != "paths"},
        )

    def _keep(self, value: Mapping[str, Any], at: Place) -> Keep:
        what = ("paths", "directories", "packages", "siblings")
        self.only(value, at, {*what, "excluding", "when", "max_dependency_bytes", "limit", "why"})
        if not any(word in value for word in what):
            self.fail(at, f"a keep entry needs one of: {', '.join(what)}")
        return Keep(
            why=self.sentence(value, at),
            paths=self.globs(value, at, "paths"),
            directories=self.globs(value, at, "directories"),
            packages=self.names(value, at, "packages"),
            siblings=self.globs(value, at, "siblings"),
            excluding=self.globs(value, at, "excluding"),
            when=self._when(self.table(value, at, "when"), (*at, "when")),
            max_dependency_bytes=self.size(value, at, "max_dependency_bytes"),
            limit=self.size(value, at, "limit"),
        )

    def _drop(self, value: Mapping[str, Any], at: Place) -> Drop:
        self.only(value, at, {"of", "paths", "excluding", "beside", "why"})
        if value.get("of") not in OF:
            self.fail((*at, "of"), f"of must be one of: {', '.join(OF)}")
        if "paths" not in value:
            self.fail(at, "a drop entry needs paths")
        return Drop(
            why=self.sentence(value, at),
            of=value["of"],
            paths=self.globs(value, at, "paths"),
            excluding=self.globs(value, at, "excluding"),
            beside=self.names(value, at, "beside"),
        )

    def _challenge(self, value: Mapping[str, Any], at: Place) -> Challenge:
        self.only(value, at, {"ask", "when", "why"})
        lines = value.get("ask")
        if not isinstance(lines, list) or not lines or not all(isinstance(each, str) and each for each in lines):
            self.fail((*at, "ask"), "ask must be a list of command lines")
        for line in lines:
            try:
                shlex.split(line)
            except ValueError as error:
                self.fail((*at, "ask"), f"{line!r} in ask is no command line: {error}")
        return Challenge(
            why=self.sentence(value, at),
            ask=tuple(lines),
            when=self._when(self.table(value, at, "when"), (*at, "when")),
        )

    def _commands(self, value: Mapping[str, Any], at: Place) -> Commands:
        self.only(value, at, {"files", "line", "shell", "when", "why"})
        line, shell = value.get("line"), value.get("shell", True)
        if not isinstance(line, str):
            self.fail((*at, "line"), "line must be a regular expression whose first group is a command line")
        try:
            groups = re.compile(line).groups
        except re.error as error:
            self.fail((*at, "line"), f"line is no regular expression: {error}")
        if not groups:
            self.fail((*at, "line"), "line has no group that is the command line")
        if not isinstance(shell, bool):
            self.fail((*at, "shell"), "shell must be true or false")
        if not value.get("files"):
            self.fail(at, "a commands entry needs files")
        return Commands(
            why=self.sentence(value, at),
            files=self.globs(value, at, "files"),
            line=line,
            shell=shell,
            when=self._when(self.table(value, at, "when"), (*at, "when")),
        )

    def _writable(self, value: Mapping[str, Any], at: Place) -> Writable:
        self.only(value, at, {"paths", "why"})
        if not value:
            return Writable()
        return Writable(paths=self.globs(value, at, "paths"), why=self.sentence(value, at))

    def _places(self, value: Mapping[str, Any], at: Place) -> Places:
        self.only(value, at, {each.name for each in fields(Places)})
        return Places(
            containers=self.globs(value, at, "containers"),
            managed=self.globs(value, at, "managed"),
            markers=self.relative(value, at, "markers"),
            large=self.size(value, at, "large"),
        )

    def _programs(self, value: Mapping[str, Any], at: Place) -> Programs:
        self.only(value, at, {each.name for each in fields(Programs)})
        return Programs(
            base=self.names(value, at, "base"),
            priorities=self.names(value, at, "priorities"),
            modules=self.names(value, at, "modules"),
            parts=self.names(value, at, "parts"),
            limit=self.size(value, at, "limit"),
            family_limit=self.size(value, at, "family_limit"),
            helper_limit=self.size(value, at, "helper_limit"),
            max_dependency_bytes=self.size(value, at, "max_dependency_bytes"),
            companion_limit=self.size(value, at, "companion_limit"),
            interpreter_limit=self.size(value, at, "interpreter_limit"),
            declared_limit=self.size(value, at, "declared_limit"),
            config_limit=self.size(value, at, "config_limit"),
            mention_limit=self.size(value, at, "mention_limit"),
            data=self.globs(value, at, "data"),
            finer=self.globs(value, at, "finer"),
            data_limit=self.size(value, at, "data_limit"),
        )
