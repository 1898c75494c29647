"""Every file operation of a build fails once: what stood there stands, or the new one does, and nothing else is left.

As SQLite's test harness does with its file system layer: the n-th operation fails, for all n. The layer here is the
interpreter's own: its audit events stand before every open, rename, chmod, mkdir, link and removal.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slimmer.errors import Interrupted, SlimmerError
from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.target import MARKER
from slimmer.pipeline.trace import build
from slimmer.recipe import Recipe, Run, Source
from slimmer.root.directory import DirectoryRoot
from slimmer.root.fingerprint import fingerprint
from tests.support import plant
from tracer.recording import Access, Kind, Recording

OPERATIONS = frozenset(
    {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.link", "os.symlink", "os.utime"}
)


class Faults:
    """Fails the n-th operation below a directory. A hook cannot be taken away again, so there is one, mostly idle."""

    def __init__(self) -> None:
        self.top = ""
        self.at = -1
        self.seen = 0
        self.make: Callable[[str], BaseException] = lambda path: OSError(errno.EIO, "", path)
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.top or event not in OPERATIONS:
            return
        named = [os.fsdecode(each) for each in arguments[:2] if isinstance(each, str | bytes | os.PathLike)]
        if not any(each.startswith(self.top) for each in named):
            return
        self.seen += 1
        if self.seen == self.at:
            raise self.make(named[0])


FAULTS: list[Faults] = []


@pytest.fixture
def faults() -> Iterator[Faults]:
    if not FAULTS:
        FAULTS.append(Faults())
    yield FAULTS[0]
    FAULTS[0].top = ""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    plant(
        tmp_path, {"root/etc/os-release": "ID=none\n", "root/app/run": "#755 #!/app/run\n", "root/app/data": "d" * 999}
    )
    (tmp_path / "place").mkdir()
    return tmp_path


def run(work: Path, data: str) -> None:
    (work / "root/app/data").write_text(data)
    build_it(work)


def build_it(work: Path) -> None:
    place = work / "place"
    recipe = Recipe(source=Source(root=str(work / "root")), runs=(Run(("/app/run",)),))
    root = fingerprint(DirectoryRoot(str(work / "root")))
    accesses = tuple(
        Access(f"/app/{name}", frozenset({Kind.READ}), frozenset({"/app/run"})) for name in ("run", "data")
    )
    archive, rootfs = str(place / "image.tar"), str(place / "tree")
    outputs = Outputs(place / "out", archive, rootfs, check=CheckMode.OFF)
    build([Recording(accesses, root=root)], recipe, outputs, Progress())


def state(work: Path) -> dict[str, bytes]:
    """What stands there, without what was never there before: names and content."""
    place = work / "place"
    return {str(each.relative_to(place)): each.read_bytes() for each in sorted(place.rglob("*")) if each.is_file()}


def lay_out(work: Path, previous: bool) -> dict[str, bytes]:
    if previous:
        run(work, "old")
        (work / "place/tree").rename(work / "old-tree")  # the tree must be new, or the caller is refused
    return state(work)


KINDS: dict[str, Callable[[str], BaseException]] = {
    "full": lambda path: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path),
    "descriptors": lambda path: OSError(errno.EMFILE, os.strerror(errno.EMFILE), path),
    "broken": lambda path: OSError(errno.EIO, os.strerror(errno.EIO), path),
    "memory": lambda path: MemoryError(),
    "signal": lambda path: Interrupted(signal.SIGTERM),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_fails_the_old_output_stands_or_the_new_one_does(work: Path, faults: Faults, kind: str) -> None:
    before = lay_out(work, previous=True)
    faults.make = KINDS[kind]
    step = {"full": 1}.get(kind, 4)  # one kind goes to each operation, the others to every fourth
    at, failed = 1, 0
    while True:
        faults.top, faults.at, faults.seen = str(work / "place"), at, 0
        try:
            run(work, "new")
        except (SlimmerError, OSError, MemoryError, KeyboardInterrupt) as error:
            faults.top = ""
            failed += 1
            late = "whole" in getattr(error, "hint", "")  # who is told so finds the new one
            if not (late and (work / "place/tree").exists()):
                assert state(work) == before, f"operation {at} of {kind}"
                assert sorted(os.listdir(work / "place")) == ["image.tar", "out"], f"operation {at} of {kind}"
                at += step
                continue
        faults.top = ""
        new = state(work)
        assert new["tree/app/data"] == b"new"
        held = {name.removeprefix("out/") for name in new if name.startswith("out/")}
        assert {*new["out/" + MARKER].decode().split("\n")[1:-1], MARKER} == held
        assert sorted(os.listdir(work / "place")) == ["image.tar", "out", "tree"], f"operation {at} of {kind}"
        if faults.seen < at:
            break  # nothing failed any more: all have had their turn
        again(work)
        before = state(work)
        at += step
    assert failed > 15


def again(work: Path) -> None:
    """The new output becomes the old one of the next turn."""
    shutil.rmtree(work / "place/tree")
    run(work, "old")
    shutil.rmtree(work / "place/tree")


@pytest.mark.parametrize("limit", [0, 1, 100, 1000, 3000, 10_000])
def test_a_disk_that_takes_so_many_bytes_of_a_file_and_no_more(work: Path, limit: int) -> None:
    before = lay_out(work, previous=True)
    (work / "root/app/data").write_bytes(random.Random(0).randbytes(20_000))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            build_it(work)
        except SlimmerError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert state(work) == before
    assert sorted(os.listdir(work / "place")) == ["image.tar", "out"]
