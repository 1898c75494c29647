"""What is asked for and what became of it, as values and as the lines of JSON that travel."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "slimmer.batch/1"


class Status(enum.StrEnum):
    """How an image ended."""

    PUSHED = "pushed"  # made, and sent to the registry
    BUILT = "built"  # made; nothing said where to push it
    UNCHANGED = "unchanged"  # made, and the registry or the output has this very image already
    REFUSED = "refused"  # a check failed or a policy is violated; it was not pushed
    FAILED = "failed"  # it could not be made or not be pushed

    @property
    def good(self) -> bool:
        return self not in (Status.REFUSED, Status.FAILED)


@dataclass(frozen=True, slots=True)
class Job:
    """One image, with everything that decides it. Places are absolute; `recipe` and `policy` are TOML texts."""

    name: str
    recipe: str
    output: str = ""  # empty: it is kept nowhere but in the registry
    push: str = ""
    policy: str = ""
    check: str = "auto"
    questions: int = 0  # of the challenge; 0: none
    directory: str = "/"  # what the recipe's relative places begin at
    cache: str = ""  # the cache's directory, in place of XDG_CACHE_HOME
    version: str = ""  # of the program that wrote this
    alone: bool = False  # its root is the live one, which other images' work would change meanwhile

    @property
    def key(self) -> str:
        """A digest of all that decides the outcome: what has been done once under this key is done."""
        value = dataclasses.asdict(self)
        del value["cache"]  # a cache changes nothing but the time
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()

    def dump(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def parse_job(text: str) -> Job:
    """What `dump` wrote."""
    return Job(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image. Sizes are bytes; `pushed` is the image's name by its digest in the registry."""

    name: str
    key: str
    status: Status
    exit_code: int = 0
    image_id: str = ""
    manifest_digest: str = ""
    output: str = ""
    pushed: str = ""
    bytes: int = 0
    check: str = ""
    message: str = ""
    hint: str = ""
    seconds: float = 0.0
    attempts: int = 1
    worker: str = ""

    def dump(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)})


def parse_outcome(text: str) -> Outcome:
    """What `dump` wrote. Raises ValueError for anything else."""
    value = json.loads(text)
    if not isinstance(value, Mapping) or value.get("format") != FORMAT:
        raise ValueError(f"no {FORMAT}")
    known: dict[str, Any] = {each.name: value[each.name] for each in dataclasses.fields(Outcome) if each.name in value}
    try:
        return Outcome(**{**known, "status": Status(known["status"])})
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from None


Watch = Callable[[str, str], None]  # an image's name, and what is being done for it


def unwatched(name: str, stage: str) -> None:
    """Nobody looks."""
