"""Level PACKAGES: every package of which the recording used a file stays with all its run-time files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.closure.profiles.drops import Drops
from slimmer.closure.profiles.load import Profile
from slimmer.packages.model import Package
from slimmer.root.model import FileType, sort_key


class PackagesRule(Rule):
    """Run-time files are all but what the profiles' package drop lists name: documentation, headers, translations."""

    name = "package"
    level = Level.PACKAGES

    def __init__(self, profiles: Iterable[Profile] = ()) -> None:
        self._drops = Drops(profiles)

    def begin(self, view: View) -> Iterator[Need]:
        users: dict[Package, str] = {}
        for access in view.recording.accesses:
            found = view.root.resolve(access.path)
            for path in (*found.links, found.path):
                entry = view.root.entry(path)
                owner = view.packages.owner(path) if entry and entry.type is not FileType.DIRECTORY else None
                if owner is not None and (owner not in users or sort_key(path) < sort_key(users[owner])):
                    users[owner] = path
        for package in sorted(users):
            used = users[package]
            reason = Reason(self.name, f"a run-time file of {package.name}, of which the run used {used}", used)
            for entry in self._drops.package_files(view.root, view.packages, package):
                yield Need(entry.path, reason, follow=entry.type is not FileType.DIRECTORY)
