"""All runs of a recipe in one place: the fat root, or a slim one. Recorded or not."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise.drive import Observer, drive, signal_number
from slimmer.exercise.identity import Account, account
from slimmer.exercise.model import RunOutcome
from slimmer.recipe import DEFAULT_PATH, Recipe, Run
from slimmer.root.model import FileType, Root
from tracer.aside import Saved
from tracer.errors import TracerError
from tracer.recording import Recording, merge_all
from tracer.session import Bind, Command, Identity, Isolation, Network, Session, SessionOptions


@dataclass(frozen=True, slots=True)
class Start:
    """How the source image says that it is started; the recipe's runs override it."""

    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    stop_signal: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs take place: `directory` is run, `root` is how it is read."""

    directory: str
    root: Root
    start: Start
    in_place: bool = False
    architecture: str = ""  # of a foreign root
    isolation: Isolation = Isolation.AUTO
    saved: str = ""  # in place: a directory for what runs change, as it was before; it outlives the sessions


@dataclass(frozen=True, slots=True)
class Performed:
    """What all runs gave."""

    outcomes: tuple[RunOutcome, ...]
    recording: Recording | None
    saved: Mapping[str, Saved | None]
    recorder: str
    explanation: str

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(problem for outcome in self.outcomes for problem in outcome.problems)


def perform(
    place: Place, recipe: Recipe, observer: Observer, *, record: bool = True, tolerant: bool = False
) -> Performed:
    """Do the recipe's runs, each in a session of its own: side by side where nothing is shared, else in turn.

    Raises TracerError when one fails; if `tolerant`, the failure is in its outcome.
    """
    runs = [_stopped_as_said(place, run) for run in recipe.runs]
    jobs = [_Job(run, command_of(place, run)) for run in runs]
    alone = in_turn(place, recipe)
    step = 1 if alone else BESIDE
    done: list[_Done] = []
    for at in range(0, len(jobs), step):
        with contextlib.ExitStack() as sessions:
            # All sessions are made before the first thread is: they fork.
            batch = []
            for job in jobs[at : at + step]:
                options = session_options(place, recipe, job.command.identity, record=record)
                batch.append((job, sessions.enter_context(Session.start(options))))
            done += _together(batch, observer, shared_network(place, recipe))
        failure = next((each.outcome.failure for each in done if each.outcome.failure is not None), None)
        if failure is not None and not tolerant:
            raise failure
        if any(each.outcome.interrupted for each in done):
            break
    saved: dict[str, Saved | None] = {}
    for each in done:
        for path, state in each.saved.items():
            saved.setdefault(path, state)
    recordings = [each.recording for each in done if each.recording is not None]
    explanation = done[-1].explanation if done else ""
    if len(jobs) > 1 and alone:
        explanation = "; ".join(filter(None, [explanation, f"the runs went one after another: {alone}"]))
    return Performed(
        tuple(each.outcome for each in done),
        merge_all(recordings) if recordings else None,
        saved,
        done[-1].recorder if done else "",
        explanation,
    )


def _stopped_as_said(place: Place, run: Run) -> Run:
    """The run with the image's own STOPSIGNAL, as a container runtime sends it, when it names no other."""
    said = place.start.stop_signal
    return replace(run, stop_signal=said) if said and run.stop_signal == Run().stop_signal else run


BESIDE = 4  # runs at the same time: more would only make each other's readiness late


def in_turn(place: Place, recipe: Recipe) -> str:
    """Why runs cannot be side by side; empty when they can: each has an overlay and a loopback of its own."""
    if place.in_place:
        return "they share the live root"
    if shared_network(place, recipe):
        return "they share the host's network"
    if any(each.writable for each in binds(recipe.sandbox.mounts, recipe.sandbox.secrets)):
        return "they share a writable mount"
    return ""


@dataclass(frozen=True, slots=True)
class _Done:
    """One run, over."""

    outcome: RunOutcome
    recording: Recording | None
    saved: Mapping[str, Saved | None]
    recorder: str
    explanation: str


@dataclass(frozen=True, slots=True)
class _Job:
    """One run to do."""

    run: Run
    command: Command

    def go(self, session: Session, observer: Observer, shared: bool) -> _Done:
        """Do it in a session. A failure is in the outcome."""
        outcome = drive(session, self.run, self.command, observer, shared=shared)
        recording: Recording | None = None
        saved: Mapping[str, Saved | None] = {}
        try:
            found = session.finish()
            recording, saved = found.recording, dict(found.saved)
        except TracerError:
            if outcome.failure is None:  # else the first thing that went wrong is the one to tell
                raise
        if recording is not None:
            lines = {tuple(line.split()) for line in self.run.exec}
            recording = replace(recording, commands=tuple(sorted({self.command.argv, *lines})))
        return _Done(outcome, recording, saved, session.recorder, session.explanation)


def _together(batch: Sequence[tuple[_Job, Session]], observer: Observer, shared: bool) -> list[_Done]:
    if len(batch) == 1:
        return [batch[0][0].go(batch[0][1], observer, shared)]
    with ThreadPoolExecutor(len(batch), thread_name_prefix="run") as pool:
        going = [pool.submit(job.go, its, observer, shared) for job, its in batch]
        try:
            return [each.result() for each in going]
        except BaseException:  # Ctrl-C again, or one that raised: the others must not go on for as long as they may
            for _, its in batch:
                its.close()
            raise


def shared_network(place: Place, recipe: Recipe) -> bool:
    return place.in_place or recipe.sandbox.network is Network.HOST or place.isolation is Isolation.CHROOT


def command_of(place: Place, run: Run) -> Command:
    """What a run starts: its own command or the image's, in its environment, as its user. Raises UsageProblem."""
    argv = run.command or place.start.argv
    if not argv:
        raise UsageProblem("nothing to run", 'name the application with --run "app --serve"')
    signal_number(run.stop_signal)
    who = who_runs(place, run)
    env = environment(place, run, who)
    workdir = posixpath.normpath(posixpath.join("/", run.workdir or place.start.workdir or "/"))
    found = place.root.find(workdir)
    if found is None or found.type is not FileType.DIRECTORY:
        raise UsageProblem(f"the working directory {workdir} is not a directory in {place.root.name}")
    return Command(argv, env, workdir, who.identity)


def who_runs(place: Place, run: Run) -> Account:
    user = place.start.user if run.user is None else run.user
    if place.in_place and not user:
        return Account(
            Identity(os.geteuid(), os.getegid(), tuple(sorted(set(os.getgroups()) - {os.getegid()}))),
            os.environ.get("HOME", "/"),
        )
    return account(place.root, user)


def environment(place: Place, run: Run, who: Account) -> dict[str, str]:
    """As a container runtime sets it; in place what the caller has, for the developer's own shell is the set-up."""
    base: dict[str, str] = dict(os.environ) if place.in_place else {"PATH": DEFAULT_PATH, "HOME": who.home}
    return {**base, **place.start.env, **run.env}


def session_options(
    place: Place, recipe: Recipe, identity: Identity | None = None, *, record: bool = True
) -> SessionOptions:
    """How a session in a place is held. `identity` is who mostly runs."""
    return SessionOptions(
        root=place.directory,
        in_place=place.in_place,
        record=record,
        recorder=recipe.sandbox.recorder,
        network=Network.HOST if place.in_place else recipe.sandbox.network,
        binds=() if place.in_place else binds(recipe.sandbox.mounts, recipe.sandbox.secrets),
        architecture=place.architecture,
        qemu=recipe.source.qemu,
        identity=identity or Identity(),
        fresh_tmp=not place.root.children("/tmp"),  # what lies there may be the application
        isolation=place.isolation,
        saved=place.saved,
    )


def binds(mounts: Sequence[str], secrets: Sequence[str]) -> tuple[Bind, ...]:
    """--mount SOURCE:TARGET[:rw] and --secret SOURCE:TARGET. Raises UsageProblem."""
    found = []
    for text in (*mounts, *secrets):
        source, _, rest = text.partition(":")
        target, _, mode = rest.partition(":")
        if not source or not target.startswith("/") or mode not in ("", "ro", "rw"):
            raise UsageProblem(f"{text!r} is not SOURCE:TARGET[:rw]", "both are paths, TARGET absolute in the root")
        if not os.path.exists(source):
            raise SlimmerError(f"--mount {text}: {source} does not exist")
        found.append(Bind(os.path.abspath(source), target, mode == "rw"))
    return tuple(found)
