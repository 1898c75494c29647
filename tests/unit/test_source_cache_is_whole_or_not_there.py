from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import stat
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from slimmer.cli.cache import command
from slimmer.errors import SlimmerError
from slimmer.facts import place as place_module
from slimmer.facts.place import cache_place
from slimmer.root import store as store_module
from slimmer.root.source import open_image
from slimmer.root.store import CacheKind, CacheMetadata, Store
from tests.running import NOBODY, as_user, readable_directory
from tests.support import needs_root
from tests.unit.imagemaker import Item, layout, tar

BASE = tar(Item("base", content=b"b" * 1000))


def image(top: Path, name: str, size: int = 1000) -> str:
    return layout(top / name, BASE, tar(Item("top", content=name.encode() * size)))


def places(store: Store, shelf: CacheKind) -> list[str]:
    return sorted(os.listdir(store.home / shelf))


def test_layers_are_shared_and_trees_are_their_own(tmp_path: Path) -> None:
    roots = [open_image(image(tmp_path, name), cache=tmp_path / "cache") for name in ("one", "two")]
    store = Store(tmp_path / "cache")
    assert len(places(store, CacheKind.LAYERS)) == 3
    assert len(places(store, CacheKind.ROOTS)) == 2
    assert [os.stat(root.location("/base")).st_nlink for root in roots] == [1, 1]


def test_a_file_has_as_many_names_on_disk_as_the_image_gives_it(tmp_path: Path) -> None:
    data = tar(
        Item("etc/crontab", content=b"x", mode=0o640, pax={"SCHILY.xattr.user.mark": "1"}),
        Item("etc/one", content=b"y"),
        Item("etc/two", "link", target="etc/one"),
    )
    root = open_image(layout(tmp_path / "image", data), cache=tmp_path / "cache")
    status = os.stat(root.location("/etc/crontab"))
    assert (status.st_nlink, stat.S_IMODE(status.st_mode), status.st_mtime) == (1, 0o640, 1_000_000_000)
    assert root.read("/etc/crontab") == b"x"
    assert [os.stat(root.location(path)).st_nlink for path in ("/etc/one", "/etc/two")] == [2, 2]
    assert Path(root.location("/etc/one")).samefile(root.location("/etc/two"))
    entries = [root.entry(path) for path in ("/etc/crontab", "/etc/one")]
    assert [entry.links for entry in entries if entry] == [1, 2]


def test_holes_stay_holes_and_where_the_kernel_cannot_copy_we_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"head" + bytes(3_000_000) + b"middle" + bytes(2_000_000)
    data = tar(Item("sparse", content=content), Item("empty"), Item("zeros", content=bytes(1_000_000)))
    place = layout(tmp_path / "image", data)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    for cache in ("kernel", "hand"):
        if cache == "hand":
            monkeypatch.setattr("slimmer.root.materialize.os.copy_file_range", refuse)
        root = open_image(place, cache=tmp_path / cache)
        assert Path(root.location("/sparse")).read_bytes() == content
        assert [os.stat(root.location(path)).st_size for path in ("/empty", "/zeros")] == [0, 1_000_000]


def test_an_image_that_was_there_before_is_opened_without_its_layers(tmp_path: Path) -> None:
    reference = image(tmp_path, "one")
    first = open_image(reference, cache=tmp_path / "cache")
    for blob in (tmp_path / "one/blobs/sha256").iterdir():
        if b"ustar" in blob.read_bytes():
            blob.write_bytes(b"gone")
    told: list[str] = []
    again = open_image(reference, cache=tmp_path / "cache", say=told.append)
    assert told == []
    assert again.directory == first.directory
    assert [entry.path for entry in again.walk()] == ["/", "/base", "/top"]


def test_a_failed_build_leaves_nothing_and_a_later_one_succeeds(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(part: Path) -> CacheMetadata:
        (part / "half").mkdir(mode=0o000)
        raise SlimmerError("no")

    with pytest.raises(SlimmerError, match="no"):
        store.make(CacheKind.LAYERS, "k", fail)
    assert os.listdir(store.home / "building") == []
    assert store.find(CacheKind.LAYERS, "k") is None
    with store.make(CacheKind.LAYERS, "k", lambda part: CacheMetadata(bytes=3)) as held:
        assert held.facts.bytes == 3


def test_a_full_disk_is_a_message(tmp_path: Path) -> None:
    def full(part: Path) -> CacheMetadata:
        raise OSError(28, "No space left on device")

    with pytest.raises(SlimmerError, match=r"No space left on device\n.*make room"):
        Store(tmp_path).make(CacheKind.LAYERS, "k", full)


def _killed(top: Path) -> None:
    def build(part: Path) -> CacheMetadata:
        (part / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    Store(top).make(CacheKind.LAYERS, "k", build)


def test_what_a_killed_process_left_is_built_anew_and_swept_away(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for _ in range(2):
        process = fork.Process(target=_killed, args=(tmp_path,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        store = Store(tmp_path)
        assert os.listdir(store.home / "building") == ["layers-k"]
        assert store.find(CacheKind.LAYERS, "k") is None
    store.prune()
    assert os.listdir(store.home / "building") == []
    with store.make(CacheKind.LAYERS, "k", lambda part: CacheMetadata()) as held:
        assert os.listdir(held.path) == ["facts.json"]


def test_many_at_once_build_once(tmp_path: Path) -> None:
    built: list[int] = []

    def build(part: Path) -> CacheMetadata:
        built.append(1)
        time.sleep(0.05)
        (part / "whole").write_text("whole")
        return CacheMetadata()

    def use(_: int) -> str:
        with Store(tmp_path).make(CacheKind.ROOTS, "k", build) as held:
            return (held.path / "whole").read_text()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(8))) == ["whole"] * 8
    assert len(built) == 1


def _open(reference: str, cache: Path) -> None:
    root = open_image(reference, cache=cache)
    os._exit(0 if root.read("/top")[:5] == b"three" and len(list(root.walk())) == 303 else 1)


def test_processes_that_want_the_same_image_at_once_all_get_it_whole(tmp_path: Path) -> None:
    many = tar(*(Item(f"f{place}", content=b"x" * place) for place in range(300)), Item("top", content=b"three"))
    reference = layout(tmp_path / "image", BASE, many)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_open, args=(reference, tmp_path / "cache")) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6


def _interrupted(reference: str, cache: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def say(text: str) -> None:
        if text.startswith("unpacking"):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    try:
        open_image(reference, cache=cache, say=say)
    except KeyboardInterrupt:
        os._exit(130)
    os._exit(0)


def test_an_interrupt_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    bomb = tar(Item("big", content=bytes(200_000_000)))
    reference = layout(tmp_path / "image", bomb, compress=True)
    process = multiprocessing.get_context("fork").Process(target=_interrupted, args=(reference, tmp_path / "cache"))
    process.start()
    process.join(30)
    assert process.exitcode == 130
    assert [path for path in (tmp_path / "cache").rglob("*") if path.parent.name in ("layers", "building")] == []


def test_content_that_was_changed_in_the_cache_is_noticed(tmp_path: Path) -> None:
    root = open_image(image(tmp_path, "one"), cache=tmp_path / "cache")
    with open(root.location("/top"), "a") as out:
        out.write("more")
    with pytest.raises(SlimmerError, match="not what was unpacked"):
        root.open("/top")
    os.unlink(root.location("/base"))
    with pytest.raises(SlimmerError, match="cannot read"):
        root.open("/base")


def test_after_a_crash_of_the_machine_only_what_was_synced_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.make(CacheKind.LAYERS, "fresh", lambda part: CacheMetadata(bytes=1)).close()
    store.make(CacheKind.LAYERS, "old", lambda part: CacheMetadata(bytes=2)).close()
    long_ago = time.time() - 1000
    os.utime(store.home / "layers" / "old", (long_ago, long_ago))
    with store.make(
        CacheKind.LAYERS, "old", lambda part: CacheMetadata(bytes=9)
    ) as held:  # this use sees it on the disk
        assert held.facts.bytes == 2
    monkeypatch.setattr(store_module, "boot_id", lambda: "another boot")
    assert store.find(CacheKind.LAYERS, "fresh") is None
    with store.make(CacheKind.LAYERS, "fresh", lambda part: CacheMetadata(bytes=3)) as held:
        assert held.facts.bytes == 3
    found = store.find(CacheKind.LAYERS, "old")
    assert found is not None
    assert found.facts.bytes == 2


def test_damaged_facts_are_no_facts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make(CacheKind.LAYERS, "k", lambda part: CacheMetadata()).close()
    for content in ("", "{", "[]", '{"bytes": 1}', '{"layers": 3, "notes": []}', '{"layers": [], "notes": [], "x": 1}'):
        (store.home / "layers/k/facts.json").write_text(content)
        assert store.find(CacheKind.LAYERS, "k") is None


def test_pruning_takes_the_longest_unused_with_what_shares_its_content_and_never_what_is_in_use(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for place, name in enumerate(("one", "two", "three")):
        open_image(image(tmp_path, name, 10_000), cache=cache).close()
        store = Store(cache)
        for stored in store.stored():
            if stored.used > time.time() - 100:
                os.utime(stored.path, (place, place))
    used = open_image(f"oci:{tmp_path / 'one'}", cache=cache)
    assert store.size() > 100_000
    store.prune(50_000)
    left = {stored.facts.bytes for stored in store.stored() if stored.shelf is CacheKind.LAYERS}
    assert left == {1000, 30_000}
    assert used.read("/top") == b"one" * 10_000
    store.prune(-1)
    assert used.read("/top") == b"one" * 10_000
    assert len(places(store, CacheKind.ROOTS)) == 1
    used.close()
    gone = store.prune(-1)
    assert {stored.shelf for stored in gone} == {CacheKind.LAYERS, CacheKind.ROOTS}
    assert places(store, CacheKind.LAYERS) == places(store, CacheKind.ROOTS) == []
    assert os.listdir(store.home / "locks") == []


def test_the_cache_keeps_to_its_size_by_itself(tmp_path: Path) -> None:
    for name in ("one", "two", "six"):
        open_image(image(tmp_path, name, 10_000), cache=tmp_path / "cache", cache_size=60_000).close()
    assert Store(tmp_path / "cache").size() <= 60_000


def test_nobody_else_may_look_into_the_cache(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    open_image(image(tmp_path, "one"), cache=tmp_path / "cache").close()
    (home,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o777  # it may be more than a cache to somebody


def test_a_cache_that_cannot_be_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SlimmerError, match="XDG_CACHE_HOME"):
        Store(tmp_path / "file" / "cache")


def test_the_usual_place_follows_the_basedir_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_place() == tmp_path / "slimmer"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert cache_place() == tmp_path / "home" / ".cache" / "slimmer"


def test_without_a_home_there_is_a_place_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nonexistent"))
    monkeypatch.setattr(place_module, "APART", tmp_path)
    own = tmp_path / f"slimmer-{os.geteuid()}"
    assert cache_place() == own
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert not (tmp_path / "nonexistent").exists()
    own.chmod(0o770)
    assert cache_place() == tmp_path / "nonexistent/.cache/slimmer", "others may have written there"
    own.rmdir()
    own.symlink_to(tmp_path)
    assert cache_place() == tmp_path / "nonexistent/.cache/slimmer", "it is somebody's link"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o711])
def test_a_home_that_cannot_be_written_or_entered_stops_nobody(mode: int) -> None:
    with readable_directory() as home:
        (home / ".cache").mkdir(mode=0o700)
        home.chmod(mode)

        def asked() -> str:
            os.environ.pop("XDG_CACHE_HOME", None)
            os.environ["HOME"] = str(home)
            return str(cache_place())

        assert as_user(NOBODY, asked) == f"/var/tmp/slimmer-{NOBODY}"


def test_slim_cache_shows_and_prunes(tmp_path: Path) -> None:
    reference = image(tmp_path, "one")
    root = open_image(reference, cache=tmp_path / "cache")
    run = CliRunner().invoke
    shown = run(command, ["--cache", str(tmp_path / "cache"), "--json"])
    places = json.loads(shown.stdout)["places"]
    assert sorted((place["kind"], place["bytes"], place["busy"]) for place in places) == [
        ("layers", 1000, False),
        ("layers", 3000, False),
        ("roots", 4000, True),
    ]
    table = run(command, ["--cache", str(tmp_path / "cache")])
    assert table.stdout.count("sha256:") == 3
    assert "2 layers, 1 images, 0.0 MB" in table.stderr
    root.close()
    assert run(command, ["--cache", str(tmp_path / "cache"), "prune"]).stdout == ""
    gone = run(command, ["--cache", str(tmp_path / "cache"), "prune", "--all"])
    assert gone.stdout.count("sha256:") == 3
    assert json.loads(run(command, ["--cache", str(tmp_path / "cache"), "--json"]).stdout)["places"] == []
    for words in (["--to", "much"], ["--to", "1G", "--all"]):
        assert run(command, ["--cache", str(tmp_path / "cache"), "prune", *words]).exception is not None


USER = 12345


def _as_user(reference: str, cache: Path) -> None:
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    os.umask(0o077)
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    root = open_image(reference, cache=cache)
    with root.open("/secret/file") as stream:
        (cache / "found").write_text(f"{stream.read().decode()} {root.directory}")


FAITHFUL = tar(
    Item("./", "dir", mode=0o755),
    Item("secret", "dir", mode=0o000, uid=1234, gid=4321),
    Item("secret/file", content=b"x", mode=0o000, uid=7),
    Item("shut", "dir", mode=0o500, uid=9),
    Item("shut/in", "dir", mode=0o100),
    Item("shut/in/file", content=b"y", mode=0o111),
    Item("su", content=b"x", mode=0o6755),
    Item("su2", "link", target="su"),
    Item("l", "symlink", target="su", uid=3, mode=0o777),
    Item("pipe", "fifo", mode=0o600, uid=4),
    Item("dev/null", "char", device=(1, 3)),
    Item("ping", content=b"x", pax={"SCHILY.xattr.user.mark": "1"}),
)


@needs_root
def test_an_ordinary_user_gets_the_same_index_as_root_byte_for_byte() -> None:
    with tempfile.TemporaryDirectory() as directory:  # not tmp_path, which other users cannot reach
        top = Path(directory)
        top.chmod(0o711)
        reference = layout(top / "image", FAITHFUL)
        (top / "theirs").mkdir()
        os.chown(top / "theirs", USER, USER)
        process = multiprocessing.get_context("fork").Process(target=_as_user, args=(reference, top / "theirs"))
        process.start()
        process.join()
        assert process.exitcode == 0
        content, place = (top / "theirs" / "found").read_text().split()
        assert content == "x"
        _same(Path(open_image(reference, cache=top / "mine").directory), Path(place))


def _same(mine: Path, theirs: Path) -> None:
    for name in ("index", "strings"):
        assert theirs.with_name(name).read_bytes() == mine.with_name(name).read_bytes()

    def disk(top: Path, path: str) -> tuple[int, int, int]:
        status = os.lstat(top / path)
        return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid

    assert disk(mine, "secret") == (0o000, 1234, 4321)
    assert disk(mine, "su") == (0o6755, 0, 0)
    assert disk(mine, "l")[1] == 3
    assert disk(theirs, "secret") == (0o700, USER, USER)
    assert disk(theirs, "secret/file") == (0o400, USER, USER)
    assert disk(theirs, "shut/in") == (0o700, USER, USER)
    assert disk(theirs, "su") == (0o755, USER, USER)


@pytest.mark.parametrize("name", ["entries", "index", "strings"])
@pytest.mark.parametrize("damage", ["cut short", "changed"])
def test_damaged_lists_of_entries_are_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    source = image(tmp_path, "one")
    with contextlib.closing(open_image(source, cache=tmp_path / "cache")) as root:
        before = [entry.path for entry in root.walk()]
    for place in (tmp_path / "cache").rglob(name):
        content = bytearray(place.read_bytes())
        content[-1] ^= 1
        place.chmod(0o600)
        place.write_bytes(content[: len(content) // 2] if damage == "cut short" else content)
    with contextlib.closing(open_image(source, cache=tmp_path / "cache")) as root:
        assert [entry.path for entry in root.walk()] == before
