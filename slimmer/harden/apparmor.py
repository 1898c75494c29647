"""An AppArmor profile: reads, writes, executions and capabilities as the closure and the recording know them.

Source: apparmor.d(5); the runtimes' own template (containers/common, pkg/apparmor).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from slimmer.harden.needs import Needs
from slimmer.report.model import KeptPath
from slimmer.root.model import FileType
from tracer.recording import Kind, Recording

_WHOLE = 40  # files of one directory from which on the directory is named in place of each


def profile(name: str, rows: Sequence[KeptPath], needs: Needs, recording: Recording) -> str:
    """The text of the profile. Paths are the container's own: it is attached by name, not by path."""
    return "\n".join(_profile(name, rows, needs, recording)) + "\n"


def _profile(name: str, rows: Sequence[KeptPath], needs: Needs, recording: Recording) -> Iterator[str]:
    yield f"profile {_quoted(name)} flags=(attach_disconnected,mediate_deleted) {{"
    yield "  network,"
    yield f"  signal (receive) peer=unconfined,\n  signal (send,receive) peer={_quoted(name)},"
    yield "  unix,"
    for each, reason in needs.capabilities.items():
        yield f"  capability {each.lower()},  # {_comment(' '.join(filter(None, (reason.path, reason.text))))}"
    yield "\n  # The image's own files."
    yield "  / r,"
    folders: dict[str, list[KeptPath]] = {}
    for row in rows:
        if row.entry.type is not FileType.SYMLINK:
            folders.setdefault(posixpath.dirname(row.entry.path), []).append(row)
    for folder, members in sorted(folders.items()):
        files = [row for row in members if row.entry.type is FileType.FILE]
        whole = len(files) > _WHOLE
        if whole:
            # One permission for all: mr maps libraries too. Programs keep a line of their own.
            yield f"  {_path(folder.rstrip('/') + '/', '*')} mr,  # {len(files)} files of the image"
        for row in sorted(members, key=lambda each: each.entry.path):
            path = row.entry.path
            why = _comment(row.reasons[0].text if row.reasons else "")
            if row.entry.type is FileType.DIRECTORY:
                yield f"  {_path(path.rstrip('/') + '/')} r,"
            elif row.entry.type is FileType.FILE and row.entry.mode & 0o111:
                yield f"  {_path(path)} mrix,  # {why}"
            elif row.entry.type is FileType.FILE and not whole:
                yield f"  {_path(path)} mr,  # {why}"
            elif row.entry.type in (FileType.FIFO, FileType.CHAR, FileType.BLOCK, FileType.SOCKET):
                yield f"  {_path(path)} rw,  # {why}"
    yield "\n  # What was written in the recorded run."
    for place in needs.writable:
        path = place.path.rstrip("/")
        yield f"  {_path(path + '/')} rw,  # {_comment(place.why)}"
        yield f"  {_path(path + '/', '**')} rwkl,"
    for access in recording.accesses:
        if Kind.EXEC in access.kinds and _within(access.path, needs):
            yield f"  {_path(access.path)} mrix,  # it was written and started in the run"
    yield "\n  # What the runtime mounts."
    yield "  /dev/ r,\n  /dev/** rw,\n  /proc/ r,\n  /proc/** r,\n  /sys/ r,\n  /sys/** r,"
    yield "  /proc/[0-9]*/{oom_score_adj,comm,timerslack_ns,attr/**,fd/**,task/*/comm} rw,"
    yield "  /etc/hosts r,\n  /etc/hostname r,\n  /etc/resolv.conf r,"
    yield "  deny /proc/sys/kernel/** w,\n  deny /proc/sysrq-trigger rwklx,\n  deny /proc/kcore rwklx,"
    yield "  deny /sys/firmware/** rwklx,\n  deny mount,\n  deny umount,\n  deny pivot_root,"
    yield f"  ptrace (trace,read,tracedby,readby) peer={_quoted(name)},"
    yield "}"


def _within(path: str, needs: Needs) -> bool:
    return any(path.startswith(each.path.rstrip("/") + "/") for each in needs.writable)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(path: str, pattern: str = "") -> str:
    """A path as a rule names exactly it, and a pattern after it.

    Characters of patterns and variables are escaped; bytes that do not print go by their octal numbers.
    """
    out = []
    for byte in path.encode("utf-8", "surrogateescape"):
        character = chr(byte)
        if character in "*?[]{}^\\\"@,'!":
            out.append("\\" + character)
        elif byte < 33 or byte > 126:
            out.append(f"\\{byte:03o}")
        else:
            out.append(character)
    return '"' + "".join(out) + pattern + '"'


def _comment(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
