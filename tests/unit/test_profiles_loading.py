"""Profiles load whole or say where they are wrong; the schema and the loader agree."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

import slimmer.closure.profiles.load as loading
from slimmer.closure.profiles.load import load, load_all, parse
from slimmer.closure.profiles.modules import known_modules
from slimmer.errors import SlimmerError

SCHEMA = json.loads(Path(loading.__file__).with_name("profile.schema.json").read_text())
EXPECTED = """apache busybox fonts gconv git imagemagick java locale mysql nginx node nss openssh-client perl php
    postgres python redis ruby s6 terminfo tls tz"""

BAD = {
    "no-why": ('when = { paths = ["/a"] }\n', (1, 1), "why is missing"),
    "unknown": ('why = "x"\nwen = 1\n', (2, 1), "'wen' means nothing here"),
    "keep-nothing": ('why = "x"\n\n[[keep]]\nwhy = "y"\n', (3, 1), "needs one of"),
    "second-keep": (
        'why = "x"\n[[keep]]\npaths = ["/a"]\nwhy = "y"\n\n[[keep]]\n  paths = "b"\nwhy = "z"\n',
        (7, 3),
        "list of path globs",
    ),
    "glob": ('why = "x"\n[when]\npaths = [\n  "a/b",\n]\n', (3, 1), "does not begin with /"),
    "name-with-slash": ('why = "x"\n[when]\nsonames = ["/lib/x.so"]\n', (3, 1), "a name has no /"),
    "limit": ('why = "x"\n[[keep]]\npaths = ["/a"]\nlimit = "1 MB"\nwhy = "y"\n', (4, 1), "number of bytes"),
    "drop-of": ('why = "x"\n[[drop]]\nof = "all"\npaths = ["/a"]\nwhy = "y"\n', (3, 1), "of must be"),
    "empty-why": ('why = " "\n', (1, 1), "says something"),
    "inner-when": (
        'why = "x"\n[[keep]]\npaths = ["/a"]\nwhy = "y"\n[keep.when]\nprogram = ["a"]\n',
        (6, 1),
        "'program' means nothing",
    ),
    "modules-language": ('why = "x"\n[modules]\nlanguage = "cobol"\n', (3, 1), "language must be one of"),
    "modules-family": (
        'why = "x"\n[modules]\nlanguage = "perl"\n[modules.families]\nDBI = 3\n',
        (5, 1),
        "DBI in families must be a text",
    ),
    "modules-redirected": (
        'why = "x"\n[modules]\nlanguage = "python"\n[modules.redirected]\na = ["b"]\n',
        (5, 1),
        "a finder's module and",
    ),
    "start-program": ('why = "x"\n[[start]]\nprogram = "a"\ncommand = "a"\n', (3, 1), "an absolute path"),
    "start-port": (
        'why = "x"\n[[start]]\nprogram = "/a"\ncommand = "a"\nport = 70000\n',
        (5, 1),
        "from 1 to 65535",
    ),
    "not-a-table": ('why = "x"\nkeep = 3\n', (2, 1), "array of tables"),
}


def test_the_shipped_profiles_load_and_cover_what_is_promised() -> None:
    known = {each.name: each for each in load_all()}
    assert set(EXPECTED.split()) <= set(known)
    assert list(known) == sorted(known)


@pytest.mark.parametrize("path", sorted(loading.directory().glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_profile_satisfies_the_schema(path: Path) -> None:
    jsonschema.validate(tomllib.loads(path.read_text()), SCHEMA)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_profile_is_refused_with_line_and_column(name: str) -> None:
    text, (line, column), words = BAD[name]
    with pytest.raises(SlimmerError) as caught:
        parse(text, name, "bad.toml")
    assert caught.value.message.startswith(f"bad.toml:{line}:{column}: ")
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", BAD)
def test_the_schema_refuses_what_the_loader_refuses(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(BAD[name][0]), SCHEMA)


def test_broken_toml_is_refused_with_line_and_column() -> None:
    with pytest.raises(SlimmerError, match=r"bad\.toml: not TOML: .*line 2, column 3"):
        parse('why = "x"\na b\n', "bad", "bad.toml")


def test_a_fenced_text_hides_what_looks_like_a_key() -> None:
    with pytest.raises(SlimmerError, match=r"^x:6:1: 'nope'"):
        parse('why = """\nnope = 1\n"""\n[[keep]]\npaths = ["/a"]\nnope = 1\nwhy = "y"\n', "x", "x")


def test_a_file_of_ones_own_replaces_the_shipped_profile_of_its_name(tmp_path: Path) -> None:
    mine = tmp_path / "nginx.toml"
    mine.write_text('why = "my own"\n')
    assert {each.name: each.why for each in load_all([mine])}["nginx"] == "my own"
    assert "nginx" not in {each.name for each in load_all(without=["nginx"])}


def test_a_name_of_a_shipped_profile_may_stand_for_its_file() -> None:
    assert load_all(["nginx"]) == load_all()


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SlimmerError, match="no profile is named 'ngnix'") as caught:
        load_all(without=["ngnix"])
    assert "nginx" in caught.value.hint


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SlimmerError, match="cannot read the profile"):
        load(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"why = '\xff'")
    with pytest.raises(SlimmerError, match="byte 7"):
        load(binary)


def test_tables_of_modules_add_up_and_the_last_word_counts() -> None:
    first = parse('why = "x"\n[modules]\nlanguage = "perl"\nstartup = ["A"]\n[modules.families]\nX = "Y"\n', "a", "a")
    second = parse(
        'why = "x"\n[modules]\nlanguage = "perl"\nstartup = ["B", "A"]\n[modules.families]\nX = "Z"\n', "b", "b"
    )
    other = parse('why = "x"\n[modules]\nlanguage = "ruby"\nstartup = ["C"]\n', "c", "c")
    known = known_modules((each.modules for each in (first, second, other)), "perl")
    assert known.startup == ("A", "B")
    assert known.families == {"X": "Z"}


def test_a_start_is_read_as_words() -> None:
    text = 'why = "x"\n[[start]]\nprogram = "/usr/bin/d"\ncommand = "d -c \'a b\'"\nport = 80\nask = "d ping"\n'
    (start,) = parse(text, "d", "d").starts
    assert (start.command, start.port, start.ask) == (("d", "-c", "a b"), 80, ("d", "ping"))
