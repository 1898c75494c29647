"""What a kept jar needs beside it: jars of its manifest, providers of services, native libraries, data, catalogues.

Archives inside it count as it does: a Spring Boot jar, a WAR, an EAR is the whole application.
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.languages.base import NOTHING, LanguageRule
from slimmer.closure.languages.java.archive import Jar, class_names
from slimmer.closure.languages.java.nested import SUFFIXES, Whole, read_whole
from slimmer.closure.languages.java.runtime import machine, native_libraries, own_code
from slimmer.closure.languages.runtimes import package_content, system_owner
from slimmer.closure.model import UNREAD, ClosureWarning, Need, Reason, View
from slimmer.closure.profiles.load import Profile
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType
from slimmer.root.zips import unzipped

LARGEST_DATA = 1 << 20  # bytes of a file that a package's class names
MOST_NEIGHBOURS = 400  # archives beside one that are asked for a provider
PLATFORM = ("java.", "javax.", "jdk.", "sun.", "com.sun.", "apple.")
CATALOGUE = re.compile(r"(?P<base>[^/]+?)(?P<language>_[a-z]{2,3}(?:_[A-Za-z]{2,4}){0,2})?\.properties")
# What stands behind a jar's name where it holds the texts of one language.
TEXTS = re.compile(r"(?:Locale|[-_.](?:i18n|l10n|nls|nl|lang|locale))?[-_.]?(?P<language>[a-z]{2}(?:_[A-Z]{2})?)")
RELEASE = re.compile(r"-\d")


class JavaArchivesRule(LanguageRule):
    """Follows jars, and classes in directories, to what they name outside of them."""

    name = "java"

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._seen: set[str] = set()  # archives, and directories of classes
        self._holders: dict[str, dict[str, str]] = {}  # where archives lie, or whose they are → class → archive

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._libraries = native_libraries(view, self._environment)
        self._own = own_code(view, self._environment)
        self._machine = machine(view, self._environment)
        self._languages = _languages(self._environment.values("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"))

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        if entry.path.endswith(".class"):
            yield from self._beside_classes(posixpath.dirname(entry.path), view)
        elif entry.path.lower().endswith(SUFFIXES) and entry.path not in self._seen:
            self._seen.add(entry.path)
            whole = read_whole(view.root, entry, self._own)
            self._warn_of(entry, whole, view)
            yield from self._manifest(entry.path, whole.top)
            yield from self._texts(entry.path, view)
            for place, jar in whole.jars:
                yield from self._named(entry.path, place, jar, view)
            if whole.absent:
                yield from self._providers(entry.path, whole.absent, view)

    def _warn_of(self, entry: Entry, whole: Whole, view: View) -> None:
        for place, why in whole.unread:
            if entry.size:
                text = f"{place or 'the archive'} not read, nor what it names: {why}"
                view.warn(ClosureWarning("unread", entry.path, text, UNREAD))

    def _manifest(self, path: str, jar: Jar) -> Iterator[Need]:
        """The jars that a jar's manifest names: URLs relative to its own (JAR specification, "Class-Path")."""
        here = posixpath.dirname(path)
        for name in jar.class_path:
            place = urllib.parse.unquote(name.removeprefix("file:"))
            target = place if place.startswith("/") else posixpath.normpath(f"{here}/{place}")
            reason = Reason(self.name, f"on the Class-Path of {path}", path)
            yield Need(target, reason, tree=place.endswith("/"))

    def _texts(self, path: str, view: View) -> Iterator[Need]:
        """Archives beside one with its messages in a language in use: derbyLocale_de_DE.jar, tomcat-i18n-fr.jar."""
        here, _, file = path.rpartition("/")
        stem = RELEASE.split(file.rpartition(".")[0], maxsplit=1)[0]
        for name in view.root.children(here or "/") if self._languages else ():
            if name.startswith(stem) and name.endswith(".jar"):
                found = TEXTS.fullmatch(RELEASE.split(name[len(stem) : -4], maxsplit=1)[0])
                if found is not None and found["language"].partition("_")[0] in self._languages:
                    yield Need(f"{here}/{name}", Reason(self.name, f"messages of {path} in a language in use", path))

    def _named(self, path: str, place: str, jar: Jar, view: View) -> Iterator[Need]:
        """Native libraries; of a package's archive also data: the application's own classes have their own rule."""
        where = f"{place} in {path}" if place else path
        loaded = Reason("library", f"named in {where}, which loads libraries", path)
        for word in jar.libraries:
            yield from self._libraries.needs(word, loaded)
        for native in jar.natives:  # unpacked below java.io.tmpdir and loaded from there
            if self._machine in (None, (native.machine, native.bits)):
                needed = Reason("library", f"needed by {native.name} in {where}", path)
                for name in native.needed:
                    yield from self._libraries.needs(name, needed)
        if system_owner(path, view) is None:
            return
        reason = Reason(self.name, f"named by a class in {path}", path)
        for place in jar.data:
            there = view.root.find(place)
            if there is None or there.type is not FileType.FILE or there.executable:
                continue
            if there.size <= LARGEST_DATA:
                yield Need(place, reason)

    def _providers(self, path: str, names: Iterable[str], view: View) -> Iterator[Need]:
        """Providers that another archive holds, of the same package or beside it: whoever loads one loads the other."""
        wanted = [each for each in names if not each.startswith(PLATFORM)]
        holders = self._classes_around(path, view) if wanted else {}
        for name in wanted:
            if name in holders:
                yield Need(holders[name], Reason(self.name, f"holds {name}, which {path} names as a provider", path))

    def _classes_around(self, path: str, view: View) -> Mapping[str, str]:
        owner = system_owner(path, view)
        here = posixpath.dirname(path)
        key = owner.name if owner is not None else here
        found = self._holders.get(key)
        if found is None:
            found = self._holders[key] = {}
            if owner is not None:
                around = [each for each in package_content(owner, view) if each.endswith(".jar")]
            else:
                around = [f"{here}/{name}" for name in view.root.children(here) if name.lower().endswith(".jar")]
            for each in around[:MOST_NEIGHBOURS]:
                there = view.root.entry(each)
                if there is not None and there.type is FileType.FILE:
                    try:
                        with unzipped(view.root, each) as archive:
                            for name in class_names(archive):
                                found.setdefault(name, each)
                    except SlimmerError:
                        continue
        return found

    def _beside_classes(self, directory: str, view: View) -> Iterator[Need]:
        """Resource bundles beside a class: the base texts and those of the languages in use (ResourceBundle)."""
        if directory in self._seen:
            return
        self._seen.add(directory)
        for name in view.root.children(directory):
            found = CATALOGUE.fullmatch(name)
            if found is None:
                continue
            language = (found["language"] or "_en").split("_")[1]
            if language == "en" or language in self._languages:
                yield Need(f"{directory}/{name}", Reason(self.name, f"messages beside the classes in {directory}"))


def _languages(values: Iterable[str]) -> frozenset[str]:
    """Codes of languages that variables of the environment name: locale(7)."""
    found = (re.match(r"[a-z]{2,3}(?=[_.@]|$)", part) for value in values for part in value.split(":"))
    return frozenset(each[0] for each in found if each is not None)
