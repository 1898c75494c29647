"""What the Java runtime of a root is and was told to run: its native libraries, its machine, its main classes."""

from __future__ import annotations

import posixpath

from slimmer.closure.commands.search import Libraries, Programs, head
from slimmer.closure.languages.base import Environment
from slimmer.closure.languages.java.archive import manifest_of, own_packages, start_class
from slimmer.closure.languages.java.command import LAUNCHER, read_command
from slimmer.closure.model import View
from slimmer.elf.file import is_elf
from slimmer.errors import SlimmerError
from slimmer.root.zips import unzipped


def native_libraries(view: View, environment: Environment) -> Libraries:
    """Libraries where the runtime looks for them: Debian's default java.library.path, and LD_LIBRARY_PATH before it."""
    jni = ["/usr/java/packages/lib", "/usr/lib/jni"]
    jni += [f"/usr/lib/{each}/jni" for each in view.root.children("/usr/lib") if "-linux-" in each]
    return Libraries(view, (*environment.directories("LD_LIBRARY_PATH"), *jni))


def launchers(view: View, environment: Environment) -> tuple[str, ...]:
    """Paths at which the root has `java`, as a search or JAVA_HOME would find it."""
    programs = Programs(view)
    homes = [f"{each}/bin/java" for each in environment.directories("JAVA_HOME", "JRE_HOME")]
    return (*(each for each in homes if programs.is_program(each)), *programs.find("java"))


def machine(view: View, environment: Environment) -> tuple[int, int] | None:
    """ELF's number of the machine that the launcher was made for, and its bits; None where there is no telling."""
    for path in launchers(view, environment):
        entry = view.root.find(path)
        start = head(entry, view, 20) if entry is not None else b""
        if len(start) == 20 and is_elf(start[:16]):
            return int.from_bytes(start[18:20], "little" if start[5] == 1 else "big"), 64 if start[4] == 2 else 32
    return None


def own_code(view: View, environment: Environment) -> tuple[str, ...]:
    """The packages of the main classes that command lines start, by name or as an archive's: the application's own."""
    mains: dict[str, None] = {}
    for line in environment.lines:
        at = next((at for at, word in enumerate(line) if LAUNCHER.fullmatch(posixpath.basename(word))), None)
        command = read_command(line[at + 1 :], lambda path: "") if at is not None else None
        if command is None:
            continue
        if command.jar:
            for base in environment.workdirs:
                try:
                    with unzipped(view.root, posixpath.join(base, command.jar)) as archive:
                        fields = manifest_of(archive)
                except SlimmerError:
                    continue
                mains[start_class(fields) or fields.get("main-class", "")] = None
                break
        else:
            mains[command.main or command.module.rpartition("/")[2]] = None
    return tuple(sorted({each for main in mains for each in own_packages(main)}))
