"""Each fixture application recorded again and again under what must not matter: one image id, one statement each.

python -m tests.bench.reproduce [NAME…]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.roots import RootUnavailable
from slimmer.recipe import Recipe
from slimmer.trust.keys import KeyType, new_key
from tests.reach import APPLICATIONS, fat_root, recipes

HERE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Variation:
    """What one recording does otherwise. `place` makes the root lie elsewhere, `tool` the program itself."""

    name: str
    umask: str = "022"
    environ: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    place: bool = False
    tool: bool = False


VARIATIONS = (
    Variation("as usual"),
    Variation("umask 077, Tokyo, C", "077", {"TZ": "Asia/Tokyo", "LC_ALL": "C"}),
    Variation("one CPU, hash seed 7, nice", environ={"PYTHONHASHSEED": "7"}, prefix=("taskset", "-c", "0", "nice")),
    Variation("the root lies elsewhere", place=True),
    Variation("the program lies elsewhere, TMPDIR too", "027", {"LANG": "tr_TR.UTF-8"}, tool=True),
)


@dataclass(frozen=True)
class Outcome:
    variation: str
    image: str
    statements: tuple[str, ...]


def vary(recipe: Recipe, home: Path, variations: tuple[Variation, ...] = VARIATIONS) -> Iterator[Outcome]:
    """Trace and sign a directory root's recipe once for each variation."""
    (home / "sign.key").write_bytes(new_key(KeyType.ED25519).pem())
    for number, each in enumerate(variations):
        with _root(Path(recipe.source.root), home / f"root{number}" / "rootfs", each.place) as root:
            yield _once(recipe, root, home, number, each)


class _root:  # noqa: N801  used as a function
    """The root where it is, or bound to another place of the same name."""

    def __init__(self, root: Path, other: Path, elsewhere: bool) -> None:
        self._root, self._other, self._elsewhere = root, other.with_name(root.name), elsewhere

    def __enter__(self) -> Path:
        if not self._elsewhere:
            return self._root
        self._other.mkdir(parents=True)
        subprocess.run(["mount", "--bind", self._root, self._other], check=True)
        return self._other

    def __exit__(self, *_: object) -> None:
        if self._elsewhere:
            subprocess.run(["umount", "-l", self._other], check=True)


def _once(recipe: Recipe, root: Path, home: Path, number: int, each: Variation) -> Outcome:
    tool = HERE
    environ = {**os.environ, **each.environ}
    if each.tool:
        tool = home / "tool"
        for name in ("slimmer", "tracer", "profiles"):
            shutil.copytree(HERE / name, tool / name, ignore=shutil.ignore_patterns("__pycache__"))
        (home / "tmp").mkdir()
        environ["TMPDIR"] = str(home / "tmp")
    text = recipe.dump().replace(f'"{recipe.source.root}"', f'"{root}"')
    place = home / f"recipe{number}.toml"
    place.write_text(text, encoding="utf-8")
    out = home / f"out{number}"
    environ["PYTHONPATH"] = str(tool)
    slim = ["sh", "-c", f'umask {each.umask}; exec "$@"', "x", sys.executable, "-P", "-m", "slimmer.cli.main"]
    words: list[str | Path] = ["trace", "-q", "--recipe", place, "-o", out, "--sign-key", home / "sign.key"]
    done = subprocess.run([*each.prefix, *slim, *words], env=environ, cwd=home, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{each.name}: {done.stderr[-800:]}")
    report = json.loads((out / "report.json").read_text())
    signed = sorted((out / "attestations").glob("*.sigstore.json"))
    payloads = tuple(json.loads(file.read_text())["dsseEnvelope"]["payload"] for file in signed)
    return Outcome(each.name, report["subject"]["image"], payloads)


def main(names: list[str]) -> int:
    """Prints a line for each application. 1 when one of them gave more than one image id or set of statements."""
    bad = 0
    for application in APPLICATIONS:
        if names and application.name not in names:
            continue
        try:
            recipe, _ = recipes(application, fat_root(application))
            with tempfile.TemporaryDirectory(prefix="slimmer-vary-") as folder:
                outcomes = list(vary(recipe, Path(folder)))
        except (RootUnavailable, RuntimeError) as error:
            print(f"{application.name:<12} {str(error)[:600]}", flush=True)
            bad += 1
            continue
        images, statements = {each.image for each in outcomes}, {each.statements for each in outcomes}
        bad += len(images) > 1 or len(statements) > 1
        words = f"{len(images)} image id, {len(statements)} set of statements in {len(outcomes)} recordings"
        print(f"{application.name:<12} {words}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
