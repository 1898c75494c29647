"""Images that a local tool keeps: exported by that tool into an archive of ours.

Their storage is theirs (drivers, databases, a daemon's socket), so it is never read directly.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from slimmer.errors import SlimmerError
from slimmer.root.manifest import Platform
from slimmer.root.reference import SourceReference, Transport

_TAIL = 2000  # characters of a tool's complaint that are passed on


def export(reference: SourceReference, scratch: Path, wanted: Platform | None, say: Callable[[str], None]) -> str:
    """Copies the image to an archive in `scratch` and gives its path. Raises SlimmerError."""
    target = str(scratch / "export.tar")
    name = reference.path
    for argv in _ways(reference, target):
        if shutil.which(argv[0]) is None:
            continue
        say(f"asking {argv[0]} for {name}")
        problem = _run(argv)
        if problem is None and os.path.exists(target):
            return target
        raise SlimmerError(
            f"{reference.text}: {argv[0]} could not export it: {problem or 'it wrote nothing'}",
            f"tried: {' '.join(argv)}",
        )
    tools = ", ".join(dict.fromkeys(argv[0] for argv in _ways(reference, target)))
    raise SlimmerError(
        f"{reference.text}: no tool here that can read it; looked on PATH for {tools}",
        "install one, or save the image to a file and use docker-archive:FILE or oci-archive:FILE",
    )


def _ways(reference: SourceReference, target: str) -> list[list[str]]:
    """Tools in the order of preference: podman and buildah enter their user namespace by themselves."""
    name = reference.path
    if reference.transport is Transport.CONTAINERS_STORAGE:
        return [
            ["podman", "save", "--quiet", "--format", "oci-archive", "--output", target, name],
            ["buildah", "push", "--quiet", name, f"oci-archive:{target}"],
            ["skopeo", "copy", "--quiet", f"containers-storage:{name}", f"oci-archive:{target}"],
        ]
    return [
        ["docker", "save", "--output", target, name],
        ["skopeo", "copy", "--quiet", f"docker-daemon:{name}", f"docker-archive:{target}"],
    ]


def _run(argv: list[str]) -> str | None:
    """None when it went well, else the tool's own words."""
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        return error.strerror or str(error)
    try:
        _, complaint = process.communicate()
    except BaseException:  # interrupted: the tool and its children go too
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode == 0:
        return None
    words = complaint.decode(errors="replace").strip()[-_TAIL:]
    return words or f"exit code {process.returncode}"
