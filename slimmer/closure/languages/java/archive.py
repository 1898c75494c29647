"""A jar as data: what its manifest, its service files, its classes and its native libraries name outside of it.

What stands inside it as archives is `nested`'s matter.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slimmer.closure.languages.java.constants import BUDGET, LARGEST, LIBRARY, WORTH, Constants, constants, pool
from slimmer.elf.file import ElfError, is_elf, parse
from slimmer.errors import SlimmerError
from slimmer.facts.remember import remembered
from slimmer.root.zips import unpacked

if TYPE_CHECKING:
    import zipfile

LARGEST_JAR = 96 << 20  # bytes of a jar that is read whole
LARGEST_SETTINGS = 256 << 10
LARGEST_LIBRARY = 64 << 20
LIBRARIES = 256 << 20  # bytes of the native libraries of one archive
MANIFEST = "META-INF/MANIFEST.MF"
STARTED = ("start-class", "one-jar-main-class", "application-class")
# Where a Spring Boot jar and a web application hold the application's own classes.
OWN = re.compile(r"(?:BOOT-INF|WEB-INF)/classes/")
SERVICES = re.compile(r"(?:(?:BOOT-INF|WEB-INF)/classes/)?META-INF/services/[\w.$]+$")
MODULE = re.compile(r"(?:META-INF/versions/\d+/)?module-info\.class$")
CLASS_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*")
# A class without any of these loads no library, and need not be read.
LOADS = re.compile(rb"loadLibrary|com/sun/jna/|SymbolLookup|jnr/ffi/")
# Where data lies that a class may name; programs and devices are no data.
DATA = re.compile(rb"/(?:etc|opt|usr/(?:local/)?(?:share|lib)|var/lib)/[\w./+-]{2,120}")
# Spring's, MicroProfile's and Micronaut's settings, and those of loggers: at the top of the class path, or one below.
SETTINGS = re.compile(
    r"^(?:(?:BOOT-INF|WEB-INF)/classes/)?(?:[\w-]{1,80}+/)?[\w.-]{1,100}\.(?:properties|ya?ml|conf|json|toml)$"
)
NATIVE = re.compile(r"\.so(?:\.\d+)*$")
TEXT = re.compile(r"[\w./+-][^\0\n]{0,999}")
MOST_TEXTS = 400  # of one class; what has more is a table


@dataclass(frozen=True, slots=True)
class Said:
    """What a class says that starts programs, loads libraries or names absolute paths, or is the application's own."""

    found: Constants
    own: bool = False


@dataclass(frozen=True, slots=True)
class Native:
    """A shared library inside an archive: for which machine (ELF's numbers), and what it needs of the system."""

    name: str
    machine: int
    bits: int
    needed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Jar:
    """Class names are as Java spells them. `absent`: providers that the jar names and does not hold."""

    main: str = ""
    class_path: tuple[str, ...] = ()  # of its manifest, as URLs
    providers: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()  # words of classes that load libraries: names of libraries are among them
    data: tuple[str, ...] = ()  # absolute paths
    start: str = ""  # the application's main class where `main` is a loader of archives inside this one
    classes: tuple[Said, ...] = ()
    natives: tuple[Native, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()  # the application's own: name and text


@remembered
def read_jar(content: bytes, own: tuple[str, ...] = ()) -> Jar:
    """What a jar says; what is no archive says nothing. `own`: the application's packages (`own_packages`)."""
    try:
        with unpacked(content, "a jar") as archive:
            return jar_of(archive, own)
    except SlimmerError:
        return Jar()


def class_names(archive: zipfile.ZipFile) -> frozenset[str]:
    """The classes that a jar holds, those of the web application or the boot jar that it is too."""
    return frozenset(
        re.sub(r"^(?:(?:BOOT-INF|WEB-INF)/classes|META-INF/versions/\d+)/", "", name)[:-6].replace("/", ".")
        for name in archive.namelist()
        if name.endswith(".class")
    )


def start_class(fields: Mapping[str, str]) -> str:
    """The application's main class where Main-Class only loads it: in manifests of Spring Boot, One-JAR, Capsule."""
    return next((fields[name] for name in STARTED if fields.get(name)), "")


def own_packages(main: str) -> tuple[str, ...]:
    """The packages that are the application's own by its main class, as the beginning of members' names.

    `com.example.shop.web.Main` speaks for com.example.shop: names of packages begin with two of a domain (JLS 6.1).
    """
    parts = main.split(".")[:-1][:3]
    return ("/".join(parts) + "/",) if parts else ()


def manifest_of(archive: zipfile.ZipFile) -> dict[str, str]:
    """The main section of an archive's manifest; empty where it has none."""
    if MANIFEST not in archive.namelist():
        return {}
    with archive.open(MANIFEST) as stream:
        return manifest_fields(stream.read(LARGEST))


def jar_of(archive: zipfile.ZipFile, own: tuple[str, ...] = ()) -> Jar:
    """The same of an archive that is open. Raises what zipfile raises."""
    fields = manifest_of(archive)
    main, start = fields.get("main-class", ""), start_class(fields)
    held = class_names(archive)
    providers: dict[str, None] = {}
    classes: list[Said] = []
    helpers: set[str] = set()  # own classes that start programs
    natives: list[Native] = []
    settings: list[tuple[str, str]] = []
    data: dict[str, None] = {}
    left, libraries_left = BUDGET, LIBRARIES
    for member in archive.infolist():
        name = member.filename
        if NATIVE.search(name) and member.file_size <= min(LARGEST_LIBRARY, libraries_left):
            libraries_left -= member.file_size
            natives += _native(name, archive.read(member))
        if member.file_size > min(LARGEST, left):
            continue
        if SERVICES.fullmatch(name):
            providers.update(dict.fromkeys(_named(archive.read(member))))
        elif MODULE.fullmatch(name):
            # `provides S with P`: the provider is a class of the module itself (JLS 7.7.4).
            named = (each.replace("/", ".") for each in pool(archive.read(member)).classes)
            providers.update(dict.fromkeys(each for each in named if each in held and each != "module-info"))
        elif name.endswith(".class"):
            left -= member.file_size
            content = archive.read(member)
            mine = _is_own(name, own)
            data.update(dict.fromkeys(each.decode() for each in DATA.findall(content)))
            if mine or WORTH.search(content):
                found = constants(content)
                classes += _said(found, own=mine)
                if mine and found.starts:
                    helpers.add(found.name)
        elif SETTINGS.fullmatch(name) and member.file_size <= LARGEST_SETTINGS and (OWN.match(name) or not start):
            settings.append((name, archive.read(member).decode("utf-8", "replace")))
    libraries = dict.fromkeys(
        each for said in classes if said.found.loads for each in said.found.texts if LIBRARY.fullmatch(each)
    )
    return Jar(
        main,
        tuple(fields.get("class-path", "").split()),
        tuple(providers),
        tuple(each for each in providers if each not in held),
        tuple(libraries),
        tuple(data),
        start,
        tuple(handed(said, helpers) for said in classes),
        tuple(natives),
        tuple(settings) if start or any(said.own for said in classes) else (),
    )


def _is_own(name: str, own: tuple[str, ...]) -> bool:
    return OWN.match(name) is not None or name.startswith(own)


def _said(found: Constants, *, own: bool) -> Iterator[Said]:
    """What of a class may matter: of the application's own all texts, of others what stands beside a start."""
    texts = [each for each in found.texts if TEXT.fullmatch(each)][:MOST_TEXTS]
    if not (own or found.starts or found.loads):
        texts = [each for each in texts if each.startswith("/") and each.count("/") > 1]
    if texts:
        yield Said(replace(found, texts=tuple(texts)), own)


def handed(said: Said, helpers: Collection[str]) -> Said:
    """A class starts what it hands to one of the classes that start programs: `Shell.run("convert", in, out)`."""
    starts = said.found.starts or (said.own and not set(said.found.uses).isdisjoint(helpers))
    return replace(said, found=replace(said.found, starts=starts, uses=()))


def _native(name: str, content: bytes) -> Iterator[Native]:
    if is_elf(content[:16]):
        try:
            file = parse(io.BytesIO(content), name)
        except ElfError:
            return
        yield Native(name, file.machine, file.bits, file.needed)


def manifest_fields(text: bytes) -> dict[str, str]:
    """The main section of a manifest, by names in small letters (JAR specification, "Main Attributes")."""
    joined = re.sub(r"\r?\n ", "", text.decode("utf-8", "replace"))  # continuation lines begin with a blank
    fields: dict[str, str] = {}
    for line in re.split(r"\r?\n|\r", re.split(r"(?:\r?\n){2}|\r\r", joined.lstrip("\ufeff"), maxsplit=1)[0]):
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields


def _named(text: bytes) -> Iterator[str]:
    """The provider classes of a service file, a line each (java.util.ServiceLoader)."""
    for line in text.decode("utf-8", "replace").splitlines():
        name = line.partition("#")[0].strip()
        if CLASS_NAME.fullmatch(name):
            yield name
