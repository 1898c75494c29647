"""Layer writing against what else packs the same files, side by side in one run.

    python -m tests.bench.layer [--root DIR] [--megabytes N] [--rounds N]

Every command is given the same paths, read once before so that the disk does not
count, and writes its result to a file; rounds are interleaved and the median is
told. "hash alone" and "deflate alone" are the least that any writer has to do with
these bytes: sha256 of the tar stream, and deflate or zstd of it on all cores, at the
levels that slimmer uses. The last column is the time relative to the slower of the
two that belong to the row.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard

from slimmer.image.compress import GZIP_LEVEL, ZSTD_LEVEL, Compression, Gzip, Zstd, cores
from slimmer.image.config import ImageConfig
from slimmer.image.layer import Layer, LayerOptions, write_layer
from slimmer.image.layout import build_image
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import FileType, sort_key

LARGEST = 20_000_000  # one huge file would say nothing of the many
MEASURE = """
import sys
from pathlib import Path
from slimmer.image.compress import Compression
from slimmer.image.layer import Layer, LayerOptions, write_layer
from slimmer.root.directory import DirectoryRoot
paths = Path(sys.argv[2]).read_bytes().decode("utf-8", "surrogateescape").split("\\0")
write_layer(DirectoryRoot(sys.argv[1]), paths, Path(sys.argv[3]), LayerOptions(Compression(sys.argv[4])))
# not ru_maxrss: it counts the parent's memory from before exec
print(next(int(line.split()[1]) // 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""


def choose(root: DirectoryRoot, top: str, megabytes: int) -> list[str]:
    """Paths below `top`, in order, until they weigh enough."""
    left = megabytes * 1_000_000
    found: list[str] = []
    for entry in root.walk(top):
        if entry.type in (FileType.FILE, FileType.DIRECTORY, FileType.SYMLINK) and os.access(entry.path, os.R_OK):
            if entry.size > LARGEST:
                continue
            found.append(entry.path)
            left -= entry.size
        if left < 0:
            break
    return found


def on_all_cores(data: bytes, size: int, compress: Callable[[bytes], bytes]) -> None:
    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(compress, (data[at : at + size] for at in range(0, len(data), size))):
            pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="/usr/lib")
    parser.add_argument("--megabytes", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    root = DirectoryRoot("/")
    paths = choose(root, os.path.realpath(options.root), options.megabytes)
    with tempfile.TemporaryDirectory() as name:
        _bench(root, paths, Path(name), options.rounds)


def _bench(root: DirectoryRoot, paths: list[str], top: Path, rounds: int) -> None:
    blobs = top / "blobs"
    plain = write_layer(root, paths, blobs, LayerOptions(Compression.NONE))
    stream = (blobs / plain.digest[7:]).read_bytes()
    print(f"{len(paths)} paths, {len(stream) / 1e6:.0f} MB as a tar stream, {cores()} cores, median of {rounds}")
    listed = top / "paths"
    listed.write_bytes(b"\0".join(sort_key(path)[1:] for path in paths))
    everything = top / "given"
    everything.write_bytes(b"\0".join(sort_key(path) for path in paths))
    tar = f"tar --null --no-recursion --numeric-owner -C / -T {listed} -c"
    build_image(root, ["/etc/hostname"], ImageConfig(architecture="amd64"), top / "base")

    def ours(form: Compression) -> Callable[[], object]:
        return lambda: write_layer(root, paths, blobs, LayerOptions(form))

    def shell(command: str) -> Callable[[], object]:
        return lambda: subprocess.run(["sh", "-c", command], check=True, capture_output=True)

    def umoci() -> None:
        copy = top / "umoci"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(top / "base", copy)
        subprocess.run(
            ["umoci", "raw", "add-layer", "--image", f"{copy}:latest", f"{top}/all.tar"],
            check=True,
            capture_output=True,
        )

    def sha256() -> object:
        return hashlib.sha256(stream).hexdigest()

    def deflate() -> None:
        on_all_cores(stream, Gzip.block, lambda block: zlib.compress(block, GZIP_LEVEL))

    def zstd() -> None:
        on_all_cores(stream, Zstd.block, lambda block: zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(block))

    rows: list[tuple[str, str, Callable[[], object]]] = [
        ("hash alone (sha256)", "", sha256),
        ("deflate alone, all cores", "", deflate),
        ("zstd alone, all cores", "", zstd),
        ("slimmer, plain", "hash alone (sha256)", ours(Compression.NONE)),
        ("slimmer, gzip", "deflate alone, all cores", ours(Compression.GZIP)),
        ("slimmer, zstd", "zstd alone, all cores", ours(Compression.ZSTD)),
        ("tar | sha256sum", "hash alone (sha256)", shell(f"{tar} | tee {top}/tar | sha256sum")),
        ("tar | gzip -6 | sha256sum", "deflate alone, all cores", shell(f"{tar} | gzip -6 | tee {top}/gz | sha256sum")),
        ("tar | zstd -3 | sha256sum", "zstd alone, all cores", shell(f"{tar} | zstd -3 | tee {top}/zst | sha256sum")),
    ]
    if shutil.which("umoci"):
        subprocess.run(["sh", "-c", f"{tar} > {top}/all.tar"], check=True, capture_output=True)
        rows.append(("umoci raw add-layer", "deflate alone, all cores", umoci))
    if shutil.which("buildah") and os.geteuid() == 0:
        rows += _buildah_row(top, tar)
    files = {
        "tar | sha256sum": top / "tar",
        "tar | gzip -6 | sha256sum": top / "gz",
        "tar | zstd -3 | sha256sum": top / "zst",
        "umoci raw add-layer": top / "umoci",
        "buildah commit": top / "buildah",
    }
    taken: dict[str, list[float]] = {label: [] for label, _, _ in rows}
    sizes: dict[str, int] = {}
    for _ in range(rounds):
        for label, _, work in rows:
            began = time.perf_counter()
            done = work()
            taken[label].append(time.perf_counter() - began)
            if isinstance(done, Layer):
                sizes[label] = done.size
            elif label in files:
                sizes[label] = _weight(files[label])
    medians = {label: statistics.median(each) for label, each in taken.items()}
    print(f"{'':28} {'seconds':>8} {'MB/s':>7} {'MB written':>11} {'against the least':>18}")
    for label, least, _ in rows:
        floor = max(medians[least], medians["hash alone (sha256)"]) if least else 0
        ratio = f"{medians[label] / floor:.2f}x" if floor else ""
        speed = len(stream) / 1e6 / medians[label]
        written = f"{sizes[label] / 1e6:.1f}" if label in sizes else ""
        print(f"{label:28} {medians[label]:8.2f} {speed:7.0f} {written:>11} {ratio:>18}")
    for form in Compression:
        command = [sys.executable, "-c", MEASURE, "/", str(everything), str(blobs), form.value]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"peak memory, {form.value}: {done.stdout.strip()} MB")


def _weight(place: Path) -> int:
    return sum(each.stat().st_size for each in ([place] if place.is_file() else place.rglob("*")) if each.is_file())


def _buildah_row(top: Path, tar: str) -> list[tuple[str, str, Callable[[], object]]]:
    """`buildah commit` of a container that holds the files; making it is not counted."""
    store = tempfile.mkdtemp(prefix="bb-")
    buildah = ["buildah", "--root", f"{store}/r", "--runroot", f"{store}/n", "--storage-driver", "vfs"]
    try:
        container = subprocess.run(
            [*buildah, "from", "scratch"], check=True, capture_output=True, text=True
        ).stdout.strip()
        mount = subprocess.run(
            [*buildah, "mount", container], check=True, capture_output=True, text=True
        ).stdout.strip()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"(no buildah: {error})")
        return []
    subprocess.run(["sh", "-c", f"{tar} | tar -x -C {mount}"], check=True, capture_output=True)

    def commit() -> None:
        shutil.rmtree(top / "buildah", ignore_errors=True)
        subprocess.run([*buildah, "commit", "-q", container, f"oci:{top}/buildah"], check=True, capture_output=True)

    return [("buildah commit", "deflate alone, all cores", commit)]


if __name__ == "__main__":
    main()
