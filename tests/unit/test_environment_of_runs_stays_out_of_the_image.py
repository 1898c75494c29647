"""Which environment is whose: --env and files are the run's, --image-env is the image's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slimmer.cli.described import recipe_from
from slimmer.errors import UsageProblem
from slimmer.exercise.place import Place, Start
from slimmer.image.config import ImageConfig
from slimmer.pipeline.configuration import configure
from slimmer.recipe import Run, environment_of, read_environment
from slimmer.report.credentials import credential_variable
from slimmer.report.warnings import Packed, warnings
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.recording import Recording


def options(**changes: Any) -> dict[str, Any]:
    return {"envs": (), "env_files": (), "image_envs": (), **changes}


def test_each_goes_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("DB=postgres://app:s3cret@db/x\n")
    recipe = recipe_from(
        options(envs=("A=run",), env_files=(str(tmp_path / "env"),), image_envs=("B=image",), run="app")
    )
    (run,) = recipe.runs
    assert environment_of(run, {}) == {"A": "run", "DB": "postgres://app:s3cret@db/x"}
    assert recipe.image.env == {"B": "image"}
    root = DirectoryRoot(str(plant(tmp_path / "root", {"/app": "#755 "})))
    source = ImageConfig(architecture="amd64", env=(("C", "source"),))
    config = configure(source, Place(str(tmp_path / "root"), root, Start()), recipe, root, [])
    assert {name for name, _ in config.env} == {"PATH", "B", "C"}
    assert "s3cret" not in recipe.dump()


def test_a_file_is_read_as_docker_reads_it(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# words\n\nA=1\nB=two words = x\nC\nD\nE=\n A2=3\n")
    assert read_environment(tmp_path / "env", {"C": "mine"}) == {
        "A": "1", "B": "two words = x", "C": "mine", "E": "", "A2": "3"
    }  # fmt: skip
    run = Run(env={"A": "flag"}, env_file=(str(tmp_path / "env"),))
    assert environment_of(run, {})["A"] == "flag"


@pytest.mark.parametrize("text", ["=x", "two words=x", "export A=1"])
def test_a_line_that_is_none_is_named_without_its_content(tmp_path: Path, text: str) -> None:
    (tmp_path / "env").write_text(f"A=1\n{text}\n")
    with pytest.raises(UsageProblem, match="line 2") as caught:
        read_environment(tmp_path / "env", {})
    assert text not in str(caught.value)
    with pytest.raises(UsageProblem, match="cannot read"):
        read_environment(tmp_path / "none", {})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("DB_PASSWORD", "hunter2", "password"),
        ("DATABASE_URL", "postgres://app:hunter22@db/app", "password"),
        ("GITHUB", "ghp_" + "a1B2" * 9, "token"),
        ("MY_API_KEY", "abc123", "password"),
        ("AWS", "AKIA" + "ABCD1234" * 2, "cloud-credentials"),
        ("PASSWORD_FILE", "/run/secrets/db", ""),
        ("DB_PASSWORD", "/run/secrets/db", ""),
        ("DB_PASSWORD", "", ""),
        ("PATH", "/usr/bin:/bin", ""),
        ("DATABASE_URL", "postgres://db/app", ""),
        ("GPG_KEY", "A035C8C19219BA821ECEA86B64E628F8D684696D", ""),
        ("TOKENIZERS_PARALLELISM", "false", ""),
    ],
)
def test_what_looks_like_a_secret(name: str, value: str, kind: str) -> None:
    assert bool(credential_variable(name, value)) == bool(kind)


def test_a_secret_that_enters_the_image_is_a_warning_without_its_value(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path, {"/app": "#755 "})))
    packed = Packed(root, {"/app"}, ImageConfig(env=(("DB_PASSWORD", "hunter2"),)))
    (found,) = [each for each in warnings(packed, Recording(()), []) if each.kind == "credential"]
    assert "DB_PASSWORD" in found.text
    assert "hunter2" not in found.text
