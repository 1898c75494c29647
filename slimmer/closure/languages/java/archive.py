"""A jar as data: what its manifest, its service files and the constants of its classes name outside of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.closure.languages.java.constants import BUDGET, LARGEST, LIBRARY, constants, pool
from slimmer.errors import SlimmerError
from slimmer.facts.remember import remembered
from slimmer.root.zips import unpacked

if TYPE_CHECKING:
    import zipfile

LARGEST_JAR = 96 << 20  # bytes of a jar that is read whole
MANIFEST = "META-INF/MANIFEST.MF"
SERVICES = re.compile(r"(?:(?:BOOT-INF|WEB-INF)/classes/)?META-INF/services/[\w.$]+$")
MODULE = re.compile(r"(?:META-INF/versions/\d+/)?module-info\.class$")
CLASS_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*")
# A class without any of these loads no library, and need not be read.
LOADS = re.compile(rb"loadLibrary|com/sun/jna/|SymbolLookup|jnr/ffi/")
# Where data lies that a class may name; programs and devices are no data.
DATA = re.compile(rb"/(?:etc|opt|usr/(?:local/)?(?:share|lib)|var/lib)/[\w./+-]{2,120}")


@dataclass(frozen=True, slots=True)
class Jar:
    """Class names are as Java spells them. `absent`: providers that the jar names and does not hold."""

    main: str = ""
    class_path: tuple[str, ...] = ()  # of its manifest, as URLs
    providers: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()  # words of classes that load libraries: names of libraries are among them
    data: tuple[str, ...] = ()  # absolute paths


@remembered
def read_jar(content: bytes) -> Jar:
    """What a jar says. What is no archive says nothing."""
    try:
        with unpacked(content, "a jar") as archive:
            return _jar(archive)
    except SlimmerError:
        return Jar()


def class_names(archive: zipfile.ZipFile) -> frozenset[str]:
    """The classes that a jar holds, those of the web application or the boot jar that it is too."""
    return frozenset(
        re.sub(r"^(?:(?:BOOT-INF|WEB-INF)/classes|META-INF/versions/\d+)/", "", name)[:-6].replace("/", ".")
        for name in archive.namelist()
        if name.endswith(".class")
    )


def _jar(archive: zipfile.ZipFile) -> Jar:
    names = archive.namelist()
    fields: dict[str, str] = {}
    if MANIFEST in names:
        with archive.open(MANIFEST) as stream:
            fields = manifest_fields(stream.read(LARGEST))
    held = class_names(archive)
    providers: dict[str, None] = {}
    libraries: dict[str, None] = {}
    data: dict[str, None] = {}
    left = BUDGET
    for member in archive.infolist():
        if member.file_size > min(LARGEST, left):
            continue
        if SERVICES.fullmatch(member.filename):
            providers.update(dict.fromkeys(_named(archive.read(member))))
        elif MODULE.fullmatch(member.filename):
            # `provides S with P`: the provider is a class of the module itself (JLS 7.7.4).
            classes = (each.replace("/", ".") for each in pool(archive.read(member)).classes)
            providers.update(dict.fromkeys(each for each in classes if each in held and each != "module-info"))
        elif member.filename.endswith(".class"):
            left -= member.file_size
            content = archive.read(member)
            if LOADS.search(content):
                found = constants(content)
                libraries.update(dict.fromkeys(each for each in found.texts if found.loads and LIBRARY.fullmatch(each)))
            data.update(dict.fromkeys(each.decode() for each in DATA.findall(content)))
    return Jar(
        fields.get("main-class", ""),
        tuple(fields.get("class-path", "").split()),
        tuple(providers),
        tuple(each for each in providers if each not in held),
        tuple(libraries),
        tuple(data),
    )


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
