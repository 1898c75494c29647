"""Imports run one way: each room of the two packages uses only what stands below it, and rooms stay readable."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
LANGUAGES = "slimmer.closure.languages"
PROFILES = "slimmer.closure.profiles"

# From the ground up. A room is a module or a folder by its dotted name, and the longest name that fits is a module's
# room. Rooms of one floor are neighbours: they do not import one another.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("tracer.errors",),
    ("tracer.recording",),
    ("tracer.kernel",),
    ("tracer.recorder",),
    ("tracer.runner",),
    ("tracer",),
    ("slimmer.errors",),
    ("slimmer.values", "slimmer.facts"),
    ("slimmer.toml_position", "slimmer.toml_values"),
    ("slimmer.recipe_checks",),
    ("slimmer.recipe_options", "slimmer.service"),
    ("slimmer.recipe", "slimmer.registry"),
    ("slimmer.compose",),
    ("slimmer.root",),
    ("slimmer.elf", "slimmer.packages", "slimmer.image"),
    ("slimmer.exercise",),
    ("slimmer.closure.limits", "slimmer.closure.model", f"{PROFILES}.globs"),
    (f"{PROFILES}.values",),
    (f"{PROFILES}.modules", f"{PROFILES}.start"),
    (f"{PROFILES}.load", f"{LANGUAGES}.suites"),
    (f"{PROFILES}.drops",),
    ("slimmer.closure.started",),
    (f"{PROFILES}.conditions",),
    ("slimmer.closure.commands",),
    (
        "slimmer.closure.binaries",
        f"{LANGUAGES}.base",
        f"{LANGUAGES}.content",
        f"{LANGUAGES}.runtimes",
        f"{LANGUAGES}.tokens",
    ),
    tuple(sorted(f"{LANGUAGES}.{each.parent.name}" for each in HERE.glob("slimmer/closure/languages/*/__init__.py"))),
    (LANGUAGES, "slimmer.closure.profiles"),
    ("slimmer.closure.ownership",),
    ("slimmer.closure",),
    ("slimmer.report", "slimmer.checks", "slimmer.suggest"),
    ("slimmer.harden",),
    ("slimmer.trust",),
    ("slimmer.pipeline",),
    ("slimmer.batch",),
    ("slimmer.api",),
    ("slimmer.cli",),
    ("slimmer",),
)
VERSION = "slimmer"  # the package itself: its face imports whatever it shows, and every room may ask its version

LONGEST = 400
# What is longer still, and at most that long: a number here only ever gets smaller.
LONGER = {
    "tracer/kernel/syscalls.py": 459,  # a table of the kernel's calls: a row each
}


@dataclass(frozen=True, slots=True)
class Import:
    importer: str
    line: int
    imported: str


def modules(packages: tuple[str, ...] = ("slimmer", "tracer")) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for package in packages:
        for path in sorted((HERE / package).rglob("*.py")):
            name = ".".join(path.relative_to(HERE).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    """What a module imports of the two packages, wherever in it the statement stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import hides the room"
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield Import(name, node.lineno, below if below in known else node.module or "")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, node.lineno, alias.name)


def room_of(module: str) -> str:
    rooms = [room for floor in FLOORS for room in floor if module == room or module.startswith(f"{room}.")]
    return max(rooms, key=len, default="")


def floor_of(room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


MODULES = modules()
IMPORTS = tuple(
    each
    for name, path in MODULES.items()
    for each in imports(name, path, MODULES)
    if each.imported.partition(".")[0] in ("slimmer", "tracer")
)


def test_every_import_leads_down() -> None:
    wrong = []
    for each in IMPORTS:
        above, below = room_of(each.importer), room_of(each.imported)
        if above == below or VERSION in (each.importer, each.imported):
            continue
        if floor_of(below) >= floor_of(above):
            wrong.append(f"{MODULES[each.importer].relative_to(HERE)}:{each.line} in {above} imports {each.imported}")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    below: dict[str, set[str]] = {}
    for each in IMPORTS:
        if each.imported in MODULES and VERSION not in (each.importer, each.imported):
            below.setdefault(each.importer, set()).add(each.imported)
    done: set[str] = set()

    def descend(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in sorted(below.get(module, ())):
                descend(other, (*way, module))
            done.add(module)

    for module in MODULES:
        descend(module, ())


def test_the_recorder_knows_nothing_of_images() -> None:
    assert not [each for each in IMPORTS if each.importer.startswith("tracer") and each.imported.startswith("slimmer")]


def test_every_room_is_there() -> None:
    rooms = {room for floor in FLOORS for room in floor}
    assert rooms == {room_of(module) for module in MODULES}


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=lambda path: path.name)
def test_no_two_classes_of_a_folder_have_one_name(folder: Path) -> None:
    names = Counter(
        node.name
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_modules_stay_short_enough_to_be_read() -> None:
    lengths = {
        str(path.relative_to(HERE)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values()
    }
    too_long = {name: length for name, length in lengths.items() if length > LONGER.get(name, LONGEST)}
    assert not too_long, "split it by nouns"
    done = {name for name in LONGER if lengths.get(name, 0) <= LONGEST}
    assert not done, "these need no exception any more: take them out of LONGER"
