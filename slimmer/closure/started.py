"""Which kept programs the application runs, or may run by its own words; the others only came along with a package."""

from __future__ import annotations

from slimmer.closure.model import View
from slimmer.packages.model import PackageType
from tracer.recording import Kind

SYSTEM = frozenset({PackageType.DEB, PackageType.APK, PackageType.RPM})
USED = frozenset({Kind.EXEC, Kind.READ})
# Reasons that say nothing of what starts a program.
PASSIVE = frozenset(
    "recorded application link directory licence elf family config package word".split()  # noqa: SIM905
)


class Started:
    """Answers for one view. A program is started when the recording executed it, the command line
    names it, or a text that is the application's own, or that the run read, starts or names it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._executed: set[str] = set()
        self._used: set[str] = set()
        for execution in view.recording.executions:
            self._note(execution.path, True)
        for access in view.recording.accesses:
            if not USED.isdisjoint(access.kinds):
                self._note(access.path, Kind.EXEC in access.kinds)

    def _note(self, path: str, executed: bool) -> None:
        found = self._view.root.resolve(path)
        if found.entry is not None:
            self._used.add(found.path)
            if executed:
                self._executed.add(found.path)

    def __contains__(self, path: str) -> bool:
        """Whether a kept program (canonical path) is started, by the reasons it has so far."""
        if path in self._executed:
            return True
        return any(
            reason.rule not in PASSIVE
            and not reason.rule.startswith("profile:")
            and (not reason.needed_by or reason.needed_by in self._used or self._unowned(reason.needed_by))
            for reason in self._view.kept.get(path, ())
        )

    def executed(self, path: str) -> bool:
        """Whether the recording shows it: more than that some text names it."""
        return path in self._executed

    def _unowned(self, path: str) -> bool:
        return not any(owner.type in SYSTEM for owner in self._view.packages.owners(path))
