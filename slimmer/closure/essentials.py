"""What every image holds beyond the recording, and what none may.

Always: who the user is, which distribution it is, the mount points, the working
directory, the licences of what is kept. Never: what belongs to the machine that
the recording ran on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from slimmer.closure.model import Level, Need, Reason, Rule, View
from slimmer.errors import SlimmerError
from slimmer.packages.model import Package
from slimmer.root.model import Entry, FileType, sort_key

RELEASES = (
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/debian_version",  # the only thing by which trivy knows Debian
    "/etc/alpine-release",
    "/etc/redhat-release",
    "/etc/centos-release",
    "/etc/fedora-release",
    "/etc/rocky-release",
    "/etc/almalinux-release",
    "/etc/oracle-release",
    "/etc/system-release",
    "/etc/SuSE-release",
    "/etc/arch-release",
    "/etc/lsb-release",
)
MOUNT_POINTS = ("/proc", "/sys", "/dev", "/tmp")
VIRTUAL = ("/proc/", "/sys/", "/dev/")
MACHINE = {
    "/etc/resolv.conf": "the build machine's name servers; the container runtime writes its own",
    "/etc/hosts": "the build machine's names; the container runtime writes its own",
    "/etc/hostname": "the build machine's name; the container runtime writes its own",
    "/etc/mtab": "what the build machine had mounted",
    "/etc/machine-id": "identifies one machine, and must not be the same in all that run the image",
    "/var/lib/dbus/machine-id": "identifies one machine, and must not be the same in all that run the image",
    "/var/lib/systemd/random-seed": "must not be the same in all that run the image",
    "/.dockerenv": "written by the container runtime",
    "/run/.containerenv": "written by the container runtime",
    "/run/.toolboxenv": "written by the container runtime",
}
SECRETS = {
    "/run/secrets/*": "a secret of the run",
    "/var/run/secrets/*": "a secret of the run",
    "/kaniko/*": "the image builder's own",
}
# An SSH server does not start without one, so one that it read stays, and the report names it as a risk.
UNLESS_READ = {
    "/etc/ssh/ssh_host_*_key": "a private host key must not be the same in all that run the image",
}
COMMON_LICENSE = re.compile(rb"/usr/share/common-licenses/([A-Za-z0-9][A-Za-z0-9.+-]*[A-Za-z0-9+])")


def never(path: str, *, read: bool = False) -> str:
    """Why a canonical path must not be in any image; empty when it may. `read`: the recording has read it.

    For `grow` and the builder.
    """
    if path in MACHINE:
        return MACHINE[path]
    if path.startswith(VIRTUAL):
        return "content of a file system that the container runtime mounts"
    secrets = SECRETS if read else SECRETS | UNLESS_READ
    return next((why for pattern, why in secrets.items() if fnmatchcase(path, pattern)), "")


class EssentialsRule(Rule):
    """Keeps what every image holds."""

    name = "essential"
    level = Level.RECORDED

    def __init__(self) -> None:
        self._licensed: set[Package] = set()
        self._fresh: dict[Package, str] = {}

    def begin(self, view: View) -> Iterator[Need]:
        for path in RELEASES:
            yield Need(path, Reason(self.name, "tells scanners and programs which distribution this is"))
        for path in MOUNT_POINTS:
            yield Need(path, Reason(self.name, "container runtimes mount here, and programs expect it"))
        workdir = view.application.workdir or "/"
        yield Need(workdir, Reason(self.name, "the image's working directory"))
        for volume in view.application.volumes:
            yield Need(
                volume, Reason(self.name, "a volume of the image: what is mounted there takes its owner and mode")
            )
        for execution in view.recording.executions:
            yield Need(execution.workdir, Reason(self.name, f"working directory of {execution.path}"))
        yield from self._user(view)

    def _user(self, view: View) -> Iterator[Need]:
        user, _, group = view.application.user.partition(":")
        named = [name for name in (user, group) if name and not name.isdigit()]
        if named:
            reason = Reason(self.name, f"the image's user is a name: {view.application.user}")
            yield Need("/etc/passwd", reason)
            yield Need("/etc/group", reason)
        if (home := _home(view, user or "0")) not in ("", "/"):
            yield Need(home, Reason(self.name, f"home directory of {user or 'root'}"))

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        """Remember the packages that have a file here."""
        if entry.type is not FileType.DIRECTORY:
            owner = view.packages.owner(entry.path)
            if owner is not None and owner not in self._licensed:
                known = self._fresh.get(owner)
                if known is None or sort_key(entry.path) < sort_key(known):
                    self._fresh[owner] = entry.path
        return ()

    def settle(self, view: View) -> Iterator[Need]:
        """The licence texts of every package that has a file in the closure."""
        fresh, self._fresh = self._fresh, {}
        self._licensed.update(fresh)
        for package in sorted(fresh):
            for path in view.packages.copyright_files(package):
                yield Need(path, Reason("licence", f"the licence of {package.name}", fresh[package]))
                for common in _common_licenses(view, path):
                    yield Need(common, Reason("licence", f"the licence of {package.name} refers to it", path))


def _common_licenses(view: View, path: str) -> list[str]:
    try:
        text = view.root.read(path, 1 << 20)
    except SlimmerError:
        return []
    return sorted({"/usr/share/common-licenses/" + name.decode() for name in COMMON_LICENSE.findall(text)})


def _home(view: View, user: str) -> str:
    """A user's home directory by the root's passwd; empty when it does not say."""
    try:
        text = view.root.read("/etc/passwd", 1 << 20).decode("utf-8", "surrogateescape")
    except SlimmerError:
        return ""
    column = 2 if user.isdigit() else 0
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[column] == user:
            return fields[5] if fields[5].startswith("/") else ""
    return ""
