"""Lists of images: what they say, and where in them something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimmer.batch.json_position import column_of
from slimmer.batch.lists import read_lists, refuse_twins
from slimmer.cli.main import main
from slimmer.errors import UsageProblem
from slimmer.recipe import Run
from tests.support import plant

TOML = """\
[[image]]
recipe = "shop/slim.toml"
source = { image = "docker://registry.example/shop:7" }
push = "docker://registry.example/slim/shop:7"
policy = "policy.toml"

[[image]]
name = "tool"
output = "out/tool"
recipe = { source = { root = "rootfs" }, run = [{ command = "/app/tool --all" }] }
"""
TREE: dict[str, str | bytes | None] = {
    "images.toml": TOML,
    "shop/slim.toml": '[source]\nroot = "old"\n[[run]]\ncommand = "/shop"\n',
    "policy.toml": '[limits]\nsize = "1 MB"\n',
}


def test_a_list_says_what_each_image_is(tmp_path: Path) -> None:
    shop, tool = read_lists([plant(tmp_path, TREE) / "images.toml"])
    assert (shop.name, shop.recipe.source.image, shop.recipe.source.root) == (
        "shop",
        "docker://registry.example/shop:7",
        "/",
    )
    assert shop.recipe.runs[0].command == ("/shop",)
    assert shop.policy == TREE["policy.toml"]
    assert shop.theirs == str(tmp_path / "shop/slim.toml")
    assert (tool.output, tool.recipe.source.root) == (str(tmp_path / "out/tool"), str(tmp_path / "rootfs"))
    assert tool.recipe.runs[0].command == ("/app/tool", "--all")


def test_an_image_without_a_recipe_is_run_as_it_says_itself(tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text('[[image]]\nname = "app"\nsource = { image = "docker-archive:app.tar" }\n')
    (listed,) = read_lists([tmp_path / "list.toml"])
    assert listed.recipe.runs == (Run(),)


def test_lines_of_json_say_the_same(tmp_path: Path) -> None:
    import tomllib

    plant(tmp_path, TREE)
    rows = tomllib.loads(TOML)["image"]
    (tmp_path / "images.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    ours, theirs = (read_lists([tmp_path / name]) for name in ("images.jsonl", "images.toml"))
    assert [each.recipe for each in ours] == [each.recipe for each in theirs]
    assert [(each.name, each.output, each.push) for each in ours] == [
        (each.name, each.output, each.push) for each in theirs
    ]


def test_a_directory_gives_its_recipes_in_order(tmp_path: Path) -> None:
    text = '[[run]]\ncommand = "/x"\n'
    plant(tmp_path, {"b/slim.toml": text, "a/two/slim.toml": text, "a/one/slim.toml": text, "a/other.toml": "?"})
    assert [each.name for each in read_lists([tmp_path])] == ["a/one", "a/two", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[image]\n", "images.toml:1:8: "),
        ("[[image]]\nname = ", "images.toml:2:8: "),
        ('[image]\nname = "x"\n', "images.toml:1:1: image is no list"),
        ('[[images]]\nname = "x"\n', "images.toml:1:1: unknown key 'images'"),
        ('[[image]]\nname = "x"\n\n[[image]]\nname = "y"\n  nmae = "z"\n', "images.toml:6:3: unknown key 'nmae'"),
        ("[[image]]\nname = 7\n", "images.toml:2:1: name: a text was expected, not 7"),
        ('[[image]]\nname = "../x"\n', "images.toml:2:1: '../x' is no name of an image"),
        ('[[image]]\noutput = "x"\n', "images.toml:1:1: '' is no name of an image"),
        ('[[image]]\nname = "x"\nrecipe = "nowhere.toml"\n', "images.toml:3:1: there is no recipe"),
        ('[[image]]\nname = "x"\npush = "docker://UPPER/X"\n', "images.toml:3:1: push: "),
        ('[[image]]\nname = "x"\nsource = "y"\n', "images.toml:3:1: a table was expected, not 'y'"),
        ('[[image]]\nname = "x"\nsource = { rot = "y" }\n', "images.toml:3:12: source: unknown key 'rot'"),
        (
            '[[image]]\nname = "x"\n[[image.recipe.run]]\ncommand = "a"\nready = "/(/"\n',
            "images.toml:5:1: recipe: run 1.ready",
        ),
        ('[[image]]\nname = "x"\n[[image]]\nname = "x"\n', "images.toml:4:1: the name 'x' is that of "),
        (
            '[[image]]\nname = "x"\npush = "h.io/a"\n[[image]]\nname = "y"\npush = "docker://h.io/a:latest"\n',
            "images.toml:6:1: the push 'docker://h.io/a:latest' is that of ",
        ),
        ('{"name": "x"}\n{"name": "y" "z"}\n', "images.toml:2:14: "),
        ('{"name": "x"}\n[1]\n', "images.toml:2:1: an image was expected, not [1]"),
        (
            '{"name": "ä", "recipe": {"run": [{"command": "a"}, {"comand": "b"}]}}\n',
            "images.toml:1:53: recipe: run 2: unknown key 'comand'",
        ),
        ("", "there is no image in "),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    place = tmp_path / "images.toml"
    place.write_text(text)
    with pytest.raises(UsageProblem) as caught:
        refuse_twins(read_lists([place]))
    assert said in caught.value.message


def test_a_recipe_that_is_wrong_is_named_by_its_own_file(tmp_path: Path) -> None:
    plant(tmp_path, {**TREE, "shop/slim.toml": '[[run]]\ncommand = "/shop"\nwrong = 1\n'})
    with pytest.raises(UsageProblem, match=r"shop/slim\.toml:3:1: "):
        read_lists([tmp_path / "images.toml"])


@pytest.mark.parametrize(
    ("text", "place", "column"),
    [
        ('{"a": 1, "b": [1, {"c": 2}]}', ("b", 1, "c"), 20),
        ('  {"a" : {"b":"}"} , "c":[]}', ("c",), 22),
        ('{"a": 1}', ("x", "y"), 1),
        ('{"a": {"b": 1}}', ("a", "x"), 2),
        ("[1, 2]", (1,), 5),
        ("7", ("a",), 1),
    ],
)
def test_a_column_is_that_of_the_key(text: str, place: tuple[str | int, ...], column: int) -> None:
    assert column_of(text, place) == column


@pytest.mark.parametrize(
    ("recipe", "asks"),
    [
        ('[source]\nroot = "/home"\n[[run]]\ncommand = "/x"\n', "--root /home"),
        ('[source]\nimage = "docker://h.io/a"\n[sandbox]\nmounts = ["/etc:/etc"]\n', "--mount /etc:/etc"),
        ('[source]\nimage = "docker://h.io/a"\n[[run]]\nclient = ["curl evil"]\n', "--client"),
    ],
)
def test_a_recipe_of_others_touches_this_host_by_leave_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recipe: str, asks: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    plant(tmp_path, {"given/one/slim.toml": recipe})
    with pytest.raises(SystemExit) as ended:
        main(["batch", "given"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert asks in said
    assert "--trust" in said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["given"], "nothing ran, nothing was written"
