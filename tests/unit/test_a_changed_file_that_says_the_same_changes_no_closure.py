"""A closure is taken again after a file has changed if every answer that it rests on is the same; else it is grown."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slimmer.facts.remember import keep, reader_called, recall, using
from slimmer.facts.store import FactStore
from slimmer.pipeline import known as knowing
from slimmer.pipeline import output, plan
from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.trace import build
from slimmer.recipe import Recipe, Run, Source
from slimmer.root import state as states
from slimmer.root.directory import DirectoryRoot
from slimmer.root.fingerprint import fingerprint
from slimmer.root.model import Entry, FileType, Root
from slimmer.root.noting import LARGEST, Measured, NotingRoot, holds, total
from slimmer.root.state import changed, seen
from tests.counted import calls_of
from tests.support import plant
from tracer.recording import Access, Kind, Recording

LIB = "/usr/lib/python3.11"
MAIN = "import a\n\n\ndef page():\n    return open('/srv/data/page')\n"
TREE: dict[str, str | bytes | None] = {
    "etc/os-release": "ID=none\n",
    "usr/bin/python3": "-> python3.11",
    "usr/bin/python3.11": "#755 #!/bin/none\n",
    "usr/bin/tac": "#755 #!/bin/none\n",
    f"{LIB[1:]}/os.py": "",
    f"{LIB[1:]}/a.py": "",
    f"{LIB[1:]}/b.py": "",
    f"{LIB[1:]}/c.py": "import b",
    f"{LIB[1:]}/lib-dynload": None,
    "app/main.py": MAIN,
    "app/notes.txt": "n\n",
    "srv/data/page": "p",
    "srv/more/page": "p",
}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(states, "SETTLED", -1.0)  # a test does not wait until its files are old
    plant(tmp_path / "root", TREE)
    (tmp_path / "place").mkdir()
    return tmp_path


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a closure was grown since it was asked last."""
    return calls_of(plan, "grow", monkeypatch)


def built(work: Path) -> dict[str, bytes]:
    """Every file of the output, by name."""
    recipe = Recipe(runs=(Run(("/usr/bin/python3", "/app/main.py")),), source=Source(root=str(work / "root")))
    reads = ("/usr/bin/python3.11", f"{LIB}/os.py", f"{LIB}/a.py", "/app/main.py")
    found = tuple(Access(each, frozenset({Kind.READ}), frozenset({"/usr/bin/python3.11"})) for each in reads)
    recording = Recording(found, root=fingerprint(DirectoryRoot(str(work / "root"))))
    build([recording], recipe, Outputs(work / "place/out", check=CheckMode.OFF))
    out = work / "place/out"
    return {str(each.relative_to(out)): each.read_bytes() for each in sorted(out.rglob("*")) if each.is_file()}


def cold(work: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """As with nothing known."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(work / f"cold-{time.monotonic_ns()}"))
        return built(work)


def test_a_comment_changes_the_image_and_not_the_closure(
    work: Path, grown: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(work)
    assert b"/srv/data/page" in first["manifest.json"]
    assert grown() == 1
    (work / "root/app/main.py").write_text(f"{MAIN}# longer\n")
    second = built(work)
    assert grown() == 0
    assert second != first
    third = built(work)
    assert grown() == 0, "what was taken over is known of the new state too"
    assert third == second
    assert cold(work, monkeypatch) == second


@pytest.mark.parametrize(
    ("text", "there"),
    [
        (f"import c\n{MAIN}", f"{LIB}/c.py"),
        (f"{MAIN}open('/srv/more/page')\n", "/srv/more/page"),
        (f"{MAIN}import os\nos.system('tac x')\n", "/usr/bin/tac"),
    ],
)
def test_what_a_source_says_anew_is_found(work: Path, grown: Callable[[], int], text: str, there: str) -> None:
    assert there.encode() not in built(work)["manifest.json"]
    (work / "root/app/main.py").write_text(text)
    grown()
    assert there.encode() in built(work)["manifest.json"]
    assert grown() == 1


def test_a_line_that_moved_is_another_reason(work: Path, grown: Callable[[], int]) -> None:
    built(work)
    (work / "root/app/main.py").write_text(f"# first\n{MAIN}")
    grown()
    assert b"line 2" in built(work)["manifest.json"]
    assert grown() == 1


def test_a_file_put_in_the_place_of_another_and_a_file_of_the_same_content(
    work: Path, grown: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    built(work)
    for name in ("app/main.py", "usr/bin/tac", f"{LIB[1:]}/a.py"):
        path = work / "root" / name
        was = path.stat()
        path.rename(path.with_name("was"))
        path.write_bytes(path.with_name("was").read_bytes())
        path.chmod(was.st_mode & 0o7777)
        path.with_name("was").unlink()
    grown()
    second = built(work)
    assert grown() == 0
    assert second == cold(work, monkeypatch)


STATUS = "Package: tac\nStatus: install ok installed\nVersion: {}\nArchitecture: all\n\n"
PACKAGES: dict[str, str | bytes | None] = {
    "var/lib/dpkg/status": STATUS.format(1),
    "var/lib/dpkg/info/tac.list": "/.\n/usr\n/usr/bin\n/usr/bin/tac\n/usr/share/tac\n",
    "usr/share/tac": "t",
    "var/lib/dpkg/info/tac.md5sums": "",
}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often the rows of removed paths were written since it was asked last."""
    return calls_of(output, "write_removed", monkeypatch)


def test_what_is_removed_is_listed_anew_only_when_it_may_be_another_list(
    work: Path, listed: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(work / "root", PACKAGES)
    os.link(work / "root/srv/more/page", work / "root/srv/more/linked")
    assert b'"version": "1"' in built(work)["removed.json"]
    changes: tuple[tuple[str, str, int], ...] = (
        ("app/main.py", f"{MAIN}# longer\n", 0),
        ("app/main.py", f"# first\n{MAIN}", 0),  # another closure of the same paths
        ("usr/bin/python3.11", "#!/bin/other\n", 0),
        ("app/main.py", f"import c\n{MAIN}", 1),
        ("srv/more/page", "-----BEGIN RSA PRIVATE KEY-----\n", 1),
        ("usr/bin/tac", "other", 1),
        ("var/lib/dpkg/status", STATUS.format(2), 1),
        ("var/lib/dpkg/info/tac.list", "/.\n/usr\n/usr/bin\n/usr/bin/tac\n", 1),
        ("app/main.py", f"import c\n{MAIN}# longer\n", 0),
    )
    for name, text, times in changes:
        (work / "root" / name).write_text(text)
        listed()
        found = built(work)
        assert listed() == times, (name, text)
        assert built(work) == found
        assert listed() == 0
        assert found == cold(work, monkeypatch), name
    assert b'"version": "2"' in found["removed.json"]


LINES = (
    "# a comment",
    "",
    "x = 1",
    "import b",
    "import c",
    "from c import d",
    "open('/srv/more/page')",
    "open('/srv/data/page')",
    "import os; os.system('tac x')",
    "y = 'c'",
    "__import__(y)",
    "def f():\n    import c",
    "'''",
)


@pytest.mark.parametrize("seed", range(6))
def test_any_edits_give_what_a_run_that_knows_nothing_gives(
    work: Path, grown: Callable[[], int], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = random.Random(seed)
    lines = MAIN.split("\n")
    for _ in range(6):
        for _ in range(chosen.randint(1, 2)):
            if len(lines) > 3 and chosen.random() < 0.3:
                del lines[chosen.randrange(len(lines))]
            else:
                lines.insert(chosen.choice((len(lines), chosen.randrange(len(lines) + 1))), chosen.choice(LINES))
        (work / "root/app/main.py").write_text("\n".join(lines))
        assert built(work) == cold(work, monkeypatch), "\n".join(lines)
    assert grown() >= 6


def test_notes_of_another_shape_and_damaged_ones_are_misses(
    work: Path, grown: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    built(work)
    grown()
    right = recall
    for number, wrong in enumerate(
        (b"", b"null", b"[]", b"{}x", b'{"/app/main.py":[1,2]}', b'{"/app/main.py":[false,0,9999999,[[4,7]],[]]}',
         b'{"/app/main.py":[false,0,9999999,[],[["os:system",4,"[[],{}]","x"]]]}',
         b'{"/app/main.py":[false,0,9999999,[],[["slimmer.nothing:x",4,"[[],{}]","x"]]]}',
         b'{"/app/main.py":[false,0,9999999,[],[["slimmer.closure.languages.python.imports:scan",4,"{","x"]]]}')
    ):  # fmt: skip
        (work / "root/app/main.py").write_text(f"import c\n{MAIN}#{number}")
        monkeypatch.setattr(
            knowing, "recall", lambda name, parts, w=wrong: w if name == "notes" else right(name, parts)
        )
        monkeypatch.setattr(knowing, "keep", lambda *words: None)
        assert f"{LIB}/c.py".encode() in built(work)["manifest.json"]
        assert grown() == 1, wrong


def test_only_readers_are_called_by_name() -> None:
    assert reader_called("slimmer.closure.languages.python.imports:scan") is not None
    for name in ("os:system", "slimmer.closure.languages.python.imports:ast.parse", "slimmer.nothing:x", "", ":"):
        assert reader_called(name) is None


def test_long_texts_with_flipped_bytes_are_misses(tmp_path: Path) -> None:
    value = json.dumps({"a": list(range(999))}).encode()
    store = FactStore(tmp_path / "facts")
    with using(store):
        for name in ("closure", "notes", "table", "latest"):
            keep(name, (b"k",), value)
    store.close()
    whole = (tmp_path / "facts" / "facts.sqlite").read_bytes()
    chosen = random.Random(7)
    for _ in range(150):
        flipped = bytearray(whole)
        flipped[chosen.randrange(len(flipped))] ^= 1 << chosen.randrange(8)
        (tmp_path / "facts" / "facts.sqlite").write_bytes(flipped)
        store = FactStore(tmp_path / "facts")
        with using(store):
            for name in ("closure", "notes", "table", "latest"):
                assert recall(name, (b"k",)) in (None, value)
        store.close()


# ------------------------------------------------------------ sizes


def answer(size: int, how: int, limit: int) -> object:
    ways: tuple[Callable[[], object], ...] = (
        lambda: size > limit,
        lambda: size >= limit,
        lambda: size < limit,
        lambda: size <= limit,
        lambda: size == limit,
        lambda: size != 0,
        lambda: bool(size),
        lambda: 0 < size <= limit,
        lambda: f"{size:,}" if limit % 3 == 0 else (limit < size, size + 1)[limit % 2],
    )
    return ways[how]()


@pytest.mark.parametrize("seed", range(300))
def test_sizes_of_which_the_same_was_said_are_told_right(seed: int) -> None:
    """Whatever was asked of sizes and of sums of them, the answers are the same for all sizes that the notes allow."""
    chosen = random.Random(seed)
    sizes = [chosen.randrange(30) for _ in range(chosen.randint(1, 4))]
    asked = [
        (chosen.sample(range(len(sizes)), chosen.randint(1, len(sizes))), chosen.randrange(9), chosen.randrange(-2, 90))
        for _ in range(chosen.randint(1, 5))
    ]

    def answers(of: list[int]) -> list[object]:
        return [answer(total(of[each] for each in which), how, limit) for which, how, limit in asked]

    root = NotingRoot(_Sizes(sizes))
    measured = [entry.size for each in range(len(sizes)) if (entry := root.entry(f"/{each}")) is not None]
    first = answers(measured)
    assert first == answers(sizes)
    notes = json.loads(root.notes())
    ranges = [notes.get(f"/{each}", [False, 0, LARGEST])[1:3] for each in range(len(sizes))]
    assert all(low <= size <= high for size, (low, high) in zip(sizes, ranges, strict=True))
    for _ in range(40):
        others = [chosen.randint(max(low, 0), min(high, 99)) for low, high in ranges]
        assert answers(others) == first, (sizes, others)


def test_a_limit_that_is_far_away_leaves_room() -> None:
    root = NotingRoot(_Sizes([10, 20]))
    one, two = (root.entry(f"/{each}") for each in (0, 1))
    assert one is not None
    assert two is not None
    assert 0 < one.size <= 100
    assert total([one.size, two.size]) < 51
    assert isinstance(one.size, Measured)
    assert json.loads(root.notes()) == {"/0": [False, 1, 20, [], []], "/1": [False, 0, 30, [], []]}


class _Sizes(Root):
    """Files of these sizes, named by numbers."""

    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes

    name = "sizes"

    def entry(self, path: str) -> Entry | None:
        return Entry(path, FileType.FILE, 0o644, 0, 0, self._sizes[int(path[1:])], 0)

    def children(self, path: str) -> list[str]:
        return []

    def open(self, path: str) -> object:  # type: ignore[override]
        raise NotImplementedError

    def xattrs(self, path: str) -> dict[str, bytes]:
        return {}


# ------------------------------------------------------------ a root that notes


def test_it_answers_as_the_root_does_and_what_was_read_must_be_the_same(tmp_path: Path) -> None:
    plant(tmp_path, {"a/x": "12345", "a/y": "12345", "l": "-> a/x", "z": "z" * 100_000})
    base = DirectoryRoot(str(tmp_path))
    root = NotingRoot(base)
    assert list(root.walk()) == list(base.walk())
    assert [(each.path, each.size) for each in root.walk()] == [(each.path, each.size) for each in base.walk()]
    assert root.children("/a") == base.children("/a")
    assert root.resolve("/l") == base.resolve("/l")
    assert root.read("/l", 3) == b"123"
    found = root.entry("/a/y")
    assert found is not None
    assert root.beginning(found, 2) == b"12"
    assert root.said(found, 99, lambda data, more: len(data) + more, 4) == 9
    with root.open("/z") as stream:
        assert stream.read(1) == b"z"
    notes = json.loads(root.notes())
    assert notes["/a/x"][0] is False
    assert notes["/z"][0] is True
    root = NotingRoot(base)
    assert root.read("/l", 3) == b"123"
    assert root.read("/z", 2) == b"zz"
    assert len(root.read("/z")) == 100_000
    assert root.read("/a/y") == b"12345"
    taken = root.notes()

    def still(path: str) -> bool:
        return holds(taken, [path], DirectoryRoot(str(tmp_path)))

    assert still("/a/x")
    assert still("/a/y")
    assert not still("/z")
    assert not still("/gone")
    (tmp_path / "a/x").write_text("123 and more")
    (tmp_path / "a/y").write_text("12345 and more")
    assert still("/a/x")
    assert not still("/a/y")
    (tmp_path / "a/x").write_text("1")
    assert not still("/a/x")


def test_what_else_changes_is_more_than_a_changed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "SETTLED", -1.0)
    plant(tmp_path, {"a/x": "1", "a/y": "1", "l": "-> a/x", "d": None})
    before = seen(DirectoryRoot(str(tmp_path))).table

    def now() -> list[str] | None:
        return changed(before, seen(DirectoryRoot(str(tmp_path))).table)

    assert now() == []
    (tmp_path / "a/x").write_text("2")
    assert now() == ["/a/x"]
    (tmp_path / "a/x").chmod(0o600)
    assert now() is None
    (tmp_path / "a/x").chmod(0o644)
    assert now() == ["/a/x"]
    (tmp_path / "a/z").write_text("2")
    assert now() is None
    (tmp_path / "a/z").unlink()
    assert now() == ["/a", "/a/x"]
    (tmp_path / "l").unlink()
    (tmp_path / "l").symlink_to("a/y")
    assert now() is None
    assert changed(b"", before) is None


def test_a_state_without_a_table_still_tells_roots_apart(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = seen(DirectoryRoot(str(work / "root")))
    monkeypatch.setattr(states, "TOLD", 3)
    assert seen(DirectoryRoot(str(work / "root"))) == replace(whole, table=b"")
