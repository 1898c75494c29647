"""A day of a fleet, simulated: what caches of layers hit, what the registry carries, how many processors it takes.

python -m tests.bench.day                      # 10,000 images a day
python -m tests.bench.day --images 1000000

Nothing here is measured but the three costs of an image, which `tests.bench.whole` and `tests.bench.batch` measure:
give this machine's with the options. All else is assumed, and stands in `Assumed` and `KINDS`. The same seed gives the
same day.

A source image is a chain of layers: a distribution's, a runtime's, dependencies', the application's own. Repositories
are built as often as Zipf's law has it, and choose their base by the same law. A layer that is on a new one is new.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Kind:
    """A layer's place in the chain: MB packed and unpacked, how many there are, and how often one changes.

    A shared one changes over night, with this chance; one of a repository's own with this chance at each build.
    """

    name: str
    packed: float
    unpacked: float
    shared: float  # how many exist for each image of a day; 0: each repository has its own
    changes: float


# Sizes: of debian:bookworm-slim, of what python and node images add to it, of usual lock files; all rounded.
KINDS = (
    Kind("distribution", 28, 75, 0.002, 1 / 30),
    Kind("runtime", 45, 120, 0.02, 1 / 7),
    Kind("dependencies", 60, 200, 0, 0.15),
    Kind("application", 4, 12, 0, 0.7),
)


@dataclass(frozen=True, slots=True)
class Assumed:
    """What nobody measured."""

    per_repository: float = 4.0  # builds a day, on average
    zipf: float = 1.0  # the exponent of both popularities
    workers: int = 20  # machines, each with a cache of its own
    cache: float = 100_000.0  # MB of unpacked layers on each
    slim: float = 15.0  # MB packed, that an image which changed pushes
    days: int = 3  # of which the last counts, so that caches are warm


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of processor time."""

    image: float  # for one image whose layers are unpacked: record, closure, pack
    check: float  # to run it again, and compare
    unpack: float  # for 100 MB of layer that no cache has


@dataclass
class Cache:
    """The least lately used goes, as in slimmer's own store."""

    room: float
    held: OrderedDict[str, float] = field(default_factory=OrderedDict)
    used: float = 0.0

    def has(self, layer: str, size: float) -> bool:
        """Whether it was there; now it is."""
        if layer in self.held:
            self.held.move_to_end(layer)
            return True
        self.held[layer] = size
        self.used += size
        while self.used > self.room:
            self.used -= self.held.popitem(last=False)[1]
        return False


@dataclass
class Tally:
    """Of one day."""

    images: int = 0
    unchanged: int = 0
    pulled: float = 0.0
    unpacked: float = 0.0
    everything: float = 0.0
    hits: dict[str, int] = field(default_factory=dict)


class Repositories:
    """Who builds, how often, on which layers, and at which version each layer is."""

    def __init__(self, images: int, assumed: Assumed, chance: random.Random) -> None:
        self._chance = chance
        self.names = range(max(1, round(images / assumed.per_repository)))
        self.popular = _weights(len(self.names), assumed.zipf)
        distribution, runtime, *_ = KINDS
        runtimes = self._choose(runtime, images, len(self.names), assumed)
        under = self._choose(distribution, images, max(runtimes) + 1, assumed)
        self._bases = [(under[each], each) for each in runtimes]
        self._versions: dict[str, int] = {}

    def _choose(self, kind: Kind, images: int, count: int, assumed: Assumed) -> list[int]:
        """For each of `count`, which of the shared layers it stands on."""
        many = max(1, round(kind.shared * images))
        return self._chance.choices(range(many), cum_weights=_weights(many, assumed.zipf), k=count)

    def night(self) -> None:
        """Shared layers are made anew."""
        things = {(kind, base[at]) for at, kind in enumerate(KINDS) if kind.shared for base in self._bases}
        for kind, owner in sorted(things, key=lambda each: (each[0].name, each[1])):
            self._perhaps_new(kind, owner)

    def _perhaps_new(self, kind: Kind, owner: int) -> None:
        if self._chance.random() < kind.changes:
            self._versions[f"{kind.name} {owner}"] = self._versions.get(f"{kind.name} {owner}", 0) + 1

    def layers(self, repository: int) -> list[tuple[Kind, str]]:
        """The chain of a build."""
        chain, below = [], ""
        for kind, owner in zip(KINDS, (*self._bases[repository], repository, repository), strict=True):
            if not kind.shared:
                self._perhaps_new(kind, owner)
            below += f"/{owner}.{self._versions.get(f'{kind.name} {owner}', 0)}"
            chain.append((kind, below))
        return chain


def _weights(count: int, zipf: float) -> list[float]:
    return list(itertools.accumulate(1 / (rank + 1) ** zipf for rank in range(count)))


def day(images: int, assumed: Assumed, seed: int, *, together: bool) -> Tally:
    """The last of the days; with `together` all machines share one cache of the same size as all of theirs."""
    chance = random.Random(seed)
    repositories = Repositories(images, assumed, chance)
    room = assumed.cache * (assumed.workers if together else 1)
    caches = [Cache(room) for _ in range(1 if together else assumed.workers)]
    tally, last = Tally(), dict[int, str]()
    for _ in range(assumed.days):
        tally = Tally()
        repositories.night()
        for repository in chance.choices(repositories.names, cum_weights=repositories.popular, k=images):
            chain = repositories.layers(repository)
            cache = chance.choice(caches)  # Dask puts a task where there is room, not where its layers are
            tally.images += 1
            tally.unchanged += last.get(repository) == chain[-1][1]
            last[repository] = chain[-1][1]
            for kind, layer in chain:
                tally.everything += kind.packed
                if cache.has(layer, kind.unpacked):
                    tally.hits[kind.name] = tally.hits.get(kind.name, 0) + 1
                else:
                    tally.pulled += kind.packed
                    tally.unpacked += kind.unpacked
    return tally


def tell(name: str, tally: Tally, assumed: Assumed, costs: Costs) -> None:
    """One line of hit rates, one of traffic and processor time."""
    hits = ", ".join(f"{kind.name} {100 * tally.hits.get(kind.name, 0) / tally.images:.0f} %" for kind in KINDS)
    pushed = (tally.images - tally.unchanged) * assumed.slim
    working = tally.images * (costs.image + costs.check) / 3600
    unpacking = tally.unpacked / 100 * costs.unpack / 3600
    print(f"{name}: {tally.images} images, {100 * tally.unchanged / tally.images:.0f} % unchanged and not pushed")
    print(f"  layers that a cache had: {hits}")
    print(
        f"  registry: {tally.pulled / 1e3:.0f} GB pulled of {tally.everything / 1e3:.0f} without a cache "
        f"({100 * tally.pulled / tally.everything:.0f} %), {pushed / 1e3:.0f} GB pushed"
    )
    print(
        f"  processor: {working:.0f} h for images, {unpacking:.0f} h to unpack; "
        f"{(working + unpacking) / 24:.1f} cores busy all day"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=Assumed().workers)
    parser.add_argument("--cache", type=float, default=Assumed().cache, help="MB on each worker")
    parser.add_argument("--image-seconds", type=float, default=3.0, help="of processor, record to pack")
    parser.add_argument("--check-seconds", type=float, default=1.5)
    parser.add_argument("--unpack-seconds", type=float, default=1.0, help="for 100 MB")
    parser.add_argument("--seed", type=int, default=18)
    said = parser.parse_args()
    assumed = Assumed(workers=said.workers, cache=said.cache)
    costs = Costs(said.image_seconds, said.check_seconds, said.unpack_seconds)
    for name, together in (("a cache on each machine", False), ("one cache for all", True)):
        tell(name, day(said.images, assumed, said.seed, together=together), assumed, costs)


if __name__ == "__main__":
    main()
