"""Asks questions in a root: in a sandbox that is thrown away, without network, as the application's user.

A batch (one driver, many items) counts only when it is complete: what was answered never depends on how fast or
how busy a machine is, but for the last net, and that is said.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from slimmer.checks.challenge.model import SECONDS, Question, Replies, Reply
from slimmer.checks.challenge.patience import Patience, ended
from slimmer.exercise.output import Stream
from slimmer.exercise.perform import command_of, session_options
from slimmer.exercise.place import Place
from slimmer.recipe import Recipe
from tracer.errors import TracerError
from tracer.recording import Recording
from tracer.session import Command, Network, Session, SessionOptions

AT_ONCE = 500  # items that one process is given
LOOKS_AT_BATCH = 300  # a driver gives up a module that sleeps before that
COMPUTING_OF_ITEM = 10.0  # seconds more for each item of a batch; a driver gives up one that computes for so long
NOT_STARTED = 127  # a shell's exit code for a command that it does not find


@dataclass(slots=True)
class Asked:
    """What came of all questions in one root."""

    replies: dict[Question, Reply] = field(default_factory=dict)
    recording: Recording | None = None
    in_time: bool = True  # False: the last net was hit


def ask(
    place: Place,
    recipe: Recipe,
    questions: Sequence[Question],
    *,
    record: bool = False,
    refused: Replies | None = None,
    seconds: float = SECONDS,
) -> Asked:
    """Ask in a place. `refused` are replies of the fat root that fallbacks go by; without it, the replies given here.

    Raises TracerError when no session can be made.
    """
    command = command_of(place, recipe.runs[0])
    options = _alone(session_options(place, recipe, command.identity, record=record))
    asked = Asked()
    pending = list(_batches(questions))
    deadline = time.monotonic() + seconds
    while pending:
        with Session.start(options) as session:
            try:
                while pending:
                    if time.monotonic() > deadline:
                        asked.in_time = False
                        pending = []
                        break
                    batch = pending.pop(0)
                    if _is_wanted(batch[0], asked.replies if refused is None else refused):
                        asked.replies.update(_put(session, command, batch))
                session.stop(signal.SIGKILL, 0.2)
                recording = session.finish().recording
                if recording is not None:
                    asked.recording = recording if asked.recording is None else asked.recording.merge(recording)
            except TracerError:
                # A program ended the whole sandbox: it has no answer, and the next ones get another sandbox.
                if record:
                    raise
    return asked


def _alone(options: SessionOptions) -> SessionOptions:
    """Without network, and without anything of the host that could be written to."""
    binds = tuple(replace(each, writable=False) for each in options.binds)
    return replace(options, network=Network.NONE, join=0, binds=binds)


def _batches(questions: Sequence[Question]) -> Iterator[list[Question]]:
    """Questions that follow one another and are put by one process."""
    for (_, one), group in itertools.groupby(questions, lambda each: (each.argv, bool(each.item))):
        while batch := list(itertools.islice(group, AT_ONCE if one else 1)):
            yield batch


def _is_wanted(question: Question, replies: Replies) -> bool:
    """A fallback is asked where the form before it was refused; nothing is asked twice of what did not end."""
    if not question.fallback_of:
        return True
    before = replies.get(replace(question, argv=question.fallback_of, fallback_of=(), label=""))
    return before is not None and before.code is not None and before.code != 0


def _put(session: Session, command: Command, batch: Sequence[Question]) -> dict[Question, Reply]:
    first = batch[0]
    if not first.item:
        return {first: _run(session, replace(command, argv=first.argv), Patience())}
    argv = (*first.argv, *(each.item for each in batch))
    patience = Patience(LOOKS_AT_BATCH, COMPUTING_OF_ITEM * (1 + len(batch)))
    reply = _run(session, replace(command, argv=argv), patience)
    if reply.code is None:
        return {each: Reply(None) for each in batch}
    return dict(_rows(batch, reply))


def _rows(batch: Sequence[Question], reply: Reply) -> Iterator[tuple[Question, Reply]]:
    """A driver's lines. What it does not speak of was not reached: something before it answers for both."""
    said: dict[str, tuple[str, bytes]] = {}
    for line in reply.output.split(b"\n"):
        name, _, rest = line.partition(b"\t")
        state, _, text = rest.partition(b"\t")
        said.setdefault(name.decode("utf-8", "surrogateescape"), (state.decode("ascii", "replace"), text))
    if not said.keys() & {each.item for each in batch}:
        # The interpreter itself does not get as far: the first item says so for all.
        yield batch[0], replace(reply, code=reply.code or 1)
        return
    for each in batch:
        if each.item in said:
            verb, what = said[each.item]
            if verb == "ended" and what.strip() == b"14":  # SIGALRM: it takes too long, which says nothing
                yield each, Reply(None)
            else:
                yield each, Reply(0 if verb == "ok" else 1, what)


def _run(session: Session, command: Command, patience: Patience) -> Reply:
    out, err = Stream(), Stream()
    try:
        process = session.spawn(command, stdout=out.fd, stderr=err.fd)
    except TracerError as error:
        out.finish()
        err.finish()
        if not session.alive():
            raise
        return Reply(NOT_STARTED, b"", str(error).encode())
    finally:
        out.started()
        err.started()
    code = ended(process, patience)
    if code is None:
        process.signal(signal.SIGKILL)
        with contextlib.suppress(TracerError):
            process.wait(2.0)
        return Reply(None)
    if not session.alive():
        raise TracerError("the sandbox ended with a question")
    out.finish()
    err.finish()
    return Reply(code, out.head(), err.tail())
