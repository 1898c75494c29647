"""Makes images on a Dask cluster: an image is a task, and what Dask does for tasks is not done again here.

Where a task runs, how many at once (a worker's threads, and its resources), what becomes of those of a worker that
is lost, how often one is tried again, the dashboard: all Dask's. What is here: the task, which starts the same
process as on one machine and ends it when Dask has cancelled it; and the way on after the scheduler went away.

https://distributed.dask.org/en/stable/resilience.html, resources.html
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slimmer.batch.child import Child, Death
from slimmer.batch.model import Job, Outcome, Status, Watch, parse_job, parse_outcome, unwatched
from slimmer.errors import SlimmerError

TOPIC = "slim-batch"
LOOK = 1.0  # seconds between looks whether a task is still wanted
CONNECT = "10s"  # for one attempt to reach the scheduler


class ProcessDied(Exception):
    """A signal ended the process of an image: Dask's retries make it again, here or elsewhere."""


class Unwanted(Exception):
    """The task was cancelled, or its scheduler is gone."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where, and how tasks are submitted.

    `retries`: of a task whose process died. `resources`: what a worker must have for it, by Dask's names.
    `patience`: seconds that a scheduler may be away.
    """

    address: str
    retries: int = 2
    resources: Mapping[str, float] = field(default_factory=dict)
    patience: float = 300.0


def perform(text: str) -> str:
    """The task, on a worker: a job's line in, an outcome's line out."""
    from distributed import get_worker

    worker = get_worker()
    job = parse_job(text)
    task = worker.state.tasks.get(worker.get_current_task())
    child = Child(job)
    try:
        while True:
            if child.wait(LOOK):
                stages = child.read()
                if stages is None:
                    break
                for stage in stages:
                    worker.log_event(TOPIC, {"name": job.name, "stage": stage})
            if task is not None and task.state == "cancelled":
                raise Unwanted(job.name)
        found = child.result()
    finally:
        child.end()
    if isinstance(found, Death):
        if found.number:
            raise ProcessDied(found.words)
        return child.lost(found, 1).dump()
    return replace(found, worker=str(worker.address)).dump()


def run_on(
    cluster: Cluster,
    jobs: Sequence[Job],
    watch: Watch = unwatched,
    say: Callable[[str], None] = lambda text: None,
) -> Generator[Outcome, None, None]:
    """Outcomes as they come. To close this cancels what runs. Raises SlimmerError when no scheduler answers for
    longer than the cluster's patience; after one that answers again, what had no outcome is submitted again."""
    try:
        import distributed
    except ImportError:
        raise SlimmerError(
            "a cluster needs dask.distributed, which is not installed", "pip install 'slimmer-oci[batch]'"
        ) from None
    waiting = {job.key: job for job in jobs}
    while waiting:
        with _client(distributed, cluster, say) as client:
            client.subscribe_topic(TOPIC, lambda event: watch(event[1]["name"], event[1]["stage"]))
            for outcome in _once(distributed, client, cluster, list(waiting.values())):
                del waiting[outcome.key]
                yield outcome
        if waiting:
            say(f"the scheduler at {cluster.address} is gone; {len(waiting)} images wait for it")


@contextlib.contextmanager
def _client(distributed: Any, cluster: Cluster, say: Callable[[str], None]) -> Iterator[Any]:
    deadline = time.monotonic() + cluster.patience
    while True:
        try:
            client = distributed.Client(cluster.address, timeout=CONNECT, set_as_default=False, name="slim-batch")
            break
        except (OSError, TimeoutError) as error:
            if time.monotonic() > deadline:
                raise SlimmerError(
                    f"no Dask scheduler answers at {cluster.address}: {error}",
                    "start one with `dask scheduler`; `slim batch --resume` goes on where this ended",
                ) from None
            time.sleep(LOOK)
        except ValueError as error:
            raise SlimmerError(f"{cluster.address} is no scheduler: {error}", "write tcp://HOST:PORT") from None
    say(f"the scheduler's dashboard: {client.dashboard_link}")
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            client.close(timeout=5)


def _once(distributed: Any, client: Any, cluster: Cluster, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """The outcomes that one connection to a scheduler gives; the others' tasks went away with it."""
    run = uuid.uuid4().hex[:8]  # a key of its own: another batch's results are another batch's
    futures = {
        client.submit(
            perform,
            job.dump(),
            key=f"{job.name}-{run}-{job.key[:12]}",
            retries=cluster.retries,
            resources=dict(cluster.resources) or None,
            pure=False,
        ): job
        for job in jobs
    }
    try:
        for future in distributed.as_completed(list(futures), loop=client.loop):
            job = futures[future]
            try:
                yield parse_outcome(future.result(timeout=60))
            except (distributed.CancelledError, OSError, TimeoutError):
                continue
            except (ProcessDied, distributed.scheduler.KilledWorker) as error:
                yield _failed(job, str(error), "is there memory enough on the workers? give them fewer threads")
            except ModuleNotFoundError as error:
                yield _failed(job, f"a worker cannot make images: {error}", "pip install 'slimmer-oci[batch]' there")
            finally:
                future.release()
    finally:
        with contextlib.suppress(Exception):  # it is over, and a scheduler that is gone has forgotten them
            client.cancel(list(futures))


def _failed(job: Job, message: str, hint: str) -> Outcome:
    return Outcome(job.name, job.key, Status.FAILED, 1, message=message, hint=hint)
