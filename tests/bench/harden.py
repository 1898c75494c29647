"""Policies: what each level leaves of the runtimes' default, proved in podman; and what watching every call costs.

The watcher stops at every call that not every profile allows. Beside it strace -f -c, which stops at all.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from slimmer.harden.seccomp import Level, listening
from tests import hardened
from tracer.recorder.protocol import CallFilter
from tracer.session import Command, Session, SessionOptions

ROUNDS = 3
IMPORTS = "import asyncio, json, sqlite3, ssl, unittest, xml.dom.minidom, http.server, email.message, decimal"
SOCKETS = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
def serve():
    while True:
        one, _ = server.accept()
        with one: one.sendall(one.recv(100))
threading.Thread(target=serve, daemon=True).start()
for _ in range(2000):
    with socket.create_connection(server.getsockname()) as other:
        other.sendall(b"x"); other.recv(1)
"""
PROCESSES = "for i in $(seq 300); do /bin/true; done"
WORK = {
    "python imports": (sys.executable, "-I", "-c", IMPORTS),
    "2,000 connections": (sys.executable, "-I", "-c", SOCKETS),
    "300 processes": ("/bin/sh", "-c", PROCESSES),
}


def seconds(argv: tuple[str, ...], calls: CallFilter | None) -> float:
    """Of one run in a session over the live root."""
    with Session.start(SessionOptions(root="/", record=False, calls=calls)) as session:
        null = os.open(os.devnull, os.O_RDWR)
        start = time.perf_counter()
        process = session.spawn(Command(argv, {"PATH": "/usr/bin:/bin"}), stdout=null, stderr=null)
        process.wait(600)
        took = time.perf_counter() - start
        os.close(null)
        session.stop()
        session.finish()
    return took


def strace(argv: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run(["strace", "-f", "-c", "-o", os.devnull, *argv], capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    heard = CallFilter(listening(platform.machine()))
    print("| work | plain | calls watched | strace -f -c |\n| --- | --- | --- | --- |")
    for name, argv in WORK.items():
        plain, told, traced = [], [], []
        for _ in range(ROUNDS):
            plain.append(seconds(argv, None))
            told.append(seconds(argv, heard))
            if shutil.which("strace"):
                traced.append(strace(argv))
        base = statistics.median(plain)
        beside = f"{statistics.median(traced) / base:.2f}" if traced else "-"
        print(f"| {name} | {base:.2f} s | {statistics.median(told) / base:.2f} | {beside} |", flush=True)
    print("\n| service | level | calls allowed | refused of the default |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="slimmer-bench-") as place:
        for service in hardened.SERVICES:
            out = hardened.traced(service, Path(place))
            for level in Level:
                found = hardened.harden(out, level)
                hardened.answers_in_podman(service, out)
                allowed, refused = len(found["allowed"]), len(found["refused"])
                share = refused / (allowed + refused)
                print(f"| {service.name} | {level.value} | {allowed} | {share:.0%} |", flush=True)


if __name__ == "__main__":
    main()
