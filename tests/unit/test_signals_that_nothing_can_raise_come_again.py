"""A signal whose handler raises where nothing can be raised, as in a finalizer or below a fork, is not lost."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.apps.conftest import HOUSE

CODE = """
import os, signal, time
from slimmer.cli.main import _hear_signals
from slimmer.errors import Interrupted

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            pass

_hear_signals()
try:
    Last()
    time.sleep(20)
except Interrupted as error:
    print("heard", error.number == signal.{name})
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_it_is_heard_a_moment_later(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(name=name)], cwd=HOUSE, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("heard True\n", "", 0)
