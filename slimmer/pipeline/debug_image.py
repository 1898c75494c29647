"""A twin of an output's image for debugging: its own layers, byte for byte, and what was removed on top.

DIR/image/          an OCI layout: manifest → the slim image's layers, one more
DIR/.slimmer-output
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
import os
import posixpath
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slimmer.elf.file import ElfError
from slimmer.elf.loader import Loader
from slimmer.errors import SlimmerError
from slimmer.image.archive import write_archive
from slimmer.image.compress import Compression
from slimmer.image.config import ImageConfig
from slimmer.image.layer import Layer, LayerOptions, write_layer
from slimmer.image.layout import Image, Layout, blob_path, check_ref, read_layout, write_layout
from slimmer.image.times import MtimePolicy
from slimmer.packages.index import index
from slimmer.packages.model import Package, PackageIndex
from slimmer.pipeline.workspace import beside, workspace
from slimmer.registry import document
from slimmer.report.model import KeptPath, RemovedPath
from slimmer.report.output import Output
from slimmer.root.layered import ChangedRoot
from slimmer.root.model import FileType, Root, sort_key

# What somebody who looks around in a container types first.
TOOLS = (
    *("sh", "bash", "ash", "busybox", "ls", "cat", "cp", "mv", "rm", "mkdir", "ps", "top", "kill", "env", "id", "grep"),
    *("sed", "awk", "find", "xargs", "head", "tail", "less", "more", "vi", "nano", "mount", "df", "du", "ldd", "ip"),
    *("ss", "netstat", "ping", "getent", "strace", "gdb", "lsof", "file", "tar", "gzip", "hostname", "login", "su"),
)
_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of the removed files come back: all, a shell with its tools, or packages by name."""

    everything: bool = False
    shell: bool = False
    packages: tuple[str, ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> Selection:
        """From `--with` options: "all", "shell", "packages=a,b". Raises SlimmerError."""
        everything, shell, packages = False, False, []
        for word in words:
            name, _, rest = word.partition("=")
            if word == "all":
                everything = True
            elif word == "shell":
                shell = True
            elif name == "packages" and rest.strip(", "):
                packages += [each.strip() for each in rest.split(",") if each.strip()]
            else:
                raise SlimmerError(f"--with {word!r} is not known", "write all, shell or packages=NAME,NAME")
        return cls(everything or not (shell or packages), shell, tuple(packages))


@dataclass(frozen=True, slots=True)
class DebugImage:
    """What was written: the image, and how much of it is not the slim image's."""

    image: Image
    paths: int
    layer: Layer


def write_debug_image(
    output: Output,
    root: Root,
    selection: Selection,
    target: Path,
    tag: str,
    *,
    compression: Compression = Compression.GZIP,
    mtime: MtimePolicy | None = None,
    archive: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> DebugImage:
    """The twin of an output's image as an output directory of its own; `root` is its fat root. Raises SlimmerError."""
    check_ref(tag)
    slim = read_layout(output.directory / "image")
    paths = list(selected(selection, root, index(root), output.manifest(), output.removed()))
    if not paths:
        hint = "the slim image has it already, or the fat root no longer: try --with all"
        raise SlimmerError("nothing that was removed is in the selection", hint)
    with workspace(target) as space, contextlib.ExitStack() as parts:
        layout = space.path / "image"
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        lower = tuple(_carried(slim, layout))
        say(f"packing {len(paths):,} paths that the slim image does not have")
        options = LayerOptions(compression, mtime or MtimePolicy.keep())
        # Directories of both are in the upper layer too: what --chmod and --chown said of them stays.
        changed = {row.entry.path: row.entry for row in output.manifest() if row.was}
        upper = write_layer(ChangedRoot(root, changed), paths, blobs, options)
        config, _ = ImageConfig.parse(slim.config_bytes)
        comments = [*("" for _ in lower), "debug layer"]
        created = _created(slim)
        image = write_layout(layout, config, [*lower, upper], tag, created=created, comments=comments)
        moves: list[tuple[Path, Path]] = []
        if archive is not None:
            part = parts.enter_context(beside(archive, "the archive", "--archive FILE"))
            with open(part, "wb") as stream:
                write_archive(layout, stream, tag)
            moves.append((part, archive))
        space.publish(moves)
    return DebugImage(image, len(paths), upper)


def _carried(slim: Layout, layout: Path) -> Iterator[Layer]:
    """The slim image's layers, their blobs linked or copied as they are."""
    rootfs = document.load(slim.config_bytes, "the image's config").get("rootfs")
    for described, diff_id in zip(slim.layers, rootfs.get("diff_ids").texts(), strict=True):
        source, place = slim.blob(described.digest), blob_path(layout, described.digest)
        try:
            os.link(source, place)
        except OSError:  # another filesystem
            shutil.copyfile(source, place)
        yield Layer(described.media_type, described.digest, described.size, diff_id, 0, {})


def _created(slim: Layout) -> int:
    """The slim image's own time, in seconds since 1970, so that both say the same."""
    text = document.load(slim.config_bytes, "the image's config").get("created").text("")
    try:
        return int(datetime.datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0


def selected(
    selection: Selection, root: Root, packages: PackageIndex, kept: Iterable[KeptPath], removed: Iterable[RemovedPath]
) -> Iterator[str]:
    """Canonical paths of the debug layer, sorted as the removed list is. Raises SlimmerError for an unknown package."""
    rows = [row for row in _each(root, packages, removed) if _there(root, row)]
    if selection.everything:
        yield from (row.entry.path for row in rows)
        # Databases of packages tell of what is in the slim image alone: with all files back, so are they.
        for held in kept:
            if held.entry.type is FileType.FILE and any(reason.rule == "scanner" for reason in held.reasons):
                fat = root.entry(held.entry.path)
                if fat is not None and fat.type is FileType.FILE and fat.size != held.entry.size:
                    yield held.entry.path
        return
    wanted = {package for name in selection.packages for package in _named(name, packages)}
    alone: set[str] = set()
    for name in TOOLS if selection.shell else ():
        for directory in _DIRECTORIES:
            resolved = root.resolve(f"{directory}/{name}")
            if resolved.entry is None:
                continue
            owners = [owner for owner in map(packages.owner, (*resolved.links, resolved.path)) if owner is not None]
            wanted.update(owners)
            if not owners:
                alone.update((*resolved.links, resolved.path))
    # Rows of a review name a package by less than its database knows of it.
    names = {(package.type, package.name) for package in _with_dependencies(wanted, packages)}
    alone |= set(_loaded(root, alone))
    for row in rows:
        holders = (row.package, *row.also) if row.package else row.also
        if row.entry.path in alone or any((each.type, each.name) in names for each in holders):
            yield row.entry.path


def _each(root: Root, packages: PackageIndex, removed: Iterable[RemovedPath]) -> list[RemovedPath]:
    """A row for each path, those of trees too, sorted."""
    found: dict[str, RemovedPath] = {}
    for row in removed:
        found[row.entry.path] = row
        for entry in root.walk(row.entry.path) if row.tree else ():
            if entry.path not in found:
                owners = tuple(packages.owners(entry.path)) if row.tree and row.tree.packages else ()
                found[entry.path] = RemovedPath(entry, owners[0] if owners else None, also=owners[1:])
    return [found[path] for path in sorted(found, key=sort_key)]


def _there(root: Root, row: RemovedPath) -> bool:
    entry = root.entry(row.entry.path)
    return entry is not None and entry.type is not FileType.SOCKET


def _named(name: str, packages: PackageIndex) -> list[Package]:
    found = [package for package in packages.packages() if package.name == name]
    if not found:
        names = {package.name for package in packages.packages()}
        near = difflib.get_close_matches(name, names, 3)
        raise SlimmerError(
            f"the fat root has no package {name}", f"did you mean {', '.join(near)}?" if near else "debug another root"
        )
    return found


def _with_dependencies(wanted: Collection[Package], packages: PackageIndex) -> set[Package]:
    by_name: dict[str, list[Package]] = {}
    for package in packages.system_packages():
        by_name.setdefault(package.name, []).append(package)
    found, left = set(wanted), list(wanted)
    while left:
        for name in packages.depends(left.pop()):
            for package in by_name.get(name, ()):
                if package not in found:
                    found.add(package)
                    left.append(package)
    return found


def _loaded(root: Root, paths: Collection[str]) -> Iterator[str]:
    """What the loader needs for programs that no package owns, with the links on the way."""
    loader = Loader(root)
    for path in sorted(paths):
        try:
            resolved = loader.closure(path)
        except ElfError:
            continue
        for each in resolved.kept if resolved is not None else ():
            way = root.resolve(each.path)
            yield from (*way.links, way.path)
            yield posixpath.normpath(each.path)
