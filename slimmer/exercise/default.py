"""The exercise of a run that names none: what it listens on is found out and asked, until nothing new happens.

start ─► it listens ─► each port: what is spoken there, its pages ─► quiet for a while ─► end
   └── it ends by itself, or neither listens nor works for long

What was asked and answered twice alike becomes the recipe's probes, so that every later run asks exactly that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from slimmer.exercise.conversation import speak
from slimmer.exercise.listening import cpu_seconds
from slimmer.exercise.model import Answer, Found, RunOutcome
from slimmer.exercise.readiness import PAUSE
from slimmer.exercise.running import LEFT_BEHIND, Running
from slimmer.exercise.site import visit
from slimmer.recipe import Probe, Recipe, Run

FURTHER = 0.5  # seconds after the first port opened in which others mostly do
EXPOSED = 5.0  # seconds that the ports which the image names have to open after the first one did
QUIET = 2.0  # seconds without a new path after which nothing more is expected of a server
QUIET_AT_MOST = 20.0  # seconds that this is waited for: some write new files for ever
IDLE = 30.0  # seconds in which a program that does not listen may neither touch anything new nor compute
BUSY = 0.02  # share of a processor that counts as computing
MOMENT = 2.0  # seconds in which what cannot start in the slim root ends by itself


def explore(app: Running, exposed: Sequence[int]) -> Found:
    """Ask the application whatever it can be asked; it has been started. `exposed` are the ports its image names."""
    words = _wait_for_ports(app)
    if words:
        seconds = None if app.over() or app.asked() else max(MOMENT, time.monotonic() - app.began - IDLE + MOMENT)
        return Found(words=words, seconds=seconds)
    ready_after = time.monotonic() - app.began
    _wait_for_others(app, exposed)
    known: set[int] = set()
    probes: list[tuple[Probe, Answer]] = []
    said: list[str] = []
    quiet_until = time.monotonic() + QUIET_AT_MOST
    while not app.asked() and not app.over():
        for port in sorted(app.own_ports() - known):
            known.add(port)
            asked, text = _port(app, port)
            probes += asked
            said.append(text)
            quiet_until = time.monotonic() + QUIET_AT_MOST
            if app.asked() or app.over():
                break
        else:
            if _quiet(app, known) or time.monotonic() > quiet_until:
                break
    return Found(
        tuple(probe for probe, _ in probes),
        tuple(answer for _, answer in probes),
        words="; ".join(said),
        ready_after=ready_after,
        seconds=None if probes else MOMENT,
    )


def settle(recipe: Recipe, outcomes: Sequence[RunOutcome]) -> Recipe:
    """The recipe with what the default exercise of these runs asked as probes of its own: again the same."""
    padded = (*outcomes, *([None] * len(recipe.runs)))
    return replace(
        recipe, runs=tuple(_settled(run, outcome) for run, outcome in zip(recipe.runs, padded, strict=False))
    )


def _settled(run: Run, outcome: RunOutcome | None) -> Run:
    found = outcome.found if outcome is not None else None
    if found is None or run.exercised or run.seconds is not None:
        return run
    return replace(run, probes=found.probes, seconds=found.seconds)


def _wait_for_ports(app: Running) -> str:
    """Until it listens: "". Otherwise what happened instead, in words."""
    paths, computed, since = -1, 0.0, time.monotonic()
    left: float | None = None
    looked = 0.0
    while not app.own_ports():
        now = time.monotonic()
        if app.over():
            return "it ended by itself"
        if app.asked():
            return "ended by Ctrl-C"
        if app.process.poll() is not None:
            left = left or now + LEFT_BEHIND
            if now > left:
                return "it ended by itself, and left others behind"
        if now - looked > 1.0:
            # A program that computes, or finds new files, is at work however long that takes.
            seen, used = app.session.paths_seen(), cpu_seconds(app.process.pid)
            if seen != paths or used - computed > BUSY * (now - looked):
                since = now
            paths, computed, looked = seen, used, now
            if now - since > IDLE:
                return f"it does not listen, and did nothing new for {IDLE:g} s"
        app.tick()
        app.process.wait(PAUSE)
        if app.process.poll() is not None:
            time.sleep(PAUSE)  # a process that has ended is not waited for
    return ""


def _wait_for_others(app: Running, exposed: Sequence[int]) -> None:
    """Further ports of the same application open a moment later."""
    first = changed = time.monotonic()
    ports = app.own_ports()
    while not (app.asked() or app.over()):
        now = time.monotonic()
        current = app.own_ports()
        if current != ports:
            ports, changed = current, now
        missing = not set(exposed) <= ports
        if now - changed > FURTHER and (not missing or now - first > EXPOSED):
            return
        app.tick()
        time.sleep(PAUSE)


def _quiet(app: Running, known: set[int]) -> bool:
    """Nothing new was touched for a while. False as soon as something was, or another port opened."""
    until, paths = time.monotonic() + QUIET, app.session.paths_seen()
    while time.monotonic() < until and not app.asked():
        if app.session.paths_seen() != paths or app.over():
            return False
        if app.own_ports() - known:
            return False
        app.tick()
        time.sleep(0.1)
    return True


def _port(app: Running, port: int) -> tuple[list[tuple[Probe, Answer]], str]:
    """What one port answers, twice alike; and what that was, in words."""
    probe, name = speak(app, port)
    if probe.url.startswith("http"):
        asked = visit(app, probe.url)
        bad = sum((answer.status or 0) >= 500 for _, answer in asked)
        words = f"port {port}: {name}, {len(asked)} requests"
        return asked, words + (f", {bad} of them answered with an error of the server" if bad else "")
    answer = app.ask(probe)
    return [] if answer.problem else [(probe, answer)], f"port {port}: {name}"
