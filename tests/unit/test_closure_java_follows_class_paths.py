"""Class paths of command lines, options, start scripts, manifests and listings; what jars name beside themselves."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimmer.closure.languages.java.archive import Jar, Said, read_jar
from slimmer.closure.languages.java.command import read_command
from slimmer.closure.languages.java.constants import Constants
from slimmer.closure.languages.java.jars import JavaArchivesRule
from slimmer.closure.languages.java.rule import JavaRule
from slimmer.closure.languages.java.scripts import class_path
from slimmer.closure.languages.shell.rule import ShellRule
from slimmer.closure.model import Application
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.unit.closures import closure, kept
from tests.unit.profiles_support import Deb, debian
from tests.unit.test_closure_java_classes_name_programs import class_file
from tracer.recording import Access, Kind, Recording

Tree = dict[str, str | bytes | None]
JAVA = "/usr/bin/java"
RULES = (JavaRule, JavaArchivesRule)


def jar(class_path: str = "", members: Mapping[str, str | bytes] | None = None, main: str = "A") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        folded = "\r\n ".join(class_path[at : at + 40] for at in range(0, len(class_path), 40))
        text = f"Manifest-Version: 1.0\r\nClass-Path: {folded}\r\nMain-Class: {main}\r\n"
        archive.writestr("META-INF/MANIFEST.MF", text)
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return stream.getvalue()


def module(*classes: str) -> bytes:
    """A module's declaration, as far as its constant pool: the classes that it refers to."""
    pool, number = [], 1
    for name in classes:
        raw = name.encode()
        pool += [b"\x07" + struct.pack(">H", number + 1), b"\x01" + struct.pack(">H", len(raw)) + raw]
        number += 2
    return b"\xca\xfe\xba\xbe\0\0\0\x3d" + struct.pack(">H", number) + b"".join(pool)


def test_class_paths_of_manifests_and_command_lines(tmp_path: Path) -> None:
    tree: Tree = {
        "/app/app.jar": jar(
            "lib/a.jar ../shared/b%20c.jar classes/ missing.jar lib/a-name-that-makes-the-line-fold.jar"
        ),
        "/app/lib/a.jar": jar("deep.jar"),
        "/app/lib/deep.jar": b"no archive",
        "/app/lib/unused.jar": b"",
        "/app/lib/a-name-that-makes-the-line-fold.jar": b"",
        "/shared/b c.jar": b"",
        "/app/classes/A.class": b"",
        "/opt/all/one.jar": b"",
        "/opt/all/two.JAR": b"",
        "/opt/all/x.txt": b"",
        "/opt/agent.jar": b"",
    }
    argv = ("java", "-javaagent:/opt/agent.jar=x", "-cp", "/opt/all/*:app.jar", "A")
    found = kept(tmp_path, tree, rules=RULES, application=Application(argv=argv, workdir="/app"))
    assert found == {*tree} - {"/app/lib/unused.jar", "/opt/all/x.txt"}


LIB: Tree = {
    JAVA: "#755 java",
    "/opt/shop/lib/a.jar": b"",
    "/opt/shop/lib/b-1.2.jar": b"",
    "/opt/shop/lib/notes.txt": b"",
    "/opt/shop/conf/log.xml": b"",
    "/opt/shop/ext/e.jar": b"",
    "/opt/shop/native/libn.so": b"",
    "/opt/shop/options": "-cp 'lib/*' # all of it\n-Dlogging=file:/opt/shop/conf/log.xml",
    "/usr/share/java/commons.jar": b"",
    "/usr/share/java/other.jar": b"",
    "/etc/passwd": "",
}
A, B, E, LOG, NATIVE = (
    f"/opt/shop/{each}" for each in ("lib/a.jar", "lib/b-1.2.jar", "ext/e.jar", "conf/log.xml", "native/libn.so")
)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("java", "-Djava.ext.dirs=ext", "-Djava.library.path=native", "Main"), {E, NATIVE}),
        (("java", "-p", "lib", "-m", "shop/shop.Main"), {A, B, "/opt/shop/lib/notes.txt"}),
        (("java", "--module-path=lib/a.jar", "--module", "shop"), {A}),
        (("/usr/bin/java", "@options", "Main"), {"/opt/shop/options", A, B, LOG}),
        (("java", "-jar", "lib/a.jar", "-cp", "lib/b-1.2.jar"), {A}),  # behind the jar: its own arguments
        (("nice", "java", "-cp", "conf:lib/b-1.2.jar", "Main"), {B, LOG}),
        (("java", "-Dloader.path=lib,ext", "-jar", "lib/a.jar"), {A, B, E, "/opt/shop/lib/notes.txt"}),
        (("cp", "-p", "/etc/passwd", "/x"), set()),  # no launcher's option
        (("java", "-cp", "/usr/share/java", "Main"), set()),  # a directory of archives is none of classes
    ],
)
def test_what_the_launchers_words_name(tmp_path: Path, argv: tuple[str, ...], expected: set[str]) -> None:
    found = kept(tmp_path, LIB, rules=RULES, application=Application(argv=argv, workdir="/opt/shop"))
    assert found == expected


@pytest.mark.parametrize("name", ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "SERVER_JVMFLAGS", "CATALINA_OPTS"])
def test_options_of_the_environment(tmp_path: Path, name: str) -> None:
    application = Application(("run",), {name: f"-Xmx1g -javaagent:{A}=x -Dlog={LOG}", "CLASSPATH": f"{B}:x"})
    assert kept(tmp_path, LIB, rules=RULES, application=application) == {A, B, LOG}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('BASE=$(cd "$(dirname "$0")/.." && pwd)\nexec java -cp "$BASE/lib/*:$BASE/conf" Main', {A, B, LOG}),
        ('for jar in "$SHOP"/lib/*.jar; do CP="$CP:$jar"; done; java -cp "$CP" Main', {A, B}),
        ("for jar in ../lib/*.jar; do CP=$CP:$jar; done; java -cp $CP Main", {A, B}),
        ('CLASSPATH="$CLASSPATH:$APP_HOME/lib/a.jar:$APP_HOME/conf"; java Main', {A, LOG}),
        ('V=1.2; java -jar "$SHOP/lib/b-$V.jar"', {B}),
        ('java -jar "$SHOP/lib/b-$VERSION.jar"', set()),  # one letter is no name
        ('exec java -jar "${0%/*}/../lib/a.jar"', {A}),
        ('eval "exec \\"$JAVA\\" -classpath \\"$SHOP/lib/a.jar\\" Main"', {A}),
        ('CP=$(find "$SHOP/lib" -name "*.jar" | tr "\\n" :); java -cp $CP Main', {A, B}),
        ('CP=`echo "$SHOP"/lib/*.jar | tr " " :`; java -cp $CP Main', {A, B}),
        ("find_java_runtime; find_jars commons; run_java Main", {"/usr/share/java/commons.jar"}),
        (
            'H=$( cd -P "${0%/*}/.." > /dev/null && printf "%s\\n" "$PWD" )\nCLASSPATH=$H/lib/a.jar\njava M',
            {A},
        ),
        ('java -Djava.ext.dirs="$SHOP/ext/*" Main; mkdir -p /opt/shop/native', {E}),
        ("echo a.jar nowhere/lib/a.jar", set()),
        ("rm -f /tmp/*.jar; java -version", set()),
    ],
)
def test_class_paths_of_start_scripts(tmp_path: Path, script: str, expected: set[str]) -> None:
    start = "/opt/shop/bin/start"
    tree = {**LIB, start: f"#755 #!/bin/sh\n{script}\n"}
    application = Application(("/opt/shop/bin/start",), {"SHOP": "/opt/shop"})
    found = kept(tmp_path, tree, start, rules=RULES, application=application)
    assert found == {start, *expected}


def test_scripts_of_a_root_without_a_runtime_are_nobodys_class_path(tmp_path: Path) -> None:
    tree = {path: text for path, text in LIB.items() if path != JAVA}
    tree["/opt/shop/bin/start"] = "#755 #!/bin/sh\njava -jar /opt/shop/lib/a.jar\n"
    assert kept(tmp_path, tree, "/opt/shop/bin/start", rules=RULES) == {"/opt/shop/bin/start"}


def test_settings_that_a_script_sources_name_class_paths_too(tmp_path: Path) -> None:
    tree = {**LIB, "/etc/shop/environment": 'JAVA=/usr/bin/java\nCLASSPATH="/opt/shop/conf:/opt/shop/lib/a.jar"\n'}
    found = kept(tmp_path, tree, "/etc/shop/environment", rules=RULES)
    assert found == {"/etc/shop/environment", A, LOG}


def test_a_command_in_any_source_brings_its_class_path(tmp_path: Path) -> None:
    tree = {**LIB, "/opt/shop/job.sh": "#755 #!/bin/sh\ntimeout 5 env A=1 java -cp '/opt/shop/lib/*' Main\n"}
    assert kept(tmp_path, tree, "/opt/shop/job.sh", rules=(ShellRule,)) == {"/opt/shop/job.sh", JAVA, A, B}


def test_a_directory_that_the_launcher_listed_and_loaded_from_stays_with_all_its_archives(tmp_path: Path) -> None:
    program = frozenset({"/usr/lib/jvm/java-17/bin/java"})
    tree = {**LIB, "/opt/shop/links/l.jar": "-> ../lib/a.jar", "/opt/shop/links/m.jar": "-> ../ext/e.jar"}

    root = DirectoryRoot(str(plant(tmp_path, tree)))

    def found(*accesses: Access) -> set[str]:
        paths = closure(root, [], RULES, recording=Recording(accesses)).paths
        return {path for path in paths if (entry := root.entry(path)) and entry.type != "directory"}

    listed = Access("/opt/shop/links", frozenset({Kind.LIST}), program)
    opened = Access("/opt/shop/links/l.jar", frozenset({Kind.READ}), program)
    assert found(listed, opened) == {"/opt/shop/links/l.jar", "/opt/shop/links/m.jar", A, E}
    assert found(listed) == found(opened) == set()
    assert found(Access("/opt/shop/links", frozenset({Kind.LIST}), frozenset({"/bin/ls"})), opened) == set()


def test_a_jar_says_what_it_names() -> None:
    loader = class_file("System", "tool", "/etc/shop.conf", "two words", uses="com/sun/jna/Native")
    members: dict[str, str | bytes] = {
        "META-INF/services/shop.Till": "# ours\nshop.Drawer  # the usual one\nother.Till\n",
        "META-INF/services/deep/x": "no.Service",
        "module-info.class": module("module-info", "shop/Till", "shop/Shelf"),
        "shop/Drawer.class": class_file(),
        "shop/Shelf.class": loader,
        "META-INF/versions/9/shop/Late.class": class_file(),
    }
    assert read_jar(jar("a.jar b/", members, "shop.Main")) == Jar(
        "shop.Main",
        ("a.jar", "b/"),
        ("shop.Drawer", "other.Till", "shop.Shelf"),
        ("other.Till",),
        ("System", "tool"),
        ("/etc/shop.conf",),
        classes=(Said(Constants(("System", "tool", "/etc/shop.conf", "two words"), False, True)),),
    )
    assert read_jar(b"PK\x03\x04" + bytes(400)) == Jar()


def test_native_libraries_of_jars_of_packages_lie_where_the_runtime_looks(tmp_path: Path) -> None:
    loader = class_file("shopnative", "loadLibrary", "/usr/share/shop/table", uses="java/lang/foreign/SymbolLookup")
    package = Deb(
        {
            "/usr/share/java/shop.jar": jar(members={"shop/A.class": loader}),
            "/usr/share/shop/table": b"t",
            "/usr/share/shop/other": b"o",
            "/usr/lib/x86_64-linux-gnu/jni/libshopnative.so": b"\x7fELF",
            "/usr/lib/x86_64-linux-gnu/jni/libother.so": b"\x7fELF",
        }
    )
    top = debian(tmp_path / "root", {"libshop-java": package})
    root = DirectoryRoot(str(top))
    found = closure(root, ["/usr/share/java/shop.jar"], RULES, packages=index(root)).paths
    files = {path for path in found if (entry := root.entry(path)) and entry.type == "file"}
    assert files == {
        "/usr/share/java/shop.jar",
        "/usr/share/shop/table",
        "/usr/lib/x86_64-linux-gnu/jni/libshopnative.so",
    }


def test_a_provider_that_another_jar_holds_brings_that_jar(tmp_path: Path) -> None:
    tree: Tree = {
        "/opt/shop/api.jar": jar(members={"META-INF/services/shop.Till": "impl.Till\njavax.Gone\n"}),
        "/opt/shop/impl.jar": jar(members={"impl/Till.class": class_file()}),
        "/opt/shop/more.jar": jar(members={"more/Till.class": class_file()}),
    }
    assert kept(tmp_path, tree, "/opt/shop/api.jar", rules=RULES) == {"/opt/shop/api.jar", "/opt/shop/impl.jar"}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("C.UTF-8", {"errors.properties", "errors_en.properties"}),
        (
            "de_AT.UTF-8",
            {"errors.properties", "errors_en.properties", "errors_de.properties", "errors_de_AT.properties"},
        ),
    ],
)
def test_catalogues_beside_classes(tmp_path: Path, language: str, expected: set[str]) -> None:
    names = ("errors", "errors_en", "errors_de", "errors_de_AT", "errors_fr", "errors_zh_Hant_TW")
    tree: Tree = {f"/usr/share/shop/shop/{name}.properties": "a=b" for name in names}
    tree["/usr/share/shop/shop/A.class"] = class_file()
    tree["/usr/share/shop/shop/notes.txt"] = ""
    application = Application(("java",), {"LANG": language})
    found = kept(tmp_path, tree, "/usr/share/shop/shop/A.class", rules=RULES, application=application)
    assert {path.rpartition("/")[2] for path in found} == {"A.class", *expected}


def test_jars_of_messages_in_the_language_in_use(tmp_path: Path) -> None:
    names = ("db-1.2", "dbLocale_de_DE-1.2", "dbLocale_fr-1.2", "db-i18n-de", "db-de", "db-tools", "dbde2")
    tree: Tree = {f"/opt/db/{name}.jar": jar() for name in names}
    application = Application(("java",), {"LC_ALL": "de_DE.UTF-8"})
    found = kept(tmp_path, tree, "/opt/db/db-1.2.jar", rules=RULES, application=application)
    assert found == {f"/opt/db/{name}.jar" for name in ("db-1.2", "dbLocale_de_DE-1.2", "db-i18n-de", "db-de")}


def test_a_commands_words_are_read_as_the_launcher_reads_them() -> None:
    texts = {"opts": '-cp "a b.jar":c.jar\n@more', "more": "-Dx=/etc/x"}
    found = read_command(
        ["@opts", "--add-modules", "java.sql", "@@y", "Main", "-jar"], lambda name: texts.get(name, "")
    )
    assert (found.class_path, found.files, found.main, found.jar) == (
        ["a b.jar", "c.jar"],
        ["opts", "more", "/etc/x"],
        "@y",
        "",
    )
    assert read_command(["-cp"], lambda name: "").class_path == []


def test_a_script_that_nobody_can_read_has_no_class_path() -> None:
    assert not class_path(b"java " + b"$(" * 50_000, "/x", ()).parts
