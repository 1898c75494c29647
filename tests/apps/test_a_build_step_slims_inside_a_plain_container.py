"""`RUN slim trace …` in an ordinary image build: default seccomp profile and capabilities, root and another user."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.conftest import HOUSE, Podman
from tests.machine import HOME, install, same_python
from tests.support import needs_root, requires, root_of

pytestmark = [needs_root, requires("podman", "runc", "mmdebstrap"), same_python]
PORT = 8097
DOCKERFILE = """
FROM localhost/fat:test AS build
COPY app /app
{user}
RUN {home}/bin/slim trace --run "python3 /app/server.py {port}" \\
    --probe http://127.0.0.1:{port}/api --probe http://127.0.0.1:{port}/ \\
    -o /tmp/slim-out --rootfs {tree}

FROM scratch
COPY --from=build {tree}/ /
{user}
ENTRYPOINT ["python3", "/app/server.py", "{port}"]
"""


@pytest.fixture(scope="module")
def fat(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Debian image with Python and the tool, as `RUN pip install` would leave it."""
    place = tmp_path_factory.mktemp("fat")
    install(place)
    archive = place / "fat.tar"
    root = root_of("python3")
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    subprocess.run(["tar", "-C", place, "-rf", archive, HOME.lstrip("/")], check=True)
    podman("import", str(archive), "localhost/fat:test")
    shutil.rmtree(place)
    yield "localhost/fat:test"
    podman("rmi", "--force", "--all")


@pytest.mark.parametrize("user", ["", "USER 1000:1000"], ids=["root", "another user"])
def test_a_build_step_slims_and_the_result_serves(user: str, fat: str, podman: Podman, tmp_path: Path) -> None:
    shutil.copytree(HOUSE / "fixtures/apps/notes/app", tmp_path / "app")
    tree = "/slim" if not user else "/tmp/slim"
    text = DOCKERFILE.format(home=HOME, user=user, port=PORT, tree=tree)
    (tmp_path / "Dockerfile").write_text(text)
    done = podman(
        *("build", "--network=none", "--layers=false", *Podman.LIMITS, "--tag", "localhost/slim:test", str(tmp_path)),
        timeout=240,
    )
    said = (done.stdout + done.stderr).decode()
    assert "image id" in said
    check = next(line for line in said.splitlines() if line.lstrip().startswith("check "))
    # A user without namespaces cannot run the slim tree; root can always enter a chroot.
    assert "passed: 2 of 2 comparisons equal" in check or (user and "not performed: the slim image" in check), said
    size = int(json.loads(podman("image", "inspect", "localhost/slim:test").stdout)[0]["Size"])
    assert size < 40e6, said
    with running(podman, "localhost/slim:test"):
        status, body = get("/api")
        assert (status, json.loads(body)["hello"]) == (200, "world")
        assert b"It works" in get("/")[1]


@contextlib.contextmanager
def running(podman: Podman, image: str) -> Iterator[None]:
    podman("run", "--detach", "--name", "slimmed", "--network", "host", *Podman.LIMITS, image)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                get("/api")
                break
            assert time.monotonic() < deadline, podman("logs", "slimmed").stderr
            time.sleep(0.1)
        yield
    finally:
        podman.remove("slimmed")


def get(path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
