"""PHP's ini files, includes and Composer; the Java runtime's directory and the class paths of jars."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from slimmer.closure.java import JavaRule
from slimmer.closure.model import Application
from slimmer.closure.php import PhpRule
from tests.unit.closures import kept


def test_extensions_that_ini_files_enable(tmp_path: Path) -> None:
    place = "/usr/lib/php/20220829"
    tree: dict[str, str | bytes | None] = {
        "/usr/bin/php8.2": b"\x7fELF\0" + place.encode() + b"\0",
        "/etc/php/8.2/cli/conf.d/10-a.ini": "-> ../../mods-available/a.ini",
        "/etc/php/8.2/mods-available/a.ini": '; comment\nextension=a.so\nzend_extension = "opc"\n;extension=b\n',
        f"{place}/a.so": "",
        f"{place}/opc.so": "",
        f"{place}/b.so": "",
    }
    for order in (1, -1):  # whichever of the two enters first
        seeds = ["/usr/bin/php8.2", "/etc/php/8.2/cli/conf.d/10-a.ini"][::order]
        assert kept(tmp_path / str(order), tree, *seeds, rules=(PhpRule,)) == {*tree} - {f"{place}/b.so"}


def test_included_files(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/srv/web/index.php": (
            "<?php require_once __DIR__ . '/../lib/a.php'; include 'near.php'; require dirname(__FILE__).'/b.php';"
            "// include 'no.php';\n"
            "include 'pages/' . $page . '.php'; require 'Pear/X.php'; exec('git log', $out, $code);"
            "$x = `date`; echo shell_exec('echo \"b\" | wc'); $p = new Process(['id', '-u']);\n"
            "$jobs = ['exec' => fn() => print(shell_exec('uname'))]; system('xdg-open page.html');"
        ),
        "/srv/lib/a.php": "",
        "/srv/web/near.php": "",
        "/srv/web/b.php": "",
        "/srv/web/no.php": "",
        "/srv/web/pages/one.php": "",
        "/usr/share/php/Pear/X.php": "",
        "/usr/bin/git": "#755 x",
        "/usr/bin/date": "#755 x",
        "/usr/bin/wc": "#755 x",
        "/usr/bin/id": "#755 x",
        "/usr/bin/uname": "#755 x",
        "/usr/bin/xdg-open": "#755 x",
        "/bin/sh": "#755 x",
    }
    assert kept(tmp_path, tree, "/srv/web/index.php", rules=(PhpRule,)) == {*tree} - {
        "/srv/web/no.php",
        "/usr/bin/xdg-open",
    }


def test_composers_packages_without_those_for_development(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/composer.json": "{}",
        "/app/vendor/autoload.php": "",
        "/app/vendor/composer/installed.json": json.dumps({"dev-package-names": ["x/dev"]}),
        "/app/vendor/x/run/src/A.php": "",
        "/app/vendor/x/run/tests/ATest.php": "",
        "/app/vendor/x/dev/src/B.php": "",
    }
    expected = {path for path in tree if "/x/dev/" not in path and "/tests/" not in path}
    assert kept(tmp_path, tree, "/app/composer.json", rules=(PhpRule,)) == expected


def test_the_java_runtime_is_one_unit(tmp_path: Path) -> None:
    home = "/usr/lib/jvm/java-17"
    tree: dict[str, str | bytes | None] = {
        "/usr/bin/java": f"-> {home}/bin/java",
        f"{home}/bin/java": "#755 \x7fELF",
        f"{home}/bin/javac": "#755 \x7fELF",
        f"{home}/release": "",
        f"{home}/lib/modules": "",
        f"{home}/lib/server/libjvm.so": "",
        f"{home}/lib/jvm.cfg": "-> /etc/java-17/jvm.cfg",
        f"{home}/lib/security": "-> /etc/java-17/security",
        f"{home}/lib/src.zip": "",
        f"{home}/lib/ct.sym": "",
        f"{home}/conf/logging.properties": "",
        f"{home}/legal/x": "",
        "/etc/java-17/jvm.cfg": "",
        "/etc/java-17/security/java.security": "",
    }
    expected = {path for path in tree if not path.endswith(("javac", "src.zip", "ct.sym", "legal/x"))}
    assert kept(tmp_path, tree, "/usr/bin/java", rules=(JavaRule,)) == expected


def jar(class_path: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        folded = "\r\n ".join(class_path[at : at + 40] for at in range(0, len(class_path), 40))
        archive.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\r\nClass-Path: {folded}\r\nMain-Class: A\r\n")
    return stream.getvalue()


def test_class_paths_of_manifests_and_command_lines(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
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
    found = kept(tmp_path, tree, rules=(JavaRule,), application=Application(argv=argv, workdir="/app"))
    assert found == {*tree} - {"/app/lib/unused.jar", "/opt/all/x.txt"}
