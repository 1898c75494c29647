"""All runs of a recipe in one place: the fat root, or a slim one. Recorded or not."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from slimmer.errors import IncompleteRecording, SlimmerError, UsageProblem
from slimmer.exercise.advice import advice
from slimmer.exercise.default import MOMENT
from slimmer.exercise.drive import drive
from slimmer.exercise.identity import Account, account
from slimmer.exercise.listening import listeners
from slimmer.exercise.model import RunOutcome
from slimmer.exercise.observer import Observer
from slimmer.exercise.place import Place
from slimmer.exercise.readiness import refuse_port
from slimmer.exercise.reset import reset
from slimmer.exercise.services import Beside, begin, hosts, run_of
from slimmer.exercise.withheld import require_credentials
from slimmer.recipe import DEFAULT_PATH, Recipe, Run, environment_of
from slimmer.recipe_checks import known_signal, read_published, signal_number, size_of
from slimmer.root.container import process_of
from slimmer.root.model import FileType
from tracer.errors import TracerError
from tracer.options import HOSTNAME
from tracer.recording import Recording, merge_all
from tracer.runner.before_image import BeforeImage
from tracer.session import Bind, Command, Identity, Init, Isolation, Network, PortForward, Session, SessionOptions


@dataclass(frozen=True, slots=True)
class Performed:
    """What all runs gave."""

    outcomes: tuple[RunOutcome, ...]
    recording: Recording | None
    saved: Mapping[str, BeforeImage | None]
    recorder: str
    explanation: str
    calls: frozenset[tuple[int, int]] = frozenset()  # where a place asks for them: audit architecture and number

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(problem for outcome in self.outcomes for problem in outcome.problems)


def perform(
    place: Place, recipe: Recipe, observer: Observer, *, record: bool = True, like: Performed | None = None
) -> Performed:
    """Do the recipe's runs, each in a session of its own: side by side where nothing is shared, else in turn.

    Raises TracerError when one fails. `like` is the same exercise done before, for a comparison: then a
    failure is in its outcome, patience is measured by what that took, and Ctrl-C aborts at once.
    """
    require_credentials(recipe)
    reset(recipe, observer)
    runs = [_stopped_as_said(place, run) for run in recipe.runs]
    if like is not None:
        known = (*like.outcomes, *([None] * len(runs)))
        runs = [_as_before(run, outcome) for run, outcome in zip(runs, known, strict=False)]
    jobs = [
        _Job(
            run,
            _named(command_of(place, run), recipe.sandbox.hostname),
            like is None,
            _health(place, recipe, run),
            place.start.ports if like is None and run.default_exercise else None,
        )
        for run in runs
    ]
    alone = in_turn(place, recipe)
    step = 1 if alone else BESIDE
    done: list[_Done] = []
    for at in range(0, len(jobs), step):
        observer.interrupt.asked = False  # one Ctrl-C ends one run
        with contextlib.ExitStack() as sessions:
            # All sessions are made before the first thread is: they fork.
            batch = []
            for job in jobs[at : at + step]:
                options = session_options(place, recipe, job.command.identity, record=record)
                session = sessions.enter_context(Session.start(options))
                publish(session, recipe, shared_network(place, recipe))
                beside = []
                for service in _beside(place, recipe, session):
                    sessions.enter_context(service.session)
                    beside.append(service)
                taken = listeners(options.join) if options.join else frozenset()
                batch.append((replace(job, beside=tuple(beside), taken=taken), session))
            done += _together(batch, observer, shared_network(place, recipe))
        recordings = [each.recording for each in done if each.recording is not None]
        if any(each.incomplete for each in recordings):
            raise IncompleteRecording(merge_all(recordings))
        failure = next((each.outcome.failure for each in done if each.outcome.failure is not None), None)
        if failure is not None and like is None:
            raise _advised(failure, [each.outcome for each in done], recipe)
    saved: dict[str, BeforeImage | None] = {}
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
        frozenset().union(*(each.calls for each in done)),
    )


def _beside(place: Place, recipe: Recipe, session: Session) -> Iterator[Beside]:
    """A session for each service, in the network of the application's. Raises TracerError."""
    for service, where in place.services:
        run = run_of(service)
        command = command_of(where, run)
        sandbox = replace(recipe.sandbox, mounts=service.mounts, secrets=(), init=Init.AUTO)
        wanted = session_options(where, replace(recipe, sandbox=sandbox), command.identity, record=False)
        wanted = replace(wanted, hostname=service.name)
        yield Beside(service, Session.start(wanted, session), command, service.health or where.start.health)


def _advised(failure: TracerError, outcomes: Sequence[RunOutcome], recipe: Recipe) -> TracerError:
    """The same failure, with what to do where its end tells what it lacked."""
    said = next(filter(None, (advice(each, recipe) for each in outcomes if each.failure is failure)), "")
    return SlimmerError(failure.message, f"{failure.hint}\n  {said}" if failure.hint else said) if said else failure


def _health(place: Place, recipe: Recipe, run: Run) -> tuple[str, ...]:
    """HEALTHCHECK is a part of what the image does, so it is asked where the image itself is run."""
    own = not run.command or run.command == place.start.argv
    return place.start.health if own and recipe.image.healthcheck else ()


def _stopped_as_said(place: Place, run: Run) -> Run:
    """The run with the image's own STOPSIGNAL, as a container runtime sends it, when it names no other."""
    said = place.start.stop_signal
    return replace(run, stop_signal=said) if run.stop_signal == Run().stop_signal and known_signal(said) else run


def _as_before(run: Run, before: RunOutcome | None) -> Run:
    """The run with the patience that another one needed: a slow machine is not a failed image."""
    if before is None:
        return run
    patience = max(run.ready_timeout, PATIENCE * before.ready_after)
    seconds = MOMENT if before.interrupted and run.seconds is None else run.seconds
    return replace(run, ready_timeout=patience, seconds=seconds)


PATIENCE = 5.0  # times as long as the first run took to be ready
BESIDE = 4  # runs at the same time: more would only make each other's readiness late


def in_turn(place: Place, recipe: Recipe) -> str:
    """Why runs cannot be side by side; empty when they can: each has an overlay and a loopback of its own."""
    if place.in_place:
        return "they share the live root"
    if shared_network(place, recipe):
        return "they share the host's network"
    if recipe.sandbox.publish:
        return "they publish the same ports"
    if recipe.sandbox.joins:
        return "they share another's network"
    if any(each.writable for each in binds(recipe.sandbox.mounts, recipe.sandbox.secrets)):
        return "they share a writable mount"
    return ""


def publish(session: Session, recipe: Recipe, shared: bool) -> None:
    """Make the recipe's ports reachable from outside. Raises TracerError."""
    forwards = [PortForward(port, to, address) for address, port, to in map(read_published, recipe.sandbox.publish)]
    # On the host's network a port of the application is reached as it is, and nothing else can listen on it.
    wanted = [each for each in forwards if not shared or each.port != each.to]
    if wanted:
        session.publish(wanted)


@dataclass(frozen=True, slots=True)
class _Done:
    """One run, over."""

    outcome: RunOutcome
    recording: Recording | None
    saved: Mapping[str, BeforeImage | None]
    recorder: str
    explanation: str
    calls: frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Job:
    """One run to do."""

    run: Run
    command: Command
    endable: bool  # by Ctrl-C, once nothing more is to be proved by it
    health: tuple[str, ...] = ()  # what HEALTHCHECK runs, where it is asked
    ports: tuple[int, ...] | None = None  # that the image names, where the default exercise may be done

    beside: tuple[Beside, ...] = ()  # its services
    taken: frozenset[int] = frozenset()  # ports of a network that is not its own

    def go(self, session: Session, observer: Observer, shared: bool) -> _Done:
        """Do it in a session. A failure is in the outcome; one of a service is raised."""
        refuse_port(self.run, self.taken)
        taken = begin(self.beside, observer, shared, self.taken)
        outcome = drive(
            session,
            self.run,
            self.command,
            observer,
            shared=shared,
            endable=self.endable,
            health=self.health,
            ports=self.ports,
            taken=taken,
        )
        recording: Recording | None = None
        saved: Mapping[str, BeforeImage | None] = {}
        calls: frozenset[tuple[int, int]] = frozenset()
        try:
            found = session.finish()
            recording, saved, calls = found.recording, dict(found.saved), found.calls
        except TracerError:
            if outcome.failure is None:  # else the first thing that went wrong is the one to tell
                raise
        if recording is not None:
            commands = {self.command.argv, *self.run.exec, *([self.health] if self.health else ())}
            recording = replace(recording, commands=tuple(sorted(commands)))
        return _Done(outcome, recording, saved, session.recorder, session.explanation, calls)


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
    return place.in_place or recipe.sandbox.network == Network.HOST or place.isolation is Isolation.CHROOT


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
    # One that is not there is made, as every runtime does, but not in the live root.
    if (found is None and place.in_place) or (found is not None and found.type is not FileType.DIRECTORY):
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
    usual = {"PATH": DEFAULT_PATH, "HOME": who.home, "HOSTNAME": HOSTNAME}
    base: dict[str, str] = dict(os.environ) if place.in_place else usual
    return {**base, **place.start.env, **environment_of(run, os.environ)}


def session_options(
    place: Place, recipe: Recipe, identity: Identity | None = None, *, record: bool = True
) -> SessionOptions:
    """How a session in a place is held. `identity` is who mostly runs."""
    return SessionOptions(
        root=place.directory,
        in_place=place.in_place,
        record=record,
        recorder=recipe.sandbox.recorder,
        network=Network.HOST if place.in_place or recipe.sandbox.network == Network.HOST else Network.NONE,
        join=process_of(recipe.sandbox.joins) if recipe.sandbox.joins else 0,
        binds=() if place.in_place else binds(recipe.sandbox.mounts, recipe.sandbox.secrets),
        architecture=place.architecture,
        qemu=recipe.source.qemu,
        hostname=recipe.sandbox.hostname or HOSTNAME,
        hosts=(*hosts(recipe.services), *(_host(text) for text in recipe.sandbox.hosts)),
        identity=identity or Identity(),
        # What lies there may be the application; a policy says itself where it is writable.
        fresh_tmp=not place.root.children("/tmp") and place.confinement is None,
        confinement=place.confinement,
        calls=place.calls,
        isolation=place.isolation,
        init=recipe.sandbox.init,
        capabilities=recipe.sandbox.cap_add,
        allow_nested=recipe.sandbox.allow_nested,
        pids=recipe.sandbox.pids,
        memory=size_of(recipe.sandbox.memory),
        trusted=not recipe.source.image or recipe.sandbox.trust_root,
        saved=place.saved,
    )


def _host(text: str) -> tuple[str, str]:
    name, _, address = text.partition(":")
    return name, address


def _named(command: Command, hostname: str) -> Command:
    """HOSTNAME says what the host is called, unless the run says otherwise."""
    if not hostname or command.env.get("HOSTNAME") != HOSTNAME:
        return command
    return replace(command, env={**command.env, "HOSTNAME": hostname})


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
