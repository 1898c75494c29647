"""Every command of the pages in docs/ is run, in the order of its page, on a real image; so are pipelines' pieces."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.apps.conftest import HOUSE
from tests.documented import application_archive, django_archives, next_archive, php_archives, spring_boot_archive
from tests.support import needs_root

DOCS = HOUSE / "docs"
# What each page is about, beside app.tar.
PAGES = {
    "after-a-build": None,
    "django": django_archives,
    "hardening": None,
    "missing": None,
    "next": next_archive,
    "php-fpm": php_archives,
    "pipelines": None,
    "reviewing": None,
    "spring-boot": spring_boot_archive,
}
BLOCK = re.compile(r"^( *)```(sh|toml|yaml)(?: ([^\n]+))?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
pytestmark = [needs_root, pytest.mark.timeout(600)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with app.tar, and `slim` on PATH as an installation has it."""
    application_archive(tmp_path)
    program = tmp_path / "bin/slim"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={HOUSE} exec {sys.executable} -m slimmer "$@"\n')
    program.chmod(0o755)
    return tmp_path


def _sh(place: Path, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}", "HOME": str(place), **more}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_do_what_it_says(name: str, place: Path) -> None:
    make = PAGES[name]
    if make is not None:
        make(place)
    blocks = BLOCK.findall((DOCS / f"{name}.md").read_text(encoding="utf-8"))
    assert any(kind == "sh" for _, kind, _, _ in blocks)
    # Files that a page shows are there before its commands, wherever it shows them.
    for _, kind, label, text in blocks:
        if kind != "sh":
            (place / label).write_text(text)
    for indent, kind, label, text in blocks:
        if kind == "sh":
            script = re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
            done = _sh(place, script)
            wanted = int(label.removeprefix("exit=")) if label else 0
            assert done.returncode == wanted, f"{script}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr


def test_no_page_has_commands_that_nobody_runs() -> None:
    with_commands = {page.stem for page in DOCS.glob("*.md") if "```sh" in page.read_text(encoding="utf-8")}
    assert with_commands == set(PAGES)


def test_the_action_for_github_does_its_steps(place: Path) -> None:
    action = yaml.safe_load((DOCS / "ci/github/action.yml").read_text(encoding="utf-8"))
    (step,) = [each for each in action["runs"]["steps"] if "run" in each]
    (place / "policy.toml").write_text('[require]\ncheck = "passed"\nuser = "non-root"\n')
    given = {"image": "docker-archive:app.tar", "policy": "policy.toml", "probe": "http://127.0.0.1:8080/healthz"}
    values = {name: given.get(name, str(each.get("default", ""))) for name, each in action["inputs"].items()}
    environment = {}
    for name, text in step["env"].items():
        (used,) = re.findall(r"\$\{\{ inputs\.(\w+) \}\}", text)
        environment[name] = values[used]
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        environment[name] = str(place / name)
    done = _sh(place, step["run"], RUNNER_TEMP=str(place), CI="true", **environment)
    assert done.returncode == 0, done.stderr
    assert (place / "GITHUB_STEP_SUMMARY").read_text().startswith("### Slim image")
    assert re.fullmatch(r"image-id=sha256:[0-9a-f]{64}\n", (place / "GITHUB_OUTPUT").read_text())
    kept = [each for each in action["runs"]["steps"] if "upload-artifact" in each.get("uses", "")]
    assert all((place / each).is_file() for each in kept[0]["with"]["path"].split())


def test_the_component_for_gitlab_does_its_script(place: Path) -> None:
    spec, jobs = yaml.safe_load_all((DOCS / "ci/gitlab.yml").read_text(encoding="utf-8"))
    job = jobs["slim"]
    script = "\n".join([*job["before_script"], *job["script"]])
    assert set(re.findall(r"\$\[\[ inputs\.(\w+) \]\]", str(job))) == set(spec["spec"]["inputs"])
    done = _sh(place, script, IMAGE="docker-archive:app.tar", PROBE="", POLICY="", CI="true")
    assert done.returncode == 0, done.stderr
    assert all((place / each).is_file() for each in job["artifacts"]["paths"])


def test_the_task_for_tekton_does_its_script_and_gives_its_result(place: Path) -> None:
    task = yaml.safe_load((DOCS / "ci/tekton-task.yaml").read_text(encoding="utf-8"))
    (step,) = task["spec"]["steps"]
    script = step["script"].replace("$(results.image-id.path)", str(place / "result"))
    done = _sh(place, script, IMAGE="docker-archive:app.tar", PROBE="http://127.0.0.1:8080/")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", (place / "result").read_text())


@pytest.mark.parametrize("name", ["ci/Jenkinsfile", "ci/buildkite.yml"])
def test_the_lines_for_others_do_what_they_say(name: str, place: Path) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    if name.endswith("yml"):
        script = yaml.safe_load(text)["steps"][0]["command"].replace("$$", "$")
    else:
        script = re.findall(r"sh '''(.*?)'''", text, re.DOTALL)[0]
    done = _sh(place, script, CI="true")
    assert done.returncode == 0, done.stderr
    assert (place / "slim.tar").is_file()
    assert (place / "review.md").read_text().startswith("### Slim image")
