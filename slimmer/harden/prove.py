"""A policy is proved as an image is: the slim image runs its exercise once more under all of it, and is compared.

What it is compared with is the same image without the policy: of that, a check has shown that it does what the fat
root does. In that run the calls are watched that not every profile allows: what a strict profile is made of, and what
no profile may refuse.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from slimmer.checks.compare import NOTHING, Comparison, compare, content_differs
from slimmer.exercise.expectation import expect
from slimmer.exercise.observer import Observer
from slimmer.exercise.perform import Performed, perform
from slimmer.exercise.place import Place, start_of
from slimmer.exercise.source import foreign, open_for
from slimmer.harden.policy import Policy
from slimmer.harden.seccomp import listening, named, runtimes_allow
from slimmer.image.config import ImageConfig
from slimmer.recipe import Recipe
from slimmer.report.output import Output
from slimmer.root.source import open_image
from tracer.kernel.bpf import RET_USER_NOTIF
from tracer.kernel.capabilities import NAMES, RUNTIME
from tracer.recorder.notify import probe
from tracer.recorder.protocol import CallFilter
from tracer.runner import sandbox, session_directory
from tracer.runner.confinement import Confinement

Say = Callable[[str], None]
_ROUNDS = 4  # in which a run may still show calls that no run before it made


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of it: comparisons, or why there are none; which part of the policy alone makes a difference.

    `denied` are the calls that were refused in the run, by name.
    """

    rows: tuple[Comparison, ...] = ()
    why_not: str = ""
    parts: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()

    @property
    def performed(self) -> bool:
        return not self.why_not

    @property
    def passed(self) -> bool:
        return self.performed and not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{row.what}: {row.problem}" for row in self.rows if row.problem)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The slim image's exercise without a policy; or why there is none. `made`: its calls, None where not watched."""

    place: Place
    recipe: Recipe
    observer: Observer
    before: Performed
    made: frozenset[str] | None
    say: Say


@contextlib.contextmanager
def rehearsed(
    output: Output, recipe: Recipe, observer: Observer, say: Say = lambda text: None
) -> Iterator[Rehearsal | str]:
    """Run the image of an output as it is; gives a text that says why that is not possible here.

    Raises SlimmerError when the image does not do its exercise.
    """
    if reason := sandbox.available():
        yield reason
        return
    with session_directory.directory() as folder:
        slim = open_image(f"oci:{output.directory / 'image'}", cache=Path(folder))
        config, _ = ImageConfig.parse(slim.config_json)
        if foreign(config.architecture):
            yield f"this machine runs {config.architecture} by an emulator, whose calls are its own"
            return
        # What runs beside it may take place in the fat root.
        services = open_for(recipe, say=say).place.services if recipe.services else ()
        place = Place(slim.directory, slim, start_of(config), services=services)
        if not recipe.runs or not (place.start.argv or all(run.command for run in recipe.runs)):
            yield "nothing says how the image is run"
            return
        refusal = probe()
        if refusal:
            say(f"system calls cannot be watched here: {refusal}")
        say("running the slim image")
        heard = None if refusal else CallFilter(listening(platform.machine()))
        before = perform(replace(place, calls=heard), recipe, observer, record=False)
        expect(before, recipe)
        yield Rehearsal(place, recipe, observer, before, named(before.calls) if heard else None, say)


def proved(policy: Policy, rehearsal: Rehearsal) -> tuple[Policy, Proof]:
    """Try a policy, and extend it by what only this run showed that the exercise calls, until nothing is new."""
    for _ in range(_ROUNDS):
        proof = prove(policy, rehearsal)
        made = policy.made
        fresh = {
            call
            for call in proof.denied
            if runtimes_allow(policy.seccomp.architecture, call) and call not in (made or ())
        }
        if made is None or not fresh:
            break
        rehearsal.say(f"the exercise makes {', '.join(sorted(fresh))} too, at times")
        policy = policy.knowing(made | fresh)
    return policy, proof


def prove(policy: Policy, rehearsal: Rehearsal) -> Proof:
    """Run the image's exercise under a policy."""
    rehearsal.say("running the slim image under its policy")
    held = policy.confinement()
    told: CallFilter | None = None
    if rehearsal.made is not None:
        told = CallFilter(policy.seccomp.program(RET_USER_NOTIF), refuse=True)
    rows, denied = _under(replace(held, seccomp=b"") if told else held, rehearsal, told)
    for call in sorted(denied & (rehearsal.made or frozenset())):
        if runtimes_allow(policy.seccomp.architecture, call):
            problem = "the exercise makes it, and the policy refuses it"
            rows = (*rows, Comparison(f"system call {call}", "allowed", "refused", problem))
    if not rows:
        return Proof(why_not=NOTHING)
    parts: tuple[str, ...] = ()
    if any(row.problem for row in rows):
        rehearsal.say("looking for the part of the policy that makes the difference")
        parts = tuple(_parts(held, rehearsal))
    return Proof(rows, parts=parts, denied=tuple(sorted(denied)))


def _under(
    held: Confinement, rehearsal: Rehearsal, told: CallFilter | None = None
) -> tuple[tuple[Comparison, ...], frozenset[str]]:
    place, recipe, observer, before = rehearsal.place, rehearsal.recipe, rehearsal.observer, rehearsal.before
    tried = perform(replace(place, confinement=held, calls=told), recipe, observer, record=False, like=before)
    rows = compare(before.outcomes, tried.outcomes)
    if content_differs(rows):
        again = perform(place, recipe, observer, record=False, like=before)
        rows = compare(before.outcomes, tried.outcomes, again.outcomes)
    return rows, named(tried.calls)


def _parts(held: Confinement, rehearsal: Rehearsal) -> list[str]:
    """Each part of a policy alone, with what runtimes leave of the others."""
    usual = tuple(NAMES[each] for each in sorted(RUNTIME))
    alone = {
        "seccomp": replace(held, capabilities=usual, writable=None, no_new_privileges=False),
        "capabilities": Confinement(b"", held.capabilities, None, False),
        "read-only root": Confinement(b"", usual, held.writable, False),
        "no-new-privileges": Confinement(b"", usual, None, held.no_new_privileges),
    }
    return [name for name, part in alone.items() if any(row.problem for row in _under(part, rehearsal)[0])]
