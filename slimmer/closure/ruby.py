"""Ruby: requires through the $LOAD_PATH that the interpreter has compiled in, gems whole, encodings by name.

The standard library is followed file by file. A gem is a unit: its directory, its
compiled extensions and its specification, with the gems that the specification
names for run time. Libraries that Debian installs outside of gem directories
come with the rest of their package.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from slimmer.closure.calls import backticks, call_pattern, started
from slimmer.closure.embedded import EMBEDDED
from slimmer.closure.layouts import compiled_paths, matches, package_content, system_owner
from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.closure.programs import Programs, head
from slimmer.closure.ruby_gems import Gem, gem_content, gems_below
from slimmer.closure.scripts import BUFFER, parse_shebang
from slimmer.closure.started import Started
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType, Root

INTERPRETER = re.compile(r"/(?:ruby[\d.]*|libruby[\w.-]*\.so[.\d]*)$")
SOURCE = re.compile(
    r"(?:\.(?:rb|ru|rake|gemspec|erb|jbuilder|builder)|/(?:Rakefile|Gemfile|config\.ru|Capfile|Guardfile))$"
)
RUBY_PACKAGE = re.compile(r"^(?:ruby[\d.]*|libruby[\d.]*|rubygems-integration|ruby-rubygems)$")
# Required by the interpreter before the first line of a program, or when an error is shown (gem_prelude.rb, error.c).
STARTUP = """rubygems monitor rbconfig did_you_mean error_highlight syntax_suggest/core_ext unicode_normalize/normalize
    rubygems/defaults/operating_system bundled_gems thread fiber enumerator rational complex etc.so stringio timeout
    delegate tempfile tmpdir pp prettyprint set""".split()  # noqa: SIM905
REQUIRE = re.compile(
    r"""\b(?<![\w.:@$-])(require|require_relative|load|gem|autoload\s*\(?\s*:?\w+\s*,)\s*\(?\s*["']([^"'\n]+)["']"""
)
# `require File.expand_path("../lib/x", __FILE__)`, `require_relative File.join(__dir__, "x")`
PLACED = re.compile(
    r"""\b(?:require|load|autoload)\b[^\n"']{0,80}(?:__FILE__|__dir__|File\.(?:expand_path|join))[^\n"']{0,80}["']([^"'\n]{1,300})["']|["']([^"'\n]{1,300})["']\s*,\s*__FILE__"""
)
LOAD_PATH = re.compile(r"""(?:\$LOAD_PATH|\$:)[^\n]{0,80}?["']([^"'\n]+)["']""")
START = call_pattern(r"(?:Kernel\.)?(?:system|exec|spawn)|IO\.popen|Open3\.\w+|PTY\.spawn")
DEPENDENCY = re.compile(r"""add_(?:runtime_)?dependency\s*\(?\s*(?:%q<([^>]+)>|["']([^"']+)["'])""")
GEMFILE_GEM = re.compile(r"""^\s*gem\s*\(?\s*["']([^"']+)["']""", re.M)
LOCKED = re.compile(r"^    (\S+) \(([^)]+)\)$", re.M)
FEATURE = re.compile(rb"(?<=\0)([a-z][\w-]*(?:/[\w-]+)*(?:\.rb|\.so)?)(?=\0)")
# Parts of the standard library that are followed file by file; of the others `x.rb` keeps the directory `x` too.
TOOLS = frozenset(
    """rubygems bundler rdoc irb ri debug racc minitest test rake rbs typeprof power_assert test-unit
    reline""".split()  # noqa: SIM905
)
GEM_BASES = """/var/lib/gems /usr/share/rubygems-integration /root/.gem/ruby /root/.local/share/gem/ruby
    /usr/local/lib/ruby/gems /usr/lib/ruby/gems""".split()  # noqa: SIM905
LARGEST = 2 << 20


class RubyRule(Rule):
    """Required files, gems, encodings, Bundler's gems and started programs of kept Ruby sources."""

    name = "ruby"
    level = Level.REACHABLE

    def __init__(self) -> None:
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
        self._started = Started(view, EMBEDDED, "ruby-command")
        variables = [*(view.application.env or {}).items()]
        variables += [pair for each in view.recording.executions for pair in each.environment]
        for name, value in variables:
            if name in ("RUBYLIB",):
                self._local.extend(part for part in value.split(":") if part.startswith("/"))
            elif name in ("GEM_HOME", "GEM_PATH"):
                self._homes.extend(part for part in value.split(":") if part.startswith("/"))
        self._local.append(view.application.workdir)
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        path = entry.path
        if INTERPRETER.search(path):
            yield from self._interpreter(entry, view)
        elif path.endswith(("/Gemfile.lock", "/gems.locked")):
            yield from self._lock(entry, view)
        elif (path.endswith(".so") and "/ruby/" in path) or ("/extensions/" in path and path.endswith(".so")):
            yield from self._extension(entry, view)
        elif self._is_source(entry, view):
            self._sources[path] = head(entry, view, LARGEST).decode("utf-8", "surrogateescape")
            if self._path:
                yield from self._follow(path, view)

    def text(self, text: str, interpreter: Entry, reason: Reason, view: View) -> Iterator[Need]:
        """The needs of a text's statements alone; what they require follows when it enters the closure."""
        yield from self._interpreter(interpreter, view)
        for found in REQUIRE.finditer(text):
            yield from self._require(found[2], reason, "", view)

    def _is_source(self, entry: Entry, view: View) -> bool:
        if SOURCE.search(entry.path):
            return not entry.path.startswith("/usr/share/doc/")
        if not entry.executable or "." in posixpath.basename(entry.path):
            return False
        shebang = parse_shebang(head(entry, view, BUFFER))
        return shebang is not None and re.fullmatch(r"ruby[\d.]*", shebang.program) is not None

    def _interpreter(self, entry: Entry, view: View) -> Iterator[Need]:
        places = compiled_paths(entry, view, "ruby")
        # Relocatable builds only hold names relative to their prefix.
        prefix = posixpath.dirname(posixpath.dirname(entry.path))
        for base in (f"{prefix}/lib/ruby", f"{posixpath.dirname(entry.path)}/ruby"):
            places += [
                f"{base}/{name}" for name in view.root.children(view.root.resolve(base).path) if name[:1].isdigit()
            ]
            for kind in ("site_ruby", "vendor_ruby"):
                there = view.root.resolve(f"{base}/{kind}").path
                places += [
                    f"{base}/{kind}",
                    *(f"{base}/{kind}/{name}" for name in view.root.children(there) if name[:1].isdigit()),
                ]
        places += [
            f"{place}/{name}" for place in list(places) for name in view.root.children(view.root.resolve(place).path)
            if view.root.find(f"{place}/{name}/rbconfig.rb") is not None
        ]  # fmt: skip
        fresh = [place for place in dict.fromkeys(places) if place not in self._path and "/gems" not in place]
        if not fresh:
            return
        first = not self._path
        self._path.extend(fresh)
        self._canonical |= {view.root.resolve(place).path for place in fresh}
        self._find_gems(view)
        reason = Reason(self.name, "required by ruby itself", entry.path)
        for directory in fresh:
            if view.root.find(f"{directory}/enc/encdb.so") is not None:
                yield Need(f"{directory}/enc", Reason(self.name, "encodings are loaded by name", entry.path), tree=True)
            for name in ("unicode_normalize", "did_you_mean", "error_highlight"):
                yield Need(f"{directory}/{name}", reason, tree=True)
        if first:
            for name in STARTUP:
                yield from self._require(name, reason, "", view)
        for path in list(self._sources):
            yield from self._follow(path, view)

    def _extension(self, entry: Entry, view: View) -> Iterator[Need]:
        """What compiled code requires: it holds the names as plain strings."""
        names = matches(entry, view, FEATURE)
        if b"rb_require" not in names:
            return
        reason = Reason(self.name, f"named in {entry.path}", entry.path)
        for name in names:
            for directory in self._path:
                yield from self._file(f"{directory}/{name.decode()}", reason, view)

    def _find_gems(self, view: View) -> None:
        root = view.root
        versions = {match[0] for place in self._path if (match := re.search(r"\d+\.\d+\.\d+(?=/|$)", place))}
        homes = [*self._homes, "/usr/local/bundle"]
        for version in sorted(versions):
            homes += [f"{base}/{version}" for base in GEM_BASES]
            homes += [f"{posixpath.dirname(place)}/gems/{version}" for place in self._path]
            for name in root.children("/usr/lib"):
                if "-linux-" in name:
                    homes += [f"/usr/lib/{name}/ruby/gems/{version}", f"/usr/lib/{name}/rubygems-integration/{version}"]
            for base in self._bundles(view):
                homes.append(f"{base}/ruby/{version}")
        homes.append("/usr/share/rubygems-integration/all")
        self._stems = None
        for home in dict.fromkeys(homes):
            if root.find(f"{home}/specifications") is not None:
                for gem in gems_below(home, root):
                    if gem not in self._gems.setdefault(gem.name, []):
                        self._gems[gem.name].append(gem)

    def _bundles(self, view: View) -> list[str]:
        workdirs = (view.application.workdir, *(each.workdir for each in view.recording.executions))
        return [f"{base.rstrip('/')}/vendor/bundle" for base in dict.fromkeys(workdirs)]

    # --------------------------------------------------------------- sources

    def _follow(self, path: str, view: View) -> Iterator[Need]:
        if path in self._followed:
            return
        self._followed.add(path)
        stem = path.removesuffix(".rb")
        if posixpath.dirname(path) in self._canonical and posixpath.basename(stem) not in TOOLS:
            yield Need(stem, Reason(self.name, f"part of the library {posixpath.basename(stem)}", path), tree=True)
        text = self._sources[path]
        here = posixpath.dirname(path)
        # The standard library's own tools are only reached when something else asks for them.
        core, own = self._is_core(path, view), path.removesuffix(".rb").split("/")
        for found in REQUIRE.finditer(text):
            if _in_comment(text, found.start()):
                continue
            kind, name = found[1].split("(")[0].split()[0], found[2]
            if core and name.partition("/")[0] in TOOLS and name.partition("/")[0] not in own:
                continue
            reason = Reason(self.name, f"required by {path} line {text.count(chr(10), 0, found.start(2)) + 1}", path)
            if "#{" in name:
                yield from self._family(kind, name.partition("#{")[0], here, reason, view)
            elif kind == "require_relative":
                yield from self._file(posixpath.normpath(f"{here}/{name}"), reason, view)
            elif kind == "gem":
                if path.endswith("/Gemfile") and view.root.find(f"{path}.lock") is not None:
                    continue  # the lock file knows which version
                yield from self._named_gem(name, reason, view)
            else:
                yield from self._require(name, reason, path, view)
        for found in PLACED.finditer(text):
            reason = Reason(self.name, f"named by {path}", path)
            name = found[1] or found[2]
            if "#{" not in name:
                for base in (here, path):  # expand_path("../x", __FILE__) starts at the file itself
                    yield from self._file(posixpath.normpath(f"{base}/{name}"), reason, view)
        yield from self._rest(path, text, view)

    def _is_core(self, path: str, view: View) -> bool:
        owner = system_owner(path, view)
        if owner is not None:
            return RUBY_PACKAGE.match(owner.name) is not None
        return "/gems/" not in path and any(path.startswith(f"{place}/") for place in self._canonical)

    def _rest(self, path: str, text: str, view: View) -> Iterator[Need]:
        owner = system_owner(path, view)
        if (
            owner is not None
            and not RUBY_PACKAGE.match(owner.name)
            and owner.name not in self._packages
            and self._placed(path)
        ):
            self._packages.add(owner.name)
            reason = Reason(self.name, f"part of the package {owner.name}", path)
            for each in package_content(owner, view):
                yield Need(each, reason)
            for gem in (gem for gems in self._gems.values() for gem in gems):
                if gem not in self._kept and system_owner(gem.specification, view) == owner:
                    yield from self._gem(gem, reason, view)
        gem_of = self._gem_at(path)
        if gem_of is not None:
            yield from self._gem(gem_of, Reason(self.name, f"part of the gem {gem_of.name}", path), view)
        if owner is None and gem_of is None:
            yield from self._started.calls((*started(text, START), *backticks(text)), path)

    def _gem_at(self, path: str) -> Gem | None:
        found = re.match(r"(.*/gems/[^/]+)/", path)
        if found is None:
            return None
        return next((gem for gems in self._gems.values() for gem in gems if gem.directory == found[1]), None)

    def _placed(self, path: str) -> bool:
        return any(path.startswith(f"{place}/") for place in self._path) or "/ruby" in path or "/gems/" in path

    def _require(self, name: str, reason: Reason, path: str, view: View) -> Iterator[Need]:
        if name.startswith("/"):
            yield from self._file(name, reason, view)
            return
        here = posixpath.dirname(path) if path else ""
        local = [*self._local, here, f"{here}/lib", f"{posixpath.dirname(here)}/lib"] if path else []
        if path:
            top = re.match(r"(.*/lib)/", path)
            local += [top[1]] if top else []
        found = False
        for directory in dict.fromkeys((*self._path, *filter(None, local))):
            for need in self._file(f"{directory.rstrip('/')}/{name}", reason, view):
                found = True
                yield need
        if not found or name.partition("/")[0] in self._gems:
            yield from self._gem_with(name, reason, view)

    def _file(self, place: str, reason: Reason, view: View) -> Iterator[Need]:
        stem = place.removesuffix(".so").removesuffix(".rb")
        for candidate in dict.fromkeys((place, f"{stem}.rb", f"{stem}.so")):
            entry = view.root.find(candidate)
            if entry is not None and entry.type is FileType.FILE:
                yield Need(candidate, reason)

    def _family(self, kind: str, prefix: str, here: str, reason: Reason, view: View) -> Iterator[Need]:
        """What `require "drivers/#{name}"` may load."""
        directory, _, beginning = prefix.rpartition("/")
        if not directory:
            return
        bases = [here] if kind == "require_relative" else [*self._path, *self._local, here]
        for base in dict.fromkeys(bases):
            place = directory if directory.startswith("/") else f"{base}/{directory}"
            there = view.root.resolve(place)
            for name in view.root.children(there.path):
                if name.startswith(beginning) and name.endswith((".rb", ".so")):
                    yield Need(f"{place}/{name}", reason)

    # ------------------------------------------------------------------ gems

    def _gem_with(self, name: str, reason: Reason, view: View) -> Iterator[Need]:
        """The gem that holds a file to be required: by what its lib directory holds."""
        first = name.partition("/")[0].removesuffix(".rb").removesuffix(".so")
        for gem in self._by_stem(view).get(first, ()):
            if any(view.root.find(f"{gem.directory}/lib/{name}{suffix}") is not None for suffix in (".rb", ".so", "")):
                yield from self._gem(gem, reason, view)

    def _by_stem(self, view: View) -> dict[str, list[Gem]]:
        """Gems by the names in their lib directories."""
        if self._stems is None:
            self._stems = {}
            for gem in dict.fromkeys(gem for gems in self._gems.values() for gem in gems):
                names = view.root.children(view.root.resolve(f"{gem.directory}/lib").path)
                for stem in dict.fromkeys(name.partition(".")[0] for name in names):
                    self._stems.setdefault(stem, []).append(gem)
        return self._stems

    def _named_gem(self, name: str, reason: Reason, view: View) -> Iterator[Need]:
        for gem in self._gems.get(name, ()):
            yield from self._gem(gem, reason, view)

    def _gem(self, gem: Gem, reason: Reason, view: View) -> Iterator[Need]:
        if gem in self._kept:
            return
        self._kept.add(gem)
        yield Need(gem.specification, reason)
        part = Reason(self.name, f"part of the gem {gem.name} {gem.version}", gem.specification)
        yield from (Need(path, part) for path in gem_content(gem.directory, view.root))
        home = posixpath.dirname(posixpath.dirname(gem.directory))
        for platform in view.root.children(view.root.resolve(f"{home}/extensions").path):
            for version in view.root.children(view.root.resolve(f"{home}/extensions/{platform}").path):
                place = f"{home}/extensions/{platform}/{version}/{gem.extensions}"
                yield from (Need(path, part) for path in gem_content(place, view.root))
        text = _text(view.root, gem.specification)
        for match in DEPENDENCY.finditer(text):
            depends = Reason(self.name, f"a dependency of the gem {gem.name}", gem.specification)
            yield from self._named_gem(match[1] or match[2], depends, view)
        for line in re.findall(r"^# stub: \S+ \S+ \S+ (.*)$", text, re.M):
            for directory in line.split("\0"):  # where it is no gem directory: Debian's files under vendor_ruby
                if directory not in ("lib", "ext") and not directory.startswith("/"):
                    yield Need(f"{gem.directory}/{directory}", part, tree=True)
        owner = system_owner(view.root.resolve(gem.specification).path, view)
        if owner is not None and not RUBY_PACKAGE.match(owner.name) and owner.name not in self._packages:
            self._packages.add(owner.name)
            for path in package_content(owner, view):
                yield Need(
                    path,
                    Reason(
                        self.name, f"part of the package {owner.name}, which is the gem {gem.name}", gem.specification
                    ),
                )

    def _lock(self, entry: Entry, view: View) -> Iterator[Need]:
        """Bundler wants every gem of the lock file, unless its group was left out at installation."""
        self._find_gems(view)
        text = _text(view.root, entry.path)
        reason = Reason(self.name, f"locked by {entry.path}", entry.path)
        for name, version in LOCKED.findall(text):
            for gem in self._gems.get(name, ()):
                if (
                    gem.version == version
                    or version.startswith(f"{gem.version}-")
                    or gem.version.startswith(f"{version}-")
                ):
                    yield from self._gem(gem, reason, view)
        yield from self._named_gem("bundler", reason, view)
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
    rule.begin(view)
    for path in Programs(view).find("ruby"):
        entry = view.root.find(path)
        if entry is not None:
            yield from rule.text(text, entry, reason, view)
