"""A removed directory in which no package has a part is one row; the report's figures are as with a row for each."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from slimmer.cli.why import command
from slimmer.packages.index import index
from slimmer.packages.model import Package, PackageType
from slimmer.pipeline.debug_image import _each
from slimmer.report.build import ReportBuilder
from slimmer.report.missing import missing
from slimmer.report.model import RemovedPath, Report, Risk, Subject, Tree
from slimmer.report.output import Output
from slimmer.report.page_rows import _Tables
from slimmer.report.read import parse_removed
from slimmer.report.rows import Rows
from slimmer.report.table import write_csv
from slimmer.report.trees import Trees, told
from slimmer.report.why import why
from slimmer.report.write import removed_row, write_removed
from slimmer.root.directory import DirectoryRoot
from slimmer.root.live import SavedRoot
from slimmer.root.model import Root, sort_key
from tests.report_outputs import make_output
from tests.support import plant
from tests.support_roots import Owned
from tracer.recording import Access, Kind
from tracer.runner import before_image

SCHEMA = Path(__file__).parents[2] / "slimmer/report/schemas/removed.schema.json"
FILES: dict[str, str | bytes | None] = {
    "/home/ann/a": "12345",
    "/home/ann/deep/er/still/b.so": "#755 x",
    "/home/ann/deep/er/run": "#755 run",
    "/home/ann/deep/.netrc": "machine a password b",
    "/home/ann/link": "-> a",
    "/home/ann.old/x": "x",  # its bytes sort between those of ann and of what is in ann
    "/home/ann.old/y": "y",
    "/home/bob/one": "1",
    "/home/bob/web/package.json": '{"name": "web", "version": "1"}',
    "/home/bob/web/index.js": "1",
    "/home/bob/zoo/two": "2",
    "/home/bob/zoo/three": "3",
    "/srv/kept/here": "k",
    "/srv/kept/gone": "g",
    "/usr/share/thing/a": "a",
    "/usr/share/thing/b": "b",
}


def reviewed(
    root: Root, least: int, fixed: tuple[str, ...] = (), owned: Owned | None = None
) -> tuple[list[RemovedPath], Report]:
    packages = owned or index(root)
    rows, builder = Rows(root, packages), ReportBuilder()
    trees = Trees(root, packages, rows.of_trees, fixed, least=least)
    rest = (each for each in root.walk(enter=trees.enter) if each.path not in fixed)
    found = []
    for row in told(rest, trees, rows.removed, builder.tree):
        builder.removed(row)
        found.append(row)
    return found, builder.finish(Subject("source"))


@pytest.fixture
def root(tmp_path: Path) -> DirectoryRoot:
    top = plant(tmp_path / "root", FILES)
    (top / "home/ann/again").hardlink_to(top / "home/ann/a")
    (top / "srv/kept/other").hardlink_to(top / "home/ann/a")
    return DirectoryRoot(str(top))


def trees_of(rows: list[RemovedPath]) -> dict[str, Tree]:
    return {row.entry.path: row.tree for row in rows if row.tree}


def test_trees_are_told_in_order_with_what_has_a_mark_and_the_figures_stay(root: DirectoryRoot) -> None:
    fixed = ("/", "/srv", "/srv/kept", "/srv/kept/here")
    each, before = reviewed(root, 1_000_000, fixed)
    rows, after = reviewed(root, 2, fixed)
    assert after == before
    assert next(row.fat for row in after.risks if row.risk is Risk.CREDENTIAL) == 1
    assert trees_of(each) == {}
    # Bob's home holds a package, and so his own rows; what is beside it does not.
    assert trees_of(rows) == {
        "/home/ann": Tree(8, 4, 5 + 1 + 3),
        "/home/ann.old": Tree(2, 2, 2),
        "/home/bob/zoo": Tree(2, 2, 2),
        "/usr": Tree(4, 2, 2),
    }
    paths = [row.entry.path for row in rows]
    assert paths == sorted(paths, key=sort_key)
    assert "/home/ann/deep/.netrc" in paths
    assert "/home/bob/web/index.js" in paths
    # A twin of the image for debugging brings all of them back.
    assert [row.entry.path for row in _each(root, rows)] == [row.entry.path for row in each]


def test_no_tree_is_where_a_package_lists_something(root: DirectoryRoot) -> None:
    package = Package(PackageType.DEB, "thing", "1")
    rows, _ = reviewed(root, 2, ("/srv/kept/here",), Owned({package: ["/usr/share/thing/a"]}))
    assert set(trees_of(rows)) == {"/home"}


def test_small_directories_and_what_a_run_changed_have_their_rows(root: DirectoryRoot, tmp_path: Path) -> None:
    assert set(trees_of(reviewed(root, 5, ("/srv/kept/here",))[0])) == {"/home/ann"}
    store = before_image.Store(tmp_path / "saved")
    top = root.location("")
    store.before_change(f"{top}/home/ann/deep/er/run")
    (Path(top) / "home/ann/deep/er/run").write_text("changed, and longer")
    saved = {path[len(top) :]: state for path, state in before_image.load(tmp_path / "saved").items()}
    fat = SavedRoot(root, saved)
    rows, report = reviewed(fat, 2, tuple(fat.saved))
    assert "/home/ann" not in trees_of(rows)
    assert report == reviewed(fat, 1_000_000, tuple(fat.saved))[1]


def test_the_order_of_the_filesystem_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "AKIA" + "A" * 16
    root = DirectoryRoot(str(plant(tmp_path, {f"/data/{name}.txt": key for name in "abcd"} | {"/data/sub/e.txt": key})))
    monkeypatch.setattr("slimmer.report.risk.SEARCHED", 2)
    inside = DirectoryRoot._inside
    for turn in (1, -1):
        monkeypatch.setattr(
            DirectoryRoot, "_inside", lambda self, top, turn=turn: sorted(inside(self, top), key=str)[::turn]
        )
        rows, _ = reviewed(root, 2)
        assert [row.entry.path for row in rows if row.risks] == ["/data/a.txt", "/data/b.txt"]


def test_a_tree_reads_each_directory_once(root: DirectoryRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    inside = DirectoryRoot._inside

    def counted(self: DirectoryRoot, top: str) -> object:
        read.append(top)
        return inside(self, top)

    monkeypatch.setattr(DirectoryRoot, "_inside", counted)
    reviewed(root, 2, ("/srv/kept/here",))
    below = [each for each in read if each.startswith(("/home/ann", "/home/bob/zoo", "/usr"))]
    assert sorted(below) == sorted(set(below))


def test_a_tree_is_read_back_as_written_and_follows_the_schema(root: DirectoryRoot) -> None:
    rows, _ = reviewed(root, 2)
    stream = io.StringIO()
    write_removed(stream, rows)
    value = json.loads(stream.getvalue())
    jsonschema.validate(value, json.loads(SCHEMA.read_text()))
    read = [parse_removed(each) for each in value["paths"]]
    assert trees_of(read) == trees_of(rows) != {}
    assert [removed_row(row) for row in read] == value["paths"]


def test_views_tell_a_path_in_a_tree_by_the_row_of_the_tree(tmp_path: Path, root: DirectoryRoot) -> None:
    output = Output(make_output(tmp_path / "out", root, ["/srv/kept/here"]))
    rows, _ = reviewed(root, 2, ("/", "/srv", "/srv/kept", "/srv/kept/here"))
    with open(output.directory / "removed.json", "w") as stream:
        write_removed(stream, rows)
    answer = why(output, "/home/ann/deep/er/run")
    assert answer.removed is not None
    assert (answer.path, answer.removed.entry.path) == ("/home/ann/deep/er/run", "/home/ann")
    told_by = CliRunner().invoke(command, [str(output.directory), "/home/ann/deep/er/run"]).stdout
    assert "/home/ann is told as a whole: 8 paths (9 B) below it" in told_by
    assert why(output, "/home/carl").removed is None
    page = io.StringIO()
    write_csv(page, output)
    assert "nothing needed it, nor 8 paths (9 B) in it" in page.getvalue()
    ann = next(row for row in rows if row.entry.path == "/home/ann")
    assert _Tables().removed(ann)[5:9] == [9, -1, [], "8 paths (9 B)"]  # size, package, marks, what it holds
    slim = DirectoryRoot(str(plant(tmp_path / "slim", {"/srv/kept/here": "k"})))
    asked = [Access(path, frozenset({Kind.STAT}), frozenset()) for path in ("/home/ann/a", "/home/carl/a")]
    assert [each.path for each in missing(asked, slim, output)] == ["/home/ann/a"]


def test_packages_reach_no_further_than_their_files(tmp_path: Path) -> None:
    site = "/opt/py/lib/python3.11/site-packages"
    record = "one/__init__.py,,\n../../../bin/one,,\n../../../share/one/data/x,,\n"
    tree = {
        f"{site}/one-1.dist-info/METADATA": "Name: one\nVersion: 1\n",
        f"{site}/one-1.dist-info/RECORD": record,
        f"{site}/one/__init__.py": "",
        "/opt/py/bin/one": "",
        "/opt/py/share/one/data/x": "",
        "/opt/py/share/else/x": "",
        "/web/package.json": '{"name": "web", "version": "1"}',
        "/web/lib/x.js": "",
        "/web/node_modules/.cache/x": "",
    }
    packages = index(DirectoryRoot(str(plant(tmp_path, tree))))
    apart = ("/opt/py/share/else", "/web/node_modules", "/web/node_modules/.cache")
    held = ("/opt/py/bin", "/opt/py/share", "/opt/py/share/one/data", f"{site}/one", "/web/lib")
    assert [each for each in (*apart, *held) if packages.apart(each)] == list(apart)
