"""A text file that is compressed when it grows large: NAME, or NAME.gz in its place."""

from __future__ import annotations

import contextlib
import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

LARGE = 24 << 20  # bytes: what an editor still opens


class _Growing:
    """What is written so far is in `stream`; the same text gives the same bytes, as no time is named in a .gz."""

    def __init__(self, path: Path, large: int) -> None:
        self._path = path
        self._left = large
        self._plain: TextIO | None = open(path, "w", encoding="ascii")  # noqa: SIM115
        self._packed: gzip.GzipFile | None = None

    def write(self, text: str) -> int:
        """Raises OSError."""
        if self._packed is None and len(text) > self._left:
            self._pack()
        if self._packed is not None:
            self._packed.write(text.encode("ascii"))
        elif self._plain is not None:
            self._plain.write(text)
            self._left -= len(text)
        return len(text)

    def _pack(self) -> None:
        self.close()
        self._packed = gzip.GzipFile(f"{self._path}.gz", "wb", compresslevel=1, mtime=0)
        with open(self._path, "rb") as beginning:
            shutil.copyfileobj(beginning, self._packed)
        self._path.unlink()

    def close(self) -> None:
        """Raises OSError."""
        if self._plain is not None:
            self._plain.close()
            self._plain = None
        if self._packed is not None:
            self._packed.close()


@contextlib.contextmanager
def growing(path: Path, *, large: int = LARGE) -> Iterator[TextIO]:
    """A stream for ASCII text into `path`, or into `path`.gz when more than `large` bytes come. Raises OSError."""
    stream = _Growing(path, large)
    try:
        yield cast(TextIO, stream)
    finally:
        stream.close()
