"""What is known of content is remembered: the same results from a store that is empty, full, damaged or off."""

from __future__ import annotations

import dataclasses
import io
import os
import random
import signal
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimmer.closure.commands import shell_syntax
from slimmer.closure.languages.node import imports as node
from slimmer.closure.languages.perl import imports as perl
from slimmer.closure.languages.php import syntax as php
from slimmer.closure.languages.python import imports as python
from slimmer.closure.languages.ruby import syntax as ruby
from slimmer.facts import plain
from slimmer.facts.remember import remembered_bytes, using, usual
from slimmer.facts.store import NAME, FactStore
from slimmer.image.compress import BlobWriter, Compression

HOUSE = Path(__file__).parents[2]
STDLIB = Path(sysconfig.get_path("stdlib"))
SOURCES = sorted(STDLIB.glob("[h-s]*.py"))[:16]
KEYS = [bytes([each]) * 24 for each in range(200)]


def value(key: bytes) -> bytes:
    return key * (1 + key[0] * 3)


def filled(directory: Path) -> None:
    store = FactStore(directory)
    for key in KEYS:
        store.put(key, value(key))
    store.close()


def test_what_was_put_is_there_for_the_next_process(tmp_path: Path) -> None:
    filled(tmp_path / "facts")
    store = FactStore(tmp_path / "facts")
    assert all(store.get(key) == value(key) for key in KEYS)
    assert store.get(b"!?" * 12) is None
    assert store.size().entries == len(KEYS)
    store.close()
    assert (tmp_path / "facts").stat().st_mode & 0o777 == 0o700
    assert all(each.stat().st_mode & 0o077 == 0 for each in (tmp_path / "facts").iterdir())


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_of_the_database_are_misses(tmp_path: Path, seed: int) -> None:
    directory = tmp_path / "facts"
    filled(directory)
    chance = random.Random(seed)
    data = bytearray((directory / NAME).read_bytes())
    for _ in range(1 + seed % 7):
        data[chance.randrange(len(data) if seed % 3 else 200)] ^= 1 << chance.randrange(8)
    (directory / NAME).write_bytes(data)
    store = FactStore(directory)
    for key in KEYS:
        assert store.get(key) in (value(key), None)
        store.put(key, value(key))
    store.close()
    for _ in range(2):  # a database that is beyond use is replaced by the one who found out, or by the next
        store = FactStore(directory)
        for key in KEYS:
            assert store.get(key) in (value(key), None)
            store.put(key, value(key))
        store.close()
    store = FactStore(directory)
    assert sum(store.get(key) == value(key) for key in KEYS) >= len(KEYS) - 7 - seed % 7
    store.close()


def test_entries_that_were_changed_or_exchanged_are_misses(tmp_path: Path) -> None:
    directory = tmp_path / "facts"
    filled(directory)
    with sqlite3.connect(directory / NAME) as base:
        base.execute("UPDATE facts SET value = x'00' WHERE key = ?", (KEYS[1],))
        base.execute("UPDATE facts SET sum = x'00' WHERE key = ?", (KEYS[2],))
        base.execute("UPDATE facts SET value = 'text' WHERE key = ?", (KEYS[3],))
        other = base.execute("SELECT value, sum FROM facts WHERE key = ?", (KEYS[5],)).fetchone()
        base.execute("UPDATE facts SET value = ?, sum = ? WHERE key = ?", (*other, KEYS[4]))
    store = FactStore(directory)
    assert [store.get(key) for key in KEYS[1:5]] == [None] * 4
    assert store.get(KEYS[5]) == value(KEYS[5])
    store.close()


@pytest.mark.parametrize("what", [b"", b"no database at all\n" * 300, b"SQLite format 3\0" + bytes(84)])
def test_another_file_in_its_place_is_replaced(tmp_path: Path, what: bytes) -> None:
    directory = tmp_path / "facts"
    directory.mkdir(mode=0o700)
    (directory / NAME).write_bytes(what)
    for _ in range(2):
        filled(directory)
    store = FactStore(directory)
    assert store.get(KEYS[0]) == value(KEYS[0])
    store.close()


def test_a_directory_that_others_may_enter_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    filled(tmp_path / "own")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    for directory in (tmp_path / "open", tmp_path / "link"):
        store = FactStore(directory)
        store.put(KEYS[0], b"x")
        assert not store.works
        assert store.get(KEYS[0]) is None
        store.close()
    assert not list((tmp_path / "open").iterdir())


def test_no_more_is_kept_than_the_limit_and_the_last_used_stays(tmp_path: Path) -> None:
    directory = tmp_path / "facts"
    filled(directory)
    with sqlite3.connect(directory / NAME) as base:
        base.execute("UPDATE facts SET used = 5 WHERE key != ?", (KEYS[7],))
    store = FactStore(directory, limit=60_000)
    assert store.size().bytes > 60_000
    store.close()
    store = FactStore(directory)
    assert store.size().bytes <= 60_000
    assert store.get(KEYS[7]) == value(KEYS[7])
    assert store.prune(-1) > 0
    assert store.size().entries == 0
    store.close()


WRITER = """
import sys
from pathlib import Path
from slimmer.facts.store import FactStore
directory, name, forever = Path(sys.argv[1]), sys.argv[2].encode(), sys.argv[3] == "1"
at = 0
while at < 300 or forever:
    store = FactStore(directory)
    for each in range(30):
        store.put(name * 8 + b"%08d" % (at + each), name * 500)
    store.close()
    at += 30
    print(at, flush=True)
"""


def writer(directory: Path, name: str, *, forever: bool = False) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(directory), name, "01"[forever]]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(HOUSE)})


def test_several_write_at_once_and_one_is_killed(tmp_path: Path) -> None:
    directory = tmp_path / "facts"
    doomed = writer(directory, "d", forever=True)
    others = [writer(directory, name) for name in "abc"]
    assert doomed.stdout is not None
    assert doomed.stdout.readline()
    doomed.send_signal(signal.SIGKILL)
    doomed.communicate()
    for each in others:
        each.communicate(timeout=240)
        assert each.returncode == 0
    store = FactStore(directory)
    for name in (b"a", b"b", b"c"):
        found = [store.get(name * 8 + b"%08d" % at) for at in range(300)]
        assert set(found) == {name * 500}
    assert store.get(b"dddddddd00000000") == b"d" * 500
    store.close()


def test_a_store_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FactStore(tmp_path / "file" / "facts")
    store.put(KEYS[0], b"x")
    assert store.get(KEYS[0]) is None
    store.close()


SAID = [
    (python.scan, b"import os\nfrom a import b as c\nsubprocess.run(['ls', '-l'])\nx = '\\udc80 a.b:c'\n" * 9),
    (node.scan, b"const x = require('left-pad'); import('./y.js'); require('child_process').exec('git status')\n" * 9),
    (perl.scan, b"use strict; use Foo::Bar; require 'x.pl'; system('convert', 'a'); `date`;\n" * 9),
    (lambda source: php.scan(source, "/a.php"), b"<?php include __DIR__ . '/b.php'; exec('gs -v'); ?>\n" * 9),
    (
        lambda source: ruby.scan(source, "/a.rb"),
        b"require 'json'\nsystem('convert', 'a')\n" * 9,
    ),
    (
        lambda source: shell_syntax.parse(source, "/x"),
        b'f() { "$@"; }\nf sed -n 1p <<E\nx\nE\nPATH=/opt:$PATH; . /etc/x\n' * 9,
    ),
]


@pytest.mark.parametrize(("scan", "source"), SAID)
def test_readers_say_the_same_from_a_store(tmp_path: Path, scan, source) -> None:  # type: ignore[no-untyped-def]
    said = scan(source)
    assert dataclasses.is_dataclass(said)
    directory = tmp_path / "facts"
    for _ in range(2):
        store = FactStore(directory)
        with using(store):
            assert scan(source) == said
        store.close()
    store = FactStore(directory)
    assert store.size().entries == 1  # it was remembered, and found again
    store.close()


def test_real_sources_read_the_same_from_a_store(tmp_path: Path) -> None:
    contents = [path.read_bytes() for path in SOURCES]
    said = [python.scan(each, words=True) for each in contents]
    for _ in range(2):
        store = FactStore(tmp_path / "facts")
        with using(store):
            assert [python.scan(each, words=True) for each in contents] == said
            assert [python.scan(each) for each in contents] == [python.scan(each) for each in contents]
        store.close()


def blob(data: bytes, compression: Compression) -> bytes:
    out = io.BytesIO()
    with BlobWriter(out.write, compression) as writing:
        writing.write(data)
        writing.close()
    return out.getvalue()


@pytest.mark.parametrize("compression", list(Compression))
def test_layers_have_the_same_bytes_with_any_store(tmp_path: Path, compression: Compression) -> None:
    data = b"".join(path.read_bytes() for path in SOURCES) * 3
    expected = blob(data, compression)
    directory = tmp_path / "facts"
    for turn in range(4):
        if turn == 3:
            stored = bytearray((directory / NAME).read_bytes())
            for at in range(5000, len(stored), 20_000):
                stored[at] ^= 0x10
            (directory / NAME).write_bytes(stored)
        store = FactStore(directory)
        with using(store):
            assert blob(data, compression) == expected
            assert blob(data + b"more", compression) == _without(data + b"more", compression)
        store.close()


def _without(data: bytes, compression: Compression) -> bytes:
    code = "import sys; from tests.unit.test_facts_are_remembered_and_never_wrong import blob, Compression;"
    code += "sys.stdout.buffer.write(blob(sys.stdin.buffer.read(), Compression(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, compression.value],
        input=data,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
    )
    return done.stdout


def test_nothing_is_worked_out_twice(tmp_path: Path) -> None:
    worked: list[int] = []

    def work() -> bytes:
        worked.append(1)
        return b"found"

    for _ in range(3):
        store = FactStore(tmp_path / "facts")
        with using(store):
            assert remembered_bytes("reader", (b"content",), work) == b"found"
        store.close()
    assert len(worked) == 1
    with using(None):
        assert remembered_bytes("reader", (b"content",), work) == b"found"
    assert len(worked) == 2
    store = FactStore(tmp_path / "facts")
    with using(store):
        remembered_bytes("another reader", (b"content",), work)
        remembered_bytes("reader", (b"cont", b"ent"), work)
    store.close()
    assert len(worked) == 4


@dataclass(frozen=True, slots=True)
class Shape:
    words: tuple[str, ...]
    pair: tuple[str, int]
    names: frozenset[str] = frozenset()
    flag: bool = False


def test_only_what_has_the_shape_is_taken() -> None:
    shape = Shape(("a", "\udc80"), ("b", 3), frozenset({"y", "x"}), True)
    text = plain.dump(shape)
    assert text == b'[["a","\\udc80"],["b",3],["x","y"],true]'
    assert plain.load(Shape, text) == shape
    for other in wrong():
        with pytest.raises(plain.Unfit):
            plain.load(Shape, other)


def wrong() -> Iterator[bytes]:
    yield from (b"", b"null", b"{}", b"[", b'[["a"],["b",3],[]]', b'[["a"],["b","3"],[],true]', b"\xff")
    yield from (b'[["a"],["b",3],[],1]', b'[[1],["b",3],[],true]', b'[["a"],["b",3,4],[],true]', b"[" * 100_000)


def test_a_fork_leaves_the_store_to_its_parent(tmp_path: Path) -> None:
    store = FactStore(tmp_path / "facts")
    child = os.fork()
    if not child:
        store.put(KEYS[0], b"of the child")
        os._exit(1 if store.works or store.get(KEYS[0]) else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.put(KEYS[1], b"x")
    assert store.get(KEYS[1]) == b"x"
    store.close()


def test_a_home_that_is_only_a_name_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nonexistent"))
    with usual():
        assert python.scan(b"import os\n" * 100).imports
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("HOME", str(tmp_path))
    with usual():
        assert python.scan(b"import os\n" * 100).imports
    assert (tmp_path / ".cache/slimmer/facts/facts.sqlite").is_file()
