"""Where an interpreter looks for what is required."""

from __future__ import annotations

import posixpath

from slimmer.closure.languages.runtimes import compiled_paths
from slimmer.closure.model import View
from slimmer.root.model import Entry


def load_path(entry: Entry, view: View) -> list[str]:
    """$LOAD_PATH of an interpreter or its library, as compiled into it or by where it lies."""
    root = view.root
    places = compiled_paths(entry, view, "ruby")
    # Relocatable builds only hold names relative to their prefix.
    prefix = posixpath.dirname(posixpath.dirname(entry.path))
    for base in (f"{prefix}/lib/ruby", f"{posixpath.dirname(entry.path)}/ruby"):
        places += [f"{base}/{name}" for name in root.children(root.resolve(base).path) if name[:1].isdigit()]
        for kind in ("site_ruby", "vendor_ruby"):
            there = root.resolve(f"{base}/{kind}").path
            places += [
                f"{base}/{kind}",
                *(f"{base}/{kind}/{name}" for name in root.children(there) if name[:1].isdigit()),
            ]
    places += [
        f"{place}/{name}" for place in list(places) for name in root.children(root.resolve(place).path)
        if root.find(f"{place}/{name}/rbconfig.rb") is not None
    ]  # fmt: skip
    return places
