"""Runs that are ended at any moment: by SIGKILL, SIGTERM, SIGHUP or Ctrl-C, as root and as an ordinary user.

python -m tests.bench.kills [COUNT]      # default 200 for each of both

After each: the previous output is the one that stands, or the new one is, whole; no process and no mount is left;
but after SIGKILL no directory either, and what that leaves, one more run clears away (an empty beginning of one after
a minute).
"""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

from slimmer.pipeline.target import MARKER
from tests.running import NOBODY, readable_directory, small_root

HOUSE = Path(__file__).parents[2]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
STEP = 5 * len(SIGNALS)  # runs from one line to the next
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}


PATHS = os.pathsep.join([str(HOUSE), *(each for each in sys.path if each.endswith("-packages"))])


def interpreter(uid: int) -> str:
    """One that this user may start: a home's is often closed to others."""
    mine = os.path.realpath(sys.executable)
    closed = any(not os.stat(each).st_mode & stat.S_IXOTH for each in (mine, *map(str, Path(mine).parents)))
    return f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}" if uid and closed else sys.executable


class Victim:
    """A trace of a small root, made again and again over one output."""

    def __init__(self, place: Path, uid: int) -> None:
        self.place, self.uid = place, uid
        for name in ("work", "tmp", "state"):
            (place / name).mkdir()
            os.chown(place / name, uid, uid)

    def start(self) -> subprocess.Popen[bytes]:
        words: list[str | Path] = [
            interpreter(self.uid),
            "-m",
            "slimmer.cli.main",
            "trace",
            "-q",
            "--root",
            self.place / "root",
        ]
        words += ["--run", "sh -c 'ls /etc; sleep 0.2'", "--exec", "ls /usr", "-o", "out", "--archive", "a.tar"]
        env = {**os.environ, "PYTHONPATH": PATHS, "HOME": str(self.place / "state"), "CI": ""}
        env |= {"TMPDIR": str(self.place / "tmp"), "XDG_STATE_HOME": str(self.place / "state")}
        return subprocess.Popen(
            words,
            cwd=self.place / "work",
            env=env,
            user=self.uid,
            group=self.uid,
            extra_groups=[],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def shoot(self, number: signal.Signals, after: float) -> list[str]:
        """What is wrong after a run that a signal ends; nothing is as it should be."""
        before = {*self.leftovers()}  # of a killed one: this one may be ended before it comes to clearing away
        process = self.start()
        time.sleep(after)
        process.send_signal(number)
        said = process.communicate(timeout=120)[1].decode(errors="replace")
        wrong = []
        # Before it hears signals, and after it has ended, it dies of them as every program does.
        if process.returncode not in (0, CODES[number], -number):
            wrong.append(f"exit {process.returncode}: {said[-300:]}")
        if "Traceback" in said and process.returncode != -number:
            wrong.append(said[-600:])
        wrong += [f"mounted: {line}" for line in mounts(self.place)]
        wrong += [f"running: {line}" for line in running(self.place)]
        if number is not signal.SIGKILL:
            wrong += [f"left: {name}" for name in self.left(before)]
        return [*wrong, *self.damage()]

    def damage(self) -> list[str]:
        """What of the output is not whole."""
        out = self.place / "work/out"
        named = set((out / MARKER).read_text().split("\n")[1:-1]) if (out / MARKER).exists() else {"no output"}
        there = {str(each.relative_to(out)) for each in out.rglob("*") if each.is_file()} - {MARKER}
        return [f"not whole: {sorted(named ^ there)[:3]}"] if named != there else []

    def age(self) -> None:
        """As if all had been left an hour and more ago: what is young and empty is somebody's beginning."""
        long_ago = time.time() - 4000
        for place in ("work", "tmp"):
            for name in os.listdir(self.place / place):
                os.utime(self.place / place / name, (long_ago, long_ago))

    def left(self, before: set[str], patience: float = 5.0) -> list[str]:
        """What is there that was not before; the last of a run's processes may still be clearing away."""
        deadline = time.monotonic() + patience
        while (found := [name for name in self.leftovers() if name not in before]) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def leftovers(self) -> list[str]:
        work = [name for name in os.listdir(self.place / "work") if name not in ("out", "a.tar")]
        return [*work, *os.listdir(self.place / "tmp")]


def mounts(place: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(place) in line]


def running(place: Path, patience: float = 5.0) -> list[str]:
    """Processes that work below a place, and do not end by themselves."""
    deadline = time.monotonic() + patience
    while True:
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                try:
                    words = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if str(place) in words or os.readlink(each / "cwd").startswith(str(place)):
                        found.append(words)
                except OSError:
                    continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def kills(uid: int, count: int, seed: int = 0) -> list[str]:
    """Shoot at so many runs, at moments spread over all of one. Gives what went wrong."""
    chance = random.Random(seed)
    with readable_directory() as directory:
        small_root(directory / "root")
        subprocess.run(["chown", "-R", f"{uid}:{uid}", directory / "root"], check=True)
        victim = Victim(directory, uid)
        began = time.monotonic()
        process = victim.start()
        said = process.communicate(timeout=300)[1]
        if process.returncode:
            return [said.decode(errors="replace")]
        whole = time.monotonic() - began
        wrong = []
        for turn in range(count):
            number, after = SIGNALS[turn % len(SIGNALS)], whole * (turn + chance.random()) / count
            wrong += [f"{number.name} after {after:.2f} s: {each}" for each in victim.shoot(number, after)]
            if turn % STEP == STEP - 1 or turn == count - 1:
                told(uid, whole, after, turn + 1, count, wrong)
        victim.age()
        victim.start().communicate(timeout=300)
        return [*wrong, *(f"left for good: {name}" for name in victim.leftovers())]


def told(uid: int, whole: float, after: float, done: int, count: int, wrong: list[str]) -> None:
    """A line of what has been shot at so far, at once: a bench that is silent for minutes may as well hang."""
    each = ", ".join(f"{number.name} {sum(line.startswith(number.name) for line in wrong)}" for number in SIGNALS)
    print(f"uid {uid}: {done} of {count}, up to {after / whole:.0%} of a run; things wrong: {each}", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else 200
    failed = False
    for uid in (0, NOBODY):
        wrong = kills(uid, count)
        print(f"uid {uid}: {count} runs ended by signals, {len(wrong)} things wrong", flush=True)
        print("\n".join(wrong[:20]), flush=True)
        failed = failed or bool(wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
