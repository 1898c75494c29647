"""Java: the runtime's own directory as a unit; class paths of command lines, start scripts, manifests and listings."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.commands.search import head
from slimmer.closure.commands.shebang import BUFFER, parse_shebang
from slimmer.closure.commands.wrappers import SHELLS
from slimmer.closure.languages.base import NOTHING, Environment, LanguageRule
from slimmer.closure.languages.java.class_path import ClassPaths
from slimmer.closure.languages.java.command import LAUNCHER, OPTIONS, split_options
from slimmer.closure.languages.java.runtime import launchers
from slimmer.closure.languages.java.scripts import ABOUT_JAVA, class_path
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.model import Need, Omission, Reason, View
from slimmer.closure.profiles.drops import Drops
from slimmer.closure.profiles.load import Profile
from slimmer.root.model import Entry, FileType
from tracer.recording import Kind

RUNTIME = re.compile(r"(.*)/(?:bin/java|lib/(?:\w+/)?(?:server|client|minimal)/libjvm\.so|lib/(?:jli/)?libjli\.so)$")
SCRIPT = re.compile(r"\.(?:sh|bash|ksh)$")
# Settings that start scripts source: no suffix of another language, and small.
SETTINGS = re.compile(r"^/etc/[\w./+-]*$|/(?:bin|conf|etc|libexec)/[\w+-]+(?:\.(?:conf|env|cfg|in|options))?$")
OTHERS = re.compile(r"\.(?:xml|json|ya?ml|properties|pem|crt|py|pl|rb|so[\d.]*|md|txt|html?|jar|policy|security)$")
LARGEST = 256 << 10  # bytes of a start script


def java_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """Needs of a launcher's arguments in a command line, wherever that stands."""
    paths = ClassPaths(view, Environment.of(view), "java")
    yield from paths.command(paths.read(split_options(text)), Reason("java", reason.text, reason.needed_by))


class JavaRule(LanguageRule):
    """The JDK's or JRE's lib and conf, what command lines and start scripts put on class paths."""

    name = "java"

    def __init__(self, inline: Mapping[str, Embedded] = NOTHING, profiles: Sequence[Profile] | None = None) -> None:
        super().__init__(inline, profiles)
        self._homes: set[str] = set()

    def begin(self, view: View) -> Iterable[Need]:
        yield from super().begin(view)
        self._paths = ClassPaths(view, self._environment, self.name)
        self._drops = Drops(self._profiles)
        self._present = bool(launchers(view, self._environment))
        self._known_variables = tuple(
            (name, value) for name, value in self._environment.variables if value.startswith("/") and ":" not in value
        )
        yield from self._started_with(view)
        yield from self._listed(view)

    def _started_with(self, view: View) -> Iterator[Need]:
        for name, value in self._environment.variables:
            if name == "CLASSPATH":
                for part in value.split(":"):
                    yield from self._paths.part(part, Reason(self.name, "on the class path given by CLASSPATH"))
            elif OPTIONS.fullmatch(name):
                reason = Reason(self.name, f"named by the Java options in {name}")
                options = [each for each in split_options(value) if each.startswith(("-", "@"))]
                yield from self._paths.command(self._paths.read(options), reason)
        reason = Reason(self.name, "on the class path given by the command line")
        for line in self._environment.lines:
            at = next((at for at, word in enumerate(line) if LAUNCHER.fullmatch(posixpath.basename(word))), None)
            if at is not None:
                yield from self._paths.command(self._paths.read(line[at + 1 :]), reason)

    def _listed(self, view: View) -> Iterator[Need]:
        """A launcher that lists a directory and opens an archive in it has all of them on a class path.

        So do the launcher's own wildcards and the class loaders of containers and build tools; which of the archives
        they open is a matter of what is asked first.
        """
        listed: dict[str, str] = {}
        opened: set[str] = set()
        for access in view.recording.accesses:
            if any(LAUNCHER.fullmatch(posixpath.basename(each)) for each in access.by):
                if Kind.LIST in access.kinds:
                    listed.setdefault(view.root.resolve(access.path).path, access.path)
                if Kind.READ in access.kinds and access.path.lower().endswith(".jar"):
                    opened.add(view.root.resolve(posixpath.dirname(access.path)).path)
        for place in sorted(opened & listed.keys()):
            reason = Reason(self.name, f"in {place}, which the run listed and loaded archives from")
            yield from self._paths.part(f"{place}/*", reason)

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if entry.type is not FileType.FILE:
            return
        found = RUNTIME.match(entry.path)
        if found is not None:
            yield from self._runtime(found[1].removesuffix("/jre"), entry.path, view)
            yield from self._runtime(found[1], entry.path, view)
        elif self._present and 0 < entry.size <= LARGEST and self._is_start_script(entry, view):
            source = head(entry, view, LARGEST)
            if ABOUT_JAVA.search(source) and b"\0" not in source:
                yield from self._paths.script(class_path(source, entry.path, self._known_variables), entry.path)

    def _is_start_script(self, entry: Entry, view: View) -> bool:
        if SCRIPT.search(entry.path):
            return True
        if entry.executable:
            shebang = parse_shebang(head(entry, view, BUFFER))
            return shebang is not None and (shebang.program in SHELLS or shebang.program == "busybox")
        return SETTINGS.search(entry.path) is not None and not OTHERS.search(entry.path)

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
        if system_owner(path, view) is None:  # a system's package has its licence elsewhere
            for name in ("legal/java.base", "LICENSE", "NOTICE"):
                yield Need(
                    f"{home}/{name}", Reason("licence", f"licence of the Java runtime at {home}", path), tree=True
                )
        for top in ("lib", "conf", "jre/lib"):
            for entry in self._walk(view.root.resolve(f"{home}/{top}").path, home, view):
                yield Need(entry.path, reason)

    def _walk(self, top: str, home: str, view: View) -> Iterator[Entry]:
        for entry in view.root.walk(top):
            dropped = self._drops.of_language(self.name, entry.path, home, view.root)
            if dropped is not None:
                view.left_out(Omission(dropped.why, entry.path))
                continue
            if entry.type is FileType.SYMLINK:  # Debian's conf and security are links into /etc
                target = view.root.find(entry.path)
                if target is not None and target.type is FileType.DIRECTORY and not target.path.startswith(f"{top}/"):
                    yield entry
                    yield from (each for each in view.root.walk(target.path))
                    continue
            yield entry
