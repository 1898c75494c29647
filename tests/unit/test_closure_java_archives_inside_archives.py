"""One archive that is a whole Java application: what its classes, libraries and settings need of the system."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimmer.closure.languages.java.classes import JavaClassesRule
from slimmer.closure.languages.java.jars import JavaArchivesRule
from slimmer.closure.languages.java.nested import read_whole
from slimmer.closure.languages.java.rule import JavaRule
from slimmer.closure.model import Application
from slimmer.packages.index import index
from slimmer.packages.java import artifacts
from slimmer.root.directory import DirectoryRoot
from slimmer.root.zips import Allowance, inside, unpacked
from tests.support import plant
from tests.support_elf import ARCHES, NEEDED, elf, program
from tests.unit.closures import closure, kept

Tree = dict[str, str | bytes | None]
RULES = (JavaRule, JavaArchivesRule, JavaClassesRule)
APP = "/srv/shop.jar"
BUILDER, RUNTIME = "java/lang/ProcessBuilder", "java/lang/Runtime"


def made(name: str, *texts: str, uses: str = "java/lang/Object") -> bytes:
    """A class of this name as far as its header: string constants, and a class that it refers to."""
    pool, number = [], 1
    for tag, text in ((7, name), (7, uses), *((8, text) for text in texts)):
        raw = text.encode()
        pool += [struct.pack(">BH", tag, number + 1), b"\x01" + struct.pack(">H", len(raw)) + raw]
        number += 2
    return b"\xca\xfe\xba\xbe\0\0\0\x3d" + struct.pack(">H", number) + b"".join(pool) + struct.pack(">HH", 0x21, 1)


def archive(members: Mapping[str, str | bytes], manifest: str = "") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made_:
        made_.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\r\n{manifest}")
        for name, content in members.items():
            made_.writestr(name, content)
    return stream.getvalue()


def boot(members: Mapping[str, str | bytes], **libraries: bytes) -> bytes:
    """A Spring Boot jar."""
    inner = {f"BOOT-INF/lib/{name}.jar": content for name, content in libraries.items()}
    manifest = (
        "Main-Class: org.springframework.boot.loader.launch.JarLauncher\r\nStart-Class: com.example.shop.Main\r\n"
    )
    return archive({**members, **inner}, manifest)


SYSTEM: Tree = {
    "/usr/bin/java": "#755 x",
    "/usr/bin/convert": "#755 c",
    "/usr/bin/file": "#755 f",
    "/usr/bin/sqlite3": "#755 s",
    "/usr/bin/heavy": "#755 h",
    "/usr/bin/gs": "#755 g",
    "/usr/lib/libonly.so.1": b"o",
    "/usr/lib/libarm.so.1": b"a",
    "/opt/shop/rates": "r",
    "/opt/shop/other": "o",
}


def found(tmp: Path, content: bytes, **more: object) -> set[str]:
    tree = {**SYSTEM, APP: content, **more.pop("tree", {})}  # type: ignore[dict-item]
    return kept(tmp, tree, APP, rules=RULES, **more) - {APP}


SHELL = made("com/example/shop/Shell", uses=BUILDER)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # The application's own: names that it hands to its own class that starts programs.
        (
            boot(
                {
                    "BOOT-INF/classes/com/example/shop/Shell.class": SHELL,
                    "BOOT-INF/classes/com/example/shop/Web.class": made("W", "file", uses="com/example/shop/Shell"),
                }
            ),
            {"/usr/bin/file"},
        ),
        # `file` is a word of English: nothing says that this class starts programs.
        (boot({"BOOT-INF/classes/com/example/shop/Web.class": made("W", "file", "/opt/shop")}), set()),
        # A command line is one wherever it stands in the application's own code, its modules among the libraries too,
        (boot({"BOOT-INF/classes/x/Web.class": made("W", "convert -resize 10 -")}), {"/usr/bin/convert"}),
        (
            boot({}, web=archive({"com/example/shop/web/A.class": made("A", "convert -resize 10 -")})),
            {"/usr/bin/convert"},
        ),
        # and is none in somebody else's that starts nothing.
        (boot({}, other=archive({"org/other/A.class": made("A", "convert -resize 10 -")})), set()),
        (boot({}, other=archive({"org/other/A.class": made("A", "sqlite3", uses=RUNTIME)})), {"/usr/bin/sqlite3"}),
        (boot({}, other=archive({"org/other/A.class": made("A", "/opt/shop/rates")})), {"/opt/shop/rates"}),
        # Settings: command lines and files; texts of a library are none.
        (
            boot({"BOOT-INF/classes/application.yml": "shop:\n  ps: gs -q -dBATCH\n  rates: file:/opt/shop/rates\n"}),
            {"/usr/bin/gs", "/opt/shop/rates"},
        ),
        (boot({}, other=archive({"other.properties": "a=gs -q -dBATCH\nb=/opt/shop/rates\n"})), set()),
        # A native library of a library: for this machine.
        (
            boot(
                {},
                native=archive(
                    {
                        "linux/x86_64/libn.so": elf((NEEDED, "libonly.so.1"), (NEEDED, "libgone.so.1")),
                        "linux/aarch64/libn.so": elf((NEEDED, "libarm.so.1"), arch=ARCHES["arm64"]),
                        "linux/damaged/libn.so": b"\x7fELF and nothing else",
                    }
                ),
            ),
            {"/usr/lib/libonly.so.1"},
        ),
        # An EAR's WAR's library, and no deeper.
        (
            archive(
                {
                    "shop.war": archive(
                        {
                            "WEB-INF/classes/A.class": made("A", "gs -q -dBATCH"),
                            "WEB-INF/lib/a.jar": archive(
                                {
                                    "org/A.class": made("A", "sqlite3", uses=RUNTIME),
                                    "deep.jar": archive({"B.class": made("B", "convert", uses=RUNTIME)}),
                                }
                            ),
                        }
                    )
                }
            ),
            {"/usr/bin/gs", "/usr/bin/sqlite3"},
        ),
    ],
)
def test_what_one_archive_needs(content: bytes, expected: set[str], tmp_path: Path) -> None:
    tree: Tree = {"/usr/bin/java": "#755 " + program()[:64].decode()}
    assert found(tmp_path, content, tree=tree) == expected


def test_the_package_of_a_main_class_is_the_applications_own_in_a_shaded_archive(tmp_path: Path) -> None:
    members = {
        "com/example/shop/web/A.class": made("A", "convert -resize 10 -"),
        "org/other/B.class": made("B", "gs -q -dBATCH"),
    }
    content = archive(members, "Main-Class: com.example.shop.Main\r\n")
    started = Application(argv=("java", "-jar", "shop.jar"), workdir="/srv")
    assert found(tmp_path / "a", content, application=started) == {"/usr/bin/convert"}
    by_name = Application(argv=("java", "-cp", "/srv/shop.jar", "org.other.tool.Main"), workdir="/")
    assert found(tmp_path / "b", content, application=by_name) == set()


@pytest.mark.parametrize("field", ["One-Jar-Main-Class", "Application-Class"])
def test_other_loaders_name_the_applications_main_class_too(field: str, tmp_path: Path) -> None:
    inner = archive({"com/example/shop/A.class": made("A", "convert -resize 10 -")})
    content = archive({"main/main.jar": inner}, f"Main-Class: loader.Boot\r\n{field}: com.example.shop.Main\r\n")
    assert found(tmp_path, content) == {"/usr/bin/convert"}


def test_classes_in_directories_hand_names_to_each_other_too(tmp_path: Path) -> None:
    top = "/srv/app/BOOT-INF/classes/com/example/shop"
    tree: Tree = {
        **SYSTEM,
        f"{top}/Web.class": made("com/example/shop/Web", "file", uses="com/example/shop/Shell"),
        f"{top}/Shell.class": SHELL,
    }
    assert kept(tmp_path, tree, f"{top}/Web.class", f"{top}/Shell.class", rules=RULES) == {
        f"{top}/Web.class",
        f"{top}/Shell.class",
        "/usr/bin/file",
    }


def test_a_dear_program_of_somebody_elses_class_is_a_warning(tmp_path: Path) -> None:
    heavy = "#755 " + "h" * 3_000_000
    other = archive({"org/other/A.class": made("A", "heavy", uses=BUILDER)})
    root = DirectoryRoot(str(plant(tmp_path, {**SYSTEM, "/usr/bin/heavy": heavy, APP: boot({}, other=other)})))
    grown = closure(root, [APP], RULES)
    assert "/usr/bin/heavy" not in grown.paths
    assert [each.kind for each in grown.warnings] == ["command"]


def test_providers_are_looked_for_inside_first_and_beside_then(tmp_path: Path) -> None:
    services = {"META-INF/services/shop.Till": "org.till.Drawer\norg.plug.Card\n"}
    content = boot({}, api=archive(services), till=archive({"org/till/Drawer.class": made("D")}))
    tree: Tree = {
        "/srv/drawer.jar": archive({"org/till/Drawer.class": made("D")}),
        "/srv/card.jar": archive({"org/plug/Card.class": made("C")}),
    }
    assert found(tmp_path, content, tree=tree) == {"/srv/card.jar"}


def test_a_damaged_archive_inside_is_said_and_the_rest_is_read(tmp_path: Path) -> None:
    good = archive({"org/A.class": made("A", "sqlite3", uses=RUNTIME)})
    poms = {"META-INF/maven/org/good/pom.properties": "groupId=org\nartifactId=good\nversion=1\n"}
    content = boot({}, bad=b"PK\x03\x04 no archive", cut=good[:90], good=archive({"x.jar": good, **poms}))
    root = DirectoryRoot(str(plant(tmp_path, {**SYSTEM, APP: content})))
    grown = closure(root, [APP], RULES)
    assert "/usr/bin/sqlite3" in grown.paths
    texts = [each.text for each in grown.warnings if each.kind == "unread" and each.path == APP]
    assert [text.partition(" not read")[0] for text in texts] == ["BOOT-INF/lib/bad.jar", "BOOT-INF/lib/cut.jar"]
    assert [each.name for each in artifacts(root, APP)] == ["org:good"]


def test_an_archive_that_carries_maven_coordinates_is_the_applications_own_all_the_same(tmp_path: Path) -> None:
    pom = "groupId=com.example\nartifactId=shop\nversion=1\n"
    content = archive(
        {
            "META-INF/maven/com.example/shop/pom.properties": pom,
            "shop/A.class": made("A", "sqlite3", uses=RUNTIME),
        }
    )
    root = DirectoryRoot(str(plant(tmp_path, {**SYSTEM, APP: content})))
    assert "/usr/bin/sqlite3" in closure(root, [APP], RULES, packages=index(root)).paths


def test_what_archives_inside_may_ask_of_their_reader_is_counted() -> None:
    whole = archive({"a.jar": bytes(40), "b.txt": "", "b.jar": bytes(50), "c.jar": bytes(10), "d.jar": b""})
    with unpacked(whole, "whole") as opened:
        read = [(each.name, len(each.data), bool(each.refused)) for each in inside(opened, (".jar",), Allowance(60, 2))]
    assert read == [("a.jar", 40, False), ("b.jar", 0, True), ("c.jar", 10, False), ("d.jar", 0, True)]


def test_places_of_archives_say_where_they_stand(tmp_path: Path) -> None:
    content = archive({"web.war": archive({"WEB-INF/lib/a.jar": archive({})})})
    root = DirectoryRoot(str(plant(tmp_path, {APP: content})))
    entry = root.entry(APP)
    assert entry is not None
    assert [place for place, _ in read_whole(root, entry).jars] == ["", "web.war", "web.war!/WEB-INF/lib/a.jar"]
