"""@INC: the directories that perl has compiled in, in the order in which it searches them, as far as that is known.

The binary's texts are in no order. Config.pm names the directories by their role, and perl searches the roles in one
order (S_init_perllib of perl.c); Debian puts perl-base before perl's own library.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

BASE = "perl-base"
ROLES = ("sitearchexp", "sitelibexp", "vendorarchexp", "vendorlibexp", BASE, "archlibexp", "privlibexp")
CONFIG = re.compile(
    r"^[ \t]{0,8}((?:site|vendor)(?:arch|lib)exp|archlibexp|privlibexp)[ \t]{0,40}(?:=>|=)[ \t]?'([^'\n]+)'", re.M
)
CONFIGS = ("Config.pm", "Config_heavy.pl")


class SearchPath:
    """Directories as named. Each perl has its own: Debian's libperl, which other programs embed, knows no perl-base."""

    def __init__(self) -> None:
        self.directories: list[str] = []
        # Of each perl: its directories of known roles in the order of searching, and the others
        self._perls: dict[tuple[tuple[str, ...], frozenset[str]], None] = {}

    def add(self, found: Sequence[str], text_at: Callable[[str], str]) -> bool:
        """The directories that a binary holds; whether that is anything new."""
        roles = [dict(CONFIG.findall("\n".join(text_at(f"{each}/{name}") for name in CONFIGS))) for each in found]
        owners = {each["archlibexp"] for each in roles if "archlibexp" in each}
        order: list[str] = []
        if len(owners) == 1:
            owner = owners.pop()
            named = {role: place for each in roles for role, place in each.items()}
            named[BASE] = f"{posixpath.dirname(posixpath.dirname(owner))}/{BASE}"
            order = [place for role in ROLES if (place := named.get(role, "")) in found]
        perl = (tuple(dict.fromkeys(order)), frozenset(found) - {*order})
        fresh = bool(found) and perl not in self._perls
        if fresh:
            self._perls[perl] = None
            self.directories = [*dict.fromkeys((*self.directories, *found))]
        return fresh

    def __bool__(self) -> bool:
        return bool(self.directories)

    def __iter__(self) -> Iterator[str]:
        return iter(self.directories)

    def first(self, places: Iterable[tuple[str, bool]]) -> list[str]:
        """Of directories, each with whether it holds something, those whose copy can be found: the first of each perl,
        and all whose order is not known.
        """
        there = [directory for directory, holds in places if holds]
        found: set[str] = set()
        for order, others in self._perls:
            found |= others | {*[each for each in order if each in there][:1]}
        return [each for each in there if each in found]
