"""A real registry and a real docker daemon for the tests, private to one test run and stopped at its end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD = "tester", "s3cret-of-the-tests"
# bcrypt of PASSWORD at the lowest cost, as htpasswd -B writes it
HTPASSWD = "tester:$2b$04$fByphNs0M9duMU2oPwogt.UxQbWs5kZxFQ02sz.9RyxVi3UNOUfI.\n"
PODMAN_RUN = ("--rm", "--network=none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


@dataclass(frozen=True)
class RegistryServer:
    """Debian's docker-registry. `host` is 127.0.0.1:PORT."""

    host: str
    directory: Path


@contextmanager
def docker_registry(
    directory: Path, *, password: bool = False, tls: tuple[Path, Path] | None = None
) -> Iterator[RegistryServer]:
    """A registry on loopback; with `password` it wants USER and PASSWORD, with `tls` (certificate, key) TLS."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lines = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {directory / 'data'}}}, delete: {{enabled: true}}}}",
        "http:",
        f"  addr: 127.0.0.1:{port}",
    ]
    if tls:
        lines.append(f"  tls: {{certificate: {tls[0]}, key: {tls[1]}}}")
    if password:
        (directory / "htpasswd").write_text(HTPASSWD)
        lines.append(f"auth: {{htpasswd: {{realm: tests, path: {directory / 'htpasswd'}}}}}")
    (directory / "config.yml").write_text("\n".join(lines) + "\n")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("REGISTRY_", "OTEL_"))}
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=log, env=environ
        )
    try:
        _wait_for_port(port, process, directory / "log")
        yield RegistryServer(f"127.0.0.1:{port}", directory)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"the registry did not start: {log.read_text(errors='replace')[-500:]}")


@contextmanager
def docker_daemon(directory: Path) -> Iterator[dict[str, str]]:
    """A docker daemon with its own storage and no network; the environment in which `docker` speaks to it."""
    if os.geteuid() != 0:
        pytest.skip("a docker daemon needs root")
    for tool in ("dockerd", "docker", "containerd"):
        if shutil.which(tool) is None:
            pytest.skip(f"not installed: {tool}")
    directory.mkdir(parents=True, exist_ok=True)
    address = f"unix://{directory}/socket"
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            [
                "dockerd", "--data-root", str(directory / "data"), "--exec-root", str(directory / "exec"),
                "--host", address, "--pidfile", str(directory / "pid"),
                "--iptables=false", "--bridge=none", "--storage-driver=vfs",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    environ = {**os.environ, "DOCKER_HOST": address, "DOCKER_CONFIG": str(directory / "config")}
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(["docker", "info"], env=environ, capture_output=True).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                said = (directory / "log").read_text(errors="replace")
                pytest.skip(f"a docker daemon does not start here: {said[-300:]}")
            time.sleep(0.1)
        yield environ
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def podman() -> Iterator[list[str]]:
    """The start of a podman command with its own storage, which is gone afterwards."""
    if shutil.which("podman") is None or shutil.which("runc") is None:
        pytest.skip("not installed: podman and runc")
    with tempfile.TemporaryDirectory(prefix="podman-") as short:  # podman wants fewer than 50 characters
        command = [
            "podman", "--root", f"{short}/root", "--runroot", f"{short}/run",
            "--storage-driver", "vfs", "--runtime", "runc",
        ]  # fmt: skip
        try:
            yield command
        finally:
            subprocess.run([*command, "rmi", "-a", "-f"], capture_output=True)
