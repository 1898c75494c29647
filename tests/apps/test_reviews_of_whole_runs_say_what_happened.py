"""One real trace, and everything that is said about it: each file by its schema, each verb on it."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from slimmer import recipe as recipes
from slimmer.report import read
from tests.apps.conftest import Slim
from tests.fat_images import fat_root
from tests.running import readable_directory
from tests.support import needs_root, plant, requires

pytestmark = [needs_root, requires("mmdebstrap")]
SCHEMAS = Path(read.__file__).with_name("schemas")
SERVER = """
use Socket;
socket(my $s, PF_INET, SOCK_STREAM, 6) or die;
setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);
bind($s, sockaddr_in(81, INADDR_ANY)) or die;
listen($s, 5);
while (accept(my $c, $s)) { print $c "hi\\n"; close $c }
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with readable_directory() as place:
        root = fat_root(place / "root")
        owned = sorted(f"/{path.relative_to(root)}" for path in (root / "usr").rglob("*"))
        plant(
            root,
            {
                "/var/lib/dpkg/status": "Package: base\nStatus: install ok installed\nArchitecture: amd64\n"
                "Version: 1\nDescription: base\n",
                "/var/lib/dpkg/info/base.list": "".join(f"{path}\n" for path in ["/.", "/usr", *owned]),
                "/srv/app/server.pl": SERVER,
                "/srv/app/.git/config": "[core]\n",
                "/srv/app/tests/test_a.py": "assert 1\n",
                "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/bin/sh\n",
            },
        )
        yield place


@pytest.fixture
def out(home: Path, slim: Slim) -> Path:
    place = home / "out"
    if not place.exists():
        command = ("--run", "perl server.pl", "--workdir", "/srv/app", "--probe", "tcp://127.0.0.1:81")
        slim("trace", "--root", home / "root", *command, "-o", place)
    return place


def valid(value: Any, name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(value)


@pytest.mark.parametrize("name", ["manifest", "removed", "report", "check", "recording"])
def test_every_file_of_an_output_is_valid_by_its_schema(name: str, out: Path) -> None:
    valid(json.loads((out / f"{name}.json").read_text()), name)


def test_the_recipe_is_valid_by_its_schema_which_knows_every_field(out: Path) -> None:
    valid(tomllib.loads((out / "recipe.toml").read_text()), "recipe")
    full = recipes.Recipe(
        source=recipes.Source(root="/r", insecure=True, limits=("file_bytes=1G",)),
        runs=(
            recipes.Run(("x", "y"), {"A": "b"}, probes=(recipes.Probe("http://127.0.0.1/", 200, json={"/a": [1]}),)),
        ),
        reach=recipes.Reach(include=("/x",), scanner_data=False),
        image=recipes.ImageOptions(entrypoint=("/x",), source_date_epoch=5, label={"a": "b"}),
        repairs=(recipes.Miss("/x", ("/bin/y",), ("read",), "listed"),),
    )
    valid(tomllib.loads(full.dump()), "recipe")
    properties = json.loads((SCHEMAS / "recipe.schema.json").read_text())["properties"]
    for name, kind in (
        ("source", recipes.Source),
        ("sandbox", recipes.Sandbox),
        ("reach", recipes.Reach),
        ("image", recipes.ImageOptions),
        ("run", recipes.Run),
        ("repair", recipes.Miss),
    ):
        found = properties[name].get("items", properties[name])["properties"]
        assert set(found) == {field.name for field in dataclasses.fields(kind)}, name


def test_answers_of_verbs_are_valid_by_their_schemas(slim: Slim, out: Path, tmp_path: Path) -> None:
    valid(json.loads(slim("why", out, "/usr/bin/perl", "--json").stdout), "why")
    valid(json.loads(slim("diff", out, out, "--json").stdout), "diff")
    valid(json.loads(slim("reproduce", out, "--json", "-q").stdout), "reproduction")
    policy = tmp_path / "policy.toml"
    policy.write_text('[limits]\nsize = "1 kB"\n[deny]\nrisks = ["interpreter"]\n')
    done = slim("gate", out, "--policy", policy, "--json", code=3)
    valid(json.loads(done.stdout), "gate")


def test_who_listens_on_a_privileged_port_is_marked(slim: Slim, out: Path) -> None:
    manifest = {row["path"]: row for row in json.loads((out / "manifest.json").read_text())["paths"]}
    assert "privileged-port:81" in manifest["/usr/bin/perl"]["risks"]
    assert "privileged-port:81" in slim("report", out, "--markdown").stdout


def test_what_of_the_application_was_left_out_is_said(slim: Slim, out: Path) -> None:
    page = " ".join(slim("report", out).stdout.split())
    assert "left out of the application's own files: /srv/app/.git (version control" in page
    assert "/srv/app/tests/test_a.py (a test of the application)" in page


def test_a_package_database_that_stays_whole_is_said_to_name_what_is_gone(
    slim: Slim, home: Path, out: Path, tmp_path: Path
) -> None:
    slim("trace", "--root", home / "root", "--run", "cat /var/lib/dpkg/status", "-o", tmp_path / "out", "--no-check")
    notes = json.loads((tmp_path / "out/report.json").read_text())["notes"]
    assert any(note.startswith("/var/lib/dpkg/status is kept whole") for note in notes)
    assert not any("kept whole" in note for note in json.loads((out / "report.json").read_text())["notes"])


def test_sarif_names_each_risky_path_with_a_rule_that_it_defines(slim: Slim, out: Path) -> None:
    log = json.loads(slim("report", out, "--sarif", "-").stdout)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert {result["ruleId"] for result in run["results"]} <= set(rules)
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"] if "ruleIndex" in result)


def test_a_review_of_an_output_is_the_same_wherever_it_is_read(slim: Slim, out: Path, tmp_path: Path) -> None:
    for form in ("--json", "--markdown"):
        texts = {slim("report", out, form, cwd=place).stdout for place in (tmp_path, out)}
        assert len(texts) == 1
    assert len(slim("report", out, "--markdown").stdout.splitlines()) < 60
