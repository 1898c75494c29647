"""`[[start]]` of a profile: how a well-known program is started in the foreground, for a first recipe.

[[start]]
program = "/usr/bin/redis-server"
command = "redis-server"
port = 6379
ask = "redis-cli ping"       # a client that proves it, where that is no HTTP
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimmer.closure.profiles import globs
from slimmer.closure.profiles.values import Values
from slimmer.toml_position import Place


@dataclass(frozen=True, slots=True)
class Start:
    """A program and the command that runs it."""

    program: str  # an absolute path; where the root has it, this is a way to start
    command: tuple[str, ...]
    port: int | None = None
    ask: tuple[str, ...] = ()


def read_start(values: Values, value: Mapping[str, Any], at: Place) -> Start:
    """One entry. Raises SlimmerError that says where it is wrong."""
    values.only(value, at, {"program", "command", "port", "ask"})
    program, port = value.get("program"), value.get("port")
    if not isinstance(program, str) or not program.startswith("/") or globs.problem(program):
        values.fail((*at, "program") if "program" in value else at, "program must be an absolute path")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        values.fail((*at, "port"), "port must be a number from 1 to 65535")
    command = _words(values, value, at, "command")
    if not command:
        values.fail(at, "a start entry needs a command")
    return Start(program, command, port, _words(values, value, at, "ask"))


def _words(values: Values, value: Mapping[str, Any], at: Place, key: str) -> tuple[str, ...]:
    line = value.get(key, "")
    try:
        return tuple(shlex.split(line))
    except (ValueError, AttributeError, TypeError):
        values.fail((*at, key), f"{key} must be a command line")
