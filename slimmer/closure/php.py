"""PHP: extensions that ini files enable, included files, Composer's and Debian's packages, started programs."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Iterator

from slimmer.closure.calls import backticks, call_pattern, started
from slimmer.closure.embedded import EMBEDDED
from slimmer.closure.layouts import compiled_paths, package_content, system_owner
from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.closure.programs import head
from slimmer.closure.scripts import BUFFER, parse_shebang
from slimmer.closure.started import Started
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType

BINARY = re.compile(r"/(?:php[\d.]*|php-fpm[\d.]*|php-cgi[\d.]*|libphp[\d.]*\.so[.\d]*|frankenphp)$")
SOURCE = re.compile(r"\.(?:php\d?|phtml|inc|phpt)$")
EXTENSION = re.compile(r"""^[ \t]*(zend_extension|extension)[ \t]*=[ \t]*["']?([^"'\s;]+)""", re.M)
EXTENSION_DIRECTORY = re.compile(r"""^[ \t]*extension_dir[ \t]*=[ \t]*["']?([^"'\s;]+)""", re.M)
INCLUDE_PATH = re.compile(r"""^[ \t]*include_path[ \t]*=[ \t]*["']?([^"'\n;]+)|set_include_path\s*\(([^;]*)\)""", re.M)
INCLUDE = re.compile(
    r"""\b(?:include|require)(?:_once)?\b\s*\(?\s*((?:__DIR__|dirname\s*\(\s*(?:__FILE__|__DIR__)[^)]*\)|\$\w+|[A-Z_]+)?\s*\.?\s*)["']([^"'\n]+)["'](\s*\.)?"""
)
START = call_pattern(r"exec|shell_exec|system|passthru|popen|proc_open|pcntl_exec|new\s+Process")
COMMENT = re.compile(r"/\*.*?\*/|(?<![:'\"])//[^\n]*|^[ \t]*#[^\[\n][^\n]*", re.S | re.M)
LARGEST = 2 << 20


class PhpRule(Rule):
    """Extensions, includes, packages of library directories, started programs of kept PHP sources."""

    name = "php"
    level = Level.REACHABLE

    def __init__(self) -> None:
        self._extensions: list[str] = []  # directories
        self._include: list[str] = []
        self._ini: dict[str, str] = {}
        self._packages: set[str] = set()

    def begin(self, view: View) -> Iterable[Need]:
        self._started = Started(view, EMBEDDED, "php-command")
        self._include = [
            place
            for place in ("/usr/share/php", "/usr/share/pear", "/usr/local/lib/php")
            if view.root.find(place) is not None
        ]
        return ()

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        path = entry.path
        if BINARY.search(path):
            yield from self._binary(entry, view)
        elif path.endswith(".ini") and "php" in path:
            self._ini[path] = self._text(path, view)
            yield from self._enabled(path, view)
        elif path.endswith("/composer.json"):
            yield from self._composer(entry, view)
        elif self._is_source(entry, view):
            yield from self._source(entry, view)

    def _is_source(self, entry: Entry, view: View) -> bool:
        if SOURCE.search(entry.path):
            return not entry.path.startswith("/usr/share/doc/")
        if not entry.executable or "." in posixpath.basename(entry.path):
            return False
        shebang = parse_shebang(head(entry, view, BUFFER))
        return shebang is not None and re.fullmatch(r"php[\d.]*", shebang.program) is not None

    def _text(self, path: str, view: View) -> str:
        try:
            return view.root.read(path, LARGEST).decode("utf-8", "surrogateescape")
        except SlimmerError:
            return ""

    # ------------------------------------------------------------ extensions

    def _binary(self, entry: Entry, view: View) -> Iterator[Need]:
        places = compiled_paths(entry, view, "php")
        for place in places:
            if "/etc/" in place:  # where php.ini is looked for, and the directory of further ini files
                yield Need(place, Reason(self.name, f"{entry.path} reads its settings there", entry.path), tree=True)
        fresh = [place for place in places if place not in self._extensions and _holds_extensions(place, view)]
        self._extensions.extend(fresh)
        if fresh:
            for path in self._ini:
                yield from self._enabled(path, view)

    def _enabled(self, path: str, view: View) -> Iterator[Need]:
        text = self._ini[path]
        directories = [*EXTENSION_DIRECTORY.findall(text), *self._extensions]
        reason = Reason(self.name, f"an extension that {path} enables", path)
        for _, name in EXTENSION.findall(text):
            if name.startswith("/"):
                yield Need(name, reason)
                continue
            for directory in directories:
                for candidate in (name, f"{name}.so"):
                    place = f"{directory}/{candidate}"
                    if view.root.find(place) is not None:
                        yield Need(place, reason)
        for found in INCLUDE_PATH.finditer(text):
            self._include.extend(part for part in (found[1] or "").split(":") if part.startswith("/"))

    # --------------------------------------------------------------- sources

    def _source(self, entry: Entry, view: View) -> Iterator[Need]:
        path = entry.path
        text = COMMENT.sub(lambda found: "\n" * found[0].count("\n"), self._text(path, view))
        here = posixpath.dirname(path)
        for found in INCLUDE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            reason = Reason(self.name, f"included by {path} line {line}", path)
            name, more = found[2], bool(found[3]) or "$" in found[2]
            up = 1 + (found[1] or "").count("dirname(dirname")
            if re.search(r"dirname\s*\(\s*__DIR__\s*\)", found[1] or ""):
                up = 2
            base = here
            for _ in range(up - 1):
                base = posixpath.dirname(base)
            yield from self._included(name.partition("$")[0].rstrip("{"), base, here, more, reason, view)
        yield from self._package(path, view)
        if system_owner(path, view) is None and "/vendor/" not in path:
            yield from self._started.calls((*started(text, START, lists=False), *backticks(text)), path)

    def _included(self, name: str, base: str, here: str, more: bool, reason: Reason, view: View) -> Iterator[Need]:
        """A file by the include path; where only the name's beginning is known, what begins so."""
        if not name.strip("/"):
            return
        bases = dict.fromkeys((base, here, view.application.workdir, *self._include))
        for each in bases:
            place = posixpath.normpath(f"{each}/{name.lstrip('/')}")
            places = [posixpath.normpath(name), place] if name.startswith("/") else [place]
            for candidate in places:
                found = view.root.find(candidate)
                if not more:
                    if found is not None and found.type is FileType.FILE:
                        yield Need(candidate, reason)
                        return
                    continue
                directory, prefix = (candidate, "") if name.endswith("/") else posixpath.split(candidate)
                if directory.count("/") < 2:
                    continue
                for child in view.root.children(view.root.resolve(directory).path):
                    if child.startswith(prefix) and SOURCE.search(child):
                        yield Need(f"{directory}/{child}", reason)

    # -------------------------------------------------------------- packages

    def _package(self, path: str, view: View) -> Iterator[Need]:
        """A library of an OS package (below /usr/share/php) comes with the rest of that package."""
        if not any(path.startswith(f"{place}/") for place in ("/usr/share/php", "/usr/share/pear")):
            return
        owner = system_owner(path, view)
        if owner is not None and owner.name not in self._packages:
            self._packages.add(owner.name)
            reason = Reason(self.name, f"part of the package {owner.name}", path)
            for each in package_content(owner, view):
                yield Need(each, reason)

    def _composer(self, entry: Entry, view: View) -> Iterator[Need]:
        """Composer loads classes by their names from everything that it installed."""
        if "/vendor/" in entry.path:
            return
        try:
            value = json.loads(self._text(entry.path, view))
        except ValueError:
            value = {}
        config = value.get("config") if isinstance(value, dict) else None
        vendor = config.get("vendor-dir") if isinstance(config, dict) else None
        here = posixpath.dirname(entry.path)
        place = posixpath.normpath(posixpath.join(here, vendor if isinstance(vendor, str) else "vendor"))
        found = view.root.resolve(place)
        if view.root.find(f"{place}/autoload.php") is None:
            return
        development = _development(self._text(f"{place}/composer/installed.json", view))
        reason = Reason(self.name, f"installed by Composer for {entry.path}", entry.path)
        pending = [found.path]
        while pending:
            directory = pending.pop()
            for name in view.root.children(directory):
                each = view.root.entry(f"{directory}/{name}")
                if each is None or each.path[len(found.path) + 1 :] in development:
                    continue
                if each.type is FileType.DIRECTORY:
                    if name not in (".git", ".github", "tests", "Tests"):
                        pending.append(each.path)
                else:
                    yield Need(each.path, reason)


def _holds_extensions(place: str, view: View) -> bool:
    return any(name.endswith(".so") for name in view.root.children(view.root.resolve(place).path))


def _development(text: str) -> frozenset[str]:
    """Names of packages that Composer installed for development only."""
    try:
        value = json.loads(text)
    except ValueError:
        return frozenset()
    names = value.get("dev-package-names") if isinstance(value, dict) else None
    return frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else frozenset()
