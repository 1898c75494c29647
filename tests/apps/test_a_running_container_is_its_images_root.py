"""A container of a real engine is watched and verified by its name, its id and its process: its image takes that in."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimmer.errors import SlimmerError
from slimmer.root.container import process_of
from tests.apps.conftest import Podman, Slim
from tests.running import readable_directory, small_root
from tests.support import needs_root, plant, requires
from tracer.recording import load

SERVE = """#755 #!/bin/bash
while :; do cat /srv/rare /srv/usual > /dev/null; ls /srv > /dev/null; sleep 0.2; done
"""
FILES = {"/opt/serve.sh": SERVE, "/srv/usual": "usual\n", "/srv/rare": "rare\n", "/srv/never": "n\n"}
SEEN = {"/srv/usual", "/srv/rare", "/usr/bin/cat"}

pytestmark = [needs_root, requires("mmdebstrap"), requires("podman"), requires("runc")]


class _Service:
    """A container that works all the time, the archive of its image, and what is told of it by its engine."""

    def __init__(self, engine: Podman, archive: Path, path: str) -> None:
        self.engine, self.archive, self.path = engine, archive, path
        created = engine("inspect", "-f", "{{.Id}} {{.State.Pid}}", "busy").stdout.decode().split()
        self.identity, self.pid = created[0], int(created[1])


@pytest.fixture(scope="module")
def service() -> Iterator[_Service]:
    with readable_directory() as place:
        engine = Podman(place, "overlay")
        plant(small_root(place / "root"), FILES)
        with tarfile.open(place / "root.tar", "w") as archive:
            archive.add(place / "root", arcname=".")
        if engine("import", str(place / "root.tar"), "busy:1", check=False).returncode:
            pytest.skip("podman has no overlay driver here")
        # `podman` as a user has it, with this storage.
        (place / "bin").mkdir()
        command = shlex.join([shutil.which("podman") or "podman", *engine.command[1:]])
        plant(place, {"/bin/podman": f'#755 #!/bin/sh\nexec {command} "$@"\n'})
        engine("save", "--format", "oci-archive", "-o", str(place / "busy.tar"), "busy:1")
        run = ("run", "-d", "--name", "busy", "--network=none", *Podman.LIMITS, "busy:1", "/opt/serve.sh")
        engine(*run)
        try:
            yield _Service(engine, place / "busy.tar", f"{place / 'bin'}:{os.environ['PATH']}")
        finally:
            engine("unmount", "--all", check=False)
            engine("rm", "--all", "--force", "--time", "0", check=False)


@pytest.mark.parametrize("by", ["name", "process", "mount"])
def test_what_a_container_meets_is_in_its_images_next_build(
    by: str, service: _Service, slim: Slim, tmp_path: Path
) -> None:
    if by == "mount":
        place = service.engine("mount", "busy").stdout.decode().strip()
    else:
        place = "podman:busy" if by == "name" else str(service.pid)
    env = {"PATH": service.path}
    slim("record", "--watch", place, "--for", "1.5", "-o", tmp_path / "canary.json", env=env)
    canary = load(tmp_path / "canary.json")
    paths = {each.path for each in canary.accesses}
    assert paths >= SEEN
    assert "/srv/never" not in paths
    assert not [each for each in paths if "storage" in each or "merged" in each], "the host's names"
    if by == "mount":
        return
    source = ("--image", f"oci-archive:{service.archive}", "--run", "cat /srv/usual")
    slim("record", *source, "-o", tmp_path / "tests.json")
    assert load(tmp_path / "tests.json").root == canary.root
    slim("build", tmp_path / "tests.json", tmp_path / "canary.json", *source, "--no-check", "-o", tmp_path / "out")
    kept = {row["path"] for row in json.loads((tmp_path / "out/manifest.json").read_text())["paths"]}
    assert kept >= SEEN


def test_a_container_is_found_by_its_name_its_id_and_its_number(
    service: _Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", service.path)
    pid = service.pid
    assert process_of("podman:busy") == process_of(str(pid)) == process_of(f"PID:{pid}") == pid
    assert process_of(service.identity) == process_of(service.identity[:12]) == pid
    with pytest.raises(SlimmerError, match=r"podman knows no container no-such: .*no such"):
        process_of("podman:no-such")
    with pytest.raises(SlimmerError, match="no running process is in a container with the id"):
        process_of("0123456789abcdef")
    service.engine("create", "--name", "idle", "--network=none", "busy:1", "/bin/true")
    with pytest.raises(SlimmerError, match="podman:idle is not running"):
        process_of("podman:idle")
