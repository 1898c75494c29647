"""A recorder through storms, for as long as is asked: what it holds stays flat, and no stop is lost.

    python -m tests.bench.soak [--recorders notify,ptrace,fanotify] [--seconds 1800] [--stops 1000000] [--live 10000]

A round is one traced command that does every kind of storm once: executions, threads (some of which execute), a bounded
fork bomb, signals in the middle of calls, process numbers used again at once by processes with other directories, and
many processes alive together. Beside it a daemon lives through half of all rounds, under a listener of its own. Names
repeat from round to round, so whatever grows is the recorder's own. At the end every name must be in the recording.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tracer.recorder import service
from tracer.recorder.protocol import Choice, ServiceOptions
from tracer.recording import Recording

NAMES = 200  # of each storm
THREADS = 16
BOMB = 8  # generations, of two each
FEW = 20  # live processes in a round that is not about them
LIVE_EVERY = 8  # rounds
_LAST = "/proc/sys/kernel/ns_last_pid"
_GROWN = 1.2  # times what it was after the first tenth, and this much more, is not flat
_SLACK = 8 << 20


# -- the storms, in traced processes; each gives how many calls it made at least


def _look(kind: str, number: int) -> int:
    with contextlib.suppress(OSError):
        os.stat(f"/no/{kind}/{number % NAMES}")
    return 1


def _child(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def _executions(scale: int) -> int:
    for number in range(scale):
        pid = os.posix_spawn("/usr/bin/test", ["test", "-e", f"/no/exec/{number % NAMES}"], {})
        os.waitpid(pid, 0)
    return 2 * scale


def _threads(scale: int) -> int:
    def many(first: int) -> None:
        for number in range(first, scale * THREADS, THREADS):
            _look("thread", number)

    started = [threading.Thread(target=many, args=(first,)) for first in range(THREADS)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()

    def execute() -> None:
        threads = [threading.Thread(target=many, args=(first,)) for first in range(3)]
        threads.append(threading.Thread(target=os.execv, args=("/usr/bin/test", ["test", "-e", "/no/thread/exec"])))
        for thread in threads:
            thread.start()
        time.sleep(5)  # the execution ends it

    os.waitpid(_child(execute), 0)
    return scale * THREADS


def _bomb(generations: int, number: int = 1) -> int:
    _look("bomb", number)
    if generations:
        pids = [_child(lambda n=each: _bomb(generations - 1, n)) for each in (2 * number, 2 * number + 1)]  # type: ignore[misc]
        for pid in pids:
            os.waitpid(pid, 0)
    return 1 << generations + 1


def _signals(scale: int) -> int:
    hit = [0]
    over: list[bool] = []

    def handler(_number: int, _frame: object) -> None:
        hit[0] += _look("signal", 0)
        if not over:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)  # not before: a slow recorder would nest them without end

    former = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    for number in range(scale):
        _look("interrupted", number)
    over.append(True)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)
    return scale + hit[0]


def _reused(scale: int) -> int:
    """Two processes with one number, one after the other, in two directories."""

    def inside(directory: str, number: int) -> None:
        os.chdir(directory)
        with contextlib.suppress(OSError):
            os.stat(f"no-{directory[1:]}-{number % NAMES}")

    for number in range(scale):
        first = _child(lambda n=number: inside("/usr", n))  # type: ignore[misc]
        os.waitpid(first, 0)
        with contextlib.suppress(OSError), open(_LAST, "w") as stream:
            stream.write(str(first - 1))
        os.waitpid(_child(lambda n=number: inside("/etc", n)), 0)  # type: ignore[misc]
    return 4 * scale


def _alive(count: int) -> int:
    """All there at once: each looks when it is born, and again when all are."""
    go, told = os.pipe()

    def wait(number: int) -> None:
        os.close(told)
        _look("alive", number)
        os.read(go, 1)
        _look("again", number)

    pids = [_child(lambda n=number: wait(n)) for number in range(count)]  # type: ignore[misc]
    os.close(told)
    for pid in pids:
        os.waitpid(pid, 0)
    os.close(go)
    return 2 * count


def _files(scale: int, scratch: str) -> int:
    """What fanotify sees too."""
    for number in range(scale):
        with open(f"{scratch}/file{number % NAMES}", "rb") as stream:
            stream.read(1)
    return scale


def round_of_storms(scale: int, live: int, scratch: str) -> int:
    return (
        _executions(scale)
        + _threads(scale * 10)
        + _bomb(min(BOMB, scale.bit_length() - 1))
        + _signals(scale * 100)
        + _reused(scale)
        + _alive(live)
        + _files(scale * 4, scratch)
    )


def daemon() -> None:
    """Until its standard input ends."""
    number = 0
    while not select.select([0], [], [], 0.02)[0]:
        number += _look("daemon", number)


def names(scale: int, choice: Choice, scratch: str) -> set[str]:
    """What rounds of this scale must leave in a recording."""
    files = {f"{scratch}/file{number}" for number in range(min(NAMES, scale * 4))}
    if choice is Choice.FANOTIFY:
        return files
    few = range(min(NAMES, scale))
    looked = {f"/no/{kind}/{number}" for kind in ("exec", "thread", "interrupted") for number in few}
    bomb = {f"/no/bomb/{number % NAMES}" for number in range(1, 2 << min(BOMB, scale.bit_length() - 1))}
    alive = {f"/no/{kind}/{number}" for kind in ("alive", "again") for number in range(FEW)}
    reused = {f"/{place}/no-{place}-{number}" for place in ("usr", "etc") for number in few}
    return files | looked | bomb | alive | reused | {"/no/thread/exec"}


# -- the driver


@dataclass(frozen=True, slots=True)
class Soaked:
    """What came of it. `resident` and `descriptors` are the recorder's, after each round."""

    seconds: float
    stops: int
    rounds: int
    resident: tuple[int, ...]
    descriptors: tuple[int, ...]
    recording: Recording

    def flat(self) -> bool:
        """Whether the end is as the beginning was, once it was warm."""
        tenth = max(1, len(self.resident) // 10)
        warm = statistics.median(self.resident[tenth : 2 * tenth] or self.resident)
        return statistics.median(self.resident[-tenth:]) <= _GROWN * warm + _SLACK


def soak(choice: Choice, scratch: Path, seconds: float, stops: int, scale: int, live: int) -> Soaked:
    """Rounds until both have been reached; every eighth has `live` processes at once. Raises TracerError."""
    for number in range(NAMES):
        (scratch / f"file{number}").write_text("x")
    running = service.start(ServiceOptions(choice=choice))
    begin = time.monotonic()
    done = rounds = 0
    resident: list[int] = []
    descriptors: list[int] = []
    try:
        while time.monotonic() - begin < seconds or done < stops:
            many = live if rounds % LIVE_EVERY == LIVE_EVERY // 2 else min(FEW, live)
            with _daemon(running) if rounds % 2 else contextlib.nullcontext():
                done += _round(running, scale, many, str(scratch))
            rounds += 1
            resident.append(_resident(running.pid))
            descriptors.append(len(os.listdir(f"/proc/{running.pid}/fd")))
        taken = time.monotonic() - begin
        recording = running.finish()
    finally:
        running.close()
    return Soaked(taken, done, rounds, tuple(resident), tuple(descriptors), recording)


def _round(running: service.RecorderProcess, scale: int, live: int, scratch: str) -> int:
    pid, _, reader = _start(running, "--storms", str(scale), str(live), scratch)
    with open(reader, "rb") as stream:
        answer = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status or not answer.strip().isdigit():
        raise RuntimeError(f"a round ended with {status}: {answer!r}")
    return int(answer)


@contextlib.contextmanager
def _daemon(running: service.RecorderProcess) -> Iterator[None]:
    pid, writer, reader = _start(running, "--daemon")
    try:
        yield
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(pid, 0)


def _start(running: service.RecorderProcess, *arguments: str) -> tuple[int, int, int]:
    """A recorded command of this module: its number, and the ends of its standard input and output."""
    inner, writer = os.pipe()
    reader, outer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(inner, 0)
            os.dup2(outer, 1)
            running.channel.arm()
            argv = [sys.executable, "-m", "tests.bench.soak", *arguments]
            os.execve(argv[0], argv, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        finally:
            os._exit(99)
    os.close(inner)
    os.close(outer)
    if arguments[0] != "--daemon":
        os.close(writer)
    return pid, writer, reader


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def main() -> int:
    """Print a line for each recorder; 1 when one grew or lost something."""
    if sys.argv[1:2] == ["--storms"]:
        scale, live, scratch = sys.argv[2:5]
        print(round_of_storms(int(scale), int(live), scratch))
        return 0
    if sys.argv[1:2] == ["--daemon"]:
        daemon()
        return 0
    import tempfile

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recorders", default="notify,ptrace,fanotify")
    parser.add_argument("--seconds", type=float, default=1800, help="of each, at least")
    parser.add_argument("--stops", type=int, default=1_000_000, help="of each, at least")
    parser.add_argument("--live", type=int, default=10_000, help="processes at once, every eighth round")
    options = parser.parse_args()
    print("| recorder | seconds | stops ≥ | rounds | MB warm → last, most | descriptors first → last | lost | flat |")
    print("| --- " * 8 + "|")
    failed = 0
    for name in options.recorders.split(","):
        choice = Choice(name)
        with tempfile.TemporaryDirectory(prefix="soak-") as place:
            soaked = soak(choice, Path(place), options.seconds, options.stops, NAMES, options.live)
            lost = names(NAMES, choice, place) - {each.path for each in soaked.recording.accesses}
        failed |= bool(lost) or not soaked.flat() or bool(soaked.recording.incomplete)
        mega = [each / 1e6 for each in soaked.resident]
        print(
            f"| {name} | {soaked.seconds:.0f} | {soaked.stops:,} | {soaked.rounds} "
            f"| {mega[len(mega) // 10]:.1f} → {mega[-1]:.1f}, {max(mega):.1f} "
            f"| {soaked.descriptors[0]} → {soaked.descriptors[-1]} "
            f"| {len(lost)} | {'yes' if soaked.flat() else 'NO'} |",
            flush=True,
        )
        for each in (*sorted(lost)[:20], *soaked.recording.incomplete):
            print(f"  lost: {each}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
