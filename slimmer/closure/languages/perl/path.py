"""@INC: the directories that perl has compiled in, in the order in which it searches them, as far as that is known.

The binary's texts are in no order. Config.pm names the directories by their role, and perl searches the roles in one
order (S_init_perllib of perl.c); Debian puts perl-base before perl's own library.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator

from slimmer.closure.model import View
from slimmer.root.model import FileType

BASE = "perl-base"
ROLES = ("sitearchexp", "sitelibexp", "vendorarchexp", "vendorlibexp", BASE, "archlibexp", "privlibexp")
CONFIG = re.compile(
    r"^[ \t]{0,8}((?:site|vendor)(?:arch|lib)exp|archlibexp|privlibexp)[ \t]{0,40}(?:=>|=)[ \t]?'([^'\n]+)'", re.M
)
CONFIGS = ("Config.pm", "Config_heavy.pl")


class SearchPath:
    """Directories as named. Two perls of one root have a path each, which say nothing of one another."""

    def __init__(self) -> None:
        self.directories: list[str] = []
        self._place: dict[str, tuple[str, int]] = {}  # directory → whose it is (its archlib), place in the order

    def add(self, fresh: Iterable[str], text_at: Callable[[str], str], view: View) -> None:
        """Directories that a binary holds, and those that the configuration beside them names."""
        fresh = [*fresh]
        for directory in fresh:
            found = dict(CONFIG.findall("\n".join(text_at(f"{directory}/{name}") for name in CONFIGS)))
            owner = found.get("archlibexp", "")
            if owner:
                found[BASE] = f"{posixpath.dirname(posixpath.dirname(owner))}/{BASE}"
            for place, role in enumerate(ROLES if owner else ()):
                named = found.get(role, "")
                there = view.root.find(named) if named else None
                if there is None or there.type is not FileType.DIRECTORY:
                    continue
                known = self._place.setdefault(named, (owner, place))
                if known[0] != owner:
                    self._place[named] = ("", 0)  # of two perls: in no order
                fresh.append(named) if named not in fresh else None
        self.directories = [*dict.fromkeys((*self.directories, *fresh))]
        self.directories.sort(key=lambda each: self._place.get(each, ("", len(ROLES)))[1])

    def __bool__(self) -> bool:
        return bool(self.directories)

    def __iter__(self) -> Iterator[str]:
        return iter(self.directories)

    def first(self, places: Iterable[tuple[str, bool]]) -> Iterator[str]:
        """Of directories, each with whether it holds something, those whose copy can be found: the first of each perl,
        and all whose order is not known.
        """
        done: set[str] = set()
        for directory, there in places:
            owner = self._place.get(directory, ("", 0))[0]
            if there and owner not in done:
                done |= {owner} - {""}
                yield directory
