"""How fast the ELF closure is, side by side with lddtree and ldd, and a long fuzz of the parsers.

python -m tests.bench.elf                   # all ELF programs and libraries of /usr, up to a thousand
python -m tests.bench.elf --root DIR
python -m tests.bench.elf --fuzz 100000     # mutated real files into every parser
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from slimmer.elf import ldcache
from slimmer.elf.file import ElfError, parse
from slimmer.elf.loader import Loader
from slimmer.elf.symbols import imports, versions
from slimmer.errors import SlimmerError
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import FileType


def elf_files(root: DirectoryRoot, limit: int) -> list[str]:
    """Programs first, then shared objects, until there are enough."""
    programs: list[str] = []
    objects: list[str] = []
    loader = Loader(root)
    for top in ("/usr/bin", "/usr/sbin", "/usr/lib"):
        for entry in root.walk(top):
            if entry.type is not FileType.FILE:
                continue
            try:
                file = loader.finder.file(entry)
            except ElfError:
                continue
            if file is not None and file.wants:
                (programs if file.interpreter is not None else objects).append(entry.path)
    return (programs + objects)[:limit]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(directory: str, limit: int) -> None:
    files = elf_files(DirectoryRoot(directory), limit)
    edges = 0

    def ours() -> None:
        nonlocal edges
        edges = 0
        loader = Loader(DirectoryRoot(directory))
        for path in files:
            resolved = loader.closure(path)
            assert resolved is not None
            edges += len(resolved.loads) + len(resolved.missing)

    best = min(timed(ours) for _ in range(3))
    print(f"{len(files)} files, {edges} loads")
    print(f"slimmer        {best:8.3f} s  {best / edges * 1000:.4f} ms a load")
    print(f"slimmer memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:8d} MB")
    places = [directory.rstrip("/") + path for path in files]
    for name, command in (("lddtree", lddtree(directory)), ("ldd", ["ldd"] if directory == "/" else None)):
        if command is None or shutil.which(command[0]) is None:
            print(f"{name}: not here")
            continue
        some = places[:: max(len(places) // 100, 1)]
        spent = sum(timed(partial(quiet, [*command, place])) for place in some)
        spent *= len(places) / len(some)
        print(f"{name:14} {spent:8.3f} s  {spent / best:.1f}x of slimmer, a process each (from {len(some)} of them)")
        if name == "lddtree":
            together = timed(partial(quiet, [*command, *places]))
            print(f"{name:14} {together:8.3f} s  {together / best:.1f}x of slimmer, one process for all")


def lddtree(directory: str) -> list[str]:
    """It is a Python script that needs pyelftools, which this interpreter has."""
    script = shutil.which("lddtree")
    if script is None:
        return ["lddtree"]
    command = [sys.executable, script]
    return command if directory == "/" else [*command, "-R", directory]


def quiet(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if "Traceback" in done.stderr:
        raise SystemExit(f"{command[:2]} does not work here: {done.stderr.splitlines()[-1]}")


def fuzz(count: int, seed: int) -> None:
    """Mutations of real files into every parser: an ElfError or an answer, nothing else, and soon."""
    rng = random.Random(seed)
    paths = [path for path in elf_files(DirectoryRoot("/"), 4000) if os.path.getsize(path) < 400_000]
    bases = [Path(path).read_bytes() for path in rng.sample(paths, min(60, len(paths)))]
    cache = Path(ldcache.PATH).read_bytes() if Path(ldcache.PATH).exists() else ldcache.write([])
    scratch = Path("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp") / f"slimmer-fuzz-{os.getpid()}"
    scratch.mkdir()
    refused = slowest = 0.0
    try:
        for number in range(count):
            data = bytearray(rng.choice(bases))
            for _ in range(rng.randrange(1, 12)):
                where = rng.randrange(min(len(data), rng.choice((64, 1024, len(data)))))
                change = rng.choice((rng.randbytes(1), rng.randbytes(8), b"\xff" * 8, bytes(4), b"\x7f"))
                data[where : where + len(change)] = change
            if rng.random() < 0.2:
                del data[rng.randrange(len(data)) :]
            start = time.perf_counter()
            try:
                file = parse(io.BytesIO(data), "fuzz")
                if number % 20 == 0:  # the deep readers go by the file's own tables and need it on disk
                    (scratch / "f").write_bytes(data)
                    root = DirectoryRoot(str(scratch))
                    entry = root.entry("/f")
                    assert entry is not None
                    imports(root, entry, file)
                    versions(root, entry, file)
            except ElfError:
                refused += 1
            if number % 50 == 0:
                broken = bytearray(cache)
                for _ in range(5):
                    broken[rng.randrange(min(len(broken), 4096))] = rng.randrange(256)
                with contextlib.suppress(SlimmerError):
                    ldcache.read(bytes(broken)).find("libc.so.6")
            slowest = max(slowest, time.perf_counter() - start)
    finally:
        shutil.rmtree(scratch)
    print(f"{count} inputs, {int(refused)} refused, slowest {slowest * 1000:.1f} ms, seed {seed}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="/")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--fuzz", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.fuzz:
        fuzz(options.fuzz, options.seed)
    else:
        compare(options.root, options.limit)


if __name__ == "__main__":
    main()
