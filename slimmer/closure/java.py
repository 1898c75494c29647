"""Java: the runtime's own directory as a unit, class paths of command lines and of jar manifests."""

from __future__ import annotations

import itertools
import posixpath
import re
import urllib.parse
from collections.abc import Iterable, Iterator

from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, FileType
from slimmer.root.zips import unzipped

RUNTIME = re.compile(r"(.*)/(?:bin/java|lib/(?:\w+/)?(?:server|client|minimal)/libjvm\.so|lib/(?:jli/)?libjli\.so)$")
# For compilers and debuggers, or for a display; they stay when the recording shows them.
UNUSED = re.compile(
    r"/(?:src\.zip|ct\.sym|classes_nocoops\.jsa|libawt_xawt\.so|libjawt\.so|libsplashscreen\.so|libsaproc\.so|jrt-fs\.jar"
    r"|libattach\.so|libjdwp\.so|libdt_socket\.so|jexec)$|\.(?:debuginfo|diz|a)$"
)
LARGEST = 1 << 20


class JavaRule(Rule):
    """The JDK's or JRE's lib and conf, jars that command lines and manifests name."""

    name = "java"
    level = Level.REACHABLE

    def __init__(self) -> None:
        self._homes: set[str] = set()
        self._jars: set[str] = set()

    def begin(self, view: View) -> Iterable[Need]:
        lines = [view.application.argv, *view.recording.commands]
        variables = [*(view.application.env or {}).items()]
        variables += [pair for each in view.recording.executions for pair in each.environment]
        for name, value in variables:
            if name == "CLASSPATH":
                yield from self._class_path(value, view, "CLASSPATH")
            elif name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_OPTS"):
                lines.append(tuple(value.split()))
        for line in lines:
            for word, following in itertools.pairwise((*line, "")):
                if word in ("-cp", "-classpath", "--class-path", "-p", "--module-path", "-jar"):
                    yield from self._class_path(following, view, f"{word} of the command line")
                elif word.startswith(("--class-path=", "--module-path=")):
                    yield from self._class_path(word.partition("=")[2], view, "the command line")
                elif word.startswith(("-javaagent:", "-agentpath:", "-Xbootclasspath/a:")):
                    value = word.partition(":")[2]
                    yield from self._class_path(value.partition("=")[0], view, "the command line")

    def _class_path(self, value: str, view: View, by: str) -> Iterator[Need]:
        reason = Reason(self.name, f"on the class path given by {by}")
        for part in value.split(":"):
            place = part if part.startswith("/") else posixpath.normpath(f"{view.application.workdir}/{part}")
            if part.endswith("*"):
                directory = posixpath.dirname(place)
                for name in view.root.children(view.root.resolve(directory).path):
                    if name.lower().endswith(".jar"):
                        yield Need(f"{directory}/{name}", reason)
            elif part:
                yield Need(place, reason, tree=True)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        found = RUNTIME.match(entry.path)
        if found is not None:
            yield from self._runtime(found[1].removesuffix("/jre"), entry.path, view)
            yield from self._runtime(found[1], entry.path, view)
        elif entry.path.lower().endswith((".jar", ".war")):
            yield from self._manifest(entry, view)

    def _runtime(self, home: str, path: str, view: View) -> Iterator[Need]:
        if home in self._homes or not any(
            view.root.find(f"{home}/{sign}") is not None
            for sign in ("release", "lib/modules", "lib/rt.jar", "jre/lib/rt.jar")
        ):
            return
        self._homes.add(home)
        reason = Reason(self.name, f"part of the Java runtime at {home}", path)
        for name in ("release", "bin/java", "jre/bin/java"):
            yield Need(f"{home}/{name}", reason)
        for top in ("lib", "conf", "jre/lib"):
            for entry in self._walk(view.root.resolve(f"{home}/{top}").path, view):
                yield Need(entry.path, reason)

    def _walk(self, top: str, view: View) -> Iterator[Entry]:
        for entry in view.root.walk(top):
            if UNUSED.search(entry.path):
                continue
            if entry.type is FileType.SYMLINK:  # Debian's conf and security are links into /etc
                target = view.root.find(entry.path)
                if target is not None and target.type is FileType.DIRECTORY and not target.path.startswith(f"{top}/"):
                    yield entry
                    yield from (each for each in view.root.walk(target.path))
                    continue
            yield entry

    def _manifest(self, entry: Entry, view: View) -> Iterator[Need]:
        """The jars that a jar's manifest names: URLs relative to its own (JAR specification, "Class-Path")."""
        if entry.path in self._jars:
            return
        self._jars.add(entry.path)
        here = posixpath.dirname(entry.path)
        for name in _class_path_of(entry, view):
            place = urllib.parse.unquote(name.removeprefix("file:"))
            target = place if place.startswith("/") else posixpath.normpath(f"{here}/{place}")
            yield Need(
                target, Reason(self.name, f"on the Class-Path of {entry.path}", entry.path), tree=place.endswith("/")
            )


def _class_path_of(entry: Entry, view: View) -> list[str]:
    try:
        with unzipped(view.root, entry.path) as jar, jar.open("META-INF/MANIFEST.MF") as member:
            text = member.read(LARGEST).decode("utf-8", "replace")
    except SlimmerError:
        return []
    text = re.sub(r"\r?\n ", "", text)  # continuation lines begin with a blank
    found = re.search(r"^Class-Path:[ \t]*(.*?)[ \t]*\r?$", text, re.M | re.I)
    return found[1].split() if found else []
