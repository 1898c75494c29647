"""Running containers, by the names that their engines give them: which process has their root."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator

from slimmer.errors import SlimmerError

# Every engine's own question for the first process of a container, as seen from the host.
_QUESTIONS = {
    "podman": ("podman", "inspect", "--type", "container", "--format", "{{.State.Pid}}"),
    "docker": ("docker", "inspect", "--type", "container", "--format", "{{.State.Pid}}"),
    "nerdctl": ("nerdctl", "inspect", "--type", "container", "--format", "{{.State.Pid}}"),
    "crictl": ("crictl", "inspect", "--output", "go-template", "--template", "{{.info.pid}}"),
}
_PATIENCE = 30.0  # seconds for an engine to answer
_PID = re.compile(r"(?:pid:)?(\d{1,7})", re.IGNORECASE | re.ASCII)  # the kernel's PID_MAX_LIMIT has seven digits
_ID = re.compile(r"[0-9a-f]{12,64}")
_HINT = (
    "give a process number of the host, podman:NAME, docker:NAME, nerdctl:NAME, crictl:ID, or 12 and more digits of "
    "the container's id"
)


def names_process(text: str) -> bool:
    """Whether this is written as a process or a container, and no directory has that name."""
    engine, colon, _ = text.partition(":")
    written = _PID.fullmatch(text) or _ID.fullmatch(text) or (colon and engine in _QUESTIONS)
    return bool(written) and not (os.path.isdir(text) and not text.isdigit())


def process_of(text: str) -> int:
    """A process that has the root that is meant: a number (also PID:N), ENGINE:NAME, or a container's id.

    Raises SlimmerError when there is none, and when its engine does not answer.
    """
    number = _PID.fullmatch(text)
    if number is not None:
        pid = int(number[1])
    elif _ID.fullmatch(text):
        pid = _in_control_group(text)
    else:
        engine, colon, name = text.partition(":")
        if not colon or engine not in _QUESTIONS or not name or name.startswith("-"):
            raise SlimmerError(f"no process and no container: {text}", _HINT)
        pid = _asked(engine, name)
    if not os.path.isdir(f"/proc/{pid}/root/"):
        what = "no process" if number is not None else f"the container {text} has no process"
        raise SlimmerError(f"{what} {pid} whose root may be read here", f"as root, on its host; {_HINT}")
    return pid


def _asked(engine: str, name: str) -> int:
    question = [*_QUESTIONS[engine], name]
    try:
        done = subprocess.run(question, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE)
    except OSError as error:
        raise SlimmerError(f"cannot ask {engine} for {name}: {error.strerror}", _HINT) from error
    except subprocess.TimeoutExpired as error:
        raise SlimmerError(f"{engine} did not answer within {_PATIENCE:g} s", _HINT) from error
    answer = done.stdout.decode(errors="replace").strip()
    if done.returncode or not answer.isascii() or not answer.isdigit():
        said = (done.stderr.decode(errors="replace").strip() or answer).split("\n")[-1]
        raise SlimmerError(f"{engine} knows no container {name}: {said}", f"{engine} ps --all lists them; {_HINT}")
    if answer == "0":
        raise SlimmerError(f"the container {engine}:{name} is not running", f"{engine} start {name}")
    return int(answer)


def _in_control_group(identity: str) -> int:
    """The oldest process in a control group that is named by the id: needs no engine, and so works on any node."""
    # A monitor's group is called libpod-conmon-ID or crio-conmon-ID.
    named = re.compile(rb"/(?![a-z]+-conmon-)(?:[a-z-]+-)?" + identity.encode())
    found: list[tuple[int, int]] = []
    for each in os.listdir("/proc"):
        if not each.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            with open(f"/proc/{each}/cgroup", "rb") as stream:
                groups = stream.read()
            if named.search(groups):
                with open(f"/proc/{each}/stat", "rb") as stream:
                    found.append((int(stream.read().rpartition(b")")[2].split()[19]), int(each)))
    if not found:
        raise SlimmerError(f"no running process is in a container with the id {identity}", _HINT)
    return min(found)[1]


@contextlib.contextmanager
def mounted_image(name: str) -> Iterator[str]:
    """An image of podman's storage, mounted as long as this lasts; the directory. Raises SlimmerError."""
    try:
        done = subprocess.run(["podman", "image", "mount", name], capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = "mount the image yourself, and name the directory"
        raise SlimmerError(f"podman cannot be asked for {name}: {error}", hint) from error
    if done.returncode:
        raise SlimmerError(
            f"podman could not mount {name}: {done.stderr.strip()[-300:]}",
            "as an ordinary user: podman unshare slim verify …",
        )
    try:
        yield done.stdout.strip()
    finally:
        subprocess.run(["podman", "image", "unmount", name], capture_output=True, timeout=_PATIENCE)
