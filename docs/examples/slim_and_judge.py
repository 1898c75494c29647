"""Slims a root and decides by rules of one's own whether the image may ship.

    python docs/examples/slim_and_judge.py ROOT OUT COMMAND…

Exit 0: it may. 3: the slim image does not do what the fat root does, or a shell stays in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import slimmer

SHELLS = ("sh", "bash", "dash", "busybox")


def main(root: str, out: str, *command: str) -> int:
    recipe = slimmer.Recipe(source=slimmer.Source(root=root), runs=(slimmer.Run(command=command),))
    progress = slimmer.Progress(say=lambda text: print(text, file=sys.stderr))
    try:
        result = slimmer.trace(recipe, slimmer.Outputs(Path(out)), progress)
    except slimmer.CheckFailed as error:
        print(error.message, error.hint, sep="\n", file=sys.stderr)
        return error.exit_code
    print(f"{result.image.image_id}: {result.report.slim.bytes} of {result.report.fat.bytes} bytes stay")
    print(f"check {result.verdict.word}, {len(result.verdict.comparisons)} comparisons")

    # An output can be opened again at any time, by whoever has the directory.
    output = slimmer.open_output(out)
    largest = sorted(output.manifest(), key=lambda row: row.entry.size, reverse=True)[:3]
    for row in largest:
        print(f"{row.entry.size:>10}  {row.entry.path}  because {row.reasons[0].text}")
    shells = [row.entry.path for row in output.manifest() if row.entry.path.rpartition("/")[2] in SHELLS]
    if shells:
        print(f"a shell stays: {', '.join(shells)}")
        return 3
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
