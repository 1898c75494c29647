"""The page, CSV, SARIF and Markdown of one output: right figures, nothing that breaks out of its place."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slimmer.cli.report import command
from slimmer.closure.model import ClosureWarning, LevelSize, Reason
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.report.output import open_output
from slimmer.report.words import change, less, shown, size
from tests.report_outputs import make_output
from tests.support import plant

NASTY = "odd\udcff|`name`\n<b>"
TREE: dict[str, str | bytes | None] = {
    "usr/bin/app": "#755 " + "a" * 2000,
    "usr/bin/bash": "#755 " + "b" * 8000,
    f"srv/{NASTY}": "x",
    "etc/big": "z" * 90_000,
    "var/lib/dpkg/status": "Package: bash\nStatus: install ok installed\nVersion: 5\n",
    "var/lib/dpkg/info/bash.list": "/usr/bin/bash\n",
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    fat = plant(tmp_path / "fat", TREE)
    (fat / "usr/bin/app").chmod(0o4755)
    kept = {
        "/usr/bin/app": (Reason("recorded", "started | by `x`"),),
        f"/srv/{NASTY}": (Reason("recorded", "opened by /usr/bin/app"),),
    }
    return make_output(
        tmp_path / "out",
        fat,
        kept,
        warnings=[
            ClosureWarning("siblings", f"/srv/{number}", "may be missing", number, f"--include /srv/{number}")
            for number in range(50)
        ],
        levels=[LevelSize("recorded", 1, 10), LevelSize("reachable", 2, 20, True)],
        notes=["a note"],
    )


def report(output: Path, *options: str) -> Result:
    return CliRunner().invoke(command, [str(output), *options], catch_exceptions=False)


def test_the_page_has_the_figures_the_risk_the_warnings_and_the_verdict(output: Path) -> None:
    text = report(output).stdout
    for words in (
        "100 kB",
        "2.00 kB",
        "−98.0 %",
        "setuid",
        "/usr/bin/app",
        "1 removed",
        "bash 8.00 kB",
        "passed",
        "a note",
    ):
        assert words in text, words
    assert "20 warnings" in text  # with something to do about them, and some weight
    assert "--include /srv/49" in text
    assert "and 45 more" in text
    assert report(output, "--verbose").stdout.count("may be missing") == 50
    assert "/srv/49" in text  # the heaviest
    assert "/srv/3 " not in text
    assert len(text.splitlines()) < 60


def test_csv_has_a_line_for_every_path_and_reads_back(output: Path) -> None:
    text = report(output, "--csv", "-").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(text.splitlines()) - 1  # no name breaks its line
    found = {row["path"]: row for row in rows}
    assert found["/usr/bin/bash"]["status"] == "removed"
    assert found["/usr/bin/bash"]["package"] == "deb:bash@5"
    assert found["/usr/bin/bash"]["risks"] == "shell"
    assert found["/usr/bin/app"]["reason"] == "started | by `x`"
    assert found["/usr/bin/app"]["mode"] == "4755"
    assert "/srv/odd\\xff|`name`\\n<b>" in found
    assert all(row["path"].startswith("/") for row in rows)


def test_sarif_has_a_result_for_each_risk_that_stays(output: Path) -> None:
    value = json.loads(report(output, "--sarif", "-").stdout)
    (run,) = value["runs"]
    assert value["version"] == "2.1.0"
    (result,) = run["results"]
    assert result["ruleId"] == "setuid"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "setuid"
    assert result["level"] == "warning"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": "usr/bin/app",
        "uriBaseId": "IMAGE",
    }


def test_markdown_stays_under_sixty_lines_and_in_its_cells(output: Path) -> None:
    text = report(output, "--markdown").stdout
    assert len(text.splitlines()) < 60
    assert "| `/usr/bin/app` | setuid | started \\| by \\`x\\` |" in text
    assert "100 kB → 2.00 kB (−98.0 %)" in text
    assert "<b>" not in text
    assert "and 15 more" in text  # not all of 20 warnings


def test_json_is_the_report_itself(output: Path) -> None:
    assert report(output, "--json").stdout == (output / "report.json").read_text()


def test_files_are_written_whole_or_not_at_all(output: Path, tmp_path: Path) -> None:
    assert report(output, "--csv", str(tmp_path / "a.csv"), "--sarif", str(tmp_path / "a.sarif")).stdout == ""
    assert (tmp_path / "a.csv").read_text().startswith("status,path")
    (output / "removed.json").write_text("{")
    with pytest.raises(SlimmerError):
        report(output, "--csv", str(tmp_path / "b.csv"))
    assert [path.name for path in tmp_path.glob("*b.csv*")] == []


def test_options_that_contradict_each_other_are_usage_errors(output: Path) -> None:
    for options in (["--json", "--markdown"], ["--csv", "-", "--sarif", "-"], ["--against", "x"]):
        with pytest.raises(UsageProblem):
            report(output, *options)


@pytest.mark.parametrize("make", ["nothing", "file", "empty"])
def test_what_is_no_output_is_a_clear_error(tmp_path: Path, make: str) -> None:
    place = tmp_path / "x"
    if make == "file":
        place.write_text("")
    elif make == "empty":
        place.mkdir()
    with pytest.raises(SlimmerError, match="slim trace -o DIR"):
        open_output(str(place))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9995, "10.0 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
    ],
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert size(count) == text


def test_words_for_changes_and_names() -> None:
    assert (change(0), change(1500), change(-1500)) == ("±0", "+1.50 kB", "−1.50 kB")
    assert (less(100, 25), less(100, 125), less(0, 5)) == ("−75.0 %", "+25.0 %", "")
    assert shown("/é/a\udcff\n\x1b[31m") == "/é/a\\xff\\n\\x1b[31m"
