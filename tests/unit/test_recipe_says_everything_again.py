"""slim.toml: what is written is read again, and what is wrong is named."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import pytest

from slimmer import recipe
from slimmer.errors import UsageProblem
from slimmer.recipe import ImageOptions, Keep, LockOptions, Probe, Reach, Recipe, Run, Sandbox, Source, split_command
from slimmer.report import read
from tracer.session import Network

FULL = Recipe(
    source=Source(root="/srv/fat"),
    runs=(
        Run(
            command=("app", "--serve", "a b"),
            env={"A": "1"},
            user="www-data",
            probes=(
                Probe("http://127.0.0.1:80/x", 404),
                Probe("http://127.0.0.1:80/y", method="POST", body="{}", json={"/a/0": 3}),
            ),
            exec=(("redis-cli", "ping", "a b"),),
            seconds=2.5,
        ),
        Run(command=("app", "--once"), expect_exit=3),
    ),
    sandbox=Sandbox(network=Network.HOST),
    reach=Reach(keep=Keep.PACKAGES, include=("/opt/*",)),
    image=ImageOptions(entrypoint=(), label={"a": "b"}, tag="app:1"),
)


@pytest.mark.parametrize("value", [Recipe(), FULL], ids=["empty", "full"])
def test_a_dumped_recipe_is_the_same_recipe(value: Recipe) -> None:
    assert recipe.parse(tomllib.loads(value.dump()), "here") == value


def test_the_default_is_not_written() -> None:
    assert Recipe().dump().strip() == 'format = "slimmer.recipe/1"'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sorce = {}", "unknown key 'sorce'"),
        ("[source]\nrot = 1", "source: unknown key 'rot'"),
        ("[source]\nroot = 1", "source.root: str was expected, not 1"),
        ('[reach]\nkeep = "all"', "reach.keep: 'all' is none of recorded, reachable, packages"),
        ('[run]\ncommand = "x"', "run is a table"),
        ('[[run]]\ncommand = "x"\nprobes = "y"', "run 1.probes: a list was expected"),
        ('[[run]]\ncommand = "x \'"', "cannot split the command"),
        ("[[run]]\nexpect_exit = true", "run 1.expect_exit: int was expected"),
        ('format = "slimmer.recipe/9"', "format is 'slimmer.recipe/9'"),
        ("x = [", "slim.toml: "),
        ('[[run]]\nexec = [\n  "echo \'x",\n]', "slim.toml:3:3: run 1.exec[0]: cannot split the command"),
        ("[[run]]\nexec = [[]]", "slim.toml:2:9: run 1.exec[0]: the command is empty"),
        ('[[run]]\nclient = [["a", "\\u0000"]]', "slim.toml:2:17: run 1.client[0][1]"),
        ('[[run]]\n[[run]]\nprobes = [{url = "http://h/", pattern = "("}]', "slim.toml:3:31: run 2.probes[0].pattern"),
        ('[[run]]\n[[run.probes]]\nurl = "ftp://h/"', "slim.toml:3:1: run 1.probes[0].url: ftp://h/: not a URL"),
        (
            '[[run]]\nprobes = ["http://h:99999/"]',
            "slim.toml:2:11: run 1.probes[0]: http://h:99999/: not a URL",
        ),
        ('[[run]]\nprobes = ["tcp://h"]', "a port is missing"),
        ('[[run]]\nprobes = ["http://h/\\n"]', "a control character"),
        ('[[run.probes]]\nurl = "http://h/"\nheaders = {"a\\nb" = "c"}', "is a table"),
        ('[[run]]\n[[run.probes]]\nurl = "http://h/"\nheaders = {"a\\nb" = "c"}', ":4:12: run 1.probes[0].headers"),
        ('[[run]]\n[[run.probes]]\nurl = "http://h/"\nheaders = {a = "b\\nc"}', "the header a cannot have"),
        ('[[run]]\nprobes = [{url = "tcp://h:1", body = "\\\\x"}]', "cannot be sent"),
        ('[[run]]\nprobes = [{url = "http://h/", json = {a = 1}}]', "no JSON pointer"),
        ("[[run]]\nprobes = [{status = 200}]", "the key 'url' is missing"),
        ('[[run]]\nready = "/(/"', "slim.toml:2:1: run 1.ready"),
        ('[[run]]\nready = "70000"', "is no port"),
        ("[[run]]\nseconds = nan", "is no time"),
        ('[[run]]\nstop_signal = "TREM"', "no such signal"),
        ('[[run]]\nenv = {"A=B" = "c"}', ":2:8: run 1.env.A=B"),
        ('[[run]]\ncrawl = ["x"]', ":2:10: run 1.crawl[0]: x: not a URL"),
        ("[[repair]]\nby = []", "slim.toml:1:1: repair 1: the key 'path' is missing"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    place = tmp_path / "slim.toml"
    place.write_text(text)
    with pytest.raises(UsageProblem) as caught:
        recipe.load(place)
    assert words in str(caught.value)


def test_commands_travel_as_the_words_that_are_run(tmp_path: Path) -> None:
    place = tmp_path / "slim.toml"
    place.write_text("""[[run]]\nexec = ["python3 -c 'import this'", ["perl", "-e", "print 1"]]""")
    (run,) = recipe.load(place).runs
    assert run.exec == (("python3", "-c", "import this"), ("perl", "-e", "print 1"))
    place.write_text(Recipe(runs=(run,)).dump())
    assert recipe.load(place).runs == (run,)


def test_a_probe_may_be_a_text_and_a_command_a_line(tmp_path: Path) -> None:
    place = tmp_path / "slim.toml"
    place.write_text(
        '[[run]]\ncommand = "app \'a b\'"\nprobes = ["http://x/y=302", { url = "http://x/z", method = "PUT" }]'
    )
    (run,) = recipe.load(place).runs
    assert run.command == ("app", "a b")
    assert run.probes == (Probe("http://x/y", 302), Probe("http://x/z", method="PUT"))


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("nginx -g 'daemon off;'", ("nginx", "-g", "daemon off;")),
        ("app --pattern 'a|b' --x=1", ("app", "--pattern", "a|b", "--x=1")),
        ("app --url http://x/?a=1&b=2", ("/bin/sh", "-c", "app --url http://x/?a=1&b=2")),
        ("cd /app && ./run", ("/bin/sh", "-c", "cd /app && ./run")),
        ("cat x | sort > y", ("/bin/sh", "-c", "cat x | sort > y")),
        ("echo $HOME", ("/bin/sh", "-c", "echo $HOME")),
        ('sh -c "echo a; echo b"', ("sh", "-c", "echo a; echo b")),
        ("a (b)", ("/bin/sh", "-c", "a (b)")),
    ],
)
def test_a_command_line_gets_a_shell_only_when_it_needs_one(line: str, argv: tuple[str, ...]) -> None:
    assert split_command(line) == argv


@pytest.mark.parametrize("text", ["8080", "127.0.0.1/x", "ftp://x/"])
def test_a_probe_must_be_a_url(text: str) -> None:
    with pytest.raises(UsageProblem, match="not a URL"):
        recipe.probe(text)


def test_a_query_that_ends_in_three_digits_reads_as_a_status_only_after_an_equals_sign() -> None:
    assert recipe.probe("http://x/?id=404") == Probe("http://x/?id", 404)
    assert recipe.probe("http://x/?id=404=200") == Probe("http://x/?id=404", 200)


def test_the_schema_knows_each_field_and_no_other() -> None:
    path = Path(read.__file__).with_name("schemas") / "recipe.schema.json"
    properties = json.loads(path.read_text(encoding="utf-8"))["properties"]
    kinds = {
        "source": Source,
        "sandbox": Sandbox,
        "reach": Reach,
        "image": ImageOptions,
        "lock": LockOptions,
        "run": Run,
    }
    for name, kind in kinds.items():
        known = properties[name].get("items", properties[name])["properties"]
        assert sorted(known) == sorted(each.name for each in dataclasses.fields(kind)), name
