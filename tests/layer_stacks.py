"""Random stacks of layers as builders write them: a tree that changes step by step, each step's difference a layer.

So the tree that the stack means is known without any unpacker: it is the last state.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.unit.imagemaker import Item

NAMES = ("a", "b", "c", "d")
Node = tuple[str, str]  # ("dir", generation), ("file", content), ("link", target)
State = dict[str, Node]


def stack(seed: int, layers: int = 4, changes: int = 6) -> tuple[list[list[Item]], dict[str, str]]:
    """Layers, the lowest first, and the tree that they mean: "/" of a directory, content, "-> target"."""
    chance = random.Random(seed)
    state: State = {}
    made: list[list[Item]] = []
    for number in range(layers):
        before = dict(state)
        for step in range(changes):
            _change(state, chance, f"{number}.{step}")
        made.append(_difference(before, state, chance))
    return made, {f"/{path}": _shown(node) for path, node in state.items()}


def _shown(node: Node) -> str:
    kind, value = node
    return "/" if kind == "dir" else f"-> {value}" if kind == "link" else value


def _change(state: State, chance: random.Random, mark: str) -> None:
    parents = ["", *(path for path, node in state.items() if node[0] == "dir" and path.count("/") < 3)]
    parent = chance.choice(parents)
    path = f"{parent}/{chance.choice(NAMES)}".lstrip("/")
    existing = state.get(path)
    what = chance.choice(["dir", "dir", "file", "link", "gone"])
    if existing is not None and existing[0] == what == "dir" and chance.random() < 0.5:
        return
    for other in [each for each in state if each == path or each.startswith(f"{path}/")]:
        del state[other]
    if what == "gone":
        return
    targets = ["/a", "/b/c", "../b", "/nowhere", *(f"/{each}" for each in parents if each)]
    value = {"dir": mark, "file": f"content {mark}", "link": chance.choice(targets)}[what]
    if what == "link" and value.startswith("../") and "/" not in path:
        value = "b"  # one that would leave the root is hostile
    state[path] = (what, value)
    if what == "dir":
        for name in chance.sample(NAMES, chance.randrange(3)):
            state[f"{path}/{name}"] = ("file", f"below {mark}")


def _difference(old: State, new: State, chance: random.Random) -> list[Item]:
    """As a differ of overlay directories writes it: sorted, whiteouts by name, opaque marks in new directories."""
    rows: list[tuple[str, Item]] = []
    for path in old:
        parent, _, name = path.rpartition("/")
        whole = parent == "" or old.get(parent) == new.get(parent)
        if path not in new and whole and (parent == "" or new[parent][0] == "dir"):
            place = f"{parent}/.wh.{name}".lstrip("/")
            rows.append((place, Item(place)))
    for path, (kind, value) in new.items():
        if old.get(path) == (kind, value) and _same_way(path, old, new):
            continue
        if kind == "dir":
            rows.append((path, Item(path, "dir", mode=0o755)))
            replaced = path in old
            # Where there was something, the mark has to stand; elsewhere some builders set it all the same.
            if (replaced and old[path][0] == "dir") or chance.random() < 0.5:
                rows.append((f"{path}/.wh..wh..opq", Item(f"{path}/.wh..wh..opq")))
        elif kind == "file":
            rows.append((path, Item(path, content=value.encode())))
        else:
            rows.append((path, Item(path, "symlink", target=value)))
    return [item for _, item in sorted(rows, key=lambda row: row[0].split("/"))]


def _same_way(path: str, old: State, new: State) -> bool:
    """Whether every directory on the way is the one that was there before."""
    parts: Sequence[str] = path.split("/")
    return all(old.get("/".join(parts[:at])) == new.get("/".join(parts[:at])) for at in range(1, len(parts)))
