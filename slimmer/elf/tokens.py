"""`$ORIGIN`, `$LIB` and `$PLATFORM` in search paths and names, as glibc replaces them.

Source: is_dst, _dl_dst_count, _dl_dst_substitute and is_trusted_path_normalize in elf/dl-load.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# `$NAME` not followed by a further letter of an identifier, or `${NAME}` (and not followed by one either:
# is_dst looks at the character after the name, which then is the brace).
_TOKEN = re.compile(r"\$(?:(ORIGIN|PLATFORM|LIB)(?![A-Za-z0-9_])|\{(ORIGIN|PLATFORM|LIB)\})")


def count_tokens(text: str) -> int:
    """How many known tokens a text has."""
    return len(_TOKEN.findall(text))


def expand(
    text: str,
    *,
    origin: str | None,
    lib: str,
    platform: str | None,
    secure: bool = False,
    trusted: Sequence[str] | None = None,
) -> str:
    """Replace all tokens; "" when one has no value, or when security forbids what comes out.

    With `secure`, `$ORIGIN` counts only in front, alone or before a slash, and the
    program's own (then `trusted` are the trusted directories) only into those.
    """
    values = {"ORIGIN": origin, "PLATFORM": platform, "LIB": lib}
    parts: list[str] = []
    end = 0
    check = False
    for match in _TOKEN.finditer(text):
        name = match[1] or match[2]
        value = values[name]
        if name == "ORIGIN":
            if secure and not (match.start() == 0 and text[match.end() : match.end() + 1] in ("", "/")):
                return ""
            check = secure and trusted is not None
        if value is None:
            return ""
        parts += (text[end : match.start()], value)
        end = match.end()
    expanded = "".join((*parts, text[end:]))
    if check and trusted is not None and not _normal(expanded).startswith(tuple(trusted)):
        return ""
    return expanded


def _normal(path: str) -> str:
    """is_trusted_path_normalize: `.` and `..` by text alone, a slash at the end."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "".join(f"{part}/" for part in parts)
