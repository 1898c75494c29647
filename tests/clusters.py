"""A Dask cluster over network namespaces, with a real registry: what a batch goes through when machines fail.

    hub       10.77.0.1, 10.77.1.1: scheduler, docker-registry, `slim batch`
    machine 0 10.77.0.2: a worker         machine 1  10.77.1.2: a worker

All of it is in namespaces of its own: ports are free, and with the processes everything is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slimmer.batch.model import Outcome, parse_outcome

HOUSE = Path(__file__).resolve().parents[1]
HUB = "10.77.0.1"
SCHEDULER = f"tcp://{HUB}:8786"
REGISTRY = f"{HUB}:5000"
PATIENCE = 240.0  # seconds for a condition to come true on a machine that has other things to do


def until(what: str, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for a condition. Fails, naming it, when it does not come true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)


def environment() -> dict[str, str]:
    """For programs that find this house's modules, and no proxy between the namespaces."""
    found = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {**found, "PYTHONPATH": str(HOUSE)}


@dataclass
class Machines:
    """Three network namespaces, each held by a process that sleeps; and what was started in them."""

    log: Path
    holders: list[subprocess.Popen[bytes]]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def inside(self, number: int, *command: str) -> list[str]:
        """A command in the hub's namespace (0) or a machine's (1, 2)."""
        return ["nsenter", "-t", str(self.holders[number].pid), "-n", *command]

    def start(self, number: int, *command: str) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                self.inside(number, *command), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment()
            )
        self.started.append(process)
        return process

    def listening(self, port: int) -> bool:
        code = f"import socket; socket.create_connection(('{HUB}', {port}), 5)"
        return not subprocess.run(self.inside(0, sys.executable, "-S", "-c", code), capture_output=True).returncode

    def scheduler(self) -> subprocess.Popen[bytes]:
        command = ("-m", "distributed.cli.dask_scheduler", "--host", "0.0.0.0", "--port", "8786", "--no-dashboard")
        process = self.start(0, sys.executable, *command, "--no-show")
        until("the scheduler listens", lambda: self.listening(8786))
        return process

    def worker(self, number: int) -> subprocess.Popen[bytes]:
        """On machine 1 or 2. Without Dask's nanny: one that is killed stays away, as a machine that is lost."""
        address = f"10.77.{number - 1}.2"
        scratch = self.log.parent / f"worker-{number}"
        return self.start(
            number, sys.executable, "-m", "distributed.cli.dask_worker", SCHEDULER, "--host", address,
            "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(scratch),
        )  # fmt: skip

    def registry(self) -> None:
        if shutil.which("docker-registry") is None:
            pytest.skip("docker-registry is not installed")
        place = self.log.parent / "registry"
        place.mkdir()
        (place / "config.yml").write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {place / 'data'}}}}}\nhttp: {{addr: '0.0.0.0:5000'}}\n"
        )
        self.start(0, "docker-registry", "serve", str(place / "config.yml"))
        until("the registry listens", lambda: self.listening(5000))

    def ask(self, path: str) -> dict[str, object]:
        """A document of the registry's."""
        code = (
            "import sys, urllib.request as u; "
            "print(u.urlopen(u.Request(sys.argv[1], headers={'Accept': sys.argv[2]})).read().decode())"
        )
        done = subprocess.run(
            self.inside(
                0, sys.executable, "-S", "-c", code, f"http://{REGISTRY}/v2/{path}",
                "application/vnd.oci.image.manifest.v1+json",
            ),
            capture_output=True, text=True, env=environment(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found


@contextlib.contextmanager
def machines(place: Path) -> Iterator[Machines]:
    """The namespaces, joined. Skips, with the reason, where they cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("namespaces that are joined by veth need root")
    for tool in ("ip", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"not installed: {tool}")
    pytest.importorskip("distributed")
    holders = [subprocess.Popen(["unshare", "--net", "sleep", "7200"]) for _ in range(3)]
    here = os.readlink("/proc/self/ns/net")
    made = Machines(place / "log", holders)
    try:
        for each in holders:
            until("a namespace is made", lambda pid=each.pid: _other_namespace(pid, here))  # type: ignore[misc]
        _join(made)
        yield made
    finally:
        for process in reversed(made.started):
            process.kill()
        for process in (*made.started, *holders):
            process.kill()
            process.wait()


def _other_namespace(pid: int, here: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") != here and Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    except OSError:
        pytest.skip("a network namespace cannot be made here")


def _join(made: Machines) -> None:
    for number in (1, 2):
        subnet = f"10.77.{number - 1}"
        for where, words in (
            (0, f"link add m{number} type veth peer name uplink netns {made.holders[number].pid}"),
            (0, f"addr add {subnet}.1/30 dev m{number}"),
            (0, f"link set m{number} up"),
            (0, "link set lo up"),
            (number, f"addr add {subnet}.2/30 dev uplink"),
            (number, "link set uplink up"),
            (number, "link set lo up"),
            (number, f"route add default via {subnet}.1"),
        ):
            done = subprocess.run(made.inside(where, "ip", *words.split()), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"ip {words}: {done.stderr.strip()}")


def results(place: Path) -> list[Outcome]:
    """The whole lines of a file of results."""
    with contextlib.suppress(FileNotFoundError):
        return [parse_outcome(line) for line in place.read_text().split("\n")[:-1]]
    return []


def batch(*words: str | Path, code: int = 0, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """`slim batch …` as a user starts it."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "slimmer.cli.main", "batch", *map(str, words)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert done.returncode == code, f"exit {done.returncode}, not {code}:\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def write_list(
    place: Path, images: Mapping[str, tuple[Path, Mapping[str, object]]], *, push: bool, mounts: Sequence[str] = ()
) -> Path:
    """Lines of JSON: images by name, each a root and a run."""
    rows = [
        {
            "name": name,
            "recipe": {"run": [dict(run)], "sandbox": {"mounts": list(mounts)}},
            "source": {"root": str(root), "insecure": True},
            **({"push": f"docker://{REGISTRY}/slim/{name}:1"} if push else {}),
        }
        for name, (root, run) in images.items()
    ]
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def through_trouble(
    made: Machines, place: Path, listed: Path, count: int, come_back: Callable[[], None] = lambda: None
) -> list[Outcome]:
    """A batch of `count` images, under which a worker is killed and then the scheduler.

    `come_back` is called when the scheduler is there again: what must not be over before may wait for that.
    """
    made.registry()
    scheduler = made.scheduler()
    first, second = made.worker(1), made.worker(2)
    told = place / "results.jsonl"
    client = made.start(
        0, sys.executable, "-m", "slimmer.cli.main", "batch", str(listed), "--scheduler", SCHEDULER,
        "--results", str(told), "--no-check", "--no-challenge",
    )  # fmt: skip

    def there(number: int) -> Callable[[], bool]:
        def look() -> bool:
            assert client.poll() is None, made.log.read_text()[-3000:]
            return len(results(told)) >= number

        return look

    until("a quarter is done", there(max(1, count // 4)), 60 + 20.0 * count)
    first.send_signal(signal.SIGKILL)  # in the middle of an image: a worker has always one until the end
    until("a half is done", there(count // 2), 60 + 20.0 * count)
    scheduler.send_signal(signal.SIGKILL)
    scheduler.wait()
    until("the worker has seen that its scheduler is gone", lambda: second.poll() is not None)
    assert client.poll() is None, "the batch waits for its scheduler"
    made.scheduler()
    come_back()
    made.worker(1)
    made.worker(2)
    until("the batch ends", lambda: client.poll() is not None, 60 + 20.0 * count)
    assert client.returncode == 0, made.log.read_text()[-3000:]
    return results(told)


def in_registry(made: Machines, name: str) -> tuple[str, list[str]]:
    """An image's id there, and its tags."""
    manifest = made.ask(f"slim/{name}/manifests/1")
    config = manifest["config"]
    tags = made.ask(f"slim/{name}/tags/list")["tags"]
    assert isinstance(config, dict)
    assert isinstance(tags, list)
    return str(config["digest"]), tags
