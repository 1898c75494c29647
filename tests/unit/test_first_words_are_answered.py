"""What a newcomer types is answered: a typo, help, colours that are not wanted, habits from other tools."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from slimmer.cli import main as program

HOUSE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Slim(Protocol):
    def __call__(self, *words: str, **env: str) -> Done: ...


@pytest.fixture
def slim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Slim:
    """The program, in this process and in an empty directory: a start of Python for each would take longer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "_hear_signals", lambda: None)

    def run(*words: str, **env: str) -> Done:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["slim", *words])
        with pytest.raises(SystemExit) as ended:
            program.main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


def test_the_module_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "slimmer", "help"], cwd=HOUSE, text=True, capture_output=True)
    assert done.returncode == 0
    assert "doctor" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("traec",), 2, "did you mean trace"),
        (("help", "traec"), 2, "there is no verb"),
        (("build", "nginx:latest"), 2, "slim trace --image docker://nginx:latest"),
        (("trace", "--recipe", "nosuch.toml"), 2, "cannot read the recipe nosuch.toml"),
        (("gate", "--policy", "nosuch.toml"), 2, "cannot read the policy nosuch.toml"),
        (("why", "a", "b", "c"), 2, "one PATH at a time"),
        (("why", "/etc/passwd"), 1, "slim-out"),
    ],
)
def test_wrong_words_get_the_right_ones(slim: Slim, words: tuple[str, ...], code: int, said: str) -> None:
    done = slim(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert not done.stdout


def test_an_error_under_json_is_json(slim: Slim) -> None:
    for words in (("check", "nosuch", "--json"), ("trace", "--json", "--nosuch"), ("traec", "--json")):
        done = slim(*words)
        value = json.loads(done.stderr.splitlines()[-1])
        assert value["format"] == "slimmer.error/1"
        assert value["exit_code"] == done.returncode > 0
        assert value["message"]
        assert not done.stdout


def test_help_is_a_verb_and_options_stand_in_groups(slim: Slim) -> None:
    assert slim("help").stdout == slim("--help").stdout
    text = slim("help", "trace").stdout
    titles = [text.index(f"\n{each}:\n") for each in ("Source", "Exercise", "Reach", "Image", "Output", "Options")]
    assert titles == sorted(titles)
    assert titles[1] < text.index("  --probe URL") < titles[2] < text.index("  --include GLOB") < titles[3]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_asks_slim(slim: Slim, shell: str) -> None:
    assert "_SLIM_COMPLETE" in slim("completion", shell).stdout
    values = {
        "_SLIM_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "slim tra",
        "COMP_CWORD": "tra" if shell == "fish" else "1",
    }
    assert "trace" in slim(**values).stdout


def test_the_doctor_finds_something_to_say_of_everything(slim: Slim) -> None:
    done = slim("doctor", "--json")
    value = json.loads(done.stdout)
    assert value["format"] == "slimmer.doctor/1"
    found = {each["what"]: each for each in value["findings"]}
    assert {"running", "recorder notify", "overlay", "foreign architectures", "disk here"} <= set(found)
    for each in found.values():
        assert each["works"] in ("yes", "limited", "no")
        assert each["works"] != "limited" or each["remedy"]
