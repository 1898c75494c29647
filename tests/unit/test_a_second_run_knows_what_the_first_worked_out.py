"""A run of the same root, recording and recipe takes closure and lists from the former; of anything else, never."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slimmer.closure.model import Application
from slimmer.facts.remember import usual
from slimmer.pipeline import plan
from slimmer.pipeline.known import Known, known
from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.trace import build
from slimmer.recipe import Miss, Reach, Recipe, Run, Source
from slimmer.root import state as states
from slimmer.root.directory import DirectoryRoot
from slimmer.root.fingerprint import fingerprint
from slimmer.root.live import LiveRoot
from slimmer.root.state import state
from tests.counted import calls_of
from tests.support import plant
from tracer.recording import Access, Kind, Recording

TREE: dict[str, str | bytes | None] = {
    "root/etc/os-release": "ID=none\n",
    "root/bin/sh": "#755 #!/bin/none\n",
    "root/app/run": "#755 #!/bin/sh\ncat /app/data\n",
    "root/app/data": "d" * 999,
    "root/app/more": "m",
    "root/var/gone": "g",
}

PROFILE = 'why = "tests"\n[when]\npaths = ["/app"]\n[[keep]]\nwhy = "tests"\npaths = ["{}"]\n'


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(states, "SETTLED", -1.0)  # a test does not wait until its files are old
    plant(tmp_path, TREE)
    (tmp_path / "place").mkdir()
    return tmp_path


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a closure was grown since it was asked last."""
    return calls_of(plan, "grow", monkeypatch)


def built(work: Path, recipe: Recipe | None = None, *, reads: tuple[str, ...] = ("run",)) -> dict[str, bytes]:
    """Every file of the output, by name."""
    recipe = recipe or Recipe(runs=(Run(("/app/run",)),))
    recipe = replace(recipe, source=Source(root=str(work / "root")))
    found = tuple(Access(f"/app/{name}", frozenset({Kind.READ}), frozenset({"/app/run"})) for name in reads)
    recording = Recording(found, root=fingerprint(DirectoryRoot(str(work / "root"))))
    build([recording], recipe, Outputs(work / "place/out", check=CheckMode.OFF))
    out = work / "place/out"
    return {str(each.relative_to(out)): each.read_bytes() for each in sorted(out.rglob("*")) if each.is_file()}


def test_the_second_output_is_the_first_byte_for_byte(work: Path, grown: Callable[[], int]) -> None:
    first = built(work)
    assert grown() == 1
    assert built(work) == first
    assert grown() == 0
    assert b"/app/data" in first["manifest.json"]
    assert b"/var/gone" in first["removed.json"]


def changed_content(top: Path) -> None:
    (top / "app/run").write_text("#!/bin/sh\ncat /app/more\n")


def changed_mode(top: Path) -> None:
    (top / "app/data").chmod(0o600)


def changed_back_in_time(top: Path) -> None:
    """As `touch -r` and tar do it: length and time of change are what they were, the inode's time is not."""
    was = (top / "app/run").stat()
    (top / "app/run").write_text("#!/bin/sh\ncat /app/more\n")
    os.utime(top / "app/run", ns=(was.st_atime_ns, was.st_mtime_ns))


def new_file(top: Path) -> None:
    (top / "var/new").write_text("n")


def gone(top: Path) -> None:
    (top / "var/gone").unlink()


def other_link(top: Path) -> None:
    (top / "app/data").unlink()
    (top / "app/data").symlink_to("more")


def attribute(top: Path) -> None:
    os.setxattr(top / "bin/sh", "user.x", b"1")


@pytest.mark.parametrize(
    "change", [changed_content, changed_mode, changed_back_in_time, new_file, gone, other_link, attribute]
)
def test_whatever_changes_in_the_root_is_seen(
    work: Path, grown: Callable[[], int], change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(work)
    try:
        change(work / "root")
    except OSError:
        pytest.skip("no attributes on this filesystem")
    grown()
    second = built(work)
    assert grown() == (change is not attribute)  # no rule asks for attributes
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "other"))
    assert built(work) == second, "as with nothing known"
    if change not in (attribute,):
        assert second != first


@pytest.mark.parametrize(
    "reach",
    [Reach(include=("/app/more",)), Reach(no_profiles=("shell",)), Reach(profiles=("{work}/p.toml",))],
    ids=["include", "no profile", "profile"],
)
def test_another_recipe_is_another_question(work: Path, grown: Callable[[], int], reach: Reach) -> None:
    (work / "p.toml").write_text(PROFILE.format("/app/more"))
    recipe = Recipe(
        runs=(Run(("/app/run",)),),
        reach=replace(reach, profiles=tuple(each.replace("{work}", str(work)) for each in reach.profiles)),
    )
    built(work)
    built(work, recipe)
    assert grown() == 2
    built(work, recipe)
    assert grown() == 0
    if reach.profiles:
        (work / "p.toml").write_text(PROFILE.format("/var/gone"))
        assert b"/var/gone" in built(work, recipe)["manifest.json"]
        assert grown() == 1


def test_another_recording_or_repair_is_another_question(work: Path, grown: Callable[[], int]) -> None:
    built(work)
    assert b"/app/more" in built(work, reads=("run", "more"))["manifest.json"]
    assert grown() == 2
    repaired = Recipe(runs=(Run(("/app/run",)),), repairs=(Miss("/app/more", ("read",), ("/app/run",)),))
    assert b"/app/more" in built(work, repaired)["manifest.json"]
    assert grown() == 1


def test_what_changed_just_now_or_meanwhile_is_never_kept(
    work: Path, grown: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "SETTLED", 3600.0)
    assert state(DirectoryRoot(str(work / "root"))) == b""
    built(work)
    built(work)
    assert grown() == 2
    monkeypatch.setattr(states, "SETTLED", -1.0)
    was = Known.closure

    def disturbed(self: Known, repairs: tuple[Miss, ...]) -> object:
        (work / "root/app/more").write_text("other")
        return was(self, repairs)

    monkeypatch.setattr(Known, "closure", disturbed)
    built(work)
    monkeypatch.setattr(Known, "closure", was)
    assert grown() == 1
    built(work)
    assert grown() == 1, "the first of the two was of a root that changed under it"


def test_a_file_older_than_time_has_a_state_and_no_access_time_changes(work: Path) -> None:
    os.utime(work / "root/app/data", (-5, -5))
    before = [work / "root", *(work / "root").rglob("*")]
    for each in before:
        os.utime(each, ns=(0, each.stat().st_mtime_ns))  # relatime would set it
    first = state(DirectoryRoot(str(work / "root")))
    assert len(first) == 24
    assert {each.stat().st_atime_ns for each in before} == {0}
    os.utime(work / "root/app/data", (-6, -6))
    assert state(DirectoryRoot(str(work / "root"))) not in (first, b"")


def test_a_time_in_the_future_is_no_change_just_now(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "SETTLED", 0.0)
    os.utime(work / "root/app/data", (4e9, 4e9))
    assert state(DirectoryRoot(str(work / "root"))) != b""


def test_a_live_root_and_a_root_without_a_store_have_no_memory(work: Path) -> None:
    assert state(LiveRoot(str(work / "root"))) == b""
    root = DirectoryRoot(str(work / "root"))
    recording = Recording(())
    assert known(root, recording, Application(), Recipe()).closure(()) is None
    with usual():
        nothing = known(root, recording, Application(), Recipe())
        assert nothing.closure(()) is None
        assert nothing.review(()) is None
