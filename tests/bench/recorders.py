"""What recording costs: a table of ratios, each recorder against the same work untraced.

    python -m tests.bench.recorders [--runs 5] [--only NAME] [--files 20000] [--recorders notify,ptrace]

Runs are interleaved (every recorder once, then again) and medians compared, so that a busy machine hurts
all alike. For servers the ratio is of requests a second. Start-up of the recorder is
not in the ratios and stands below the table. What a stop
costs, and where it goes, stands in tracer.recorder.notify.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracer.errors import TracerError
from tracer.recorder import service
from tracer.recorder.protocol import Choice, ServiceOptions

OURS = {choice.value: choice for choice in (Choice.NOTIFY, Choice.PTRACE, Choice.FANOTIFY, Choice.FANOTIFY_NOTIFY)}
OTHERS = {
    "strace -f": ("strace", "strace -f -o {scratch}/strace -e trace=%file --"),
    "strace -f --seccomp-bpf": ("strace", "strace -f --seccomp-bpf -o {scratch}/strace -e trace=%file --"),
    "reprozip": ("reprozip", "reprozip trace --overwrite --dont-identify-packages -d {scratch}/reprozip"),
    # Its own filter crashes it on kernels of today; it packs what it saw as the command ends, which counts here.
    "care": ("care", "env PROOT_NO_SECCOMP=1 care -d -o {scratch}/care.tar"),
}
UNTRACED = "untraced"

IMPORTS = """import asyncio, json, http.server, email, xml.dom.minidom, unittest, sqlite3, ssl, decimal, ctypes
import logging.config, multiprocessing, concurrent.futures, urllib.request, zipfile, tarfile, csv, argparse
import difflib, pydoc, doctest"""
STATS = """import os, sys
names = open(sys.argv[1]).read().split("\\n")
stat = os.stat
for i in range(int(sys.argv[2])): stat(names[i % len(names)])"""
OPENS = """import os, sys
names = open(sys.argv[1]).read().split("\\n")
for i in range(int(sys.argv[2])): os.stat(names[i % len(names)]); os.close(os.open(names[i % len(names)], 0))"""
LOOP = "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done"


@dataclass(frozen=True, slots=True)
class Work:
    """Something to run. With `load` it is a server on `port`, and that command prints requests a second."""

    name: str
    needs: tuple[str, ...]
    command: str
    load: str = ""
    pattern: str = ""
    port: int = 0


def works(scratch: Path, stats: int) -> list[Work]:
    """All of them; `scratch` holds what `prepare` made."""
    python = shlex.quote(sys.executable)
    npm = shutil.which("npm") or "npm"
    return [
        Work("python imports", (), f"{python} -c {shlex.quote(IMPORTS)}"),
        Work("node (npm help)", ("node", "npm"), f"node {npm} help"),
        Work("500 processes", (), f"sh -c {shlex.quote(LOOP)}"),
        Work("git status", ("git",), f"git -C {scratch}/tree status --porcelain"),
        Work("find", (), "find /usr/share -newer /etc/passwd -name no-such"),
        Work(f"{stats:,} stats", (), f"{python} -c {shlex.quote(STATS)} {scratch}/names {stats}"),
        Work("20,000 stat + open", (), f"{python} -c {shlex.quote(OPENS)} {scratch}/names 20000"),
        Work(
            "nginx, a file a request",
            ("nginx", "wrk"),
            f"nginx -p {scratch}/nginx -c {scratch}/nginx/nginx.conf",
            "wrk -t1 -c8 -d2 http://127.0.0.1:8191/file",
            r"Requests/sec:\s+([\d.]+)",
            8191,
        ),
        Work(
            "redis",
            ("redis-server", "redis-benchmark"),
            f"redis-server --port 8192 --save '' --dir {scratch}",
            "redis-benchmark -p 8192 -q -n 60000 -t get",
            r"GET: ([\d.]+) requests per second",
            8192,
        ),
    ]


def prepare(scratch: Path, files: int) -> None:
    """A git repository with many files, a list of their names, a site."""
    tree = scratch / "tree"
    names = []
    for i in range(files):
        place = tree / f"d{i % 97}" / f"e{i % 89}"
        if i < 97 * 89:
            place.mkdir(parents=True, exist_ok=True)
        name = place / f"file{i}.txt"
        name.write_text(str(i))
        names.append(str(name))
    (scratch / "names").write_text("\n".join(names))
    if shutil.which("git"):
        for command in ("init -q", "add .", "-c user.name=a -c user.email=b commit -qm all"):
            subprocess.run(["git", "-C", str(tree), *shlex.split(command)], check=True)
    site = scratch / "nginx"
    (site / "html").mkdir(parents=True)
    (site / "html/file").write_text("x" * 1000)
    (site / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {site}/pid; error_log {site}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {site}/t1; proxy_temp_path {site}/t2; "
        f"fastcgi_temp_path {site}/t3; uwsgi_temp_path {site}/t4; scgi_temp_path {site}/t5;\n"
        f"server {{ listen 127.0.0.1:8191; root {site}/html; }} }}\n"
    )


@contextlib.contextmanager
def running(argv: Sequence[str], recorder: str, starts: dict[str, list[float]]) -> Iterator[tuple[int, float]]:
    """A started command (its process id and the moment it started), killed and its recording taken at the end."""
    recording: service.RecorderProcess | None = None
    if recorder in OURS:
        begin = time.perf_counter()
        recording = service.start(ServiceOptions(choice=OURS[recorder]))
        starts.setdefault(recorder, []).append(time.perf_counter() - begin)
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for target in (0, 1, 2):
                os.dup2(null, target)
            if recording is not None:
                recording.channel.arm()
            os.execvp(argv[0], list(argv))
        finally:
            os._exit(99)
    try:
        yield pid, started
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if recording is not None:
            recording.finish()


def measure(work: Work, recorder: str, scratch: Path, starts: dict[str, list[float]]) -> float:
    """Seconds for the work; for a server, seconds a request. Raises TracerError when it fails."""
    argv = shlex.split(work.command)
    if recorder in OTHERS:
        argv = [*shlex.split(OTHERS[recorder][1].format(scratch=scratch)), *argv]
    with running(argv, recorder, starts) as (pid, started):
        if not work.load:
            status = os.waitpid(pid, 0)[1]
            taken = time.perf_counter() - started
            if status:
                raise TracerError(f"{work.name} under {recorder} gave {os.waitstatus_to_exitcode(status)}")
            return taken
        _await(work.port)
        done = subprocess.run(shlex.split(work.load), capture_output=True, text=True)
        found = re.findall(work.pattern, done.stdout.replace("\r", "\n"))
        if not found:
            raise TracerError(f"{work.name} under {recorder}: no rate in {done.stdout[-300:]!r}{done.stderr[-300:]!r}")
        return 1 / float(found[-1])


def _await(port: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TracerError(f"nothing answers on port {port}")


def available(recorder: str) -> str:
    """Why a recorder is not measured; empty when it is."""
    if recorder in OTHERS:
        return "" if shutil.which(OTHERS[recorder][0]) else "not installed"
    if recorder in OURS:
        try:
            service.start(ServiceOptions(choice=OURS[recorder])).close()
        except TracerError as error:
            return error.message
    return ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="works whose name holds this")
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--stats", type=int, default=200000)
    parser.add_argument("--recorders", default="", help="comma-separated")
    options = parser.parse_args()
    wanted = options.recorders.split(",") if options.recorders else [*OURS, *OTHERS]
    columns = [UNTRACED]
    for recorder in wanted:
        why = available(recorder)
        if why:
            print(f"left out: {recorder}: {why}", file=sys.stderr)
        else:
            columns.append(recorder)
    print("| work | seconds untraced | " + " | ".join(columns[1:]) + " |")
    print("| --- " * (len(columns) + 1) + "|")
    starts: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="recorders-bench-") as place:
        scratch = Path(place)
        prepare(scratch, options.files)
        for work in works(scratch, options.stats):
            if options.only not in work.name:
                continue
            missing = [tool for tool in work.needs if shutil.which(tool) is None]
            if missing:
                print(f"left out: {work.name}: not installed: {', '.join(missing)}", file=sys.stderr)
                continue
            print(row(work, columns, options.runs, scratch, starts), flush=True)
    for recorder, times in starts.items():
        print(f"\nstart-up of {recorder}: {statistics.median(times) * 1000:.1f} ms", end="")
    print()


def row(work: Work, columns: Sequence[str], runs: int, scratch: Path, starts: dict[str, list[float]]) -> str:
    """One line of the table."""
    times: dict[str, list[float]] = {column: [] for column in columns}
    failed: dict[str, str] = {}
    for _ in range(runs):
        for column in columns:
            if column in failed:
                continue
            try:
                times[column].append(measure(work, column, scratch, starts))
            except TracerError as error:
                failed[column] = "failed"
                print(error, file=sys.stderr)
    base = statistics.median(times[UNTRACED])
    cells = [
        failed.get(column) or f"{statistics.median(times[column]) / base:.2f}"
        for column in columns
        if column != UNTRACED
    ]
    shown = f"{1 / base:,.0f}/s" if work.load else f"{base:.3f}"
    return f"| {work.name} | {shown} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
