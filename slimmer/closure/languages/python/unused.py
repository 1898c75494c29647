"""Distributions that somebody asked for by name, and that nothing which stays imports: their commands are not there.

`pip install app httpie` marks both as requested (PEP 376's REQUESTED); a program that is only ever started from
outside the application, by a person, a cron of the host or a sibling service, is seen by no run.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Collection, Iterator, Sequence

from slimmer.closure.languages.python.distributions import Distribution, Distributions
from slimmer.closure.model import ClosureWarning
from slimmer.closure.profiles.load import Profile
from slimmer.closure.profiles.modules import known_modules
from slimmer.root.model import Root, sort_key

KIND = "requested"
WEIGHT = 35
NAMED = 3  # distributions of one warning


def unused(kept: Collection[str], root: Root, profiles: Sequence[Profile]) -> Iterator[ClosureWarning]:
    """A warning for each site directory of a grown closure whose other packages stay."""
    modules = known_modules((each.modules for each in profiles), "python")
    spared = {each.lower() for each in (*modules.builders, *modules.developer)}
    found = Distributions(root)
    for site in sorted((path for path in kept if path.endswith(("/site-packages", "/dist-packages"))), key=sort_key):
        gone: dict[str, list[str]] = {}
        for each in found.all(site):
            tops = each.top_levels()
            if {each.name.lower(), *map(str.lower, tops)} & spared or root.entry(f"{each.metadata}/REQUESTED") is None:
                continue
            if each.metadata in kept or any(f"{site}/{top}" in kept or f"{site}/{top}.py" in kept for top in tops):
                continue
            scripts = [path for path in _scripts(each, site, root) if path not in kept]
            if scripts:
                gone[each.name] = scripts
        if gone:
            yield _warning(site, gone)


def _scripts(distribution: Distribution, site: str, root: Root) -> Iterator[str]:
    """What it put into a directory of programs."""
    for path in distribution.files():
        place = posixpath.normpath(posixpath.join(site, path))
        if posixpath.basename(posixpath.dirname(place)) == "bin":
            entry = root.find(place)
            if entry is not None and entry.executable:
                yield entry.path


def _warning(site: str, gone: dict[str, list[str]]) -> ClosureWarning:
    names = sorted(gone)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    first = [gone[name][0] for name in names[:NAMED]]
    text = (
        f"{', '.join(names[:NAMED])}{more} in {site}: installed by name, but no run started them and nothing that "
        f"stays imports them, so their commands ({', '.join(map(posixpath.basename, first))}) are not in the image"
    )
    remedy = " ".join(f"--include {shlex.quote(each)}" for each in first)
    return ClosureWarning(KIND, gone[names[0]][0], text, WEIGHT, remedy)
