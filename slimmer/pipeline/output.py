"""Writes an output's files: image, manifest, removed, report. One pass over the fat root, memory flat."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from slimmer import __version__
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise.identity import account
from slimmer.exercise.place import Place
from slimmer.image.compress import Compression
from slimmer.image.config import ImageConfig
from slimmer.image.layer import LayerOptions, kept_xattrs
from slimmer.image.layout import Image, build_image
from slimmer.image.split import Group, split
from slimmer.image.times import MtimePolicy, source_date_epoch
from slimmer.packages.model import PackageType
from slimmer.packages.purl import os_release
from slimmer.pipeline.configuration import configure
from slimmer.pipeline.known import Known, Removed
from slimmer.pipeline.plan import Plan
from slimmer.recipe import Layers, Recipe
from slimmer.report.build import ReportBuilder
from slimmer.report.growing import growing
from slimmer.report.model import KeptPath, RemovedPath, Report, Subject
from slimmer.report.page_rows import MOST_REMOVED
from slimmer.report.read import read_report
from slimmer.report.rows import Rows
from slimmer.report.support import support_end
from slimmer.report.trees import Trees, told
from slimmer.report.words import mode_words
from slimmer.report.write import write_manifest, write_removed, write_report
from slimmer.root.directory import DirectoryRoot
from slimmer.root.image import ImageRoot
from slimmer.root.live import SavedRoot
from slimmer.root.model import Enter, Entry, FileType, Root, sort_key
from tracer.recording import Recording

MANIFEST_FILE, REMOVED_FILE, REPORT_FILE = "manifest.json", "removed.json", "report.json"
OS_PACKAGES = frozenset({PackageType.DEB, PackageType.APK, PackageType.RPM})


def write_image(
    plan: Plan,
    source: ImageConfig,
    place: Place,
    recipe: Recipe,
    directory: Path,
    environ: dict[str, str],
    packed: Callable[[int], None] | None = None,
) -> Image:
    """The OCI layout. `packed` hears of the bytes of each file's content when they are in it. Raises SlimmerError."""
    policy = mtime_policy(recipe, environ)
    options = LayerOptions(Compression(recipe.image.compression), policy, progress=packed)
    config = configure(source, place, recipe, plan.root, plan.paths)
    groups = _groups(plan) if recipe.image.layers is Layers.SPLIT else list(plan.paths)
    created = epoch_of(recipe, environ) or 0
    return build_image(plan.root, groups, config, directory, options, recipe.image.tag, created=created)


def epoch_of(recipe: Recipe, environ: Mapping[str, str]) -> int | None:
    """SOURCE_DATE_EPOCH: the environment's, or else what the recipe remembers. Raises SlimmerError."""
    epoch = source_date_epoch(environ)
    return recipe.image.source_date_epoch if epoch is None else epoch


def mtime_policy(recipe: Recipe, environ: Mapping[str, str]) -> MtimePolicy:
    """What becomes of times: --mtime epoch sets them, SOURCE_DATE_EPOCH clamps them. Raises SlimmerError."""
    epoch = epoch_of(recipe, environ)
    if recipe.image.mtime == "epoch":
        return MtimePolicy.set(epoch or 0)
    return MtimePolicy.keep() if epoch is None else MtimePolicy.clamp(epoch)


def _groups(plan: Plan) -> list[Group]:
    """Layers that change at different times: the distribution's files, language packages, the rest."""

    def group_of(path: str) -> str:
        package = plan.index.owner(path)
        if package is None:
            return "application"
        return "os" if package.type in OS_PACKAGES else "runtime"

    return list(split(plan.root, plan.paths, group_of))


def write_review(
    plan: Plan,
    fat: Root,
    image: Image,
    recording: Recording,
    directory: Path,
    *,
    notes: tuple[str, ...] = (),
    listens: Mapping[str, int] | None = None,
    known: Known,
) -> Report:
    """manifest.json, removed.json and report.json. `listens`: programs to privileged ports. Raises SlimmerError."""
    told = (
        repr((image.image_id, image.compressor, [(layer.digest, layer.size) for layer in image.layers])),
        repr((notes, recording.recorder, recording.notes, plan.notes, sorted((listens or {}).items()))),
        repr((plan.level, plan.warnings)),
    )
    files = [directory / name for name in (MANIFEST_FILE, REPORT_FILE)]
    texts = known.review(told)
    of_removed = repr((_writer(fat, image.config.user), sorted((listens or {}).items())))
    gone = known.removed(of_removed, plan.paths)
    if gone is not None:
        (directory / REMOVED_FILE).write_text(gone.text, encoding="ascii")
    if texts is not None and gone is not None:
        for each in files:
            each.write_text(texts[each.name], encoding="ascii")
        known.write()
        return read_report(directory / REPORT_FILE)
    report, new = _written(plan, fat, image, recording, directory, notes, listens, gone)
    if new is not None:
        known.keep_removed(of_removed, plan.paths, new)
    if gone is not None or new is not None:
        known.keep_review(told, files)
    known.write()
    return report


def _written(
    plan: Plan,
    fat: Root,
    image: Image,
    recording: Recording,
    directory: Path,
    notes: tuple[str, ...],
    listens: Mapping[str, int] | None,
    gone: Removed | None,
) -> tuple[Report, Removed | None]:
    """Without `gone` the rows of what is removed are made and written too; they come back unless they are many."""
    uid, gids = _writer(fat, image.config.user)
    rows = Rows(plan.root, plan.index, uid=uid, gids=gids, listens=listens)
    builder = ReportBuilder()
    digests = {path: digest for layer in image.layers for path, digest in layer.files.items()}

    saved = fat.saved if isinstance(fat, SavedRoot) else ()
    trees = Trees(fat, plan.index, rows.of_trees, (*plan.paths, *saved))

    def kept() -> Iterator[KeptPath]:
        for path in plan.paths:
            entry = plan.root.entry(path)
            if entry is None:
                raise SlimmerError(f"{path} went away while it was packed", "the fat root must not change meanwhile")
            attributes = kept_xattrs(plan.root.xattrs(path)) if entry.type is not FileType.SYMLINK else {}
            row = rows.kept(entry, plan.reasons[path], sha256=digests.get(path, ""), xattrs=attributes)
            if path in plan.was:
                row = replace(row, was=mode_words(plan.was[path]))
            builder.kept(row, added=fat.entry(path) is None)
            yield row

    def removed() -> Iterator[RemovedPath]:
        for row in told(_rest(fat, plan.paths, trees.enter), trees, rows.removed, builder.tree):
            builder.removed(row)
            yield row

    with open(directory / MANIFEST_FILE, "w", encoding="utf-8") as stream:
        write_manifest(stream, kept())
    new: Removed | None = None
    if gone is None:
        with growing(directory / REMOVED_FILE) as text:
            count = write_removed(text, removed())
        unreadable = tuple(fat.unreadable) if isinstance(fat, DirectoryRoot | SavedRoot) else ()
        gone = Removed("", builder.removed_sums(), count, rows.unsearched + trees.unsearched, unreadable)
        if (directory / REMOVED_FILE).is_file():
            new = replace(gone, text=(directory / REMOVED_FILE).read_text(encoding="ascii"))
    else:
        builder.removed_as(gone.sums)
    said = list(notes)
    if gone.unsearched:
        said.append(
            f"{gone.unsearched} of the removed files were looked at for secrets by their names alone, so many are they"
        )
    if gone.rows > MOST_REMOVED:
        said.append(f"report.html lists the first {MOST_REMOVED} of {gone.rows} removed paths; removed.json has all")
    if gone.unreadable:
        first = ", ".join(sorted(gone.unreadable, key=sort_key)[:3])
        said.append(f"{len(gone.unreadable)} directories could not be read and are not in the lists, e.g. {first}")
    release = os_release(plan.root)
    report = builder.finish(
        Subject(
            source=source_name(fat.name),
            source_digest=fat.digest if isinstance(fat, ImageRoot) else "",
            command=(*(image.config.entrypoint or ()), *(image.config.cmd or ())),
            architecture=image.config.architecture,
            image=image.image_id,
            image_bytes=sum(layer.size for layer in image.layers),
            version=__version__,
            recorder=recording.recorder,
            user=image.config.user,
            distribution=release.get("ID", ""),
            release=release.get("VERSION_ID", ""),
            support_end=support_end(fat, release),
            compressor=image.compressor,
        ),
        packages=plan.index.system_packages(),
        license_of=plan.index.license,
        warnings=plan.warnings,
        levels=plan.levels,
        notes=(*said, *recording.notes, *plan.notes),
    )
    with open(directory / REPORT_FILE, "w", encoding="utf-8") as stream:
        write_report(stream, report)
    return report, new


def source_name(text: str) -> str:
    """A source as a review and its signature name it: without its place on this machine."""
    transport, colon, rest = text.partition(":")
    if not colon or transport.startswith("/"):
        return posixpath.basename(text.rstrip("/")) or "/"
    if rest.startswith("//"):
        return text
    path, _, tag = rest.partition(":")
    return f"{transport}:{posixpath.basename(path.rstrip('/'))}" + (f":{tag}" if tag else "")


def _rest(fat: Root, kept: tuple[str, ...], enter: Enter) -> Iterator[Entry]:
    """What the fat root has and the image has not; both come in the same order."""
    keep = iter(kept)
    at: bytes | None = sort_key(next(keep, "")) or None
    for entry in fat.walk(enter=enter):
        key = sort_key(entry.path)
        while at is not None and at < key:
            following = next(keep, None)
            at = None if following is None else sort_key(following)
        if at != key:
            yield entry


def _writer(root: Root, user: str) -> tuple[int, tuple[int, ...]]:
    try:
        who = account(root, user).identity
    except UsageProblem:
        return 0, ()
    return who.uid, (who.gid, *who.groups)
