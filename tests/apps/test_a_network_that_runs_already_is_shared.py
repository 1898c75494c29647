"""--network container:PID: what runs already is reached by its port and name; --reset makes it begin anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slimmer.exercise.listening import listeners
from tests.apps.conftest import HOUSE
from tests.running import NOBODY, as_user, needs_reachable_python, own, readable_directory
from tests.support import needs_root, plant, requires
from tracer.runner.joined import joined
from tracer.session import Command, Session, SessionOptions

# Keeps what is posted: 201 for something new, 409 for what it has already.
STORE = """#755 #!/bin/sh
read -r item
if [ -e "/data/$item" ]; then printf 'Status: 409 Conflict\\r\\n\\r\\n'; exit 0; fi
echo "$item" > "/data/$item"; printf 'Status: 201 Created\\r\\n\\r\\n'
"""
FRONT = """#755 #!/bin/sh
read -r item
status='409 Conflict'
if wget -qO- --post-data="$item
" http://kept:8081/cgi-bin/store; then status='201 Created'; fi
printf 'Status: %s\\r\\n\\r\\n' "$status"
"""
RECIPE = """
[source]
root = "{root}"
[sandbox]
network = "container:{pid}"
[[run]]
command = ["httpd", "-f", "-p", "127.0.0.1:{port}", "-h", "/www"]
[[run.probes]]
url = "http://127.0.0.1:{port}/cgi-bin/front"
method = "POST"
body = "one\\n"
status = 201
"""


def root(place: Path, script: str, name: str) -> Path:
    links = {f"/bin/{each}": "-> busybox" for each in ("sh", "httpd", "wget")}
    plant(place, {**links, f"/www/cgi-bin/{name}": script, "/data": None, "/tmp": None})
    shutil.copy2("/bin/busybox", place / "bin/busybox")
    return place


@contextmanager
def container(place: Path) -> Iterator[int]:
    """What an engine would run: a process in namespaces of its own, with a name for itself."""
    options = SessionOptions(root=str(place), record=False, hosts=(("kept", "127.0.0.1"),))
    null = os.open("/dev/null", os.O_WRONLY)
    with Session.start(options) as session:
        command = Command(("httpd", "-f", "-p", "8081", "-h", "/www"), {"PATH": "/bin"})
        process = session.spawn(command, stdout=null, stderr=null)
        while 8081 not in listeners(process.pid):
            time.sleep(0.01)
        yield process.pid
    os.close(null)


@needs_root
@requires("busybox")
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_a_store_is_reached_and_reset_for_the_check(uid: int) -> None:
    if uid:
        needs_reachable_python()
    with readable_directory() as place:
        front, store = root(place / "front", FRONT, "front"), root(place / "store", STORE, "store")
        own(place, uid)

        def work() -> tuple[int, str, int, str, int, str]:
            def slim(*words: str | Path) -> tuple[int, str]:
                done = subprocess.run(
                    [sys.executable, "-m", "slimmer.cli.main", *map(str, words), "--no-challenge"],
                    env={**os.environ, "PYTHONPATH": str(HOUSE), "HOME": str(place)},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                )
                return done.returncode, done.stderr

            with container(store) as pid:
                recipe = place / "slim.toml"
                recipe.write_text(RECIPE.format(root=front, pid=pid, port=8080))
                again = ("--reset", f"sh -c 'rm -f /proc/{pid}/root/data/*'")
                first = slim("trace", "--recipe", recipe, *again, "-o", place / "out")
                # The store has it now: without a reset nothing is new.
                second = slim("trace", "--recipe", recipe, "-o", place / "second")
                recipe.write_text(RECIPE.format(root=front, pid=pid, port=8081))
                third = slim("trace", "--recipe", recipe, "-o", place / "third")
            return *first, *second, *third

        code, said, again, failed, busy, taken = as_user(uid, work)
        assert code == 0, said
        verdict = json.loads((place / "out" / "check.json").read_text())
        assert verdict["verdict"] == "passed"
        assert "status 201" in [row["slim"] for row in verdict["comparisons"]]
    assert (again, busy) == (1, 1)
    assert "status 409, not 201" in failed
    assert "port 8081 already answers" in taken


@needs_root
@requires("busybox")
def test_links_of_a_strangers_root_show_nothing_of_the_host(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("127.0.0.1 hidden\n")
    place = root(tmp_path / "store", STORE, "store")
    script = f"rm -f /etc/hosts; ln -s {secret} /etc/hosts; mkfifo /etc/resolv.conf; exec httpd -f -p 8081 -h /www"
    plant(place, {f"/bin/{each}": "-> busybox" for each in ("rm", "ln", "mkfifo")} | {"/etc": None})
    with subprocess.Popen(["unshare", "--net", "chroot", str(place), "sh", "-c", script]) as process:
        try:
            while not (place / "etc/resolv.conf").exists():
                time.sleep(0.01)
            shared = joined(process.pid)
            shared.close()
            assert shared.files == {}
        finally:
            process.kill()
