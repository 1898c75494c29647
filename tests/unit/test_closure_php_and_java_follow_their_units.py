"""PHP's ini files, includes and Composer; the Java runtime's directory."""

from __future__ import annotations

import json
from pathlib import Path

from slimmer.closure.languages.java.rule import JavaRule
from slimmer.closure.languages.php.rule import PhpRule
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.unit.closures import closure, kept


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


def test_composers_autoloaders_find_the_applications_own_classes(tmp_path: Path) -> None:
    autoload = {
        "psr-4": {"App\\": "src/", "Lib\\": ["lib/", "/../shared"]},
        "psr-0": {"Old_": 7},
        "classmap": ["legacy", "one/Single.php", None],
        "files": ["helpers.php"],
    }
    text = json.dumps({"autoload": autoload, "autoload-dev": {"psr-4": {"Tests\\": "checks/"}}})
    tree: dict[str, str | bytes | None] = {
        "/srv/app/composer.json": text,
        "/srv/app/index.php": "<?php require __DIR__ . '/vendor/autoload.php';",
        "/srv/app/vendor/autoload.php": "",
        "/srv/app/vendor/composer/autoload_real.php": "",
        "/srv/app/src/Deep/A.php": "",
        "/srv/app/lib/B.php": "",
        "/srv/app/legacy/c.inc": "",
        "/srv/app/one/Single.php": "",
        "/srv/app/helpers.php": "",
        "/srv/app/src/notes.txt": "",
        "/srv/app/one/Other.php": "",
        "/srv/app/checks/ATest.php": "",
    }
    unneeded = {"/srv/app/src/notes.txt", "/srv/app/one/Other.php", "/srv/app/checks/ATest.php"}
    seeds = {"/srv/app/composer.json": set(), "/srv/app/index.php": {"/srv/app/composer.json"}}
    for number, (seed, unread) in enumerate(seeds.items()):
        found = kept(tmp_path / str(number), tree, seed, rules=(PhpRule,))
        assert found - {"/srv/app/index.php"} == {*tree} - unneeded - unread - {"/srv/app/index.php"}


def test_a_project_whose_root_holds_its_classes_does_not_hold_its_packages(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/composer.json": json.dumps({"autoload": {"psr-4": {"A\\": ""}}, "config": {"vendor-dir": "libs"}}),
        "/app/A.php": "",
        "/app/libs/autoload.php": "",
        "/app/libs/composer/installed.json": json.dumps({"dev-package-names": ["x/dev"]}),
        "/app/libs/x/dev/B.php": "",
        "/app/node_modules/c.php": "",
    }
    expected = {*tree} - {"/app/libs/x/dev/B.php", "/app/node_modules/c.php"}
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


def test_what_a_java_runtime_stays_without_is_said(tmp_path: Path) -> None:
    home = "/srv/shop/jre"
    left = {"lib/src.zip", "lib/ct.sym", "lib/libjdwp.so", "lib/libawt_xawt.so", "lib/server/classes_nocoops.jsa"}
    unsaid = {"jmods/java.base.jmod", "legal/jdk.compiler/LICENSE"}
    stay = {
        "release",
        "lib/modules",
        "lib/libattach.so",
        "lib/libnet.so",
        "lib/server/classes.jsa",
        "lib/server/libjvm.so",
        "lib/src.zip.txt",
    }
    tree = {f"{home}/{name}": "x" for name in (*left, *stay, *unsaid)} | {f"{home}/bin/java": "#755 \x7fELF"}
    found = closure(DirectoryRoot(str(plant(tmp_path, tree))), [f"{home}/bin/java"], (JavaRule,))
    assert {each.path for each in found.left_out} == {f"{home}/{name}" for name in left}
    assert {f"{home}/{name}" for name in stay} <= set(found.paths)
    assert not {f"{home}/{name}" for name in left | unsaid} & set(found.paths)
