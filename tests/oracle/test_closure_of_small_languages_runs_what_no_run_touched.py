"""Scripts of small languages, run by their real interpreters from nothing but what their closure keeps.

As in `test_closure_of_languages_runs_what_no_run_touched`: the closure sees the sources and no run at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from slimmer.closure.commands.shebang import ScriptRule
from slimmer.closure.languages.registry import LANGUAGE_RULES
from slimmer.closure.model import Application
from slimmer.closure.profiles.load import shipped
from slimmer.closure.profiles.rule import ProfileRule
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.oracle.closures import lay, run
from tests.support import needs_root, plant, requires, root_of
from tests.unit.closures import closure

pytestmark = [needs_root, requires("mmdebstrap", "unshare")]
PACKAGES = ("gawk", "gnuplot-nox", "swi-prolog-nox", "lua5.4", "lua-socket")


@dataclass(frozen=True)
class Script:
    """Files of an application, what is kept to begin with, and commands that nobody has shown."""

    files: dict[str, str]
    seeds: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]


AWK = Script(
    {
        "/srv/awk/report": """#!/usr/bin/gawk -f
@include "lib/sums"
@include "join"
BEGIN {
    if (ARGC > 1) { cmd = "date -u -d @0 +%" ARGV[1]; cmd | getline year; close(cmd); print year }
    if (ARGC > 2) { for (n = 3; n; n--) print n | ("sort -n" (ARGC > 3 ? " -r" : "")); close("sort -n") }
    split("a b c", parts); print join(parts, 1, 3, ","), total(2)
    while ((getline line < "words.txt") > 0) print toupper(line)
    if (ARGC > 1) system(sprintf("%s %s | wc -c", "printf", ARGV[1]))
}""",
        "/srv/awk/lib/sums.awk": '@load "ordchr"\nfunction total(n) { return ord("A") + n }',
        "/srv/awk/words.txt": "x\n",
        "/srv/awk/start.sh": "#!/bin/sh\nawk -v t=uname 'BEGIN { t | getline x; print x }'\nexec gawk -f plain y\n",
        "/srv/awk/plain": 'BEGIN { system("id -u"); print "b\\na" | "tac" }',
    },
    ("/srv/awk/report", "/srv/awk/start.sh"),
    (("/srv/awk/report",), ("/srv/awk/report", "Y"), ("/srv/awk/report", "Y", "x"), ("/srv/awk/start.sh",)),
)
GNUPLOT = Script(
    {
        "/srv/gnuplot/report": """#!/usr/bin/gnuplot
set loadpath 'styles'
set terminal dumb size 40,10
set title system("date -u -d @0 +%Y")
load 'grid.gp'
if (ARGC > 0) { plot sprintf("< sort -%s data", ARG1) with lines; set label "`uname`" at 1,1; replot }
!tac data
plot 'data', "< tail -n +2 data"
""",
        "/srv/gnuplot/styles/grid.gp": "set grid\nset xlabel system('wc -l < data')",
        "/srv/gnuplot/data": "3\n1\n2\n",
        "/srv/gnuplot/start.sh": "#!/bin/sh\ngnuplot <<E\nset terminal dumb 40 9\nset title '`id -u`'\nplot x\nE\n",
    },
    ("/srv/gnuplot/report", "/srv/gnuplot/start.sh"),
    (
        ("/srv/gnuplot/report",),
        ("gnuplot", "-c", "/srv/gnuplot/report", "n"),
        ("gnuplot", "-c", "/srv/gnuplot/report", "r", "y"),
        ("/srv/gnuplot/start.sh",),
    ),
)
PROLOG = Script(
    {
        "/srv/prolog/main.pl": """#!/usr/bin/env swipl
:- initialization(main, main).
:- use_module(library(process)).
:- use_module(own/shapes).
main([]) :- area(circle(2), A), format("~2f~n", [A]).
main([late|_]) :- use_module(library(http/json)), foldl([X, B, C]>>(C is B + X), [1, 2, 3], 0, S), writeln(S),
    string_codes("ab", L), sumlist(L, T),
    writeln(T), use_module(library(assoc)), list_to_assoc([a-1], M), get_assoc(a, M, V), writeln(V),
    atom_json_term('{"a": [1, 2]}', J, []), print(J), nl, format_time(atom(Y), '%Y', 0), writeln(Y),
    sha_hash(abc, H, []), hash_atom(H, Hex), writeln(Hex), split_string("a b", " ", "", P), writeln(P).
main([start|_]) :- process_create(path(date), ['-u', '-d', '@0', '+%Y'], [stdout(pipe(O))]), read_string(O, _, S),
    write(S), shell('uname -s'), format(string(C), "echo ~w | rev", [abc]), shell(C, 0),
    setup_call_cleanup(open(pipe('sort -r /srv/prolog/words'), read, I), read_string(I, _, W), close(I)), write(W).
main([wrong|_]) :- catch(atom_length(_, _), E, (print_message(error, E))), assertion(true), nb_setval(a, 1).
""",
        "/srv/prolog/own/shapes.pl": ":- module(shapes, [area/2]).\narea(circle(R), A) :- A is pi * R ** 2.\n",
        "/srv/prolog/words": "b\na\n",
    },
    ("/srv/prolog/main.pl",),
    tuple(("/srv/prolog/main.pl", *more) for more in ((), ("late",), ("start",), ("wrong",))),
)
SCRIPTS = {"awk": AWK, "gnuplot": GNUPLOT, "prolog": PROLOG}


@pytest.mark.parametrize("language", SCRIPTS)
def test_every_command_gives_what_it_gives_in_the_fat_root(language: str, tmp_path: Path) -> None:
    script, source = SCRIPTS[language], root_of(*PACKAGES)
    top, workdir = tmp_path / "fat", f"/srv/{language}"
    lay((entry.path for entry in DirectoryRoot(str(source)).walk()), source, top)
    plant(top, {path: f"#755 {text}" for path, text in script.files.items()})
    root = DirectoryRoot(str(top))
    found = closure(
        root,
        script.seeds,
        [ScriptRule, *LANGUAGE_RULES, Profiles],
        application=Application(argv=script.commands[0], workdir=workdir),
        packages=index(root),
    )
    sizes = {entry.path: entry.size for entry in root.walk()}
    assert sum(sizes[path] for path in found.paths) < 0.3 * sum(sizes.values())
    slim = lay(found.paths, top, tmp_path / "slim")
    for command in script.commands:
        expected = run(top, command, workdir=workdir)
        assert expected[0] == 0, expected
        assert run(slim, command, workdir=workdir) == expected


class Profiles(ProfileRule):
    """What the shipped profiles keep of an interpreter's own files."""

    def __init__(self) -> None:
        super().__init__(shipped())
