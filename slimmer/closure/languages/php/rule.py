"""PHP: extensions that ini files enable, included files, Composer's and Debian's packages, started programs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.php.autoload import development, project, sources
from slimmer.closure.languages.php.syntax import scan
from slimmer.closure.languages.runtimes import compiled_paths, package_content, system_owner
from slimmer.closure.languages.tokens import UNKNOWN
from slimmer.closure.model import UNREAD, ClosureWarning, Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.root.budget import Unread
from slimmer.root.model import Entry, FileType

BINARY = re.compile(r"/(?:php[\d.]*|php-fpm[\d.]*|php-cgi[\d.]*|libphp[\d.]*\.so[.\d]*|frankenphp)$")
SOURCE = re.compile(r"\.(?:php\d?|phtml|inc|phpt)$")
EXTENSION = re.compile(r"""^[ \t]*(zend_extension|extension)[ \t]*=[ \t]*["']?([^"'\s;]+)""", re.M)
EXTENSION_DIRECTORY = re.compile(r"""^[ \t]*extension_dir[ \t]*=[ \t]*["']?([^"'\s;]+)""", re.M)
INCLUDE_PATH = re.compile(
    r"""^[ \t]*include_path[ \t]*=[ \t]*["']?([^"'\n;]+)|set_include_path\s*+\(([^;]{0,1000})\)""", re.M
)


class PhpRule(LanguageRule):
    """Extensions, includes, packages of library directories, started programs of kept PHP sources."""

    name = "php"
    suffixes = SOURCE
    programs = re.compile(r"php[\d.]*")

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._extensions: list[str] = []  # directories
        self._include: list[str] = []
        self._ini: dict[str, str] = {}
        self._packages: set[str] = set()
        self._projects: set[str] = set()  # composer.json files that were read

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._include = [
            place
            for place in ("/usr/share/php", "/usr/share/pear", "/usr/local/lib/php")
            if view.root.find(place) is not None
        ]

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        path = entry.path
        if BINARY.search(path):
            yield from self._binary(entry)
        elif path.endswith(".ini") and "php" in path:
            self._ini[path] = self.text_at(path)
            yield from self._enabled(path)
        elif path.endswith("/composer.json"):
            yield from self._composer(path)
        elif self.is_source(entry):
            if (
                path.endswith("/autoload.php")
                and self._view.root.find(f"{posixpath.dirname(path)}/composer") is not None
            ):
                yield from self._composer(f"{posixpath.dirname(posixpath.dirname(path))}/composer.json")
            yield from self._source(entry)

    # ------------------------------------------------------------ extensions

    def _binary(self, entry: Entry) -> Iterator[Need]:
        places = compiled_paths(entry, self._view, "php")
        for place in places:
            if "/etc/" in place:  # where php.ini is looked for, and the directory of further ini files
                yield Need(place, Reason(self.name, f"{entry.path} reads its settings there", entry.path), tree=True)
        fresh = [place for place in places if place not in self._extensions and _holds_extensions(place, self._view)]
        self._extensions.extend(fresh)
        if fresh:
            for path in self._ini:
                yield from self._enabled(path)

    def _enabled(self, path: str) -> Iterator[Need]:
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
                    if self._view.root.find(place) is not None:
                        yield Need(place, reason)
        for found in INCLUDE_PATH.finditer(text):
            self._include.extend(part for part in (found[1] or "").split(":") if part.startswith("/"))

    # --------------------------------------------------------------- sources

    def _source(self, entry: Entry) -> Iterator[Need]:
        path = entry.path
        here = posixpath.dirname(path)
        yield from self._package(path)
        try:
            found = scan(head(entry, self._view, self.largest), path)
        except Unread as error:
            self._view.warn(ClosureWarning("unread", path, f"PHP source not read: {error}", UNREAD))
            return
        for include in found.includes:
            reason = Reason(self.name, f"included by {path} line {include.line}", path)
            name = include.text.removeprefix(UNKNOWN)
            yield from self._included(name.partition(UNKNOWN)[0], here, here, UNKNOWN in name, reason)
        if system_owner(path, self._view) is None and "/vendor/" not in path:
            yield from self._started.calls(found.commands, path)

    def _included(self, name: str, base: str, here: str, more: bool, reason: Reason) -> Iterator[Need]:
        """A file by the include path; where only the name's beginning is known, what begins so."""
        if not name.strip("/"):
            return
        bases = dict.fromkeys((base, here, self._view.application.workdir, *self._include))
        for each in bases:
            place = posixpath.normpath(f"{each}/{name.lstrip('/')}")
            places = [posixpath.normpath(name), place] if name.startswith("/") else [place]
            for candidate in places:
                found = self._view.root.find(candidate)
                if not more:
                    if found is not None and found.type is FileType.FILE:
                        yield Need(candidate, reason)
                        return
                    continue
                directory, prefix = (candidate, "") if name.endswith("/") else posixpath.split(candidate)
                if directory.count("/") < 2:
                    continue
                for child in self._view.root.children(self._view.root.resolve(directory).path):
                    if child.startswith(prefix) and SOURCE.search(child):
                        yield Need(f"{directory}/{child}", reason)

    # -------------------------------------------------------------- packages

    def _package(self, path: str) -> Iterator[Need]:
        """A library of an OS package (below /usr/share/php) comes with the rest of that package."""
        if not any(path.startswith(f"{place}/") for place in ("/usr/share/php", "/usr/share/pear")):
            return
        owner = system_owner(path, self._view)
        if owner is not None and owner.name not in self._packages:
            self._packages.add(owner.name)
            reason = Reason(self.name, f"part of the package {owner.name}", path)
            for each in package_content(owner, self._view):
                yield Need(each, reason)

    def _composer(self, file: str) -> Iterator[Need]:
        """Composer loads classes by their names from everything that it installed, and where composer.json says."""
        if "/vendor/" in file or file in self._projects:
            return
        self._projects.add(file)
        composer = project(self.text_at(file), posixpath.dirname(file))
        place = composer.vendor
        found = self._view.root.resolve(place)
        if self._view.root.find(f"{place}/autoload.php") is None:
            return
        for autoload in composer.autoloads:
            own = Reason(self.name, f"a class that Composer loads by {autoload.loader}, says {file}", file)
            for path in sources(autoload, found.path, self._view.root):
                yield Need(path, own)
        left_out = development(self.text_at(f"{place}/composer/installed.json"))
        reason = Reason(self.name, f"installed by Composer for {file}", file)
        pending = [found.path]
        while pending:
            directory = pending.pop()
            for name in self._view.root.children(directory):
                each = self._view.root.entry(f"{directory}/{name}")
                if each is None or each.path[len(found.path) + 1 :] in left_out:
                    continue
                if each.type is FileType.DIRECTORY:
                    if name not in (".git", ".github", "tests", "Tests"):
                        pending.append(each.path)
                else:
                    yield Need(each.path, reason)


def _holds_extensions(place: str, view: View) -> bool:
    return any(name.endswith(".so") for name in view.root.children(view.root.resolve(place).path))
