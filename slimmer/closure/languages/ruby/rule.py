"""Ruby: requires through the $LOAD_PATH that the interpreter has compiled in, gems whole, encodings by name.

The standard library is followed file by file. A gem is a unit: its directory, its
compiled extensions and its specification, with the gems that the specification
names for run time. Libraries that Debian installs outside of gem directories
come with the rest of their package.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import Programs, head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.content import PackageContent
from slimmer.closure.languages.ruby.gems import DEPENDENCY, GEM_BASES, LOCKED, Gem, binstubs, gems_below
from slimmer.closure.languages.ruby.path import load_path
from slimmer.closure.languages.ruby.statements import LOAD_PATH, PLACED, REQUIRE
from slimmer.closure.languages.ruby.syntax import RubySource, scan
from slimmer.closure.languages.runtimes import matches, package_content, system_owner
from slimmer.closure.model import UNREAD, ClosureWarning, Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.errors import SlimmerError
from slimmer.root.budget import Unread
from slimmer.root.model import Entry, FileType, Root

INTERPRETER = re.compile(r"/(?:ruby[\d.]*|libruby[\w.-]*\.so[.\d]*)$")
SOURCE = re.compile(
    r"(?:\.(?:rb|ru|rake|gemspec|erb|jbuilder|builder)|/(?:Rakefile|Gemfile|config\.ru|Capfile|Guardfile))$"
)
RUBY_PACKAGE = re.compile(r"^(?:ruby[\d.]*|libruby[\d.]*|rubygems-integration|ruby-rubygems)$")
FEATURE = re.compile(rb"(?<=\0)([a-z][\w-]*(?:/[\w-]+)*(?:\.rb|\.so)?)(?=\0)")
LARGEST = 2 << 20


class RubyRule(LanguageRule):
    """Required files, gems, encodings, Bundler's gems and started programs of kept Ruby sources."""

    name = language = "ruby"
    suffixes = SOURCE
    programs = re.compile(r"ruby[\d.]*")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._path: list[str] = []
        self._canonical: set[str] = set()
        self._homes: list[str] = []
        self._gems: dict[str, list[Gem]] = {}
        self._kept: set[Gem] = set()
        self._stems: dict[str, list[Gem]] | None = None
        self._sources: dict[str, str] = {}  # path → text
        self._followed: set[str] = set()
        self._packages: set[str] = set()
        self._local: list[str] = []

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._content = PackageContent("ruby", self._profiles, view)
        self._local.extend(self._environment.directories("RUBYLIB"))
        self._homes.extend(self._environment.directories("GEM_HOME", "GEM_PATH"))
        self._local.append(view.application.workdir)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        path = entry.path
        if INTERPRETER.search(path):
            yield from self._interpreter(entry)
        elif path.endswith(("/Gemfile.lock", "/gems.locked")):
            yield from self._lock(entry)
        elif (path.endswith(".so") and "/ruby/" in path) or ("/extensions/" in path and path.endswith(".so")):
            yield from self._extension(entry)
        elif self.is_source(entry):
            self._sources[path] = head(entry, view, LARGEST).decode("utf-8", "surrogateescape")
            if self._path:
                yield from self._follow(path)

    def text(self, text: str, interpreter: Entry, reason: Reason, view: View) -> Iterator[Need]:
        """The needs of a text's statements alone; what they require follows when it enters the closure."""
        yield from self._interpreter(interpreter)
        for found in REQUIRE.finditer(text):
            yield from self._require(found[2], reason, "")

    def _interpreter(self, entry: Entry) -> Iterator[Need]:
        root = self._view.root
        places = load_path(entry, self._view)
        fresh = [place for place in dict.fromkeys(places) if place not in self._path and "/gems" not in place]
        if not fresh:
            return
        first = not self._path
        self._path.extend(fresh)
        self._canonical |= {root.resolve(place).path for place in fresh}
        self._find_gems()
        reason = Reason(self.name, "required by ruby itself", entry.path)
        for directory in fresh:
            if root.find(f"{directory}/enc/encdb.so") is not None:
                yield Need(f"{directory}/enc", Reason(self.name, "encodings are loaded by name", entry.path), tree=True)
            for name in ("unicode_normalize", "did_you_mean", "error_highlight"):
                yield Need(f"{directory}/{name}", reason, tree=True)
        if first:
            for name in self._known.startup:
                yield from self._require(name, reason, "")
        for path in list(self._sources):
            yield from self._follow(path)

    def _extension(self, entry: Entry) -> Iterator[Need]:
        """What compiled code requires: it holds the names as plain strings."""
        names = matches(entry, self._view, FEATURE)
        if b"rb_require" not in names:
            return
        reason = Reason(self.name, f"named in {entry.path}", entry.path)
        for name in names:
            for directory in self._path:
                yield from self._file(f"{directory}/{name.decode()}", reason)

    def _find_gems(self) -> None:
        root = self._view.root
        versions = {match[0] for place in self._path if (match := re.search(r"\d+\.\d+\.\d+(?=/|$)", place))}
        homes = [*self._homes, "/usr/local/bundle"]
        for version in sorted(versions):
            homes += [f"{base}/{version}" for base in GEM_BASES]
            homes += [f"{posixpath.dirname(place)}/gems/{version}" for place in self._path]
            for name in root.children("/usr/lib"):
                if "-linux-" in name:
                    homes += [f"/usr/lib/{name}/ruby/gems/{version}", f"/usr/lib/{name}/rubygems-integration/{version}"]
            for base in self._bundles():
                homes.append(f"{base}/ruby/{version}")
        homes.append("/usr/share/rubygems-integration/all")
        self._stems = None
        for home in dict.fromkeys(homes):
            if root.find(f"{home}/specifications") is not None:
                for gem in gems_below(home, root):
                    if gem not in self._gems.setdefault(gem.name, []):
                        self._gems[gem.name].append(gem)

    def _bundles(self) -> list[str]:
        return [f"{base.rstrip('/')}/vendor/bundle" for base in self._environment.workdirs]

    # --------------------------------------------------------------- sources

    def _follow(self, path: str) -> Iterator[Need]:
        if path in self._followed:
            return
        self._followed.add(path)
        stem = path.removesuffix(".rb")
        if posixpath.dirname(path) in self._canonical and posixpath.basename(stem) not in self._known.developer:
            yield Need(stem, Reason(self.name, f"part of the library {posixpath.basename(stem)}", path), tree=True)
        text = self._sources[path]
        here = posixpath.dirname(path)
        if self._extended(path, text):
            self._followed = {path}
            for other in [each for each in self._sources if each != path]:
                yield from self._follow(other)
        # The standard library's own tools are only reached when something else asks for them.
        core, own = self._is_core(path), path.removesuffix(".rb").split("/")
        for found in REQUIRE.finditer(text):
            if _in_comment(text, found.start()):
                continue
            kind, name = found[1].split("(")[0].split()[0], found[2]
            if core and name.partition("/")[0] in self._known.developer and name.partition("/")[0] not in own:
                continue
            reason = Reason(self.name, f"required by {path} line {text.count(chr(10), 0, found.start(2)) + 1}", path)
            if "#{" in name:
                yield from self._family(kind, name.partition("#{")[0], here, reason)
            elif kind == "require_relative":
                yield from self._file(posixpath.normpath(f"{here}/{name}"), reason)
            elif kind == "gem":
                if path.endswith("/Gemfile") and self._view.root.find(f"{path}.lock") is not None:
                    continue  # the lock file knows which version
                yield from self._named_gem(name, reason)
            else:
                yield from self._require(name, reason, path)
        for found in PLACED.finditer(text):
            reason = Reason(self.name, f"named by {path}", path)
            name = found[1] or found[2]
            if "#{" not in name:
                for base in (here, path):  # expand_path("../x", __FILE__) starts at the file itself
                    yield from self._file(posixpath.normpath(f"{base}/{name}"), reason)
        said = self._said(path, text)
        for each in said.named:
            yield from self._require(each.text, Reason(self.name, f"required by {path} line {each.line}", path), path)
        for each in said.required:
            yield from self._file(each.text, Reason(self.name, f"required by {path} line {each.line}", path))
        yield from self._rest(path, said)

    def _extended(self, path: str, text: str) -> bool:
        """Whether a source adds new directories to $LOAD_PATH, named from itself, its directory or where it is run."""
        fresh = []
        for found in LOAD_PATH.finditer(text):
            if "#{" in found[1] or _in_comment(text, found.start()):
                continue
            for base in (path, posixpath.dirname(path), *self._environment.workdirs):
                place = posixpath.normpath(posixpath.join(base, found[1]))
                entry = self._view.root.find(place)
                if entry is not None and entry.type is FileType.DIRECTORY and place.count("/") > 1:
                    fresh += [place] if place not in self._local else []
        self._local.extend(dict.fromkeys(fresh))
        return bool(fresh)

    def _is_core(self, path: str) -> bool:
        owner = system_owner(path, self._view)
        if owner is not None:
            return RUBY_PACKAGE.match(owner.name) is not None
        return "/gems/" not in path and any(path.startswith(f"{place}/") for place in self._canonical)

    def _said(self, path: str, text: str) -> RubySource:
        """What its syntax tree says; nothing of a part of Ruby or of a gem, which are whole."""
        if system_owner(path, self._view) is not None or self._gem_at(path) is not None:
            return RubySource()
        try:
            return scan(text.encode("utf-8", "surrogateescape"), path)
        except Unread as error:
            self._view.warn(ClosureWarning("unread", path, f"Ruby source not read: {error}", UNREAD))
            return RubySource()

    def _rest(self, path: str, said: RubySource) -> Iterator[Need]:
        owner = system_owner(path, self._view)
        if (
            owner is not None
            and not RUBY_PACKAGE.match(owner.name)
            and owner.name not in self._packages
            and self._placed(path)
        ):
            self._packages.add(owner.name)
            reason = Reason(self.name, f"part of the package {owner.name}", path)
            for each in package_content(owner, self._view):
                yield Need(each, reason)
            for gem in (gem for gems in self._gems.values() for gem in gems):
                if gem not in self._kept and system_owner(gem.specification, self._view) == owner:
                    yield from self._gem(gem, reason)
        gem_of = self._gem_at(path)
        if gem_of is not None:
            yield from self._gem(gem_of, Reason(self.name, f"part of the gem {gem_of.name}", path))
        if owner is None and gem_of is None:
            yield from self._started.calls(said.commands, path)

    def _gem_at(self, path: str) -> Gem | None:
        found = re.match(r"(.*/gems/[^/]+)/", path)
        if found is None:
            return None
        return next((gem for gems in self._gems.values() for gem in gems if gem.directory == found[1]), None)

    def _placed(self, path: str) -> bool:
        return any(path.startswith(f"{place}/") for place in self._path) or "/ruby" in path or "/gems/" in path

    def _require(self, name: str, reason: Reason, path: str) -> Iterator[Need]:
        if name.startswith("/"):
            yield from self._file(name, reason)
            return
        here = posixpath.dirname(path) if path else ""
        local = [*self._local, here, f"{here}/lib", f"{posixpath.dirname(here)}/lib"] if path else []
        if path:
            top = re.match(r"(.*/lib)/", path)
            local += [top[1]] if top else []
        found = False
        for directory in dict.fromkeys((*self._path, *filter(None, local))):
            for need in self._file(f"{directory.rstrip('/')}/{name}", reason):
                found = True
                yield need
        if not found or name.partition("/")[0] in self._gems:
            yield from self._gem_with(name, reason)

    def _file(self, place: str, reason: Reason) -> Iterator[Need]:
        stem = place.removesuffix(".so").removesuffix(".rb")
        for candidate in dict.fromkeys((place, f"{stem}.rb", f"{stem}.so")):
            entry = self._view.root.find(candidate)
            if entry is None or entry.type is not FileType.FILE:
                continue
            # `load "tasks"` may mean a source without a suffix; /usr/bin/openssl, beside a command that requires
            # "openssl", is none.
            if posixpath.splitext(candidate)[1] or self._view.root.beginning(entry, 4) != b"\x7fELF":
                yield Need(candidate, reason)

    def _family(self, kind: str, prefix: str, here: str, reason: Reason) -> Iterator[Need]:
        """What `require "drivers/#{name}"` may load."""
        directory, _, beginning = prefix.rpartition("/")
        if not directory:
            return
        bases = [here] if kind == "require_relative" else [*self._path, *self._local, here]
        for base in dict.fromkeys(bases):
            place = directory if directory.startswith("/") else f"{base}/{directory}"
            there = self._view.root.resolve(place)
            for name in self._view.root.children(there.path):
                if name.startswith(beginning) and name.endswith((".rb", ".so")):
                    yield Need(f"{place}/{name}", reason)

    # ------------------------------------------------------------------ gems

    def _gem_with(self, name: str, reason: Reason) -> Iterator[Need]:
        """The gem that holds a file to be required: by what its lib directory holds."""
        first = name.partition("/")[0].removesuffix(".rb").removesuffix(".so")
        for gem in self._by_stem().get(first, ()):
            if any(
                self._view.root.find(f"{gem.directory}/lib/{name}{suffix}") is not None for suffix in (".rb", ".so", "")
            ):
                yield from self._gem(gem, reason)

    def _by_stem(self) -> dict[str, list[Gem]]:
        """Gems by the names in their lib directories."""
        if self._stems is None:
            self._stems = {}
            for gem in dict.fromkeys(gem for gems in self._gems.values() for gem in gems):
                names = self._view.root.children(self._view.root.resolve(f"{gem.directory}/lib").path)
                for stem in dict.fromkeys(name.partition(".")[0] for name in names):
                    self._stems.setdefault(stem, []).append(gem)
        return self._stems

    def _named_gem(self, name: str, reason: Reason) -> Iterator[Need]:
        for gem in self._gems.get(name, ()):
            yield from self._gem(gem, reason)

    def _gem(self, gem: Gem, reason: Reason) -> Iterator[Need]:
        if gem in self._kept:
            return
        self._kept.add(gem)
        yield Need(gem.specification, reason)
        part = Reason(self.name, f"part of the gem {gem.name} {gem.version}", gem.specification)
        yield from self._tree(gem.directory, part)
        home = posixpath.dirname(posixpath.dirname(gem.directory))
        for platform in self._view.root.children(self._view.root.resolve(f"{home}/extensions").path):
            for version in self._view.root.children(self._view.root.resolve(f"{home}/extensions/{platform}").path):
                place = f"{home}/extensions/{platform}/{version}/{gem.extensions}"
                yield from self._tree(place, part)
        text = _text(self._view.root, gem.specification)
        stub = Reason(self.name, f"a command of the gem {gem.name}", gem.specification)
        yield from (Need(place, stub) for place in binstubs(gem, text, self._view.root))
        for match in DEPENDENCY.finditer(text):
            depends = Reason(self.name, f"a dependency of the gem {gem.name}", gem.specification)
            yield from self._named_gem(match[1] or match[2], depends)
        for line in re.findall(r"^# stub: \S+ \S+ \S+ (.*)$", text, re.M):
            for directory in line.split("\0"):  # where it is no gem directory: Debian's files under vendor_ruby
                if directory not in ("lib", "ext") and not directory.startswith("/"):
                    yield Need(f"{gem.directory}/{directory}", part, tree=True)
        owner = system_owner(self._view.root.resolve(gem.specification).path, self._view)
        if owner is not None and not RUBY_PACKAGE.match(owner.name) and owner.name not in self._packages:
            self._packages.add(owner.name)
            for path in package_content(owner, self._view):
                yield Need(
                    path,
                    Reason(
                        self.name, f"part of the package {owner.name}, which is the gem {gem.name}", gem.specification
                    ),
                )

    def _tree(self, top: str, reason: Reason) -> Iterator[Need]:
        found = self._view.root.find(top)
        if found is not None and found.type is FileType.DIRECTORY:
            for entry in self._content.entries(found.path):
                if entry.type is not FileType.DIRECTORY:
                    yield Need(entry.path, reason)

    def _lock(self, entry: Entry) -> Iterator[Need]:
        """Bundler wants every gem of the lock file, unless its group was left out at installation."""
        self._find_gems()
        text = _text(self._view.root, entry.path)
        reason = Reason(self.name, f"locked by {entry.path}", entry.path)
        for name, version in LOCKED.findall(text):
            for gem in self._gems.get(name, ()):
                if (
                    gem.version == version
                    or version.startswith(f"{gem.version}-")
                    or gem.version.startswith(f"{version}-")
                ):
                    yield from self._gem(gem, reason)
        yield from self._named_gem("bundler", reason)
        for directory in self._path:
            yield Need(f"{directory}/bundler", reason, tree=True)
            yield Need(f"{directory}/bundler.rb", reason)
        for name in ("Gemfile", ".bundle/config", ".ruby-version"):
            yield Need(f"{posixpath.dirname(entry.path)}/{name}", reason)


def _in_comment(text: str, at: int) -> bool:
    return text[text.rfind("\n", 0, at) + 1 : at].lstrip().startswith("#")


def _text(root: Root, path: str) -> str:
    try:
        return root.read(path, LARGEST).decode("utf-8", "surrogateescape")
    except SlimmerError:
        return ""


def ruby_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """What a program text that no file holds requires (`ruby -e`)."""
    rule = RubyRule()
    list(rule.begin(view))
    for path in Programs(view).find("ruby"):
        entry = view.root.find(path)
        if entry is not None:
            yield from rule.text(text, entry, reason, view)
