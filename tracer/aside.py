from __future__ import annotations
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True, slots=True)
class Saved:
    path: str

class Store:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def before_change(self, path: str) -> None: ...

def load(directory: Path) -> Mapping[str, Saved | None]:
    return {}
