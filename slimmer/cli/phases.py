"""What takes its time: a line that moves on a terminal, a line with the seconds elsewhere, and where all of it went."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from slimmer.pipeline.progress import Tell

SHOWN = 1.0  # seconds that a phase must have taken to be worth a line


class Phases:
    """Times by name. `say` writes a line; `live`: stderr is a terminal."""

    def __init__(self, say: Callable[[str], None], *, live: bool) -> None:
        self._say = say
        self._live = live
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str, *, starts_programs: bool = False) -> Iterator[Tell]:
        """One of them; the same name again adds up. What starts programs forks: no thread may draw meanwhile.

        What it gives shows how far the phase has come.
        """
        began = time.monotonic()
        try:
            with contextlib.nullcontext(_not_shown) if starts_programs or not self._live else _drawn(name) as tell:
                yield tell
        finally:
            took = time.monotonic() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + took
        if took >= SHOWN and not self._live:
            self._say(f"{name}: {took:.1f} s")

    def summary(self) -> str:
        """The longest first; empty when nothing took long."""
        rows = sorted(self.seconds.items(), key=lambda row: -row[1])
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in rows if seconds >= SHOWN)


@contextlib.contextmanager
def _drawn(name: str) -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("slim: {task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task(name, total=None)
        yield lambda text: drawn.update(task, description=f"{name}, {text}")


def _not_shown(text: str) -> None:
    pass
