"""An output again from its own recipe and recording; layers that stay when a release moves; times that are said."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slimmer import recipe as recipes
from slimmer.image.layout import read_layout
from tests.apps.conftest import HOUSE, Slim
from tests.fat_images import fat_image, fat_root
from tests.running import readable_directory
from tests.support import needs_root, plant, requires, root_of

pytestmark = [needs_root, requires("mmdebstrap")]
DAY = 1_000_000_000  # 2001-09-09


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with readable_directory() as place:
        fat_image(place / "oci", fat_root(place / "root"))
        yield place


@pytest.fixture
def cache(home: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(home / "cache")}


def image(home: Path) -> str:
    return f"oci:{home}/oci:app"


def digests(out: Path) -> list[str]:
    return [layer.digest for layer in read_layout(out / "image").layers]


def reproduction(slim: Slim, out: Path, *words: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(slim("reproduce", out, "--json", "-q", *words, **options).stdout)
    return found


def change_recipe(out: Path, **image: Any) -> None:
    """As if the output had been made with other options of the image."""
    recipe = recipes.load(out / "recipe.toml")
    changed = replace(recipe, image=replace(recipe.image, **image))
    (out / "recipe.toml").write_text(changed.dump())


@pytest.mark.parametrize("words", [(), ("--layers", "split", "--compression", "zstd", "--mtime", "epoch")])
def test_an_output_is_reproduced_bit_for_bit(
    words: tuple[str, ...], slim: Slim, home: Path, cache: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = {**cache, "SOURCE_DATE_EPOCH": str(DAY)}
    slim("trace", "--image", image(home), "-o", out, "--no-check", *words, env=made)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    # Another time in the environment has no say: the recipe remembers its own.
    found = reproduction(slim, out, env={**cache, "SOURCE_DATE_EPOCH": "5", "TZ": "Asia/Tokyo"})
    assert found["equal"]
    assert not found["differences"]
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    if not words:
        layer = out / "image/blobs/sha256" / digests(out)[0][7:]
        layer.write_bytes(layer.read_bytes()[:-1] + b"x")
        assert "is damaged" in slim("reproduce", out, "-q", code=1, env=cache).stderr


def test_what_a_check_repaired_is_in_the_recipe(slim: Slim, home: Path, cache: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--run", "ls /srv/app/parts", "--workdir", "/", "--keep", "recorded")
    done = slim("trace", "--image", image(home), *words, "-o", out, "--json", env=cache)
    repaired = set(json.loads(done.stdout)["repaired"])
    assert {"/srv/app/parts/a", "/srv/app/parts/b"} <= repaired
    assert reproduction(slim, out, env=cache)["equal"]
    # With that recipe the next run has them from the start.
    again = slim("trace", "--recipe", out / "recipe.toml", "-o", tmp_path / "again", "--no-repair", "--json", env=cache)
    assert json.loads(again.stdout)["image_id"] == json.loads(done.stdout)["image_id"]


def test_what_differs_is_named_to_the_path_and_the_field(
    slim: Slim, home: Path, cache: dict[str, str], tmp_path: Path
) -> None:
    out, root = tmp_path / "out", tmp_path / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", home / "root", root], check=True)
    slim("trace", "--root", root, "--run", "/srv/app/run.sh", "--workdir", "/srv/app", "-o", out, "--no-check")
    report = json.loads((out / "report.json").read_text())
    assert report["subject"]["compressor"].startswith("zlib ")
    (root / "srv/app/parts/a").write_text("other\n")
    (root / "srv/app/parts/c").write_text("new\n")
    (root / "srv/app/run.sh").chmod(0o700)
    change_recipe(out, label={"a": "b"})
    found = reproduction(slim, out, "--trust", code=3)
    rows = {row["what"]: row for row in found["differences"]}
    assert rows["config /config/Labels"] == {"what": "config /config/Labels", "before": "", "now": '{"a": "b"}'}
    assert "sha256" in rows["path /srv/app/parts/a"]["before"]
    assert (rows["path /srv/app/parts/c"]["before"], rows["path /srv/app/parts/c"]["now"]) == ("", "present")
    assert rows["path /srv/app/run.sh"] == {"what": "path /srv/app/run.sh", "before": "mode 0755", "now": "mode 0700"}
    assert "layer 1" in rows
    said = slim("reproduce", out, "--trust", code=3)
    assert "path /srv/app/run.sh: mode 0755, now mode 0700" in said.stdout
    assert "could not be reproduced" in said.stderr


def test_another_compressor_explains_other_bytes(slim: Slim, home: Path, cache: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    slim("trace", "--image", image(home), "-o", out, "--no-check", env=cache)
    # As if another zlib had made it: the recipe's layers, packed otherwise.
    report = out / "report.json"
    report.write_text(report.read_text().replace('"zlib ', '"zlib 0.'))
    change_recipe(out, compression="none")
    found = reproduction(slim, out, "--trust", env=cache)
    assert (found["equal"], found["same_content"]) == (False, True)
    assert "only the compressed bytes differ" in slim("reproduce", out, "--trust", env=cache).stdout
    assert [row["what"] for row in found["differences"]] == ["layer 1, the same content packed", "compressor"]


def test_what_cannot_be_reproduced_is_said(slim: Slim, tmp_path: Path) -> None:
    assert "is not an output of slimmer" in slim("reproduce", "nowhere", code=1, cwd=tmp_path).stderr
    assert "no recording to build from" in slim("build", code=2, cwd=tmp_path).stderr


def test_a_new_release_moves_only_the_layer_of_the_application(
    slim: Slim, home: Path, cache: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", home / "root", root], check=True)
    owned = sorted(f"/{path.relative_to(root)}" for path in (root / "usr").rglob("*"))
    site = "/usr/local/lib/python3.11/dist-packages"
    plant(
        root,
        {
            "/var/lib/dpkg/status": "Package: base\nStatus: install ok installed\nArchitecture: amd64\n"
            "Version: 1\nDescription: base\n",
            "/var/lib/dpkg/info/base.list": "".join(f"{path}\n" for path in ["/.", "/usr", *owned]),
            f"{site}/part/__init__.py": "value = 1\n",
            f"{site}/part-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: part\nVersion: 1\n",
            f"{site}/part-1.dist-info/RECORD": "part/__init__.py,,\npart-1.dist-info/METADATA,,\n"
            "part-1.dist-info/RECORD,,\n",
            "/srv/app/run.sh": f"#755 #!/bin/sh\ncat {site}/part/__init__.py parts/*\n",
        },
    )
    # Times are the recipe's, so that a checkout on another day moves nothing either.
    words = ("--root", root, "--run", "/srv/app/run.sh", "--workdir", "/srv/app", "--layers", "split")
    slim("trace", *words, "-o", tmp_path / "one", "--no-check")
    plant(root, {"/srv/app/parts/c": "three\n", "/srv/app/parts/a": "changed\n"})
    slim("trace", *words, "-o", tmp_path / "two", "--no-check")
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert len(one) == len(two) == 3
    assert one[:2] == two[:2]
    assert one[2] != two[2]


def test_python_does_not_compile_again_when_times_are_set(slim: Slim, tmp_path: Path) -> None:
    root = root_of("python3", overlay=HOUSE / "fixtures" / "apps" / "notes")
    tree = tmp_path / "tree"
    command = ("trace", "--root", root, "--run", "python3 -c 'import json.tool'", "--keep", "recorded")
    slim(*command, "--mtime", "epoch", "--rootfs", tree, "-o", tmp_path / "out", env={"SOURCE_DATE_EPOCH": str(DAY)})
    assert {path.lstat().st_mtime for path in tree.rglob("*.py")} == {DAY}
    done = subprocess.run(
        ["chroot", tree, "python3", "-v", "-c", "import json.tool"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert "matches /usr/lib/python3" in done.stderr
    for word in ("wrote", "bytecode is stale", "could not create"):
        assert word not in done.stderr
