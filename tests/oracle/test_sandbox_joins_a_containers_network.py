"""--network container:podman:NAME with a real engine, as root and rootless: reached by address and name, and reset."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import PODMAN_RUN
from tests.running import NOBODY, as_user, as_user_with_ranges, needs_reachable_python, own, readable_directory
from tests.support import needs_root, plant, requires

HOUSE = Path(__file__).resolve().parents[2]
# Keeps what is posted: 201 for something new, 409 for what it has already.
STORE = """#755 #!/bin/sh
read -r item
if [ -e "/data/$item" ]; then printf 'Status: 409 Conflict\\r\\n\\r\\n'; exit 0; fi
echo "$item" > "/data/$item"; printf 'Status: 201 Created\\r\\n\\r\\n'
"""
# Posts by address and by the container's name, and says 201 where both are new and it was never refused one.
FRONT = """#755 #!/bin/sh
read -r item
for host in 127.0.0.1 kept; do
    wget -qO- --post-data="$item-$host
" "http://$host:8081/cgi-bin/store" || touch /tmp/refused
done
status='201 Created'
[ ! -e /tmp/refused ] || status='409 Conflict'
printf 'Status: %s\\r\\n\\r\\n' "$status"
"""
RECIPE = """
[source]
root = "{root}"
[sandbox]
network = "container:podman:kept"
reset = [
    ["podman", "exec", "kept", "rm", "-f", "/data/one-127.0.0.1", "/data/one-kept"],
    ["podman", "restart", "-t0", "kept"],
]
[[run]]
command = ["httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/www"]
[[run.probes]]
url = "http://127.0.0.1:8080/cgi-bin/front"
method = "POST"
body = "one\\n"
status = 201
"""
# An engine says that a container is started long before its service listens.
SLOW = "sleep 3; exec httpd -f -p 8081 -h /www"


def root(place: Path, script: str, name: str) -> Path:
    links = {f"/bin/{each}": "-> busybox" for each in ("sh", "httpd", "wget", "rm", "sleep", "touch")}
    plant(place, {**links, f"/www/cgi-bin/{name}": script, "/data": None, "/tmp": None, "/etc": None})
    shutil.copy2("/bin/busybox", place / "bin/busybox")
    return place


def traced(place: Path) -> tuple[str, int, str]:
    """In a place with both roots: why there is no container, else the exit code of `slim trace` and what it said."""
    engine = f"podman --root {place}/pods --runroot {place}/run --storage-driver vfs --runtime runc"
    plant(place, {"/tools/podman": f'#755 #!/bin/sh\nexec /usr/bin/env PATH="$REAL" {engine} "$@"\n', "/runtime": None})
    env = {
        **os.environ,
        "PYTHONPATH": str(HOUSE),
        "HOME": str(place),
        "XDG_RUNTIME_DIR": str(place / "runtime"),
        "REAL": os.environ["PATH"],
        "PATH": f"{place}/tools:{os.environ['PATH']}",
    }

    def do(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        words = tuple(map(str, words))
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, cwd=place, **options)

    subprocess.run(["tar", "-C", str(place / "store"), "-cf", str(place / "store.tar"), "."], check=True)
    run = [each for each in PODMAN_RUN if each != "--rm"]
    try:
        if (made := do("podman", "import", place / "store.tar", "store:1")).returncode:
            return made.stderr, 0, ""
        if (made := do("podman", "run", "-d", "--name", "kept", *run, "store:1", "sh", "-c", SLOW)).returncode:
            return made.stderr, 0, ""
        # What another session left.
        do("podman", "exec", "kept", "sh", "-c", "echo one > /data/one-kept")
        slim = (sys.executable, "-m", "slimmer", "trace", "--recipe", place / "slim.toml", "--no-challenge")
        done = do(*slim, "-o", place / "out", stdin=subprocess.DEVNULL)
        return "", done.returncode, done.stderr
    finally:
        do("podman", "rm", "--all", "--force", "--time", "0")
        if os.geteuid():  # its files belong to ids of its range, and a process of podman's own stays
            do("podman", "unshare", "rm", "-rf", place / "pods")
            do("podman", "system", "migrate")


@needs_root
@requires("podman", "runc", "busybox")
@pytest.mark.parametrize("user", [as_user, as_user_with_ranges], ids=["root", "rootless"])
def test_a_containers_service_is_reached_by_address_and_name_and_begins_anew(
    user: Callable[[int, Callable[[], tuple[str, int, str]]], tuple[str, int, str]],
) -> None:
    uid = 0 if user is as_user else NOBODY
    if uid:
        needs_reachable_python()
        if not shutil.which("newuidmap"):
            pytest.skip("not installed: newuidmap")
    with readable_directory() as place:
        root(place / "store", STORE, "store")
        front = root(place / "front", FRONT, "front")
        (place / "slim.toml").write_text(RECIPE.format(root=front))
        own(place, uid)
        missing, code, said = user(uid, lambda: traced(place))
        if missing:
            pytest.skip(f"podman starts no container here: {missing.strip()[-200:]}")
        assert code == 0, said
        # Before the first exercise and before the check, each time until it listened.
        assert said.count("resetting: podman restart") == 2
        verdict = json.loads((place / "out/check.json").read_text())
        assert (verdict["verdict"], verdict["comparisons"][0]["slim"]) == ("passed", "status 201")
