"""A large removed directory is one row, also of packages; the report's figures are as with a row for each."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from slimmer.cli.why import command
from slimmer.packages.index import index
from slimmer.packages.model import Package, PackageType
from slimmer.pipeline.debug_image import _each
from slimmer.report.build import ReportBuilder
from slimmer.report.missing import missing
from slimmer.report.model import Held, RemovedPath, Report, Risk, Subject, Tree
from slimmer.report.output import Output
from slimmer.report.page_rows import _Tables
from slimmer.report.read import parse_removed
from slimmer.report.rows import Rows
from slimmer.report.table import write_csv
from slimmer.report.trees import Trees, told
from slimmer.report.vex import _sides
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
    root: Root, least: int | None, fixed: tuple[str, ...] = (), owned: Owned | None = None, uid: int = 0
) -> tuple[list[RemovedPath], Report]:
    packages = owned or index(root)
    rows, builder = Rows(root, packages, uid=uid, gids=(uid,)), ReportBuilder()
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
    fixed = ("/", "/home", "/srv", "/srv/kept", "/srv/kept/here")
    each, before = reviewed(root, 1_000_000, fixed)
    rows, after = reviewed(root, 2, fixed)
    assert after == before
    assert next(row.fat for row in after.risks if row.risk is Risk.CREDENTIAL) == 1
    assert trees_of(each) == {}
    web = Package(PackageType.NPM, "web", "1", location="/home/bob/web")
    size = len(str(FILES["/home/bob/web/package.json"]))
    assert trees_of(rows) == {
        "/home/ann": Tree(8, 4, 5 + 1 + 3),
        "/home/ann.old": Tree(2, 2, 2),
        "/home/bob": Tree(7, 5, 1 + size + 1 + 2, (Held(web, 2, size + 1),)),
        "/usr": Tree(4, 2, 2),
    }
    assert next(each for each in after.packages if each.package == web).removed_files == 2
    paths = [row.entry.path for row in rows]
    assert paths == sorted(paths, key=sort_key)
    assert "/home/ann/deep/.netrc" in paths
    # A twin of the image for debugging brings all of them back.
    assert [row.entry.path for row in _each(root, index(root), rows)] == [row.entry.path for row in each]


def test_a_tree_tells_what_each_package_has_in_it(root: DirectoryRoot) -> None:
    one, two = Package(PackageType.DEB, "one", "1"), Package(PackageType.DEB, "two", "1")
    owned = Owned({one: ["/usr/share/thing/a", "/usr/share"], two: ["/usr/share/thing/a", "/usr/share/thing/b"]})
    rows, report = reviewed(root, 2, ("/srv/kept/here",), owned)
    assert trees_of(rows)["/usr"] == Tree(4, 2, 2, (Held(one, 1, 1), Held(two, 2, 2)))
    assert report == reviewed(root, 1_000_000, ("/srv/kept/here",), owned)[1]


def test_marks_of_whole_directories_are_shown_for_some_and_counted_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = plant(tmp_path, {f"/data/{name}": "#666 x" for name in "abcd"} | {"/data/su": "x"})
    (top / "data/su").chmod(0o4755)
    root = DirectoryRoot(str(top))
    monkeypatch.setattr("slimmer.report.trees.SHOWN", 2)
    rows, report = reviewed(root, 2)
    assert [row.entry.path for row in rows if row.risks] == ["/data/a", "/data/b", "/data/su"]
    assert trees_of(rows)["/data"] == Tree(2, 2, 2, risks=((Risk.WORLD_WRITABLE, 2),))
    assert report == reviewed(root, 1_000_000)[1]
    monkeypatch.setattr("slimmer.report.trees.HELD", 2)
    each, same = reviewed(root, 2)  # too many to hold until their turn: a row for each
    assert trees_of(each) == {}
    assert same == report


@settings(max_examples=40, deadline=None)
@given(
    modes=st.lists(
        st.sampled_from([0o644, 0o755, 0o666, 0o4755, 0o2711, 0o600, 0o620, 0o777]), min_size=1, max_size=12
    ),
    names=st.sampled_from(["note", "a.py", "x.so.1", "id_rsa", "key.pem", ".netrc", "bash", "config.json", "p.p12"]),
    uid=st.sampled_from([0, 1000]),
    folder=st.sampled_from(["opt/x", "usr/bin", "boot", "lib/modules/6"]),
)
def test_figures_are_those_of_single_rows_whatever_the_files_are(
    modes: list[int], names: str, uid: int, folder: str
) -> None:
    with tempfile.TemporaryDirectory() as place:
        for number, mode in enumerate(modes):
            path = Path(place, folder, f"d{number % 3}", names if number % 2 else f"{number}{names}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
            path.chmod(mode)
            path.with_name(f"link{number}").symlink_to(names)
        root = DirectoryRoot(place)
        assert reviewed(root, 2, uid=uid)[1] == reviewed(root, 1_000_000, uid=uid)[1]


def test_small_directories_and_what_a_run_changed_have_their_rows(root: DirectoryRoot, tmp_path: Path) -> None:
    fixed = ("/home/bob/one", "/srv/kept/here")
    assert set(trees_of(reviewed(root, 5, fixed)[0])) == {"/home/ann"}
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
    statuses = DirectoryRoot.statuses
    for turn in (1, -1):
        monkeypatch.setattr(
            DirectoryRoot, "statuses", lambda self, *asked, turn=turn: sorted(statuses(self, *asked), key=str)[::turn]
        )
        rows, _ = reviewed(root, 2)
        assert [row.entry.path for row in rows if row.risks] == ["/data/a.txt", "/data/b.txt"]


def test_a_tree_reads_each_directory_once(root: DirectoryRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    untouched = DirectoryRoot._untouched

    def counted(self: DirectoryRoot, path: str, flags: int) -> object:
        if flags & os.O_DIRECTORY:
            read.append(path)
        return untouched(self, path, flags)

    monkeypatch.setattr(DirectoryRoot, "_untouched", counted)
    reviewed(root, 2, ("/srv/kept/here",))
    below = [each for each in read if each.startswith(("/home/ann", "/home/bob/zoo", "/usr"))]
    assert sorted(below) == sorted(set(below))


def test_a_tree_is_read_back_as_written_and_follows_the_schema(
    root: DirectoryRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("home/bob/one", "home/bob/zoo/two"):
        (Path(root.location("")) / path).chmod(0o666)
    monkeypatch.setattr("slimmer.report.trees.SHOWN", 1)
    rows, _ = reviewed(root, 2)
    assert trees_of(rows)["/home"].packages
    assert trees_of(rows)["/home"].risks
    stream = io.StringIO()
    write_removed(stream, rows)
    value = json.loads(stream.getvalue())
    jsonschema.validate(value, json.loads(SCHEMA.read_text()))
    read = [parse_removed(each) for each in value["paths"]]
    assert trees_of(read) == trees_of(rows) != {}
    assert [removed_row(row) for row in read] == value["paths"]


def test_views_tell_a_path_in_a_tree_by_the_row_of_the_tree(tmp_path: Path, root: DirectoryRoot) -> None:
    output = Output(make_output(tmp_path / "out", root, ["/srv/kept/here"]))
    rows, _ = reviewed(root, 2, ("/", "/home", "/srv", "/srv/kept", "/srv/kept/here"))
    with open(output.directory / "removed.json", "w") as stream:
        write_removed(stream, rows)
    answer = why(output, "/home/ann/deep/er/run")
    assert answer.removed is not None
    assert (answer.path, answer.removed.entry.path) == ("/home/ann/deep/er/run", "/home/ann")
    told_by = CliRunner().invoke(command, [str(output.directory), "/home/ann/deep/er/run"]).stdout
    assert "/home/ann is told as a whole: 8 paths (9 B) below it, none of a package" in told_by
    assert why(output, "/home/carl").removed is None
    told_by = CliRunner().invoke(command, [str(output.directory), "/home/bob/web/index.js"]).stdout
    assert "below it, of web 1 (npm)" in told_by
    value = CliRunner().invoke(command, ["--json", str(output.directory), "/home/bob/web/index.js"]).stdout
    jsonschema.validate(json.loads(value), json.loads(SCHEMA.with_name("why.schema.json").read_text()))
    assert json.loads(value)["row"]["tree"]["packages"][0]["name"] == "web"
    assert _sides(output, {"/home/bob/web/index.js", "/srv/kept/here"}) == (
        {"/srv/kept/here"},
        {"/home/bob/web/index.js"},
    )
    page = io.StringIO()
    write_csv(page, output)
    assert "nothing needed it, nor 8 paths (9 B) in it" in page.getvalue()
    ann = next(row for row in rows if row.entry.path == "/home/ann")
    assert _Tables().removed(ann)[5:9] == [9, -1, [], "8 paths (9 B)"]  # size, package, marks, what it holds
    slim = DirectoryRoot(str(plant(tmp_path / "slim", {"/srv/kept/here": "k"})))
    asked = [Access(path, frozenset({Kind.STAT}), frozenset()) for path in ("/home/ann/a", "/home/carl/a")]
    assert [each.path for each in missing(asked, slim, output)] == ["/home/ann/a"]


def test_with_many_paths_of_packages_small_directories_are_one_row_too(
    root: DirectoryRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = Owned({Package(PackageType.DEB, "thing", "1"): ["/usr/share/thing/a", "/usr/share/thing/b"]})
    fixed = ("/srv/kept/here",)
    assert trees_of(reviewed(root, None, fixed, owned)[0]) == {}
    monkeypatch.setattr("slimmer.report.trees.MANY", 2)
    rows, report = reviewed(root, None, fixed, owned)
    assert set(trees_of(rows)) == {"/home"}
    assert report == reviewed(root, 1_000_000, fixed, owned)[1]
