"""Functions whose results are remembered: pure ones, from bytes and a few plain arguments to data.

The store in use is the process's: `using` puts one in place for a while. Keys hold a digest of slimmer's own
source, of the interpreter and of the parsers that it uses, so what another version found out is not found again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import zstandard

from slimmer.facts import plain
from slimmer.facts.place import cache_place
from slimmer.facts.store import FactStore

_P = ParamSpec("_P")
_R = TypeVar("_R")

_LONGEST = 64 << 20  # bytes of a text that is kept
WORTH = 256  # bytes, below which a look costs as much as the work
_PARSERS = ("tree-sitter", *(f"tree-sitter-{each}" for each in ("bash", "javascript", "php", "ruby", "toml")))
_stack: list[FactStore | None] = []
_readers: dict[str, Callable[..., object]] = {}


@contextlib.contextmanager
def using(store: FactStore | None) -> Iterator[None]:
    """Use this store, or none at all, for a while. What is used already stays in use."""
    if _stack:
        yield
        return
    _stack.append(store)
    try:
        yield
    finally:
        _stack.pop()


@contextlib.contextmanager
def usual() -> Iterator[None]:
    """Use the usual store for a while, unless something was chosen already."""
    if _stack:
        yield
        return
    store = FactStore(cache_place() / "facts")
    try:
        with using(store):
            yield
    finally:
        store.close()


def reader(function: Callable[Concatenate[bytes, _P], _R]) -> Callable[Concatenate[bytes, _P], _R]:
    """A pure function of content, and of arguments that JSON can hold, that `reader_called` finds by its name."""
    _readers[f"{function.__module__}:{function.__qualname__}"] = function
    return function


def reader_called(name: str) -> Callable[..., object] | None:
    """The reader called MODULE:NAME, whose module is imported for it if it is one of slimmer's."""
    if name not in _readers and name.startswith("slimmer."):
        with contextlib.suppress(ImportError):
            importlib.import_module(name.partition(":")[0])
    return _readers.get(name)


def remembered(function: Callable[Concatenate[bytes, _P], _R]) -> Callable[Concatenate[bytes, _P], _R]:
    """A function of content, and of arguments that `repr` tells apart, whose results are dataclasses of plain values.

    What it raises is not remembered.
    """
    name = f"{function.__module__}.{function.__qualname__}"

    @functools.wraps(function)
    def wrapped(content: bytes, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        store = _used()
        if store is None or len(content) < WORTH:
            return function(content, *args, **kwargs)
        key = _key(name, (repr((args, sorted(kwargs.items()))).encode("utf-8", "surrogatepass"), content))
        known = store.get(key)
        if known is not None:
            with contextlib.suppress(plain.Unfit):
                return typing.cast(_R, plain.load(_result(function), known))
        found = function(content, *args, **kwargs)
        with contextlib.suppress(plain.Unfit):
            store.put(key, plain.dump(found))
        return found

    return reader(wrapped)


def remembered_bytes(name: str, content: Sequence[bytes], compute: Callable[[], bytes]) -> bytes:
    """What `compute` makes of some content. `name` tells everything else that the result depends on."""
    store = _used()
    if store is None:
        return compute()
    key = _key(name, content)
    known = store.get(key)
    if known is None:
        known = compute()
        store.put(key, known)
    return known


def _used() -> FactStore | None:
    return _stack[-1] if _stack else None


def in_use() -> bool:
    """Whether anything is remembered just now."""
    return _used() is not None


def recall(name: str, parts: Sequence[bytes]) -> bytes | None:
    """What `keep` kept under the same name and parts."""
    store = _used()
    packed = store.get(_key(name, parts)) if store is not None else None
    if packed is None:
        return None
    try:
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LONGEST)
    except zstandard.ZstdError:
        return None


def keep(name: str, parts: Sequence[bytes], value: bytes) -> None:
    """Remember a long text. `parts` are all that it was made of, but for slimmer itself."""
    store = _used()
    if store is not None and len(value) <= _LONGEST:
        store.put(_key(name, parts), zstandard.ZstdCompressor(level=3).compress(value))


def _key(name: str, parts: Sequence[bytes]) -> bytes:
    digest = hashlib.blake2b(_reader(), digest_size=24)
    for part in (name.encode(), *parts):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


@functools.cache
def _result(function: Callable[..., object]) -> object:
    return typing.get_type_hints(function)["return"]


@functools.cache
def _reader() -> bytes:
    """What tells this slimmer from others: its source, its interpreter, its parsers."""
    digest = hashlib.sha256(f"{sys.version}\n{sys.byteorder}".encode())
    for name in _PARSERS:
        try:
            digest.update(f"\n{name} {importlib.metadata.version(name)}".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(f"\n{name}".encode())
    top = Path(__file__).parents[1]
    for path in sorted(top.rglob("*.py")):
        digest.update(f"\n{path.relative_to(top)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()
