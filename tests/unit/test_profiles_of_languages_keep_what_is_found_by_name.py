"""Octave's functions, Tomcat's compiler, Java's libraries, charsets: only words of a program or class name them."""

from __future__ import annotations

from pathlib import Path

from slimmer.closure.languages.compiled import plain_texts
from slimmer.closure.model import Application
from slimmer.closure.profiles.load import shipped
from slimmer.closure.profiles.rule import ProfileRule
from tests.support import plant
from tests.unit.profiles_support import closure, recorded


def stays(tmp: Path, profile: str, tree: dict[str, str | bytes | None], *, executed: str, read: str = "") -> set[str]:
    plant(tmp, tree)
    chosen = [each for each in shipped() if each.name == profile]
    grown = closure(
        tmp,
        recorded(executed=[executed], read=[read] if read else []),
        [ProfileRule(chosen)],
        Application(argv=(executed,)),
    )
    return {*grown.paths}


def test_octave_keeps_functions_and_packages(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/usr/bin/octave-cli-7.3.0": "#755 \x7fELF",
        "/usr/share/octave/7.3.0/m/general/fliplr.m": "function",
        "/usr/share/octave/7.3.0/etc/tests/a.tst": "x",
        "/usr/share/octave/packages/statistics-1.5.3/ztest.m": "function",
        "/usr/share/octave/octave_packages": "list",
        "/usr/lib/x86_64-linux-gnu/octave/7.3.0/oct/x86_64-pc-linux-gnu/audiodevinfo.oct": "x",
        "/usr/lib/x86_64-linux-gnu/octave/packages/statistics-1.5.3/a.oct": "x",
    }
    found = stays(tmp_path, "octave", tree, executed="/usr/bin/octave-cli-7.3.0")
    assert {*tree} - found == {"/usr/share/octave/7.3.0/etc/tests/a.tst"}
    assert not {path for path in stays(tmp_path, "octave", {"/bin/x": "#755 x"}, executed="/bin/x") if "octave" in path}


def test_tomcat_keeps_the_compiler_of_pages(tmp_path: Path) -> None:
    jars = ("tomcat10-jasper-10.1.60.jar", "eclipse-jdt-core-3.32.0.jar", "junit.jar")
    tree: dict[str, str | bytes | None] = {f"/usr/share/java/{name}": "x" for name in jars}
    tree |= {"/usr/share/java/eclipse-jdt-core.jar": "-> eclipse-jdt-core-3.32.0.jar", "/usr/bin/java": "#755 x"}
    found = stays(tmp_path, "tomcat", tree, executed="/usr/bin/java", read=f"/usr/share/java/{jars[0]}")
    assert {*tree} - found == {"/usr/share/java/junit.jar"}
    assert "/usr/share/java/eclipse-jdt-core.jar" not in stays(tmp_path, "tomcat", {}, executed="/usr/bin/java")


def test_java_keeps_its_libraries_but_those_for_a_display(tmp_path: Path) -> None:
    lib = "/usr/lib/jvm/java-17-openjdk-amd64/lib"
    display = {f"{lib}/lib{name}.so" for name in ("awt_xawt", "jawt", "splashscreen")}
    tree: dict[str, str | bytes | None] = {
        f"{lib}/libawt.so": "x",
        f"{lib}/libawt_headless.so": "x",
        f"{lib}/server/libjvm.so": "x",
        "/usr/bin/java": "#755 x",
        **dict.fromkeys(display, "x"),
    }
    assert {*tree} - stays(tmp_path, "java", tree, executed="/usr/bin/java") == display


def test_the_charset_of_japanese_mail_stays_where_text_of_any_charset_comes(tmp_path: Path) -> None:
    gconv = "/usr/lib/x86_64-linux-gnu/gconv"
    rare = f"{gconv}/EBCDIC-US.so"
    tree: dict[str, str | bytes | None] = {
        "/usr/bin/git": "#755 \x7fELF",
        f"{gconv}/gconv-modules": "module",
        **dict.fromkeys((f"{gconv}/ISO-2022-JP.so", f"{gconv}/ISO-2022-KR.so", f"{gconv}/EUC-JP.so", rare), "x"),
    }
    assert {*tree} - stays(tmp_path, "gconv", tree, executed="/usr/bin/git") == {rare}


def test_texts_of_ocaml_and_haskell_end_as_those_of_c_do() -> None:
    ocaml = b"\xfc\x07\0\0\0\0\0\0git\0\0\0\0\4\xfc\x0b\0\0\0\0\0\0ls / | wc -l\0\0\0\3\xfc\7\0\0\0\0\0\0seven77\0"
    assert plain_texts(ocaml) == ["git", "ls / | wc -l", "seven77"]
    assert plain_texts(b"\0\0tac -b\0ghc-prim:GHC.Types\0") == ["tac -b", "ghc-prim:GHC.Types"]


def test_pythons_platform_module_keeps_the_program_that_it_asks(tmp_path: Path) -> None:
    module = "/usr/lib/python3.11/platform.py"
    tree: dict[str, str | bytes | None] = {"/usr/bin/python3.11": "#755 x", "/usr/bin/uname": "#755 x", module: "x"}
    assert "/usr/bin/uname" in stays(tmp_path, "python", tree, executed="/usr/bin/python3.11", read=module)
    assert "/usr/bin/uname" not in stays(tmp_path, "python", {}, executed="/usr/bin/python3.11")
