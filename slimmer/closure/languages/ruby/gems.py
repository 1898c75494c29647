"""Installed gems: where they are, and what of them stays."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from slimmer.root.model import Root

DEPENDENCY = re.compile(r"""add_(?:runtime_)?dependency\s*+\(?\s*+(?:%q<([^>\n]{1,200})>|["']([^"']+)["'])""")
LOCKED = re.compile(r"^    (\S+) \(([^)\n]+)\)$", re.M)
GEM_BASES = """/var/lib/gems /usr/share/rubygems-integration /root/.gem/ruby /root/.local/share/gem/ruby
    /usr/local/lib/ruby/gems /usr/lib/ruby/gems""".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Gem:
    """An installed gem: all paths as found."""

    name: str
    version: str
    specification: str
    directory: str
    extensions: str


def gems_below(home: str, root: Root) -> Iterator[Gem]:
    """The gems of one gem home ("/var/lib/gems/3.1.0")."""
    names = [name for name in root.children(root.resolve(f"{home}/specifications").path) if name.endswith(".gemspec")]
    if root.find(f"{home}/specifications/default") is not None:
        below = root.children(root.resolve(f"{home}/specifications/default").path)
        names += [f"default/{name}" for name in below if name.endswith(".gemspec")]
    for name in names:
        full = posixpath.basename(name).removesuffix(".gemspec")
        found = re.match(r"(.+?)-(\d[\w.]*(?:-[\w-]+)?)$", full)
        if found:
            yield Gem(found[1], found[2], f"{home}/specifications/{name}", f"{home}/gems/{full}", full)


EXECUTABLES = re.compile(r"""\.executables\s*=\s*\[?([^\]\n]*)""")
QUOTED = re.compile(r"""["']([^"']+)["']""")


def executables(specification: str) -> list[str]:
    """Names of the commands that a gemspec's text declares."""
    found = EXECUTABLES.search(specification)
    return [name for name in QUOTED.findall(found[1]) if "/" not in name] if found else []


def binstubs(gem: Gem, specification: str, root: Root) -> Iterator[str]:
    """The stubs of a gem's commands, where RubyGems, Bundler and Debian put them (Gem.bindir; Debian's: /usr/bin)."""
    home = posixpath.dirname(posixpath.dirname(gem.directory))
    directories = (f"{home}/bin", "/usr/local/bin", "/usr/bin", f"{posixpath.normpath(f'{home}/../../../..')}/bin")
    for name in executables(specification):
        for directory in dict.fromkeys(directories):
            entry = root.find(f"{directory}/{name}")
            if entry is not None and entry.executable and b"ruby" in root.beginning(entry, 256).split(b"\n")[0]:
                yield f"{directory}/{name}"
