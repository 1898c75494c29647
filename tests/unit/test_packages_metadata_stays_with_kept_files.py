"""The scanner rule: a kept file of a language package keeps the metadata that names the package."""

from __future__ import annotations

from pathlib import Path

from slimmer.closure.model import Application, Level
from slimmer.closure.ownership.scanner_metadata import ScannerRule
from slimmer.closure.recorded import IncludeRule
from slimmer.closure.worklist import grow
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.unit.test_packages_answer_who_owns_a_path import NODE, PYTHON, SITE
from tracer.recording import Recording


def closure(top: Path, tree: dict[str, str | bytes | None], *include: str) -> dict[str, str]:
    root = DirectoryRoot(str(plant(top, tree)))
    rules = [IncludeRule(include), ScannerRule()]
    grown = grow(root, Recording(()), index(root), Application(), rules, highest=Level.RECORDED)
    return {path: kept.reasons[0].rule for path, kept in grown.paths.items() if kept.reasons[0].rule != "directory"}


def test_a_kept_module_keeps_its_wheels_metadata_and_record(tmp_path: Path) -> None:
    info = f"/{SITE}/requests-2.31.dist-info"
    assert closure(tmp_path, PYTHON, f"/{SITE}/requests/__init__.py") == {
        f"{info}/METADATA": "scanner",
        f"{info}/RECORD": "scanner",
        f"/{SITE}/requests/__init__.py": "include",
    }


def test_a_kept_script_outside_keeps_it_too_and_a_stray_file_does_not(tmp_path: Path) -> None:
    assert f"/{SITE}/requests-2.31.dist-info/METADATA" in closure(tmp_path, PYTHON, "/opt/venv/bin/req")
    assert list(closure(tmp_path, PYTHON, f"/{SITE}/stray.py")) == [f"/{SITE}/stray.py"]


def test_a_kept_node_file_keeps_only_the_package_json_of_its_own_package(tmp_path: Path) -> None:
    path = "/app/node_modules/express/lib/index.js"
    assert sorted(closure(tmp_path, NODE, path)) == [path, "/app/node_modules/express/package.json"]
