"""`--image REF` → a fat root: find the image, unpack what the cache lacks, merge its layers."""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.facts.place import cache_place
from slimmer.root import local
from slimmer.root.archive import docker_archive_plan
from slimmer.root.archive_index import open_bundle, spool_stream
from slimmer.root.codec import Stopped, unpacked
from slimmer.root.directory import DirectoryRoot
from slimmer.root.image import ImageRoot
from slimmer.root.index import write_index
from slimmer.root.layers import Layer, Tree
from slimmer.root.layout import bundle_layout, directory_layout
from slimmer.root.limits import DEFAULT_LIMITS, Budget, Limits, too_much
from slimmer.root.manifest import Plan, PlannedLayer, Platform, parse_platform
from slimmer.root.materialize import materialize
from slimmer.root.model import Root
from slimmer.root.reference import SourceReference, Transport, parse_reference
from slimmer.root.store import DEFAULT_SIZE, CacheKind, CacheLease, CacheMetadata, Store
from slimmer.root.unpack import unpack_layer

Say = Callable[[str], None]


def _quiet(_: str) -> None:
    return


def open_source(
    reference: str,
    *,
    platform: str = "",
    limits: Limits = DEFAULT_LIMITS,
    cache: Path | None = None,
    say: Say = _quiet,
    insecure: bool = False,
) -> Root:
    """The fat root that a reference means: `dir:DIR` as it lies there, anything else unpacked."""
    parsed = parse_reference(reference)
    if parsed.transport is Transport.DIRECTORY:
        if not os.path.isdir(parsed.path):
            raise SlimmerError(f"{reference}: no such directory")
        return DirectoryRoot(parsed.path)
    return open_image(reference, platform=platform, limits=limits, cache=cache, say=say, insecure=insecure)


def open_image(
    reference: str,
    *,
    platform: str = "",
    limits: Limits = DEFAULT_LIMITS,
    cache: Path | None = None,
    say: Say = _quiet,
    insecure: bool = False,
    stdin: BinaryIO | None = None,
    cache_size: int = DEFAULT_SIZE,
) -> ImageRoot:
    """The image, unpacked in the cache and merged; at once when it was there before.

    `platform` is as in "linux/arm64"; "" is this machine's, or the only one there is. `say` gets a
    line for each thing that takes time. `insecure` lets a registry be spoken to without TLS.
    `stdin` is read for "-". The cache is pruned to `cache_size` bytes when it grew.
    Raises SlimmerError; then nothing half-unpacked stays.
    """
    parsed = parse_reference(reference)
    if parsed.transport is Transport.DIRECTORY:
        raise UsageProblem(f"{reference} is a directory, not an image", "give it as --root")
    wanted = parse_platform(platform)
    store = Store(cache or cache_place(), cache_size)
    with ExitStack() as stack:
        plan = _plan(parsed, wanted, limits, store, stack, say, insecure, stdin)
        held = _root(plan, store, limits, say)
    return ImageRoot(
        held,
        reference=reference,
        digest=plan.digest,
        image_id=f"sha256:{hashlib.sha256(plan.config).hexdigest()}",
        config_json=plan.config,
        notes=plan.notes + held.facts.notes,
    )


def _plan(
    parsed: SourceReference,
    wanted: Platform | None,
    limits: Limits,
    store: Store,
    stack: ExitStack,
    say: Say,
    insecure: bool,
    stdin: BinaryIO | None,
) -> Plan:
    """What to unpack. What `stack` holds is needed until it is unpacked."""
    match parsed.transport:
        case Transport.OCI:
            return directory_layout(parsed.path).plan(parsed.name, parsed.digest, wanted, limits)
        case Transport.OCI_ARCHIVE:
            scratch = stack.enter_context(store.scratch())
            bundle = open_bundle(parsed.path, parsed.text, limits, scratch)
            return bundle_layout(bundle).plan(parsed.name, parsed.digest, wanted, limits)
        case Transport.DOCKER_ARCHIVE:
            scratch = stack.enter_context(store.scratch())
            bundle = open_bundle(parsed.path, parsed.text, limits, scratch)
            return docker_archive_plan(bundle, parsed.name, wanted, limits)
        case Transport.STREAM:
            scratch = stack.enter_context(store.scratch())
            path = spool_stream(stdin or sys.stdin.buffer, "the stream", limits, scratch)
            return _either(path, "the stream", wanted, limits, scratch, parsed.name)
        case Transport.CONTAINERS_STORAGE | Transport.DOCKER_DAEMON:
            scratch = stack.enter_context(store.scratch())
            path = local.export(parsed, scratch, wanted, say)
            return _either(path, parsed.text, wanted, limits, scratch)
        case Transport.REGISTRY:
            from slimmer.root.pull import registry_plan  # only a pull needs an HTTP client

            return registry_plan(parsed, wanted, limits, stack, say, insecure=insecure)
        case Transport.DIRECTORY:
            raise AssertionError("handled by the callers")


def _either(path: str, where: str, wanted: Platform | None, limits: Limits, scratch: Path, name: str = "") -> Plan:
    """An archive of either kind; `name` chooses an image. A layout is preferred: its digests and platforms say more."""
    bundle = open_bundle(path, where, limits, scratch)
    if bundle.has("oci-layout") and bundle.has("index.json"):
        return bundle_layout(bundle).plan(name, "", wanted, limits)
    return docker_archive_plan(bundle, name, wanted, limits)


def chain_id(diff_ids: Sequence[str]) -> str:
    """The name of a stack of layers (image-spec, config.md, "Layer ChainID")."""
    if not diff_ids:
        return f"sha256:{hashlib.sha256().hexdigest()}"
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


def _key(digest: str) -> str:
    return digest.partition(":")[2]


def _root(plan: Plan, store: Store, limits: Limits, say: Say) -> CacheLease:
    key = _key(chain_id([layer.diff_id for layer in plan.layers]))

    def build(part: Path) -> CacheMetadata:
        with ExitStack() as stack:
            layers = _layers(plan.layers, store, limits, say)
            for held in layers:
                stack.enter_context(held)
            if sum(held.facts.entries for held in layers) > limits.entries:  # layers may be named many times
                raise too_much("the image", f"has more than {limits.entries:,} entries", "entries")
            say(f"merging {len(layers)} layers")
            return _merge(plan.layers, layers, part, store, limits)

    fresh = store.find(CacheKind.ROOTS, key)
    if fresh is None:
        fresh = store.make(CacheKind.ROOTS, key, build)
        store.prune()
    try:
        _check(fresh.facts, limits)
    except SlimmerError:
        fresh.close()
        raise
    return fresh


def _check(facts: CacheMetadata, limits: Limits) -> None:
    """The limits hold for what someone else unpacked under wider ones, too."""
    if facts.devices and not limits.devices:
        raise SlimmerError(
            f"the image has {facts.devices} device nodes", "if it is honest, take them along with --limit devices=yes"
        )
    if facts.bytes > limits.total_bytes:
        raise too_much("the image", f"unpacks to more than {limits.total_bytes:,} bytes", "total_bytes")
    if facts.entries > limits.entries:
        raise too_much("the image", f"has more than {limits.entries:,} entries", "entries")


def _merge(
    planned: Sequence[PlannedLayer], layers: Sequence[CacheLease], part: Path, store: Store, limits: Limits
) -> CacheMetadata:
    with ExitStack() as stack:
        stacked: list[Layer] = []
        for plan, held in zip(planned, layers, strict=True):
            with open(held.path / "entries", "rb") as stream:
                if os.fstat(stream.fileno()).st_size:
                    mapped = stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
                    records = stack.enter_context(memoryview(mapped))
                else:
                    records = memoryview(b"")
            stacked.append(Layer(plan.blob.where, records, held.facts.whiteouts > 0))
        tree = Tree(stacked, limits)
        materialize(tree, [held.path / "data" for held in layers], part / "tree", store.manner)
        count = write_index(tree, part)
        notes = (f"{tree.devices} device nodes are in the image, but not where it runs",) if tree.devices else ()
        del stacked
    return CacheMetadata(
        bytes=sum(held.facts.bytes for held in layers),
        entries=count,
        devices=tree.devices,
        layers=tuple(dict.fromkeys(_key(plan.diff_id) for plan in planned)),
        notes=notes,
    )


def _layers(planned: Sequence[PlannedLayer], store: Store, limits: Limits, say: Say) -> list[CacheLease]:
    """All layers of an image, held; those not in the cache are unpacked side by side."""
    budget = Budget(limits)
    stop = threading.Event()
    unique = {layer.diff_id: layer for layer in planned}
    held: dict[str, CacheLease] = {}
    try:
        workers = max(1, min(os.cpu_count() or 1, len(unique)))
        with ThreadPoolExecutor(workers, thread_name_prefix="layer") as pool:
            waiting = {
                diff_id: pool.submit(_layer, layer, store, limits, budget, stop, say)
                for diff_id, layer in unique.items()
            }
            problems: list[BaseException] = []
            try:
                for diff_id, future in waiting.items():
                    try:
                        held[diff_id] = future.result()
                    except Exception as error:
                        stop.set()
                        problems.append(error)
            except BaseException:  # interrupted: the threads stop at their next chunk
                stop.set()
                raise
        for problem in problems:
            if not isinstance(problem, Stopped):
                raise problem
    except BaseException:
        for one in held.values():
            one.close()
        raise
    return [held[layer.diff_id] for layer in planned]


def _layer(
    layer: PlannedLayer, store: Store, limits: Limits, budget: Budget, stop: threading.Event, say: Say
) -> CacheLease:
    def build(part: Path) -> CacheMetadata:
        say(f"unpacking {layer.blob.where}")
        with closing(unpacked(layer.blob, layer.diff_id, stop)) as chunks:
            size = unpack_layer(chunks, layer.blob.where, part, limits, budget, store.manner)
        return CacheMetadata(bytes=size.bytes, entries=size.entries, whiteouts=size.whiteouts)

    if stop.is_set():
        raise Stopped
    found = store.find(CacheKind.LAYERS, _key(layer.diff_id))
    if found is None:
        return store.make(CacheKind.LAYERS, _key(layer.diff_id), build)
    budget.spend(layer.blob.where, found.facts.bytes, found.facts.entries)
    return found
