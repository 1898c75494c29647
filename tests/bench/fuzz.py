"""A million mutated inputs for all readers of strangers' bytes, by as many processes as there are processors."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.fuzz import main

INPUTS = 1_000_000


def bench() -> int:
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers) as pool:
        found = list(pool.map(main, repeat(-(-INPUTS // workers), workers), range(1, workers + 1)))
    return int(any(found))


if __name__ == "__main__":
    sys.exit(bench())
