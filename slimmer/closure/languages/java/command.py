"""A command line of the Java launcher as data: class path, module path, jar, main class, and files that options name.

java -cp "lib/*:conf" Main      java -jar app.jar      java -p mods -m shop/shop.Main      java @options
Source: java(1), "Standard Options", "Using the JDK_JAVA_OPTIONS Launcher Environment Variable" and "java Command-Line
Argument Files".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

LAUNCHER = re.compile(r"(?:java|javaw|jdb|jsvc|jshell)")
# Variables from which the launcher, the machine or a start script takes options.
OPTIONS = re.compile(r"_?(?:JAVA|JDK|JVM|[A-Z]+_JAVA)(?:_\w+)?|[A-Z_]*(?:JVM|JAVA|_)?(?:OPTS|OPTIONS|FLAGS)")
CLASS_PATH = frozenset({"-cp", "-classpath", "--class-path"})
MODULE_PATH = frozenset({"-p", "--module-path", "--upgrade-module-path"})
# Options with a value of their own that names no file.
VALUED = frozenset(
    {"--add-modules", "--add-reads", "--add-exports", "--add-opens", "--limit-modules", "-d", "--source"}
)
DIRECTORIES = frozenset({"java.ext.dirs", "java.endorsed.dirs"})
LIBRARIES = frozenset(
    {"java.library.path", "jna.library.path", "jna.boot.library.path", "jna.platform.library.path"}
    | {"org.lwjgl.librarypath", "sun.boot.library.path"}
)
MOST = 64 << 10  # characters of an argument file
DEEPEST = 4  # argument files that name others


@dataclass(slots=True)
class JavaCommand:
    """What the words say; paths as they stand there. `jars` are agents too."""

    class_path: list[str] = field(default_factory=list)
    module_path: list[str] = field(default_factory=list)
    jar: str = ""
    main: str = ""
    module: str = ""
    jars: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)  # whose jars are all on the class path
    libraries: list[str] = field(default_factory=list)  # directories with native libraries
    files: list[str] = field(default_factory=list)


def read_command(arguments: Sequence[str], text_of: Callable[[str], str]) -> JavaCommand:
    """Read what follows the launcher's name. `text_of` reads an argument file, "" where there is none."""
    found = JavaCommand()
    pending = [*_expanded(arguments, found, text_of, 0)][::-1]
    while pending:
        word = pending.pop()
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            if not found.jar and not found.module:
                found.main = word
            break
        if word in CLASS_PATH | MODULE_PATH | VALUED | {"-jar", "--patch-module", "-m", "--module"}:
            name, value = word, pending.pop() if pending else ""
        elif not equals:
            value = ""
        if name == "-jar":
            found.jar = value
        elif name in CLASS_PATH:
            found.class_path += _parts(value)
        elif name in MODULE_PATH:
            found.module_path += _parts(value)
        elif name == "--patch-module":
            found.class_path += _parts(value.partition("=")[2])
        elif name in ("-m", "--module"):
            found.module = value
        else:
            _option(word, found)
        if name in ("-jar", "-m", "--module"):
            break
    return found


def _expanded(words: Sequence[str], found: JavaCommand, text_of: Callable[[str], str], depth: int) -> Iterator[str]:
    for word in words:
        if not word.startswith("@") or len(word) < 2:
            yield word
        elif word.startswith("@@"):
            yield word[1:]
        elif depth < DEEPEST:
            found.files.append(word[1:])
            yield from _expanded(split_options(text_of(word[1:])[:MOST]), found, text_of, depth + 1)


def split_options(text: str) -> list[str]:
    """The words of a text of options: quotes of both kinds, and comments to the end of a line."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _option(word: str, found: JavaCommand) -> None:
    if word.startswith("-javaagent:"):
        found.jars.append(word[11:].partition("=")[0])
    elif word.startswith("-agentpath:"):
        found.files.append(word[11:].partition("=")[0])
    elif word.startswith("-Xbootclasspath"):
        found.class_path += _parts(word.partition(":")[2])
    elif word.startswith("-D"):
        name, _, value = word[2:].partition("=")
        if name in DIRECTORIES:
            found.directories += _parts(value)
        elif name in LIBRARIES:
            found.libraries += _parts(value)
        elif name == "java.class.path":
            found.class_path += _parts(value)
        elif name == "loader.path":  # Spring Boot's PropertiesLauncher: directories and archives, by commas
            found.directories += value.split(",")
        elif (path := value.removeprefix("file:")).startswith("/"):
            found.files.append(re.sub(r"^/+", "/", path))
    elif re.match(r"-XX:[A-Za-z]+=/", word):
        found.files.append(word.partition("=")[2])


def _parts(value: str) -> list[str]:
    return [each for each in value.split(":") if each]
