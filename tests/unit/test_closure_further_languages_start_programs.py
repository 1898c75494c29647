"""Lua, Tcl, Erlang, R and make: what sources start, load and source in a branch that no run took."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from slimmer.closure.languages.erlang.rule import ErlangRule, beam_chunks, literals
from slimmer.closure.languages.lua.rule import LUA, LuaRule
from slimmer.closure.languages.make.rule import MakeRule, expanded
from slimmer.closure.languages.r.rule import RRule
from slimmer.closure.languages.tcl.rule import TclRule
from slimmer.closure.model import Application
from tests.unit.closures import kept

TOOLS = ("sh", "ls", "sort", "head", "convert", "git", "uname", "tr", "gcc", "rm", "make")
Tree = dict[str, str | bytes | None]


def tools(tmp_path: Path, tree: Tree, *seeds: str, rule: type, workdir: str = "/app") -> set[str]:
    """Names of the programs of /usr/bin that stay, and paths of the rest."""
    programs: Tree = {f"/usr/bin/{name}": "#755 \x7fELF" for name in TOOLS}
    programs["/bin/sh"] = "#755 \x7fELF"
    found = kept(
        tmp_path,
        {**programs, **tree},
        *seeds,
        rules=(rule,),
        application=Application(workdir=workdir),
    )
    return {path.removeprefix("/usr/bin/") for path in found} - {*seeds}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('io.popen("ls / | sort -r | head -1")', {"ls", "sort", "head"}),
        ("if x then os.execute [[git log]] end", {"git"}),
        ('local tool = "convert"\nos.execute(tool .. " a.png " .. out)', {"convert"}),
        ('-- os.execute("git log")\n--[[ io.popen("ls")\n]] print "no"', set[str]()),
        ("os.execute('ls \\'x\\'; ' .. name)", {"ls"}),
    ],
)
def test_lua_starts(source: str, expected: set[str], tmp_path: Path) -> None:
    assert tools(tmp_path, {"/app/a.lua": source}, "/app/a.lua", rule=LuaRule) - {"/bin/sh"} == expected


def test_lua_modules_come_by_the_path_that_the_interpreter_holds(tmp_path: Path) -> None:
    tree: Tree = {
        "/usr/bin/lua5.4": b"\x7fELF\0/usr/share/lua/5.4/?.lua;/usr/lib/lua/5.4/?.so;./?.lua\0",
        "/app/a.lua": 'package.path = package.path .. ";/app/more/?.lua"\n'
        'require "own.part"; local ok = pcall(require, "extra"); require("socket.core"); dofile("conf.lua")',
        "/app/own/part.lua": "return {}",
        "/app/more/extra.lua": "",
        "/app/conf.lua": "",
        "/app/other.lua": "",
        "/usr/lib/lua/5.4/socket/core.so": "",
        "/usr/share/lua/5.4/unused.lua": "",
    }
    found = tools(tmp_path, tree, "/usr/bin/lua5.4", "/app/a.lua", rule=LuaRule)
    left_out = {"/app/a.lua", "/app/other.lua", "/usr/share/lua/5.4/unused.lua"}
    assert found | {"/usr/bin/lua5.4"} == {*tree, "lua5.4"} - left_out


def test_a_lua_without_a_version_in_its_name_keeps_the_trees_that_it_holds(tmp_path: Path) -> None:
    tree: Tree = {
        "/usr/bin/lua": b"\x7fELF\0/usr/share/lua/5.4/?.lua;/usr/lib/lua/5.4/?.so;./?.lua\0",
        "/usr/share/lua/5.4/socket.lua": "-> ../5.1/socket.lua",
        "/usr/share/lua/5.1/socket.lua": "",
        "/usr/share/lua/5.1/other.lua": "",
        "/usr/lib/lua/5.4/socket/core.so": "",
        "/usr/lib/lua/5.3/socket/core.so": "",
    }
    found = tools(tmp_path, tree, "/usr/bin/lua", rule=LuaRule) - {"lua"}
    assert found == {
        "/usr/share/lua/5.4/socket.lua",
        "/usr/share/lua/5.1/socket.lua",
        "/usr/lib/lua/5.4/socket/core.so",
    }


def test_a_lua_source_is_cut_as_lua_reads_it() -> None:
    source = LUA.read(b'x = "a\\"b" -- c\ny = [[\nlong]] z = "d" .. "e"')
    assert [(token.value, token.line) for token in source.texts()] == [('a"b', 1), ("long", 2), ("d", 3), ("e", 3)]
    assert source.constants() == {"x": 'a"b', "y": "long"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if {$argc} { puts [exec ls / | sort -r | head -1] }", {"ls", "sort", "head"}),
        ('set f [open "|git log" r]', {"git"}),
        ("set tool convert\nexec $tool a.png >& /dev/null", {"convert"}),
        ("exec -ignorestderr -- git log 2>@1", {"git"}),
        ("spawn git clone\nexpect x", {"git"}),
        ("# exec git", set[str]()),
        ("catch {exec {*}[auto_execok git] log}", {"git"}),
    ],
)
def test_tcl_starts(source: str, expected: set[str], tmp_path: Path) -> None:
    assert tools(tmp_path, {"/app/a.tcl": source}, "/app/a.tcl", rule=TclRule) == expected


def test_tcl_sources_files_and_adds_directories(tmp_path: Path) -> None:
    tree: Tree = {
        "/app/a.tcl": "source [file join [file dirname [info script]] lib b.tcl]\nlappend auto_path $here/packages\n",
        "/app/lib/b.tcl": "",
        "/app/packages/p/pkgIndex.tcl": "",
        "/app/packages/p/p.tcl": "",
        "/app/c.tcl": "",
    }
    assert tools(tmp_path, tree, "/app/a.tcl", rule=TclRule) == {*tree} - {"/app/a.tcl", "/app/c.tcl"}


def beam(**chunks: bytes) -> bytes:
    body = b"BEAM" + b"".join(
        name.encode() + struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4) for name, data in chunks.items()
    )
    return b"FOR1" + struct.pack(">I", len(body)) + body


TERM = b"\x83k\0\x08ls -l /x"
COMPILED = beam(
    AtU8=b"\0\0\0\x02\x02os\x03cmd", LitT=struct.pack(">I", len(TERM)) + zlib.compress(TERM), StrT=b"git log"
)


def test_erlang_starts(tmp_path: Path) -> None:
    source = 'main(["up"]) -> io:put_chars(os:cmd("uname -s | tr a-z A-Z")); % os:cmd("ls")\nmain(_) -> ok.\n'
    tree: Tree = {"/app/t.escript": source, "/app/p.erl": 'f() -> open_port({spawn, "git log"}, []).'}
    found = tools(tmp_path, tree, "/app/t.escript", "/app/p.erl", rule=ErlangRule)
    assert found - {"/bin/sh"} == {"uname", "tr", "git"}


def test_an_erlang_application_stays_with_what_its_modules_start(tmp_path: Path) -> None:
    top = "/app/lib/own-1"
    tree: Tree = {
        f"{top}/ebin/own.beam": COMPILED,
        f"{top}/ebin/late.beam": beam(AtU8=b"", StrT=b"tr a b"),
        f"{top}/ebin/own.app": "",
        f"{top}/priv/port": "",
        f"{top}/src/own.erl": "",
    }
    found = tools(tmp_path, tree, f"{top}/ebin/own.beam", rule=ErlangRule)
    assert found == {f"{top}/ebin/late.beam", f"{top}/ebin/own.app", f"{top}/priv/port", "ls", "git"}
    assert "ls -l /x" in literals(beam_chunks(COMPILED))
    assert beam_chunks(b"FOR1") == beam_chunks(b"") == {}


def test_a_damaged_erlang_module_is_read_as_far_as_it_goes() -> None:
    for end in range(len(COMPILED)):
        literals(beam_chunks(COMPILED[:end]))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('system("git log")', {"git"}),
        ("x <- system2('convert', c('a', 'b'), stdout = TRUE)", {"convert"}),
        ('system(paste0("git -C ", dir, " log"), intern = TRUE)', {"git"}),
        ('con <- pipe("ls | sort")', {"ls", "sort"}),
        ('tool <- "git"\nsystem(paste(tool, "log"))', {"git"}),
        ('# system("git")', set[str]()),
    ],
)
def test_r_starts(source: str, expected: set[str], tmp_path: Path) -> None:
    assert tools(tmp_path, {"/app/a.R": source}, "/app/a.R", rule=RRule) - {"/bin/sh"} == expected


def test_r_packages_are_units_with_what_they_depend_on(tmp_path: Path) -> None:
    home, site = "/usr/lib/R", "/usr/local/lib/R/site-library"
    stays: Tree = {
        f"{home}/etc/Renviron": "",
        f"{home}/modules/lapack.so": "",
        f"{home}/share/R/x.R": "",
        f"{home}/library/base/DESCRIPTION": "Package: base\n",
        f"{home}/library/stats/DESCRIPTION": "Package: stats\nImports: utils, grDevices\n",
        f"{home}/library/grDevices/DESCRIPTION": "",
        f"{home}/library/grDevices/libs/cairo.so": "",
        f"{home}/library/grid/DESCRIPTION": "",
        f"{site}/late/DESCRIPTION": "Package: late\nDepends: R (>= 3.5.0),\n  deep (>= 1.0)\nSuggests: never\n",
        f"{site}/late/R/late.rdb": "",
        f"{site}/deep/DESCRIPTION": "Package: deep\n",
        f"{site}/deep/libs/deep.so": "",
        f"{site}/direct/DESCRIPTION": "",
        "/app/helpers.R": "",
    }
    other: Tree = {
        f"{home}/bin/exec/R": b"\x7fELF",
        "/app/a.R": "if (late) library(late)\nsource('helpers.R')\ngrid::unit(1)\nrequireNamespace(\"direct\")\n",
        f"{site}/late/help/late.rdx": "",
        f"{site}/never/DESCRIPTION": "",
        f"{home}/library/tcltk/DESCRIPTION": "",
    }
    found = tools(tmp_path, {**stays, **other}, f"{home}/bin/exec/R", "/app/a.R", rule=RRule)
    assert found == {*stays}


def test_make_runs_its_recipes(tmp_path: Path) -> None:
    text = (
        "CC ?= gcc\nFILES := $(shell ls *.c | sort)\ninclude rules.mk\n"
        "a: b\n\t@$(CC) -o $@ $<\n\t-for f in *; do git log $$f; done\nclean:\n\t$(RM) a\n"
    )
    tree: Tree = {"/app/Makefile": text, "/app/rules.mk": "x:\n\tuname -s\n", "/app/other.mk": "\tconvert"}
    found = tools(tmp_path, tree, "/app/Makefile", rule=MakeRule)
    assert found == {"/bin/sh", "/app/rules.mk", "ls", "sort", "gcc", "git", "rm", "uname"}
    assert (
        tools(tmp_path, {"/app/node_modules/a/Makefile": text}, "/app/node_modules/a/Makefile", rule=MakeRule) == set()
    )
    assert expanded("$(A) $$x ${A} $(wildcard *.c) $@", {"A": "$(B)", "B": "b"}) == "b $x b $UNKNOWN $UNKNOWN"
