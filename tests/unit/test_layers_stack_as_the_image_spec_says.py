from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimmer.errors import SlimmerError
from slimmer.root.image import ImageRoot
from slimmer.root.limits import Limits
from slimmer.root.model import FileType
from slimmer.root.source import open_image
from tests.layer_stacks import stack
from tests.unit.imagemaker import Item, layout, tar

Open = Callable[..., ImageRoot]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Opens an image of these layers in a cache of its own."""

    def of(*layers: Sequence[Item], **options: Any) -> ImageRoot:
        place = tmp_path / f"image{len(list(tmp_path.iterdir()))}"
        return open_image(layout(place, *(tar(*layer) for layer in layers)), cache=tmp_path / "cache", **options)

    return of


def shown(root: ImageRoot) -> dict[str, str]:
    """The tree as text: content of files, targets of links, "/" for directories."""
    found = {}
    for entry in root.walk():
        match entry.type:
            case FileType.FILE:
                with root.open(entry.path) as stream:
                    found[entry.path] = stream.read().decode()
            case FileType.SYMLINK:
                found[entry.path] = f"-> {entry.target}"
            case FileType.DIRECTORY:
                found[entry.path] = "/"
            case kind:
                found[entry.path] = kind.value
    found.pop("/")
    return found


def text(name: str, content: str) -> Item:
    return Item(name, content=content.encode())


def gone(name: str) -> Item:
    parent, _, last = name.rpartition("/")
    return Item(f"{parent}/.wh.{last}" if parent else f".wh.{last}")


def test_a_later_layer_replaces_adds_and_removes(opened: Open) -> None:
    root = opened(
        [text("etc/a", "1"), text("etc/b", "1"), text("keep/x", "1")],
        [text("etc/a", "2"), gone("etc/b"), text("etc/c", "2")],
    )
    assert shown(root) == {"/etc": "/", "/etc/a": "2", "/etc/c": "2", "/keep": "/", "/keep/x": "1"}


def test_an_opaque_directory_hides_what_is_below_it_wherever_the_mark_stands(opened: Open) -> None:
    for first in (True, False):
        mark, new = Item("d/.wh..wh..opq"), text("d/new", "2")
        upper = [mark, new] if first else [new, mark]
        root = opened([text("d/old", "1"), text("d/sub/old", "1")], [Item("d", "dir", mode=0o700), *upper])
        assert shown(root) == {"/d": "/", "/d/new": "2"}


def test_a_whiteout_speaks_of_lower_layers_only(opened: Open) -> None:
    for upper in ([gone("a"), text("a", "2")], [text("a", "2"), gone("a")]):
        assert shown(opened([text("a", "1")], upper)) == {"/a": "2"}
    root = opened([text("d/old", "1")], [Item("d", "dir"), text("d/new", "2"), gone("d")])
    assert shown(root) == {"/d": "/", "/d/new": "2"}


def test_a_directory_in_the_place_of_a_link_has_nothing_of_where_it_led(opened: Open) -> None:
    lower = [text("target/keep", "1"), Item("link", "symlink", target="/target")]
    for marks in ([Item("link/.wh..wh..opq")], [gone("link/keep")], [gone("link")]):
        for upper in ([Item("link", "dir"), *marks], [*marks, Item("link", "dir")]):
            root = opened(lower, [*upper, text("link/new", "2")])
            assert shown(root) == {"/link": "/", "/link/new": "2", "/target": "/", "/target/keep": "1"}
    # Where the layer leaves the link, its whiteouts go where it leads.
    assert shown(opened(lower, [gone("link/keep")])) == {"/link": "-> /target", "/target": "/"}


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_stack_means_the_tree_that_it_was_made_from(opened: Open, seed: int) -> None:
    layers, tree = stack(seed)
    assert shown(opened(*layers)) == dict(sorted(tree.items()))


def test_a_whiteout_of_nothing_and_a_whiteout_in_the_first_layer_do_nothing(opened: Open) -> None:
    assert shown(opened([gone("a"), text("b", "1")], [gone("x/y/z"), gone("b/c")])) == {"/b": "1"}


def test_overlayfs_own_whiteouts_and_aufs_book_keeping_are_understood(opened: Open) -> None:
    root = opened(
        [text("a", "1"), text("b", "1")],
        [Item("a", "char", device=(0, 0)), Item(".wh..wh.aufs"), Item(".wh..wh.plnk", "dir"), Item(".wh..wh.plnk/x")],
    )
    assert shown(root) == {"/b": "1"}


def test_directories_keep_their_content_when_named_again(opened: Open) -> None:
    root = opened([Item("d", "dir", mode=0o755), text("d/a", "1")], [Item("d", "dir", mode=0o711, uid=5)])
    assert shown(root) == {"/d": "/", "/d/a": "1"}
    directory = root.entry("/d")
    assert directory is not None
    assert (directory.mode, directory.uid) == (0o711, 5)


def test_directories_files_and_links_take_each_others_place_in_later_layers(opened: Open) -> None:
    lower = [text("d/a", "1"), text("f", "1"), Item("l", "symlink", target="d")]
    upper = [text("d", "2"), text("f/a", "2"), text("l/b", "2")]
    with pytest.raises(SlimmerError, match="not a directory"):
        opened(lower, upper)
    upper = [text("d", "2"), Item("f", "dir"), text("f/a", "2"), Item("l", "dir"), text("l/b", "2")]
    assert shown(opened(lower, upper)) == {"/d": "2", "/f": "/", "/f/a": "2", "/l": "/", "/l/b": "2"}


def test_an_entry_below_a_link_goes_where_the_link_leads(opened: Open) -> None:
    root = opened(
        [Item("usr/lib", "dir"), Item("lib", "symlink", target="usr/lib")],
        [text("lib/libc", "2"), Item("abs", "symlink", target="/usr"), text("abs/x", "2")],
        [gone("lib/libc")],
    )
    assert shown(root) == {"/abs": "-> /usr", "/lib": "-> usr/lib", "/usr": "/", "/usr/lib": "/", "/usr/x": "2"}


def test_hard_links_are_one_file_across_entries_and_layers(opened: Open) -> None:
    root = opened(
        [text("a", "1"), Item("b", "link", target="a")],
        [Item("dir/c", "link", target="/a"), text("d", "1")],
        [gone("a")],
        limits=Limits(absolute=True),
    )
    assert shown(root) == {"/b": "1", "/d": "1", "/dir": "/", "/dir/c": "1"}
    b, c, d = (root.entry(path) for path in ("/b", "/dir/c", "/d"))
    assert b is not None
    assert c is not None
    assert d is not None
    assert b.identity == c.identity != d.identity
    assert (b.links, c.links, d.links) == (2, 2, 1)
    assert Path(root.location("/b")).samefile(root.location("/dir/c"))


def test_the_last_of_several_entries_counts(opened: Open) -> None:
    root = opened([text("a", "1"), Item("b", "link", target="a"), text("a", "2"), Item("./a//"), text("./a", "3")])
    assert shown(root) == {"/a": "3", "/b": "1"}


def test_directories_that_nobody_names_are_roots_own(opened: Open) -> None:
    root = opened([text("a/b/c", "1")])
    for path in ("/", "/a", "/a/b"):
        entry = root.entry(path)
        assert entry is not None
        assert (entry.type, entry.mode, entry.uid, entry.gid, entry.mtime_ns) == (FileType.DIRECTORY, 0o755, 0, 0, 0)


def test_the_root_itself_has_its_entry(opened: Open) -> None:
    root = opened([Item("./", "dir", mode=0o750, uid=3, mtime=77), text("./a", "1")])
    entry = root.entry("/")
    assert entry is not None
    assert (entry.mode, entry.uid, entry.mtime_ns) == (0o750, 3, 77 * 10**9)


def test_an_image_without_layers_and_layers_without_entries_are_images(opened: Open) -> None:
    assert shown(opened()) == {}
    assert shown(opened([], [text("a", "1")], [])) == {"/a": "1"}


# Any sequence of layers, against a model that is slow and plain: a dict of whole paths.

NAMES = ["a", "b", "c"]
PATHS = NAMES + [f"{x}/{y}" for x in NAMES for y in NAMES] + [f"{x}/{y}/{z}" for x in "ab" for y in "ab" for z in "ab"]


@dataclass(frozen=True)
class Node:
    kind: str
    content: str
    inode: int


class Refused(Exception):
    pass


def model(layers: Sequence[Sequence[Item]]) -> dict[str, Node]:
    tree: dict[str, Node] = {}
    count = 0

    def parents(path: str) -> list[str]:
        parts = path.split("/")
        return ["/".join(parts[:end]) for end in range(1, len(parts))]

    def drop(path: str) -> None:
        for name in [name for name in tree if name == path or name.startswith(path + "/")]:
            del tree[name]

    for layer in layers:
        for item in layer:
            parent, _, last = item.name.rpartition("/")
            if last == ".wh..wh..opq":
                for name in [name for name in tree if name.startswith(parent + "/")]:
                    del tree[name]
            elif last.startswith(".wh."):
                drop(f"{parent}/{last[4:]}".lstrip("/"))
        for item in layer:
            if ".wh." in item.name:
                continue
            for above in parents(item.name):
                if above in tree and tree[above].kind != "dir":
                    raise Refused(above)
                if above not in tree:
                    count += 1
                    tree[above] = Node("dir", "", count)
            if item.kind == "dir":
                if item.name in tree and tree[item.name].kind == "dir":
                    continue
                drop(item.name)
                count += 1
                tree[item.name] = Node("dir", "", count)
                continue
            if item.kind == "link":
                found = tree.get(item.target)
                if found is None or found.kind == "dir" or item.target == item.name:
                    raise Refused(item.name)
                drop(item.name)
                tree[item.name] = found
                continue
            drop(item.name)
            count += 1
            tree[item.name] = Node("file", item.content.decode(), count)
    return tree


def items() -> st.SearchStrategy[Item]:
    path = st.sampled_from(PATHS)
    deep = st.sampled_from(PATHS[3:])
    return st.one_of(  # mostly what fits together; links and files in a directory's place are often refused
        st.builds(Item, deep, st.just("file"), st.sampled_from([b"1", b"2", b"3"])),
        st.builds(Item, deep.map(lambda name: name + "x"), st.just("file"), st.sampled_from([b"1", b"2", b"3"])),
        st.builds(Item, deep.map(lambda name: name + "y"), st.just("file"), st.sampled_from([b"1", b"2", b"3"])),
        st.builds(Item, path, st.just("dir")),
        st.builds(Item, path, st.just("dir")),
        st.builds(lambda name, target: Item(f"{name}z", "link", target=f"{target}x"), path, path),
        st.builds(lambda name, target: Item(name, "link", target=target), path, path),
        path.map(gone),
        path.map(lambda name: Item(f"{name}/.wh..wh..opq")),
    )


def sensible(layers: Sequence[Sequence[Item]]) -> list[list[Item]]:
    """The layers without the entries that make an image impossible."""
    kept: list[list[Item]] = []
    for layer in layers:
        kept.append([])
        for item in layer:
            kept[-1].append(item)
            try:
                model(kept)
            except Refused:
                kept[-1].pop()
    return kept


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(st.lists(items(), max_size=10), min_size=1, max_size=4))
def test_any_layers_give_what_the_plain_model_gives(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[Item]]
) -> None:
    top = tmp_path_factory.mktemp("any")
    good = sensible(layers)
    if good != layers:
        with pytest.raises(SlimmerError):
            open_image(layout(top / "bad", *(tar(*layer) for layer in layers)), cache=top / "cache")
    expected = model(good)
    root = open_image(layout(top / "image", *(tar(*layer) for layer in good)), cache=top / "cache")
    assert shown(root) == {f"/{path}": "/" if node.kind == "dir" else node.content for path, node in expected.items()}
    inodes: dict[int, set[str]] = {}
    for path, node in expected.items():
        if node.kind == "file":
            inodes.setdefault(node.inode, set()).add(f"/{path}")
    ours: dict[tuple[int, int], set[str]] = {}
    for entry in root.walk():
        if entry.type is FileType.FILE:
            ours.setdefault(entry.identity, set()).add(entry.path)
            assert entry.links == len(next(names for names in inodes.values() if entry.path in names))
    assert sorted(map(sorted, ours.values())) == sorted(map(sorted, inodes.values()))


def test_a_hard_link_means_the_file_that_a_directory_replaces_later(opened: Open) -> None:
    root = opened([text("b/a", "1")], [Item("a", "link", target="b/a"), Item("b/a", "dir"), gone("c")])
    assert shown(root) == {"/a": "1", "/b": "/", "/b/a": "/"}


def test_a_whiteout_below_what_was_a_file_leaves_it_to_hard_links(opened: Open) -> None:
    root = opened([text("a/a", "1")], [gone("a/a/a"), Item("b", "link", target="a/a"), Item("a/a", "dir")])
    assert shown(root) == {"/a": "/", "/a/a": "/", "/b": "1"}
