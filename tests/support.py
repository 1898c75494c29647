"""What tests share: skipping with a reason when a tool is missing, and trees from data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures.roots import RootUnavailable, debian_root


def requires(*tools: str) -> pytest.MarkDecorator:
    """A mark: skip, naming what is missing, unless all these programs are on PATH."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def root_of(*packages: str, **options: Any) -> Path:
    """A cached Debian root, or a skip that says why there is none."""
    try:
        return debian_root(*packages, **options)
    except RootUnavailable as error:
        pytest.skip(str(error))


def plant(top: Path, tree: Mapping[str, str | bytes | None]) -> Path:
    """Make a tree from data.

    Text or bytes is a file, "-> target" a link, None a directory; "#755 " before a text is its mode.
    """
    for path, content in tree.items():
        place = top / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir(exist_ok=True)
        elif isinstance(content, str) and content.startswith("-> "):
            place.symlink_to(content[3:])
        elif isinstance(content, str) and content.startswith("#") and content[1:4].isdigit():
            place.write_text(content[5:])
            place.chmod(int(content[1:4], 8))
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
    return top
