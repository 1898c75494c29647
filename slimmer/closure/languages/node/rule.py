"""Node: from the application's sources and package.json to whole runtime packages, by Node's own lookup.

A package is a unit: it stays without its tests, type declarations and source maps,
with the packages that its package.json names for run time. What only
devDependencies name stays out unless the recording shows it. Where nothing that
stays runs JavaScript, sources are for browsers, or for a build, and say nothing.
Source: Node's "Modules: CommonJS modules", "ECMAScript modules" and "Packages" pages.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.content import PackageContent
from slimmer.closure.languages.node.imports import LARGEST, JavaScript, Load, plain_loads, scan
from slimmer.closure.languages.node.interpreters import is_interpreter
from slimmer.closure.languages.node.manifest import Manifest, read_manifest
from slimmer.closure.languages.node.project import Project
from slimmer.closure.languages.runtimes import matches
from slimmer.closure.limits import ADDON
from slimmer.closure.model import ClosureWarning, Need, Omission, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.root.model import Entry, FileType
from tracer.recording import Kind

SUFFIXES = (".js", ".json", ".node", ".cjs", ".mjs")
LOADABLE = re.compile(r"\.(?:[cm]?js|json|node)$")
SOURCE = re.compile(r"\.(?:js|cjs|mjs|jsx|ts|mts|cts)$")
# Debian's directories for packages, and npm's for global ones: searched by Debian's node, or named in NODE_PATH.
SHARED = ("/usr/share/nodejs", "/usr/lib/nodejs", "/usr/local/lib/node_modules", "/usr/lib/node_modules")
PACKAGE_PLACE = re.compile(r"(.*/(?:node_modules|nodejs))/((?:@[^/]+/)?[^/@.][^/]*)(?:/|$)")
BUILTIN = re.compile(rb"/usr/(?:share|lib)/[\w.@-]++/[\w/.@-]{1,300}\.(?:js|json|wasm|snapshot)")
SPARED = "optional addons that the run did not load"
CLIENTS = frozenset({"npm", "yarn", "pnpm", "npx"})


class NodeRule(LanguageRule):
    """Packages by package.json, loads of the application's sources, parts of node that Debian keeps in files."""

    name = "node"
    suffixes = SOURCE
    programs = re.compile("node|nodejs")
    spared = re.compile(r"^/usr/share/(?:javascript|doc)/")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._reduced: set[str] = set()  # packages that stay without something that their code may load
        self._mapped = False  # stack traces are translated by source maps
        self._manifests: dict[str, Manifest] = {}
        self._packages: set[str] = set()
        self._shared: tuple[str, ...] = SHARED
        self._builtin: set[str] = set()
        self._runs = False  # something that stays can run JavaScript
        self._waiting: list[Entry] = []  # for that

    # -------------------------------------------------------------- the rule

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._spared: set[str] = set()
        self._content = PackageContent("node", self._profiles, view)
        self._project = Project(view, self._started)
        paths = [part for value in self._environment.values("NODE_PATH") for part in value.split(":") if part]
        multiarch = [f"/usr/lib/{name}/nodejs" for name in view.root.children("/usr/lib") if "-linux-" in name]
        self._shared = tuple(dict.fromkeys((*paths, *SHARED, *multiarch)))
        workdir = view.application.workdir
        reason = Reason(self.name, "preloaded by NODE_OPTIONS or on the command line")
        lines = [value.split() for value in self._environment.values("NODE_OPTIONS")]
        lines += [list(line) for line in self._environment.lines]
        self._mapped = any("--enable-source-maps" in line for line in lines) or any(
            "/node_modules/source-map-support/" in access.path and Kind.READ in access.kinds
            for access in view.recording.accesses
        )
        for line in lines:
            for flag, module in itertools.pairwise([*line, ""]):
                if flag in ("-r", "--require", "--import", "--loader", "--experimental-loader"):
                    yield from self._load(Load(module, 0), workdir, "", reason, view)
            yield from self._client(line, workdir, view)

    def _client(self, line: list[str], workdir: str, view: View) -> Iterator[Need]:
        """`npm start` and its like run a script of package.json."""
        if not line or posixpath.basename(line[0]) not in CLIENTS:
            return
        words = [word for word in line[1:] if not word.startswith("-") and word not in ("run", "run-script", "exec")]
        manifest = f"{workdir.rstrip('/')}/package.json"
        wanted = words[0] if words else "start"
        for name, text in self._manifest(manifest, view).scripts:
            if name in (wanted, f"pre{wanted}", f"post{wanted}"):
                search = f'PATH="{workdir.rstrip("/")}/node_modules/.bin:$PATH"\n'
                yield Need(manifest, Reason(self.name, f"read by {line[0]}"))
                yield from self._started.text((search + text).encode("utf-8", "surrogateescape"), manifest)

    def settle(self, view: View) -> Iterable[Need]:
        return self._project.settle()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        path = entry.path
        if entry.type is not FileType.FILE:
            return
        if not self._runs and is_interpreter(path):
            self._runs = True
            for each in self._waiting:
                yield from self.visit(each, view)
            self._waiting.clear()
        if not self._runs:
            if PACKAGE_PLACE.match(path) or path.endswith(".json") or self.is_source(entry):
                self._waiting.append(entry)
            return
        if re.search(r"/(?:libnode\.so[.\d]*|node|nodejs)$", path) and not path.endswith("/include/node"):
            yield from self._builtins(entry, view)
            return
        place = PACKAGE_PLACE.match(path)
        if place is not None:
            if path not in self._builtin and not place[2].startswith("."):
                yield from self._package(f"{place[1]}/{place[2]}", Reason(self.name, "", path), view)
        elif path.endswith(".json"):
            self._project.data(entry)
            if path.endswith("/package.json"):
                yield from self._dependencies(path, view)
        elif self.is_source(entry):
            yield from self._source(entry, view)

    def _builtins(self, entry: Entry, view: View) -> Iterator[Need]:
        reason = Reason(self.name, f"part of node's own library, named in {entry.path}", entry.path)
        found = {match.decode() for match in matches(entry, view, BUILTIN)}
        for path in sorted(found):
            if view.root.find(path) is not None:
                self._builtin |= {path, view.root.resolve(path).path}
                yield Need(path, reason)

    # -------------------------------------------------------------- packages

    def _manifest(self, path: str, view: View) -> Manifest:
        if path not in self._manifests:
            self._manifests[path] = read_manifest(view.root, path)
        return self._manifests[path]

    def _dependencies(self, path: str, view: View) -> Iterator[Need]:
        directory, manifest = posixpath.dirname(path), self._manifest(path, view)
        reason = Reason(self.name, f"a dependency in {path}", path)
        for name in manifest.runtime:
            if name not in manifest.optional or not self._spare(name, directory, view):
                yield from self._found(name, directory, reason, view)
        for target in manifest.imported:
            if not target.startswith((".", "/", "#")):
                yield from self._found(_package_name(target), directory, reason, view)

    def _found(self, name: str, directory: str, reason: Reason, view: View) -> Iterator[Need]:
        """A package by its name, looked up from a directory upwards; each link on the way stays."""
        place = self._lookup(name, directory, view)
        if place:
            yield Need(f"{place}/package.json", reason)
            found = view.root.find(place)
            if found is not None:
                yield Need(place, reason)
                yield from self._package(found.path, reason, view)

    def _spare(self, name: str, directory: str, view: View) -> bool:
        """Whether an optional addon is too large for one that the run did not load; it is said what it weighs."""
        assert self._content is not None
        place = self._lookup(name, directory, view)
        found = view.root.find(place) if place else None
        if found is None or found.path in self._spared or self._content.used(found.path):
            return found is not None and found.path in self._spared
        size = sum(each.size for each in view.root.walk(found.path) if each.path.endswith(".node"))
        if size > ADDON:
            self._spared.add(found.path)
            view.left_out(Omission(SPARED, found.path))
            text = (
                f"{name}, an optional addon of {size:,} bytes, was not loaded and stays out; --include {place} keeps it"
            )
            view.warn(ClosureWarning("node", f"{directory}/package.json", text, 30))
        return size > ADDON

    def _lookup(self, name: str, directory: str, view: View) -> str:
        if not name or name.startswith("."):
            return ""
        here = directory
        while True:
            if not here.endswith("/node_modules"):
                place = f"{here.rstrip('/')}/node_modules/{name}"
                if view.root.find(place) is not None:
                    return place
            if here == "/":
                break
            here = posixpath.dirname(here)
        for shared in self._shared:
            if view.root.find(f"{shared}/{name}") is not None:
                return f"{shared}/{name}"
        return ""

    def _package(self, top: str, reason: Reason, view: View) -> Iterator[Need]:
        """A package's directory (canonical), whole, and what it depends on."""
        if top in self._packages:
            return
        self._packages.add(top)
        entry = view.root.entry(top)
        if entry is None or entry.type is not FileType.DIRECTORY:
            if entry is not None:
                yield Need(top, reason)
            return
        part = Reason(self.name, f"part of the package {_display(top)}", f"{top}/package.json")
        kept = list(self._entries(top, view))
        stays = {each.path for each in kept}
        yield from (Need(path, part) for path in stays)
        for each in kept if top in self._reduced else ():
            if SOURCE.search(each.path):
                yield from self._inside(each, top, stays, view)
        yield from self._commands(top, view)
        yield from self._dependencies(f"{top}/package.json", view)

    def _entries(self, top: str, view: View) -> Iterator[Entry]:
        """A package's run-time files; the packages inside it are packages of their own."""
        assert self._content is not None
        pending = [top]
        while pending:
            directory = pending.pop()
            for name in view.root.children(directory):
                entry = view.root.entry(f"{directory}/{name}")
                if entry is None or (self._mapped and name.endswith(".map") and entry.type is FileType.FILE):
                    if entry is not None:
                        yield entry
                    continue
                if entry.type is FileType.DIRECTORY and name == "node_modules":
                    continue
                if self._content.omitted(entry, top):
                    if entry.type is FileType.DIRECTORY or LOADABLE.search(entry.path):
                        self._reduced.add(top)
                    continue
                if entry.type is FileType.DIRECTORY:
                    pending.append(entry.path)
                yield entry

    def _commands(self, top: str, view: View) -> Iterator[Need]:
        """The links by which a package's commands are called: in .bin beside it, or where npm puts global ones."""
        place = PACKAGE_PLACE.match(f"{top}/")
        if place is None:
            return
        directories = [f"{place[1]}/.bin", posixpath.normpath(f"{place[1]}/../../bin")]
        for name in self._manifest(f"{top}/package.json", view).commands:
            for directory in directories:
                found = view.root.find(f"{directory}/{name}")
                if found is not None and found.path.startswith(f"{top}/"):
                    yield Need(f"{directory}/{name}", Reason(self.name, f"a command of {_display(top)}", top))

    def _inside(self, source: Entry, top: str, stays: Collection[str], view: View) -> Iterator[Need]:
        """Files of a package that its code loads from directories that are otherwise left out."""
        if source.size > LARGEST:
            return
        here = posixpath.dirname(source.path)
        for specifier in plain_loads(head(source, view, LARGEST)):
            if specifier.startswith("."):
                target = self._file(posixpath.normpath(f"{here}/{specifier}"), view)
                if target.startswith(f"{top}/") and target not in stays:
                    yield Need(target, Reason(self.name, f"loaded by {source.path}", source.path))

    # --------------------------------------------------------------- sources

    def _source(self, entry: Entry, view: View) -> Iterator[Need]:
        found, here = scan(head(entry, view, LARGEST + 1)), posixpath.dirname(entry.path)
        yield from self._own_manifest(entry, view)
        for load in found.loads:
            reason = Reason(self.name, f"loaded by {entry.path} line {load.line}", entry.path)
            yield from self._load(load, here, entry.path, reason, view)
        for load in found.files:
            reason = Reason(self.name, f"named by {entry.path} line {load.line}", entry.path)
            yield from self._load(Load(f"./{load.specifier}", load.line, load.whole), here, entry.path, reason, view)
        yield from self._texts(entry, found, view)
        yield from self._project.see(entry, found)
        for line in found.computed[:1]:
            view.warn(ClosureWarning("node", entry.path, f"line {line} loads a module whose name is computed", 20))

    def _texts(self, entry: Entry, found: JavaScript, view: View) -> Iterator[Need]:
        """`app.set("view engine", "ejs")`: a package's name given to something that will load it."""
        here = posixpath.dirname(entry.path)
        for text in found.texts:
            name = _package_name(text.specifier)
            if "/" in text.specifier and not name.startswith("@"):
                continue
            place = self._lookup(name, here, view)
            if place and not self._only_development(name, entry.path, view):
                reason = Reason(self.name, f"named by {entry.path} line {text.line}", entry.path)
                yield from self._found(name, here, reason, view)

    def _own_manifest(self, entry: Entry, view: View) -> Iterator[Need]:
        """The package.json that tells what kind of module a source is, and what it depends on."""
        place = self._nearest(entry.path, view)
        if place:
            yield Need(place, Reason(self.name, f"tells how {entry.path} is read", entry.path))

    def _nearest(self, path: str, view: View) -> str:
        here = posixpath.dirname(path)
        while True:
            place = f"{here.rstrip('/')}/package.json"
            if view.root.find(place) is not None:
                return place
            if here == "/" or here.endswith("/node_modules"):
                return ""
            here = posixpath.dirname(here)

    def _only_development(self, name: str, path: str, view: View) -> bool:
        manifest = self._nearest(path, view)
        return bool(manifest) and name in self._manifest(manifest, view).development

    def _load(self, load: Load, here: str, path: str, reason: Reason, view: View) -> Iterator[Need]:
        specifier = load.specifier.removeprefix("file://")
        if specifier.startswith((".", "/")):
            target = posixpath.normpath(specifier if specifier.startswith("/") else f"{here}/{specifier}")
            if load.whole:
                yield from self._resolved(target, reason, view)
            else:
                slash = load.specifier.endswith("/")
                directory, prefix = (target, "") if slash else (posixpath.dirname(target), posixpath.basename(target))
                yield from self._family(directory, prefix, reason, view)
        elif specifier.startswith(("#", "node:")):
            return
        elif load.whole:
            name = _package_name(specifier)
            if path and self._only_development(name, path, view):
                view.warn(
                    ClosureWarning("node", path, f"line {load.line} loads {name}, which is only a devDependency", 15)
                )
            else:
                yield from self._found(name, here, reason, view)

    def load(self, load: Load, here: str, reason: Reason, view: View) -> Iterator[Need]:
        """The needs of one load from a directory."""
        yield from self._load(load, here, "", reason, view)

    def _resolved(self, target: str, reason: Reason, view: View) -> Iterator[Need]:
        found = self._file(target, view)
        if found:
            yield Need(found, reason)
        entry = view.root.find(target)
        if entry is not None and entry.type is FileType.DIRECTORY:
            yield Need(f"{target}/package.json", reason)
            yield Need(target, reason)

    def _file(self, target: str, view: View) -> str:
        """The file that a path means: itself, with a suffix, or a directory's main file."""
        for candidate in (target, *(target + suffix for suffix in SUFFIXES)):
            entry = view.root.find(candidate)
            if entry is not None and entry.type is FileType.FILE:
                # A loader for each platform names its addon: those of others cannot be loaded here.
                return "" if candidate.endswith(".node") and self._content.is_foreign(entry) else candidate
        main = self._manifest(f"{target}/package.json", view).main
        for name in (main, f"{main}/index", "index") if main else ("index",):
            base = posixpath.normpath(f"{target}/{name}")
            for candidate in (base, *(base + suffix for suffix in SUFFIXES)):
                entry = view.root.find(candidate)
                if entry is not None and entry.type is FileType.FILE:
                    return candidate
        return ""

    def _family(self, directory: str, prefix: str, reason: Reason, view: View) -> Iterator[Need]:
        """What `require("./plugins/" + name)` may load: everything there, but not from the root or a package store."""
        found = view.root.resolve(directory)
        if found.path == "/" or found.path.endswith("/node_modules"):
            return
        for name in view.root.children(found.path):
            if name.startswith(prefix) and name != "node_modules":
                yield Need(f"{directory}/{name}", reason, tree=True)


def _package_name(specifier: str) -> str:
    parts = specifier.split("/")
    return "/".join(parts[:2]) if specifier.startswith("@") else parts[0]


def _display(top: str) -> str:
    place = PACKAGE_PLACE.match(f"{top}/")
    return place[2] if place else top


def node_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """What a program text that no file holds loads (`node -e`), looked up from the working directory."""
    rule = NodeRule()
    list(rule.begin(view))
    for load in scan(text.encode("utf-8", "surrogateescape")).loads:
        yield from rule.load(load, view.application.workdir, reason, view)
