"""Shebangs: what binfmt_script.c makes of a first line, and what `env` makes of its argument."""

from __future__ import annotations

import pytest

from slimmer.closure.commands.shebang import LIBRARIES, Shebang, env_words, parse_shebang


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"#!/bin/sh\n", Shebang("/bin/sh")),
        (b"#!/bin/sh -e\necho", Shebang("/bin/sh", "-e")),
        (b"#! \t/bin/sh \t -e -u \t\n", Shebang("/bin/sh", "-e -u")),
        (b"#!/bin/sh", Shebang("/bin/sh")),
        (b"#!relative/sh\n", Shebang("relative/sh")),
        (b"#!/bin/\xff\n", Shebang("/bin/\udcff")),
        (b"#!\n", None),
        (b"#!   \n", None),
        (b"# !/bin/sh\n", None),
        (b"\x7fELF", None),
        (b"", None),
    ],
)
def test_a_first_line_is_split_once(text: bytes, expected: Shebang | None) -> None:
    assert parse_shebang(text) == expected


def test_a_line_longer_than_the_buffer_counts_only_when_the_interpreter_ends_inside_it() -> None:
    assert parse_shebang(b"#!/" + b"x" * 300) is None
    found = parse_shebang(b"#!/bin/sh " + b"y" * 300)
    assert found is not None
    assert found.interpreter == "/bin/sh"
    assert found.argument == "y" * 245  # 256 bytes, less the last, less "#!/bin/sh "


@pytest.mark.parametrize(
    ("line", "program"),
    [
        (b"#!/usr/bin/env python3\n", "python3"),
        (b"#!/usr/bin/env -S python3 -u -X dev\n", "python3"),
        (b"#!/usr/bin/env -SA=1 B=2 node --title='a b'\n", "node"),
        (b"#!/usr/bin/env -iS -u HOME perl\n", "perl"),
        (b"#!/usr/bin/env --split-string=ruby -w\n", "ruby"),
        (b"#!/usr/bin/env -i bash\n", "-i bash"),
        (b"#!/bin/dash -e\n", "dash"),
    ],
)
def test_env_names_the_program_that_runs(line: bytes, program: str) -> None:
    found = parse_shebang(line)
    assert found is not None
    if program == "-i bash":  # the kernel hands env one word, which it takes for options
        assert env_words(found) == ()
    else:
        assert found.program == program


@pytest.mark.parametrize(
    ("path", "library"),
    [
        ("/app/node_modules/jake/bin/cli.js", True),
        ("/usr/lib/python3/dist-packages/x/cli.py", True),
        ("/usr/lib/python3.11/cgi.py", True),
        ("/opt/python3.11/bin/gunicorn", False),
        ("/var/lib/gems/3.1.0/gems/rake-1/exe/rake", True),
        ("/opt/ruby/bin/irb", False),
        ("/app/python/run.sh", False),
    ],
)
def test_executable_bits_of_library_files_are_a_habit(path: str, library: bool) -> None:
    assert bool(LIBRARIES.search(path)) is library
