"""manifest.json, removed.json and report.json: valid by their schemas, read back as written, or a clear error."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from slimmer.closure.model import ClosureWarning, LevelSize, Reason
from slimmer.errors import SlimmerError
from slimmer.packages.model import Package, PackageType
from slimmer.report import read
from slimmer.report.build import build_report
from slimmer.report.model import KeptPath, Mark, PackageState, RemovedPath, Report, Risk, Subject
from slimmer.report.write import (
    Texts,
    manifest_row,
    removed_row,
    report_value,
    write_manifest,
    write_removed,
    write_report,
)
from slimmer.root.model import Entry, FileType
from tests.report_outputs import make_output
from tests.support import plant

SCHEMAS = Path(read.__file__).with_name("schemas")
DEB = Package(PackageType.DEB, "dash", "0.5")
WHEEL = Package(PackageType.PYPI, "six", "1.16", location="/usr/lib/six.dist-info")
KEPT = [
    KeptPath(
        Entry("/", FileType.DIRECTORY, 0o755, 0, 0, 0, 5_000_000_000), reasons=(Reason("directory", "holds /x", "/x"),)
    ),
    KeptPath(
        Entry("/bin/sh", FileType.FILE, 0o4755, 0, 7, 9, -1_000_000_000),
        "ab" * 32,
        {"security.capability": b"\x00\xff"},
        DEB,
        (Reason("recorded", "started"), Reason("elf", "NEEDED", "/bin/x")),
        (Mark(Risk.SETUID), Mark(Risk.SHELL)),
        (WHEEL,),
    ),
    KeptPath(
        Entry("/dev/n", FileType.CHAR, 0o666, 0, 0, 0, 0, device=(1 << 8) | 3), reasons=(Reason("include", "named"),)
    ),
    KeptPath(
        Entry("/l\udcff\n", FileType.SYMLINK, 0o777, 0, 0, 0, 0, target="a\udc80"), reasons=(Reason("link", "é"),)
    ),
]
REMOVED = [
    RemovedPath(Entry("/etc/k", FileType.FILE, 0o600, 0, 0, 3, 0), None, (Mark(Risk.CREDENTIAL, "private-key"),)),
    RemovedPath(Entry("/etc/p", FileType.FIFO, 0o644, 1, 2, 0, 0), DEB),
]


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))


def valid(value: Any, name: str) -> None:
    jsonschema.Draft202012Validator(schema(name)).validate(value)


def written(top: Path) -> Path:
    with open(top / "manifest.json", "w", encoding="utf-8") as stream:
        assert write_manifest(stream, KEPT) == len(KEPT)
    with open(top / "removed.json", "w", encoding="utf-8") as stream:
        assert write_removed(stream, REMOVED) == len(REMOVED)
    return top


@pytest.mark.parametrize("name", ["manifest", "removed", "report", "check", "why", "diff", "gate", "harden"])
def test_the_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_manifest_and_removed_are_valid_and_read_back_as_written(tmp_path: Path) -> None:
    top = written(tmp_path)
    valid(json.loads((top / "manifest.json").read_text("ascii")), "manifest")
    valid(json.loads((top / "removed.json").read_text("ascii")), "removed")
    assert list(read.read_manifest(top / "manifest.json")) == KEPT
    assert [row.entry.path for row in read.read_removed(top / "removed.json")] == ["/etc/k", "/etc/p"]
    assert list(read.read_removed(top / "removed.json")) == REMOVED


def test_the_text_of_a_row_is_what_encoding_its_value_gives() -> None:
    texts = Texts()
    plain = [
        KeptPath(
            Entry('/é\udc80"\\', FileType.FILE, 0o7, 1, 2, 3, 9_999_999_999),
            "cd" * 32,
            package=package,
            reasons=(Reason("elf", 'a "b"', "/\t"), Reason("x", "")),
        )
        for package in (None, DEB, WHEEL, DEB)
    ]
    for row in (*KEPT, *plain):
        assert texts.kept(row) == json.dumps(manifest_row(row))
    gone = [RemovedPath(row.entry, row.package) for row in (*KEPT, *plain)]
    for removed in (*REMOVED, *gone):
        assert texts.removed(removed) == json.dumps(removed_row(removed))


def test_a_file_formatted_anew_reads_the_same(tmp_path: Path) -> None:
    path = written(tmp_path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    assert list(read.read_manifest(path)) == KEPT


def test_no_rows_at_all_are_written_and_read(tmp_path: Path) -> None:
    stream = io.StringIO()
    write_removed(stream, [])
    valid(json.loads(stream.getvalue()), "removed")
    (tmp_path / "removed.json").write_text(stream.getvalue())
    assert list(read.read_removed(tmp_path / "removed.json")) == []


def test_many_rows_pass_through_the_batches_of_the_writer(tmp_path: Path) -> None:
    rows = [RemovedPath(Entry(f"/{number:05}", FileType.FILE, 0o644, 0, 0, number, 0)) for number in range(2500)]
    with open(tmp_path / "removed.json", "w", encoding="utf-8") as stream:
        write_removed(stream, rows)
    assert list(read.read_removed(tmp_path / "removed.json")) == rows
    assert len(json.loads((tmp_path / "removed.json").read_text())["paths"]) == 2500


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "manifest.json"),
        (lambda text: text.replace("slimmer.manifest/1", "slimmer.manifest/2"), "not of format slimmer.manifest/1"),
        (lambda text: text.replace('"mode": "0755"', '"mode": "rwx"'), "path number 1 is wrong"),
        (lambda text: text.replace('"uid": 0', '"uid": "0"', 1), "a whole number was expected"),
        (lambda text: text.replace('"setuid"', '"nonsense"'), "path number 2 is wrong"),
        (lambda text: text.replace("]\n}\n", "]\n"), "ends early"),
        (lambda text: "", "not JSON"),
        (lambda text: "[]", "not of format"),
        (lambda text: "[" * 100_000, "not JSON"),
    ],
)
def test_a_damaged_file_is_an_error_with_its_place(tmp_path: Path, damage: Any, message: str) -> None:
    path = written(tmp_path) / "manifest.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(SlimmerError, match=message):
        list(read.read_manifest(path))


def test_a_missing_file_is_an_error_that_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(SlimmerError, match="slim trace"):
        list(read.read_removed(tmp_path / "removed.json"))


def report(**facts: Any) -> Report:
    return build_report(KEPT, REMOVED, Subject(source="/", command=("a", "b")), **facts)


def test_a_report_is_valid_and_reads_back_as_written(tmp_path: Path) -> None:
    made = report(
        warnings=[ClosureWarning("siblings", "/a", "text", 3), ClosureWarning("dlopen-string", "/b", "text", 90)],
        levels=[LevelSize("recorded", 3, 1), LevelSize("reachable", 4, 2, True)],
        notes=["one"],
    )
    with open(tmp_path / "report.json", "w", encoding="utf-8") as stream:
        write_report(stream, made)
    value = json.loads((tmp_path / "report.json").read_text("ascii"))
    valid(value, "report")
    assert report_value(read.read_report(tmp_path / "report.json")) == value
    assert [each["weight"] for each in value["unsure"]] == [90, 3]
    stay = [each for each in made.packages if each.kept_files]
    whole = made.slim.bytes + sum(each.removed_bytes for each in stay)
    assert value["levels"][-1]["level"] == "packages"
    assert value["levels"][-1]["bytes"] == whole
    assert value["levels"][-1]["estimate"]


def test_the_estimate_of_whole_packages_is_no_less_than_what_it_holds() -> None:
    grown = LevelSize("reachable", 10**6, 10**12, True)
    assert report(levels=[grown]).levels[-1] == LevelSize("packages", 10**6, 10**12, estimate=True)


def test_a_report_of_another_format_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"format": "slimmer.report/9"}')
    with pytest.raises(SlimmerError, match=r"slimmer\.report/1"):
        read.read_report(tmp_path / "report.json")


def test_a_report_sums_both_sides(tmp_path: Path) -> None:
    made = report(packages=[Package(PackageType.DEB, "empty", "1")])
    assert (made.fat.paths, made.slim.paths) == (6, 4)
    assert (made.fat.files, made.slim.files) == (2, 1)
    assert (made.fat.bytes, made.slim.bytes) == (12, 9)
    assert (made.fat.packages, made.slim.packages) == (3, 2)
    assert (made.fat.executables, made.slim.executables) == (1, 1)
    counts: Mapping[str, tuple[int, int]] = {str(each.risk): (each.fat, each.slim) for each in made.risks}
    assert counts["setuid"] == (1, 1)
    assert counts["credential"] == (1, 0)
    assert [(each.package.name, each.state) for each in made.packages] == [
        ("dash", PackageState.PART),
        ("empty", PackageState.REMOVED),
        ("six", PackageState.WHOLE),
    ]
    assert made.packages[0].part == ("/bin/sh",)
    assert made.rules == {"directory": 1, "recorded": 1, "include": 1, "link": 1}


def test_hard_links_weigh_once_on_each_side_and_once_in_the_whole() -> None:
    def link(path: str) -> Entry:
        return Entry(path, FileType.FILE, 0o644, 0, 0, 10, 0, identity=(1, 2), links=3)

    kept = [KeptPath(link("/a")), KeptPath(link("/b"))]
    made = build_report(kept, [RemovedPath(link("/c"))], Subject())
    assert (made.fat.bytes, made.slim.bytes) == (10, 10)
    assert (made.fat.files, made.slim.files) == (3, 2)


def test_a_package_keeps_its_copyright_when_the_text_stays() -> None:
    def of(path: str) -> KeptPath:
        return KeptPath(Entry(path, FileType.FILE, 0o644, 0, 0, 1, 0), package=DEB)

    assert build_report([of("/usr/share/doc/dash/copyright")], [], Subject()).packages[0].copyright
    assert not build_report([of("/usr/bin/copyrighter/x")], [], Subject()).packages[0].copyright


def test_a_whole_output_is_valid_by_all_schemas(tmp_path: Path) -> None:
    fat = plant(tmp_path / "fat", {"usr/bin/app": "#755 x", "etc/passwd": "root", "etc/k.pem": "x", "l": "-> etc"})
    out = make_output(tmp_path / "out", fat, ["/usr/bin/app", "/l"])
    for name in ("manifest", "removed", "report", "check"):
        valid(json.loads((out / f"{name}.json").read_text()), name)
