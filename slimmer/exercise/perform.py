"""All runs of a recipe in one place: the fat root, or a slim one. Recorded or not."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise.drive import Observer, drive
from slimmer.exercise.identity import Account, account
from slimmer.exercise.model import RunOutcome
from slimmer.recipe import DEFAULT_PATH, Recipe, Run
from slimmer.root.model import FileType, Root
from tracer.aside import Saved
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
    """Do the recipe's runs one after another, each in a session of its own.

    Raises TracerError when one fails; if `tolerant`, the failure is in its outcome.
    """
    outcomes: list[RunOutcome] = []
    recordings: list[Recording] = []
    saved: dict[str, Saved | None] = {}
    recorder = explanation = ""
    for run in recipe.runs:
        command = command_of(place, run)
        with Session.start(session_options(place, recipe, command.identity, record=record)) as session:
            recorder, explanation = session.recorder, session.explanation
            outcome = drive(session, run, command, observer, shared=shared_network(place, recipe))
            if outcome.failure is not None and not tolerant:
                raise outcome.failure
            done = session.finish()
        outcomes.append(outcome)
        for path, state in done.saved.items():
            saved.setdefault(path, state)
        if done.recording is not None:
            lines = tuple(tuple(line.split()) for line in run.exec)
            recordings.append(replace(done.recording, commands=tuple(sorted({command.argv, *lines}))))
        if observer.interrupt.asked:
            break
    recording = merge_all(recordings) if recordings else None
    return Performed(tuple(outcomes), recording, saved, recorder, explanation)


def shared_network(place: Place, recipe: Recipe) -> bool:
    return place.in_place or recipe.sandbox.network is Network.HOST or place.isolation is Isolation.CHROOT


def command_of(place: Place, run: Run) -> Command:
    """What a run starts: its own command or the image's, in its environment, as its user. Raises UsageProblem."""
    argv = run.command or place.start.argv
    if not argv:
        raise UsageProblem("nothing to run", 'name the application with --run "app --serve"')
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
        isolation=place.isolation,
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
