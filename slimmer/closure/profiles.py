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

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from slimmer.closure import globs
from slimmer.closure.toml_place import Place, place_of
from slimmer.errors import SlimmerError


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
    brings: int = 0  # bytes of further libraries that one plugin of this entry may bring. 0: as [programs] says
    limit: int = 0  # bytes that this entry may add; above it nothing is added and the report says so. 0: any


@dataclass(frozen=True, slots=True)
class Drop:
    """What whole units leave out: "application" globs are relative to the unit's top, "packages" ones absolute."""

    why: str
    of: str  # "application" or "packages"
    paths: tuple[str, ...]
    beside: tuple[str, ...] = ()  # only where a directory from the unit's top down to the file's own holds one of these


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
    brings: int = 0  # bytes of further libraries that one unused plugin may bring
    config_limit: int = 0  # bytes of /etc that a package with a used program or library brings
    mention_limit: int = 0  # bytes of a packaged directory that a configuration file names
    data: tuple[str, ...] = ()  # where the data of libraries lie
    finer: tuple[str, ...] = ()  # what other rules choose from there: languages, fonts
    data_limit: int = 0  # bytes of one package of such data


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
    source: str = ""  # the file it was read from
    text: str = ""  # the file, for `slim profiles NAME`


def directory() -> Path:
    """Where the shipped profiles are. Raises SlimmerError when the installation has none."""
    package = Path(__file__).resolve().parent.parent
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


class _Reader:
    """Turns parsed TOML into a Profile; knows the text, so that an error can say where."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source

    def profile(self, value: Mapping[str, Any], name: str) -> Profile:
        self._only(value, (), {"why", "when", "keep", "writable", "drop", "application", "programs"})
        return Profile(
            name=name,
            why=self._sentence(value, ()),
            when=self._when(self._table(value, (), "when"), ("when",)),
            keep=tuple(self._keep(each, ("keep", place)) for place, each in enumerate(self._tables(value, (), "keep"))),
            writable=self._writable(self._table(value, (), "writable"), ("writable",)),
            drop=tuple(self._drop(each, ("drop", place)) for place, each in enumerate(self._tables(value, (), "drop"))),
            places=self._places(self._table(value, (), "application"), ("application",)),
            programs=self._programs(self._table(value, (), "programs"), ("programs",)),
            source=self._source,
            text=self._text,
        )

    def _when(self, value: Mapping[str, Any], at: Place) -> When:
        words = tuple(each.name for each in fields(When))
        self._only(value, at, set(words))
        return When(
            paths=self._globs(value, at, "paths"),
            **{word: self._names(value, at, word) for word in words if word != "paths"},
        )

    def _keep(self, value: Mapping[str, Any], at: Place) -> Keep:
        what = ("paths", "directories", "packages", "siblings")
        self._only(value, at, {*what, "excluding", "when", "brings", "limit", "why"})
        if not any(word in value for word in what):
            self._fail(at, f"a keep entry needs one of: {', '.join(what)}")
        return Keep(
            why=self._sentence(value, at),
            paths=self._globs(value, at, "paths"),
            directories=self._globs(value, at, "directories"),
            packages=self._names(value, at, "packages"),
            siblings=self._globs(value, at, "siblings"),
            excluding=self._globs(value, at, "excluding"),
            when=self._when(self._table(value, at, "when"), (*at, "when")),
            brings=self._size(value, at, "brings"),
            limit=self._size(value, at, "limit"),
        )

    def _drop(self, value: Mapping[str, Any], at: Place) -> Drop:
        self._only(value, at, {"of", "paths", "beside", "why"})
        if value.get("of") not in ("application", "packages"):
            self._fail((*at, "of"), 'of must be "application" or "packages"')
        if "paths" not in value:
            self._fail(at, "a drop entry needs paths")
        return Drop(
            why=self._sentence(value, at),
            of=value["of"],
            paths=self._globs(value, at, "paths"),
            beside=self._names(value, at, "beside"),
        )

    def _writable(self, value: Mapping[str, Any], at: Place) -> Writable:
        self._only(value, at, {"paths", "why"})
        if not value:
            return Writable()
        return Writable(paths=self._globs(value, at, "paths"), why=self._sentence(value, at))

    def _places(self, value: Mapping[str, Any], at: Place) -> Places:
        self._only(value, at, {each.name for each in fields(Places)})
        return Places(
            containers=self._globs(value, at, "containers"),
            managed=self._globs(value, at, "managed"),
            markers=self._relative(value, at, "markers"),
            large=self._size(value, at, "large"),
        )

    def _programs(self, value: Mapping[str, Any], at: Place) -> Programs:
        self._only(value, at, {each.name for each in fields(Programs)})
        return Programs(
            base=self._names(value, at, "base"),
            priorities=self._names(value, at, "priorities"),
            modules=self._names(value, at, "modules"),
            parts=self._names(value, at, "parts"),
            limit=self._size(value, at, "limit"),
            family_limit=self._size(value, at, "family_limit"),
            helper_limit=self._size(value, at, "helper_limit"),
            brings=self._size(value, at, "brings"),
            config_limit=self._size(value, at, "config_limit"),
            mention_limit=self._size(value, at, "mention_limit"),
            data=self._globs(value, at, "data"),
            finer=self._globs(value, at, "finer"),
            data_limit=self._size(value, at, "data_limit"),
        )

    # -------------------------------------------------------------- values

    def _only(self, value: Mapping[str, Any], at: Place, allowed: set[str]) -> None:
        for key in value:
            if key not in allowed:
                self._fail((*at, key), f"{key!r} means nothing here; known: {', '.join(sorted(allowed))}")

    def _table(self, value: Mapping[str, Any], at: Place, key: str) -> Mapping[str, Any]:
        found: object = value.get(key, {})
        if not isinstance(found, dict):
            self._fail((*at, key), f"{key} must be a table: [{key}]")
        return found

    def _tables(self, value: Mapping[str, Any], at: Place, key: str) -> Sequence[Mapping[str, Any]]:
        found: object = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self._fail((*at, key), f"{key} must be an array of tables: [[{key}]]")
        return found

    def _sentence(self, value: Mapping[str, Any], at: Place) -> str:
        if "why" not in value:
            self._fail(at, "why is missing: a reader of the report must learn why")
        found = value["why"]
        if not isinstance(found, str) or not found.strip():
            self._fail((*at, "why"), "why must be a text that says something")
        return str(found)

    def _names(self, value: Mapping[str, Any], at: Place, key: str) -> tuple[str, ...]:
        found = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, str) and each for each in found):
            self._fail((*at, key), f"{key} must be a list of texts")
        for each in found:
            if "/" in each:
                self._fail((*at, key), f"{each!r} in {key} is a path; a name has no /")
        return tuple(found)

    def _relative(self, value: Mapping[str, Any], at: Place, key: str) -> tuple[str, ...]:
        found = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, str) and each for each in found):
            self._fail((*at, key), f"{key} must be a list of texts")
        for each in found:
            if each.startswith("/") or ".." in each.split("/"):
                self._fail((*at, key), f"{each!r} in {key} must be relative, and stay below")
        return tuple(found)

    def _globs(self, value: Mapping[str, Any], at: Place, key: str) -> tuple[str, ...]:
        found = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            self._fail((*at, key), f"{key} must be a list of path globs")
        for each in found:
            if wrong := globs.problem(each):
                self._fail((*at, key), f"{each!r} in {key} is not a path glob: {wrong}")
        return tuple(found)

    def _size(self, value: Mapping[str, Any], at: Place, key: str) -> int:
        found = value.get(key, 0)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            self._fail((*at, key), f"{key} must be a number of bytes")
        return int(found)

    def _fail(self, at: Place, message: str) -> NoReturn:
        line, column = place_of(self._text, at)
        raise SlimmerError(
            f"{self._source}:{line}:{column}: {message}", "see `slim profiles nginx` for a profile that is right"
        )
