"""Where an ordinary container or an ordinary user leaves little: no CAP_SYS_ADMIN, no CAP_SYS_PTRACE, another user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import needs_root
from tracer.recorder.protocol import Choice

pytestmark = needs_root

# What podman and Docker leave root in a container: chown, dac_override, fowner, fsetid, kill, setgid, setuid,
# setpcap, net_bind_service, sys_chroot, setfcap.
CONTAINER = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31))

DRIVER = """
import ctypes, os, struct, sys
sys.path.insert(0, {house!r})
libc = ctypes.CDLL(None, use_errno=True)
keep = {capabilities}
for bit in range(41):
    if not keep >> bit & 1:
        libc.prctl(24, bit, 0, 0, 0)
if {uid}:
    os.setgroups([]); os.setresgid({uid}, {uid}, {uid}); os.setresuid({uid}, {uid}, {uid})
else:
    header = struct.pack("=Ii", 0x20080522, 0)
    low, high = keep & 0xFFFFFFFF, keep >> 32
    assert libc.capset(header, struct.pack("=6I", low, low, low, high, high, high)) == 0
os.chdir("/")
libc.prctl(4, 1, 0, 0, 0)
from tests.oracle.recorder_harness import record
from tracer.recorder.protocol import Choice
done = record({argv!r}, Choice({choice!r}), output={output!r})
print(done.code)
print("\\n".join(sorted(done.paths)))
print("---")
print("\\n".join(done.recording.notes))
"""


def _run(
    argv: list[str], choice: Choice, tmp_path: Path, uid: int, capabilities: int, python: str = sys.executable
) -> tuple[int, set[str], list[str]]:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent == Path("/tmp"):
            break
        parent.chmod(parent.stat().st_mode | 0o011)
    script = DRIVER.format(
        house=os.getcwd(), capabilities=capabilities, uid=uid, argv=argv, choice=choice.value, output=f"{tmp_path}/out"
    )
    done = subprocess.run([python, "-B", "-c", script], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    code, *lines = done.stdout.splitlines()
    middle = lines.index("---")
    return int(code), set(lines[:middle]), [line for line in lines[middle + 1 :] if line]


both = pytest.mark.parametrize("choice", [Choice.AUTO, Choice.PTRACE], ids=lambda choice: choice.value)


@both
def test_root_in_a_container_records(choice: Choice, tmp_path: Path) -> None:
    code, paths, notes = _run(
        ["/bin/sh", "-c", "cat /etc/hostname; cd /usr; test -e here"], choice, tmp_path, 0, CONTAINER
    )
    assert code == 1
    assert {"/etc/hostname", "/usr/here"} <= paths
    assert notes == []


def test_an_ordinary_user_records(tmp_path: Path) -> None:
    if subprocess.run(["/usr/bin/python3", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode:
        pytest.skip("no Python 3.11 that an ordinary user can reach")
    if not os.stat(os.getcwd()).st_mode & 0o005:
        pytest.skip("the checkout cannot be read by an ordinary user")
    command = ["/bin/sh", "-c", "cat /etc/hostname; cd /usr; test -e here; cat /etc/shadow"]
    code, paths, notes = _run(command, Choice.NOTIFY, tmp_path, 65534, 0, "/usr/bin/python3")
    assert code == 1
    assert {"/etc/hostname", "/usr/here", "/etc/shadow"} <= paths
    assert notes == []


@both
def test_a_process_that_became_another_user_is_read_through_what_was_kept(choice: Choice, tmp_path: Path) -> None:
    script = (
        "import os, time; os.chdir('/usr'); os.path.exists('x'); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "os.path.exists('/as-nobody'); time.sleep(0.6); os.path.exists('/later'); os.path.exists('relative')\n"
    )
    code, paths, notes = _run(["/usr/bin/python3", "-c", script], choice, tmp_path, 0, CONTAINER)
    assert code == 0
    assert {"/as-nobody", "/later", "/usr/relative"} <= paths
    assert notes == []


@both
def test_a_program_executed_by_another_user_is_read_with_a_helper(choice: Choice, tmp_path: Path) -> None:
    command = (
        "cd /usr; exec setpriv --reuid=65534 --regid=65534 --clear-groups /bin/sh -c 'cat /etc/hostname; ls share/doc'"
    )
    code, paths, notes = _run(["/bin/sh", "-c", command], choice, tmp_path, 0, CONTAINER)
    assert code == 0
    assert {"/etc/hostname", "/usr/share/doc"} <= paths
    assert notes == []


def test_what_stays_closed_is_told(tmp_path: Path) -> None:
    """A child of one that changed its user: never readable, and nothing was kept of it."""
    script = (
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "if os.fork() == 0: os.path.exists('/by-the-child'); os._exit(0)\n"
        "os.wait()\n"
    )
    code, paths, notes = _run(["/usr/bin/python3", "-c", script], Choice.NOTIFY, tmp_path, 0, CONTAINER)
    assert code == 0
    assert "/by-the-child" not in paths
    assert notes == ["the memory of python3 cannot be read (Permission denied): what it touched is missing here"]
