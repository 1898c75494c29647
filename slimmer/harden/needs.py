"""What a container of the image has to be given: places to write, capabilities, ports, an identity; each with why."""

from __future__ import annotations

import posixpath
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from slimmer.exercise.identity import account
from slimmer.harden.calls import Possible, Reason
from slimmer.image.config import ImageConfig
from slimmer.report.model import KeptPath, Risk
from slimmer.root.model import Entry, FileType, Root
from tracer.kernel import capabilities
from tracer.recording import Kind, Recording
from tracer.session import Identity

# What every runtime mounts or makes by itself, writable where it is so.
_GIVEN = ("/dev", "/proc", "/sys")
_RUNTIME_FILES = frozenset(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"))
_CACHE = "/__pycache__/"  # Python writes it where it may, and does without where it may not
_CAPABILITY = "security.capability"
_PERMITTED = struct.Struct("<III")  # vfs_cap_data: magic, permitted and inheritable of the first 32
# What root needs a capability for, by the functions that programs import for it (capabilities(7)).
_BY_FUNCTION = {
    "CHOWN": ("chown", "fchown", "lchown", "fchownat"),
    "SETUID": ("setuid", "seteuid", "setreuid", "setresuid", "setfsuid"),
    "SETGID": ("setgid", "setegid", "setregid", "setresgid", "setfsgid", "setgroups", "initgroups"),
    "SYS_CHROOT": ("chroot",),
    "SETPCAP": ("capset", "cap_set_proc", "capng_apply"),
    "AUDIT_WRITE": ("audit_log_acct_message", "audit_log_user_message", "audit_log_user_avc_message"),
    "KILL": ("kill", "killpg", "pidfd_send_signal"),
    "FOWNER": ("chmod", "fchmod", "fchmodat", "utimes", "utimensat", "futimens"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A directory (or a file) that must be writable, and who owns it there."""

    path: str
    why: str
    uid: int
    gid: int
    mode: int
    volume: bool = False  # the image declares it: data that is to outlive the container
    held: int = 0  # paths that the image has below it: what is mounted over them hides them, unless it copies them


@dataclass(frozen=True, slots=True)
class Needs:
    """All of it. Capabilities are names without CAP_."""

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    writable: tuple[Place, ...]
    capabilities: Mapping[str, Reason]
    ports: tuple[str, ...]  # "8080/tcp"
    gains: tuple[Reason, ...]  # kept files by which a process gets more than it has
    beyond: bool = False  # the runs were given more than a container has by itself

    @property
    def root(self) -> bool:
        return self.uid == 0


def needs(
    root: Root,
    rows: Sequence[KeptPath],
    config: ImageConfig,
    recording: Recording,
    possible: Possible,
    added: Sequence[str] = (),
    nested: bool = False,
) -> Needs:
    """Of an image: its files, its configuration, what was recorded. `added` are capabilities that its runs were given.

    Raises UsageProblem when the image's user is unknown.
    """
    who = account(root, config.user).identity
    gains = tuple(_gains(rows))
    found: dict[str, Reason] = {}
    for name in added:
        found[capabilities.NAMES[capabilities.number(name)]] = Reason("", "the recorded runs were given it")
    for row in rows:
        for name in _carried(row.xattrs.get(_CAPABILITY, b"")):
            found.setdefault(name, Reason(row.entry.path, "the file carries it"))
        for mark in row.risks:
            if mark.risk is Risk.PRIVILEGED_PORT and who.uid == 0:
                found.setdefault("NET_BIND_SERVICE", Reason(row.entry.path, f"it listened on port {mark.kind}"))
    setuid = [row.entry.path for row in rows if _sets_id(row.entry) and row.entry.uid == 0]
    if who.uid == 0 or setuid:
        for name, reason in _of_root(root, recording, possible):
            found.setdefault(name, reason)
    return Needs(
        config.user,
        who.uid,
        who.gid,
        who.groups,
        tuple(_writable(root, rows, config, recording, who)),
        dict(sorted(found.items())),
        config.exposed_ports,
        gains,
        nested or bool(added),
    )


def _gains(rows: Sequence[KeptPath]) -> Iterator[Reason]:
    for row in rows:
        if _sets_id(row.entry):
            yield Reason(row.entry.path, f"mode {row.entry.mode & 0o7777:04o}, owner {row.entry.uid}:{row.entry.gid}")
        elif _CAPABILITY in row.xattrs:
            yield Reason(row.entry.path, "capabilities: " + ", ".join(_carried(row.xattrs[_CAPABILITY])))


def _sets_id(entry: Entry) -> bool:
    executable = entry.mode & 0o111
    return entry.type is FileType.FILE and bool(executable and entry.mode & (stat.S_ISUID | stat.S_ISGID))


def _carried(attribute: bytes) -> tuple[str, ...]:
    """Names in a security.capability attribute (struct vfs_cap_data, versions 2 and 3)."""
    if len(attribute) < 12:
        return ()
    low = _PERMITTED.unpack_from(attribute)[1]
    high = struct.unpack_from("<I", attribute, 12)[0] if len(attribute) >= 20 else 0
    bits = low | high << 32
    return tuple(name for number, name in enumerate(capabilities.NAMES) if bits >> number & 1)


def _of_root(root: Root, recording: Recording, possible: Possible) -> Iterator[tuple[str, Reason]]:
    """What programs that run as root may use of what a runtime leaves them."""
    for name, functions in _BY_FUNCTION.items():
        for function in functions:
            if users := possible.imports.get(function):
                yield name, Reason(users[0], f"imports {function}()")
                break
    for access in recording.accesses:
        if why := _overridden(root, access.path, access.kinds):
            yield "DAC_OVERRIDE", Reason(access.path, why)
            break


def _overridden(root: Root, path: str, kinds: frozenset[Kind]) -> str:
    """Why root needs DAC_OVERRIDE for what was done to a path; empty when its mode allows it."""
    found = root.find(path)
    wanted = (4 if Kind.READ in kinds or Kind.LIST in kinds else 0) | (2 if Kind.WRITE in kinds else 0)
    if found is None:
        if Kind.WRITE not in kinds:
            return ""
        found, wanted = root.find(posixpath.dirname(path)), 3
    if found is None or not wanted or path.startswith(_GIVEN):
        return ""
    shift = 6 if found.uid == 0 else 3 if found.gid == 0 else 0
    if found.mode >> shift & wanted == wanted:
        return ""
    return f"it belongs to {found.uid}:{found.gid} with mode {found.mode & 0o7777:04o}"


def _writable(
    root: Root, rows: Sequence[KeptPath], config: ImageConfig, recording: Recording, who: Identity
) -> Iterator[Place]:
    """The directories that were written in, each once; what lies below another one is not told again."""
    volumes = {posixpath.normpath(each) for each in config.volumes}
    wanted: dict[str, str] = dict.fromkeys(sorted(volumes), "the image declares it a volume")
    for access in recording.accesses:
        if Kind.WRITE not in access.kinds or access.path in _RUNTIME_FILES or _CACHE in access.path:
            continue
        by = ", ".join(sorted({posixpath.basename(each) for each in access.by if each})) or "a program"
        place = _directory_of(root, access.path)
        found = root.entry(place)
        if not _below(place, _GIVEN) and found is not None and _lets(found, who):
            wanted.setdefault(place, f"{by} wrote {access.path}")
    for path, why in sorted(wanted.items()):
        if any(path != other and _below(path, (other,)) for other in wanted if other != "/"):
            continue
        entry = root.find(path)
        uid, gid, mode = (entry.uid, entry.gid, entry.mode & 0o7777) if entry else (0, 0, 0o755)
        below = path.rstrip("/") + "/"
        held = sum(row.entry.path.startswith(below) for row in rows)
        yield Place(path, why, uid, gid, mode, path in volumes, held)


def _lets(directory: Entry, who: Identity) -> bool:
    """Whether somebody may write there at all: a try that the fat root refused needs no place."""
    if who.uid == 0:
        return True
    shift = 6 if directory.uid == who.uid else 3 if directory.gid in (who.gid, *who.groups) else 0
    return bool(directory.mode >> shift & 2)


def _directory_of(root: Root, path: str) -> str:
    """Where a written path lies: the deepest directory of the image on its way."""
    resolved = root.resolve(path)
    place = resolved.path
    if resolved.entry is not None and resolved.entry.type is FileType.DIRECTORY:
        return place  # its own metadata, or a removal
    while place != "/":
        place = posixpath.dirname(place)
        entry = root.entry(place)
        if entry is not None and entry.type is FileType.DIRECTORY:
            return place
    return "/"


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in places)
