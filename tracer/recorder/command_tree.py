"""Whose the events are, where a recorder hears those of the whole machine."""

from __future__ import annotations


class CommandTree:
    """Which processes are of the commands, where the machine has others that open the same files.

    A command's tree hangs below the process that started it. One that has ended before it was looked at is
    counted in: to miss a file is worse than to keep one.
    """

    def __init__(self) -> None:
        self._tops: set[int] = set()
        self._inside: dict[int, bool] = {}
        self.unseen = 0

    def add(self, pid: int) -> None:
        """A command is about to be started by this process."""
        parent = _parent(pid)
        if parent is not None:
            self._tops.add(parent)
        self._inside[pid] = True

    def tick(self) -> None:
        """Numbers may be used again."""
        self._inside.clear()

    def __contains__(self, pid: int) -> bool:
        found = self._inside.get(pid)
        if found is None:
            found = self._inside[pid] = self._look(pid)
        return found

    def _look(self, pid: int) -> bool:
        parent = _parent(pid)
        while parent:
            if parent in self._tops:
                return True
            parent = _parent(parent)
        if parent is None:
            self.unseen += 1
            return True
        return False


def _parent(pid: int) -> int | None:
    """The parent's number, 0 for one that has none, None when the process is gone.

    One that was found but is reaped before it is read is said to have none (the kernel's do_task_stat() starts from
    0, and asks a task that still has its signal handlers); it is found no more then, so a second look tells.
    """
    return _said(pid) or _said(pid)


def _said(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None
