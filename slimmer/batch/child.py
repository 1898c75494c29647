"""Starts the process that makes one image, and hears it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO

from slimmer.batch.model import Job, Outcome, Status, parse_outcome

# The same modules as here, wherever they were found: an archive of shiv's is on no path of a bare interpreter.
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from slimmer.batch.worker import main; main(int(sys.argv[2]))"
)
GRACE = 20.0  # seconds to clear away in
LAST = 400  # characters of what a process said last that are worth telling


@dataclass(frozen=True, slots=True)
class Death:
    """A process ended without an outcome. `number`: by which signal; 0: by itself, which would happen again."""

    number: int
    said: str

    @property
    def words(self) -> str:
        how = f"by {signal.Signals(self.number).name}" if self.number else "without an outcome"
        return f"the process that made it ended {how}" + (f": {self.said}" if self.said else "")


class Child:
    """One running process. `read` is called when `fileno` can be read; `end` must be called at last."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._began = time.monotonic()
        self._rest = b""
        self._outcome = ""
        environ = {**os.environ, **({"XDG_CACHE_HOME": job.cache} if job.cache else {})}
        paths = json.dumps([os.path.abspath(each) for each in sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-X", "utf8", "-c", START, paths, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environ,
            process_group=0,  # Ctrl-C on the terminal is for who started it, who then ends it
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stream:
            stream.write(job.dump().encode())

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read, within that time."""
        return bool(select.select([self], [], [], seconds)[0])

    def read(self) -> list[str] | None:
        """The stages that it told since; None: it told its last."""
        data = os.read(self.fileno(), 65536)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        stages = []
        for line in lines:
            value = json.loads(line)
            self._outcome = value.get("outcome", self._outcome)
            stages += [value["stage"]] if "stage" in value else []
        return stages

    def result(self) -> Outcome | Death:
        """What it came to, after its last word."""
        code = self._process.wait()
        if self._outcome:
            return parse_outcome(self._outcome)
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()
        return Death(max(0, -code), said[-LAST:])

    def lost(self, death: Death, attempts: int) -> Outcome:
        """The outcome of an image whose process died more often than is worth trying again."""
        job, words = self.job, death.words + (f", {attempts} times" if attempts > 1 else "")
        hint = "is there memory enough? `--jobs 1` makes one image at a time" if death.number == signal.SIGKILL else ""
        seconds = round(time.monotonic() - self._began, 3)
        return Outcome(
            job.name, job.key, Status.FAILED, 1, message=words, hint=hint, seconds=seconds, attempts=attempts
        )

    def ask_to_end(self) -> None:
        """SIGTERM: it clears away, and ends."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def end(self) -> None:
        """End it if it runs, and let go of everything."""
        if self._process.poll() is None:
            self.ask_to_end()
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()
