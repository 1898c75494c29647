"""Which files of an image run JavaScript outside a browser."""

from __future__ import annotations

import posixpath
import re

PROGRAMS = re.compile(r"node(?:js)?[-.\d]*|bun|deno|electron\d*|nw|qjs|gjs|cjs|d8|jsc|phantomjs|mongosh|couchjs|njs")
# Engines that a program embeds.
LIBRARIES = ("libnode", "libv8", "libmozjs", "libquickjs", "libduktape", "libjavascriptcoregtk", "libhermes")
# The state from which V8 starts in what was packed under a name of its own.
SNAPSHOTS = ("v8_context_snapshot", "snapshot_blob")


def is_interpreter(path: str) -> bool:
    """Whether a file of this path is a JavaScript engine or holds one."""
    name = posixpath.basename(path)
    if name.startswith(LIBRARIES):
        return name.endswith(".so") or ".so." in name
    if name.startswith(SNAPSHOTS):
        return name.endswith(".bin")
    return PROGRAMS.fullmatch(name) is not None
