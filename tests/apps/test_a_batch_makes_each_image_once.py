"""`slim batch` as a user starts it: on this machine and on a cluster, with what goes wrong in both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import daemons
from tests.apps.conftest import Slim
from tests.clusters import batch, environment, in_registry, machines, results, through_trouble, until, write_list
from tests.running import readable_directory, small_root
from tests.support import needs_root, plant, requires

pytestmark = [needs_root, requires("mmdebstrap")]
QUICK = ("--no-check", "--no-challenge")
COUNT = 8
GATED = (6, 7)  # these wait for /gate/open: a batch of all is not over before


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with readable_directory() as directory:
        made = small_root(directory / "root")
        plant(made, {f"app/{number}": f"#755 #!/bin/sh\necho {number}; cat /app/text\n" for number in range(COUNT)})
        waits = "while [ ! -e /gate/open ]; do sleep 0.2; done"
        for number in GATED:
            plant(made, {f"app/{number}": f"#755 #!/bin/sh\n{waits}\necho {number}\n"})
        plant(made, {"app/text": "hi\n", "app/waits": "#755 #!/bin/sh\ntouch /tmp/there\nexec sleep 600\n"})
        yield made


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and they."""
    try:
        own = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*own, *(other for each in own for other in descendants(each))]


def test_a_registry_is_sent_what_it_has_not(slim: Slim, root: Path, tmp_path: Path) -> None:
    policy = tmp_path / "small.toml"
    policy.write_text('[limits]\nsize = "1 kB"\n')
    with daemons.docker_registry(tmp_path / "registry") as server:
        images = tmp_path / "images.toml"
        images.write_text(
            "\n".join(
                f'[[image]]\nname = "{name}"\npush = "docker://{server.host}/{name}:1"\n{more}\n'
                f'recipe = {{ source = {{ root = "{root}" }}, run = [{{ command = "/app/{number}" }}] }}'
                for number, (name, more) in enumerate((("one", ""), ("strict", 'policy = "small.toml"')))
            )
        )
        told = tmp_path / "results.jsonl"
        said = batch(images, "--results", told, "--json", *QUICK, code=3)
        *lines, summary = (json.loads(line) for line in said.stdout.splitlines())
        assert [json.dumps(each) for each in lines] == told.read_text().splitlines()
        assert {each["name"]: each["status"] for each in lines} == {"one": "pushed", "strict": "refused"}
        assert (summary["pushed"], summary["refused"], summary["not_made"]) == (1, 1, 0)
        single = slim("trace", "--root", root, "--run", "/app/0", "-o", tmp_path / "out", "--no-check", "--json")
        (one,) = (each for each in lines if each["name"] == "one")
        assert one["image_id"] == json.loads(single.stdout)["image_id"]
        assert one["pushed"] == f"{server.host}/one@{one['manifest_digest']}"
        assert not (server.directory / "data/docker/registry/v2/repositories/strict").exists()

        stored = server.directory / "data/docker/registry/v2/repositories/one/_manifests/tags/1"
        before = {path: path.stat().st_mtime_ns for path in stored.rglob("*")}
        said = batch(images, "--results", told, "--resume", *QUICK, code=3)
        assert "1 image done before; 1 to go" in said.stderr
        batch(images, "--results", told, "--fail-fast", "--jobs", "1", *QUICK, code=3)
        assert {each.name: each.status.value for each in results(told)} == {"one": "unchanged", "strict": "refused"}
        assert {path: path.stat().st_mtime_ns for path in stored.rglob("*")} == before, "nothing was put there again"


@pytest.mark.timeout(900)
def test_a_killed_process_is_made_up_for_and_ctrl_c_ends_all(root: Path, tmp_path: Path) -> None:
    """The first process of a batch is killed; the second time it is Ctrl-C, under a run that would take minutes."""
    waits = {"waits": (root, {"command": "/app/waits", "seconds": 600.0})}
    listed = write_list(tmp_path / "waits.jsonl", waits, push=False)
    command = [sys.executable, "-m", "slimmer.cli.main", "batch", str(listed), "-o", str(tmp_path / "out"), *QUICK]
    with open(tmp_path / "said", "w") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=said, env=environment(), cwd=tmp_path, process_group=0
        )

    def children() -> list[int]:
        assert process.poll() is None, (tmp_path / "said").read_text()
        return [int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]

    def runs() -> bool:
        """The one child runs its application."""
        return any(
            "sleep" in Path(f"/proc/{each}/comm").read_text()
            for child in children()
            for each in descendants(child)
            if Path(f"/proc/{each}/comm").exists()
        )

    try:
        until("the first process runs the application", runs)
        (first,) = children()
        os.kill(first, signal.SIGKILL)
        until("another one does so", lambda: first not in children() and runs())
        everything = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        until("the batch ends", lambda: process.poll() is not None)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    text = (tmp_path / "said").read_text()
    assert "waits: again: the process that made it ended by SIGKILL" in text
    assert "0 of 1 image done; the same again with --resume goes on" in text
    until("all its processes are gone", lambda: not any(Path(f"/proc/{each}").exists() for each in everything))
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.timeout(900)
def test_a_local_cluster_gives_what_one_machine_gives(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    code = (
        "import sys\nfrom distributed import LocalCluster\nif __name__ == '__main__':\n"
        "    made = LocalCluster(n_workers=1, threads_per_worker=2, host='127.0.0.1', dashboard_address=':0')\n"
        "    print(made.scheduler_address, flush=True)\n    sys.stdin.read()\n    made.close()\n"
    )
    program = tmp_path / "cluster.py"
    program.write_text(code)
    images = {f"v{number}": (root, {"command": f"/app/{number}"}) for number in range(2)}
    listed = write_list(tmp_path / "images.jsonl", images, push=False)
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        there = ("-o", tmp_path / "there", "--results", tmp_path / "there.jsonl")
        batch(listed, *there, "--scheduler", address, *QUICK)
        cluster.communicate("")
    batch(listed, "-o", tmp_path / "here", "--results", tmp_path / "here.jsonl", *QUICK)
    ids = [{each.name: each.image_id for each in results(tmp_path / f"{place}.jsonl")} for place in ("there", "here")]
    assert ids[0] == ids[1]
    assert ids[0].keys() == images.keys()
    batch(listed, *there, "--resume", "--scheduler", "tcp://127.0.0.1:9", *QUICK)


@pytest.mark.timeout(900)
def test_lost_workers_and_a_lost_scheduler_lose_no_image(slim: Slim, root: Path, tmp_path: Path) -> None:
    images = {f"v{number}": (root, {"command": f"/app/{number}"}) for number in range(COUNT)}
    gate = tmp_path / "gate"
    gate.mkdir()
    mount = f"{gate}:/gate"
    listed = write_list(tmp_path / "images.jsonl", images, push=True, mounts=(mount,))
    with machines(tmp_path) as made:
        outcomes = through_trouble(made, tmp_path, listed, COUNT, (gate / "open").touch)
        assert sorted(each.name for each in outcomes) == sorted(images), "each once"
        for each in outcomes:
            assert in_registry(made, each.name) == (each.image_id, ["1"])
    # One of the first and one of the last, made by a single run each.
    for each in (outcomes[0], outcomes[-1]):
        run = str(images[each.name][1]["command"])
        out = tmp_path / f"single-{each.name}"
        single = slim("trace", "--root", root, "--run", run, "--mount", mount, "-o", out, "--no-check", "--json")
        assert json.loads(single.stdout)["image_id"] == each.image_id
