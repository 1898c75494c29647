"""Which files of an image run JavaScript outside a browser."""

from __future__ import annotations

import re

INTERPRETER = re.compile(
    r"/(?:node(?:js)?[-.\d]*|bun|deno|electron\d*|nw|qjs|gjs|cjs|d8|jsc|phantomjs|mongosh|couchjs|njs)$"
)
# Engines that a program embeds, and the state from which V8 starts in what was packed under a name of its own.
ENGINE = re.compile(
    r"/(?:lib(?:node|v8|mozjs-?\d*|quickjs|duktape|javascriptcoregtk|hermes)[\w.-]*\.so[.\d]*"
    r"|(?:v8_context_snapshot|snapshot_blob)[\w.]*\.bin)$"
)


def is_interpreter(path: str) -> bool:
    """Whether a file of this path is a JavaScript engine or holds one."""
    return INTERPRETER.search(path) is not None or ENGINE.search(path) is not None
