"""Perl: from kept sources to modules through the @INC that the interpreter has compiled in.

Core modules are followed one by one, with their compiled parts (auto/) and the
families that are loaded by computed names; a module from an OS package other
than perl's own brings that package's whole runtime part.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import Programs, head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.perl.imports import Literal, Perl, scan
from slimmer.closure.languages.perl.path import SearchPath
from slimmer.closure.languages.runtimes import compiled_paths, matches, package_content, system_owner
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.packages.model import Package
from slimmer.root.model import Entry, FileType

INTERPRETER = re.compile(r"/(?:perl(?:5[\d.]*)?|libperl\.so[.\d]*)$")
SOURCE = re.compile(r"\.(?:pm|pl|psgi|cgi|al|PL)$")
CORE = re.compile(r"^(?:perl(?:-base|-modules.*)?|libperl.*)$")
# 9 MB of charsets, which Encode loads when a text of that kind comes: to the application's own sources.
TABLES = re.compile(r"\bEncode(?:/|::)(?:JP|KR|CN|TW)\b")
NOT_SOURCE = re.compile(r"^/usr/share/doc/|^/var/lib/dpkg/|/unicore/(?:lib|To)/")
COMPILED = re.compile(rb"(?<=\0)([A-Z]\w*(?:::\w+)+)(?=\0)")
LARGEST = 4 << 20
COMMAND = re.compile(r"(?:/usr)?/s?bin/[^/]+")
PERL_LINE = re.compile(rb"#!\s?\S*(?:/perl|/env perl)")


class PerlRule(LanguageRule):
    """Modules, compiled parts, families, started programs of kept Perl sources."""

    name = language = "perl"
    suffixes = SOURCE
    programs = re.compile(r"perl[\d.]*")
    spared = NOT_SOURCE

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._path = SearchPath()
        self._canonical: list[str] = []
        self._sources: dict[str, Perl] = {}
        self._local: list[str] = []
        self._certain: frozenset[str] = frozenset()
        self._packages: set[str] = set()
        self._commanded: set[str] = set()  # packages whose commands stay
        self._families: set[str] = set()
        self._unicode = ""
        self._own = False  # a source that no system package holds was followed

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._local.extend(self._environment.directories("PERL5LIB", "PERLLIB"))
        for workdir in self._environment.workdirs:
            if workdir != "/":
                self._local.extend((workdir, f"{workdir}/lib"))
        for line in self._environment.lines:
            self._local.extend(word[2:] for word in line if word.startswith("-I/"))
        self._local = list(dict.fromkeys(self._local))
        # Where every perl is started with a directory before its own, nothing behind that is found a second time.
        values = [(view.application.env or {}).get("PERL5LIB", "")]
        for each in view.recording.executions:
            if INTERPRETER.search(each.path):
                values.append(dict(each.environment).get("PERL5LIB", ""))
        self._certain = frozenset.intersection(*(frozenset(each.split(":")) - {""} for each in values))

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        if INTERPRETER.search(entry.path):
            yield from self._interpreter(entry)
        elif self.is_source(entry):
            core = self._is_core(entry.path)
            self._sources[entry.path] = scan(head(entry, view, LARGEST), core=core)
            if self._path:
                yield from self._follow(entry.path)

    def text(self, text: str, interpreter: Entry, reason: Reason, view: View) -> Iterator[Need]:
        """The needs of a text's statements alone; what they load follows when it enters the closure."""
        yield from self._interpreter(interpreter)
        for mention in scan(text.encode("utf-8", "surrogateescape")).modules:
            yield from self._module(mention.text, reason, self._local)

    def _interpreter(self, entry: Entry) -> Iterator[Need]:
        first = not self._path
        if not self._path.add(compiled_paths(entry, self._view, "perl"), self.text_at):
            return
        self._canonical = [self._view.root.resolve(path).path for path in self._path]
        if first:
            reason = Reason(self.name, "loaded by perl itself when it is first needed", entry.path)
            for name in self._known.startup:
                yield from self._module(name, reason, ())
        for path in list(self._sources):
            yield from self._follow(path)

    # --------------------------------------------------------------- sources

    def _follow(self, path: str) -> Iterator[Need]:
        found, local = self._sources[path], self._places(path, self._sources[path])
        core = self._is_core(path)
        if not core and not self._own and system_owner(path, self._view) is None:
            self._own = True
            self._families.discard("Encode")
            reason = Reason(self.name, "loaded by perl itself when text in another encoding comes", path)
            for name in self._known.startup_of_own:
                yield from self._module(name, reason, ())
        for mention in found.modules:
            if core and self._is_spared(mention.text):
                continue
            yield from self._module(mention.text, self._reason("loaded by", path, mention), local)
        for mention in found.files:
            yield from self._file(mention, path, local)
        for mention in found.families:
            yield from self._family(mention.text, self._reason("may be loaded by", path, mention), local)
        for mention in found.quoted:
            if core and self._is_spared(mention.text):
                continue
            if not core or mention.text.partition("::")[0] == _package(path, self._canonical).partition("::")[0]:
                yield from self._module(mention.text, self._reason("named by", path, mention), local)
        if found.unicode and not core:
            yield from self._tables(path)
        if not core:
            yield from self._starts(path, found)
        yield from self._parts(path)

    def _is_spared(self, text: str) -> bool:
        """Whether a name or a path is of tables that only own sources are given without asking."""
        return not self._own and TABLES.search(text) is not None

    def _reason(self, verb: str, path: str, mention: Literal) -> Reason:
        return Reason(self.name, f"{verb} {path} line {mention.line}", path)

    def _is_core(self, path: str) -> bool:
        owner = system_owner(path, self._view)
        if owner is not None:
            return CORE.match(owner.name) is not None
        return any(path.startswith(f"{directory}/") for directory in self._canonical)

    def _places(self, path: str, found: Perl) -> tuple[str, ...]:
        """Directories that the application's own sources search beside @INC."""
        if any(path.startswith(f"{directory}/") for directory in self._canonical):
            return ()
        here = posixpath.dirname(path)
        places = [here, f"{here}/lib", f"{posixpath.dirname(here).rstrip('/')}/lib"]
        for text in found.libraries:
            places += [text] if text.startswith("/") else []
            places += [posixpath.normpath(f"{base}/{text}") for base in (here, self._view.application.workdir)]
        top = re.match(r"(.*?/(?:lib|blib/lib|local/lib/perl5))/", path)
        if top:
            places.append(top[1])
        found_places = (place for place in dict.fromkeys((*places, *self._local)) if place != "/")
        return tuple(place for place in found_places if self._view.root.find(place) is not None)

    def _starts(self, path: str, found: Perl) -> Iterator[Need]:
        yield from self._started.calls(found.commands, path)

    # --------------------------------------------------------------- modules

    def _module(self, name: str, reason: Reason, local: Iterable[str]) -> Iterator[Need]:
        relative = name.replace("::", "/")
        for suffix in (".pm", ".pl") if "::" not in name else (".pm",):
            for directory in (*local, *self._first(f"{relative}{suffix}")):
                place = f"{directory}/{relative}{suffix}"
                if self._view.root.find(place) is not None:
                    yield Need(place, reason)
                    if directory in self._certain:
                        break
        for member in self._known.implied.get(name, ()):
            yield from self._module(member, Reason(self.name, f"{name} loads it by a name it computes"), local)
        family = self._known.families.get(name)
        if family:
            yield from self._family(family, Reason(self.name, f"{name} loads it by a name it computes"), local)

    def _first(self, relative: str) -> Iterator[str]:
        """The directories of @INC whose copy of a file can be loaded: a second one is never found."""
        root = self._view.root
        yield from self._path.first((each, root.find(f"{each}/{relative}") is not None) for each in self._path)

    def _file(self, mention: Literal, path: str, local: Iterable[str]) -> Iterator[Need]:
        bases = (*local, *self._first(mention.text), posixpath.dirname(path), self._view.application.workdir)
        places = [mention.text] if mention.text.startswith("/") else [f"{base}/{mention.text}" for base in bases]
        for place in places:
            found = self._view.root.find(place)
            if found is not None and found.type is FileType.FILE:
                yield Need(place, self._reason("loaded by", path, mention))

    def _family(self, name: str, reason: Reason, local: Iterable[str]) -> Iterator[Need]:
        """Everything below a name in every directory of @INC, with the compiled parts."""
        if name in self._families or name in ("main", "CORE", "SUPER"):
            return
        self._families.add(name)
        relative = name.replace("::", "/")
        for directory in (*local, *self._path):
            for below in (relative, f"auto/{relative}"):
                found = self._view.root.find(f"{directory}/{below}")
                if found is not None and found.type is FileType.DIRECTORY:
                    for entry in self._view.root.walk(found.path):
                        if entry.path.endswith((".pod", ".h")) or self._is_spared(entry.path):
                            continue
                        relates = directory in self._path.directories and entry.path.endswith((".pm", ".pl", ".so"))
                        if relates and directory not in self._first(f"{below}{entry.path[len(found.path) :]}"):
                            continue  # a second copy
                        yield Need(entry.path, reason)

    def _parts(self, path: str) -> Iterator[Need]:
        """A module's compiled or split parts, and the package that it comes with."""
        name = _package(path, self._canonical)
        if not name:
            return
        reason = Reason(self.name, f"part of {name}", path)
        relative = name.replace("::", "/")
        own = max((each for each in self._canonical if path.startswith(f"{each}/")), key=len, default="")
        # XSLoader looks beside the module first (XSLoader.pm), DynaLoader along @INC.
        part = f"auto/{relative}/{relative.rpartition('/')[2]}.so"
        beside = self._view.root.find(f"{own}/{part}") is not None
        loaded_from = [*self._first(part)]
        for directory, canonical in zip(self._path, self._canonical, strict=True):
            if beside and canonical != own and directory not in loaded_from:
                continue
            place = self._view.root.resolve(f"{directory}/auto/{relative}").path
            for child in self._view.root.children(place):
                entry = self._view.root.entry(f"{place}/{child}")
                if entry is not None and entry.type is not FileType.DIRECTORY and child != ".packlist":
                    yield Need(f"{directory}/auto/{relative}/{child}", reason)
                    if child.endswith(".so"):
                        yield from self._compiled(entry)
            for kind in ("dist", "module"):  # File::ShareDir
                share = name.replace("::", "-")
                yield Need(f"{directory}/auto/share/{kind}/{share}", reason, tree=True)
        owner = system_owner(path, self._view)
        if owner is None:
            if self._view.root.find(f"{path.removesuffix('.pm')}") is not None and "site_perl" in path:
                yield from self._family(name, reason, ())
        elif not CORE.match(owner.name) and owner.name not in self._packages:
            self._packages.add(owner.name)
            reason = Reason(self.name, f"part of the package {owner.name}, of which {name} is loaded", path)
            for each in package_content(owner, self._view):
                yield Need(each, reason)
        # What the run itself loaded, the application is made of: `mojo` beside Mojolicious, plackup, dancer2.
        loaded = any(each.rule == "recorded" for each in self._view.kept.get(path, ()))
        if loaded and owner is not None and not CORE.match(owner.name) and owner.name not in self._commanded:
            self._commanded.add(owner.name)
            yield from self._commands_of(owner, path)

    def _commands_of(self, owner: Package, path: str) -> Iterator[Need]:
        """The package's commands that are Perl scripts."""
        reason = Reason(
            self.name, f"a command of {owner.name}, of which the run loaded {posixpath.basename(path)}", path
        )
        for each in self._view.packages.files(owner):
            entry = self._view.root.find(each) if COMMAND.fullmatch(each) else None
            if entry is not None and entry.executable and PERL_LINE.match(self._view.root.beginning(entry, 64)):
                yield Need(each, reason)

    def _compiled(self, entry: Entry) -> Iterator[Need]:
        """What compiled parts load: they hold the names as plain strings."""
        reason = Reason(self.name, f"named in {entry.path}", entry.path)
        for name in matches(entry, self._view, COMPILED):
            yield from self._module(name.decode(), reason, ())

    def _tables(self, path: str) -> Iterator[Need]:
        if not self._unicode:
            self._unicode = path
            reason = Reason(self.name, f"Unicode tables that {path} may ask for", path)
            for directory in self._path:
                yield Need(f"{directory}/unicore", reason, tree=True)
                for name in ("_charnames.pm", "charnames.pm", "utf8_heavy.pl", "Unicode/UCD.pm"):
                    yield Need(f"{directory}/{name}", reason)


def _package(path: str, directories: Iterable[str]) -> str:
    """The name of the module at a path: of the longest directory of @INC that holds it."""
    best = max((each for each in directories if path.startswith(f"{each}/")), key=len, default="")
    if not best or not path.endswith(".pm"):
        return ""
    return path[len(best) + 1 : -3].replace("/", "::")


def perl_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """What a program text that no file holds loads (`perl -e`)."""
    rule = PerlRule()
    list(rule.begin(view))
    for path in Programs(view).find("perl"):
        entry = view.root.find(path)
        if entry is not None:
            yield from rule.text(text, entry, reason, view)
