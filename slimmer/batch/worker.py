"""The process that makes one image: a job on stdin, lines of JSON on stdout, everything else on stderr.

    {"stage": "running"}            what is being done, as often as that changes
    {"outcome": "…"}                the last line

A process for each: a recorder forks, makes namespaces and hears signals, which threads of one process cannot do
beside each other; and what ends it, be it the kernel for want of memory, ends one image.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from slimmer import __version__
from slimmer.batch.model import Job, Outcome, Status, parse_job
from slimmer.checks.challenge.model import Budget
from slimmer.errors import CheckFailed, Interrupted, SlimmerError
from slimmer.exercise.observer import Observer
from slimmer.image.layout import layout_in, read_layout
from slimmer.image.push import PushOptions, push
from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import trace
from slimmer.recipe import parse
from slimmer.registry import document
from slimmer.registry.client import Registry, RegistryOptions
from slimmer.registry.reference import Reference
from slimmer.report.gate import judge
from slimmer.report.output import open_output
from slimmer.report.policy import parse_policy
from tracer.errors import TracerError
from tracer.kernel.fork import die_with_parent
from tracer.runner import session_directory

TOLD = 3  # violations of a policy that an outcome names


def make(job: Job, stage: Callable[[str], None]) -> Outcome:
    """Make one image, hold it against its policy and push it. An error that is meant for a person is an outcome."""
    began = time.monotonic()
    try:
        with _directory(job) as directory:
            done = _made(job, directory, stage)
    except TracerError as error:
        status = Status.REFUSED if isinstance(error, CheckFailed) else Status.FAILED
        done = Outcome(job.name, job.key, status, error.exit_code, message=error.message, hint=error.hint)
    except MemoryError:
        done = Outcome(job.name, job.key, Status.FAILED, 1, message="out of memory")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        done = Outcome(job.name, job.key, Status.FAILED, 1, message=f"{place}{error.strerror or error}")
    return _timed(done, time.monotonic() - began)


def _timed(done: Outcome, seconds: float) -> Outcome:
    from dataclasses import replace

    return replace(done, seconds=round(seconds, 3))


@contextlib.contextmanager
def _directory(job: Job) -> Iterator[Path]:
    """Where the output goes; one that nobody asked for is gone afterwards."""
    if job.output:
        Path(job.output).parent.mkdir(parents=True, exist_ok=True)
        yield Path(job.output)
        return
    with session_directory.directory() as scratch:
        yield Path(scratch) / "out"


def _made(job: Job, directory: Path, stage: Callable[[str], None]) -> Outcome:
    if job.version != __version__:
        raise SlimmerError(
            f"this worker has slimmer {__version__}, and the batch was started by {job.version}",
            "install the same version on every machine: an image is to be the same wherever it is made",
        )
    recipe = parse(tomllib.loads(job.recipe), job.name)
    before = _image_id(directory)
    outputs = Outputs(directory, check=CheckMode(job.check), challenge=Budget(job.questions) if job.questions else None)
    result = trace(recipe, outputs, Progress(stage, Observer(stage=stage)))
    base = Outcome(
        job.name,
        job.key,
        Status.UNCHANGED if before == result.image.image_id else Status.BUILT,
        image_id=result.image.image_id,
        manifest_digest=result.image.manifest_digest,
        output=job.output,
        bytes=result.report.slim.bytes,
        check=result.verdict.word,
    )
    return _delivered(job, directory, base, recipe.source.insecure, stage)


def _delivered(job: Job, directory: Path, made: Outcome, insecure: bool, stage: Callable[[str], None]) -> Outcome:
    from dataclasses import replace

    if job.policy:
        violations = judge(open_output(str(directory)), parse_policy(tomllib.loads(job.policy))).violations
        if violations:
            told = "; ".join(f"{each.path}: {each.text}" if each.path else each.text for each in violations[:TOLD])
            more = f"; {len(violations) - TOLD} more" if len(violations) > TOLD else ""
            message = f"the policy is violated: {told}{more}"
            return replace(made, status=Status.REFUSED, exit_code=3, message=message, hint="it was not pushed")
    if not job.push:
        return made
    stage("pushing")
    pinned, sent = deliver(directory, job.push, insecure=insecure)
    return replace(made, status=Status.PUSHED if sent else Status.UNCHANGED, pushed=pinned)


def _image_id(directory: Path) -> str:
    """Of the output that lies there already; empty where none does."""
    with contextlib.suppress(SlimmerError):
        return read_layout(layout_in(directory)).config.digest
    return ""


def deliver(output: Path, reference: str, *, insecure: bool = False) -> tuple[str, bool]:
    """Push an output's image unless its name in the registry stands for this image id already.

    Gives the image's name by its digest there, and whether anything was sent. Raises SlimmerError.
    """
    layout = layout_in(output)
    image = read_layout(layout)
    target = Reference.parse(reference)
    options = RegistryOptions(insecure=insecure)
    home = f"{target.host}/{target.repository}"
    with Registry(target, options) as registry:
        there = registry.manifest_digest(target.name)
        if there is not None:
            known = document.load(registry.manifest(there).data, f"the manifest {there}")
            # An index, which has no config, is another thing than this image.
            if known.get("config").get("digest").text("") == image.config.digest:
                return f"{home}@{there}", False
    return f"{home}@{push(layout, target, PushOptions(options))}", True


def main(parent: int) -> None:
    """The process itself. `parent` is who started it: when that ends, this does, clearing away as for Ctrl-C."""
    _hear_signals()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever prints to stdout does not break the lines

    def tell(name: str, value: str) -> None:
        os.write(answers, json.dumps({name: value}).encode() + b"\n")

    job = parse_job(sys.stdin.buffer.read().decode())
    try:
        os.chdir(job.directory)
    except OSError:
        os.chdir("/")  # on another machine: what the recipe names relative to it is then said to be missing
    try:
        tell("outcome", make(job, lambda text: tell("stage", text)).dump())
    except KeyboardInterrupt:
        sys.exit(130)


def _hear_signals() -> None:
    owner = os.getpid()

    def end(number: int, frame: object) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        signal.signal(number, signal.SIG_IGN)  # one is enough: the clearing away is not to be disturbed
        raise Interrupted(number)

    signal.signal(signal.SIGTERM, end)
