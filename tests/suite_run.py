"""Upstream test-suites inside slim trees: what passes in the fat root must pass in the slim one.

The image is trained by one import or request. Test files and runner are mounted from outside, below
/suite, when the suite runs; they are no part of the training. Where a runner needs modules of the
standard library that nothing else uses, they are mounted too, and answer the runner and the tests only.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slimmer.pipeline.outputs import Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import Result, trace
from slimmer.recipe import Recipe, Run, Source
from tracer.errors import TracerError
from tracer.session import Bind, Command, Identity, Session, SessionOptions

HERE = Path(__file__).resolve().parents[1] / "fixtures" / "suites"
PATIENCE = 900.0  # seconds for a whole suite

# How runners say what came of a test: its name, and a group that is there when it failed.
OUTCOME = re.compile(rb"\x01(?P<name>[^\t\n]+)\t(?:passed|(?P<failed>failed))\n")
TAP = re.compile(rb"(?m)^(?P<failed>not )?ok (?P<name>\d+(?:[^\n#]|#(?! ?(?i:skip|todo)))*)$")
# By number alone, where names hold addresses and names of temporary files.
NUMBERED = re.compile(rb"(?m)^(?P<failed>not )?ok (?P<name>\d+)\b(?![^\n]*# ?(?i:skip|todo))")
REDIS = re.compile(rb"(?m)\[(?:ok|(?P<failed>err|exception))\]: (?P<name>.*?)(?: \(\d+ ms\)| in tests/\S+)?$")
PHPT = re.compile(rb"(?m)(?:PASS|(?P<failed>FAIL|BORK|LEAK)) (?P<name>.*\.phpt\])")
JQ = re.compile(rb"(?m)^Testing (?P<name>'.*' at line number \d+)\n(?P<failed>\*\*\*)?")

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Suite:
    """`root` makes the fat root; `mounts` gives what is seen below /suite; `commands` what is run, by name.

    A command prints lines of outcomes, or is one test of its own: passed when it exits with 0 and, where `compared`,
    prints what it prints in the fat root.
    """

    name: str
    root: Callable[[], Path]
    training: tuple[str, ...]
    mounts: Callable[[Path], Mapping[str, Path]]  # of the fat root
    commands: Callable[[Mapping[str, Path]], Mapping[str, tuple[str, ...]]]
    env: Mapping[str, str] = field(default_factory=dict)  # of the suite
    own: Mapping[str, str] = field(default_factory=dict)  # of the training and the suite
    compared: bool = False
    asks: tuple[str, ...] = ()  # of the training, where it starts a server
    ready: str = ""
    user: str = ""
    says: re.Pattern[bytes] = OUTCOME
    shell: bool = False  # a shell that only the tests start is lent at /bin/sh, in both trees
    explained: Mapping[str, str] = field(default_factory=dict)  # a pattern of tests that may fail in slim → why


@dataclass(frozen=True)
class Score:
    """What came of a suite: names of tests that passed, and what was said where one failed."""

    result: Result
    fat: frozenset[str]
    slim: frozenset[str]
    said: str

    def explained(self, suite: Suite) -> dict[str, int]:
        """How many tests pass in the fat root alone, by why that may be."""
        gone = self.fat - self.slim
        return {why: sum(bool(re.search(each, test)) for test in gone) for each, why in suite.explained.items()}

    def lost(self, suite: Suite) -> tuple[str, ...]:
        """Tests that pass in the fat root alone, without an explanation."""
        return tuple(
            each for each in sorted(self.fat - self.slim) if not any(re.search(why, each) for why in suite.explained)
        )


def measure(suite: Suite, folder: Path) -> Score:
    """Train, then run the suite in both trees. Raises SlimmerError, RootUnavailable."""
    root = suite.root()
    asks = (suite.asks,) if suite.asks else ()
    run = Run(suite.training, exec=asks, ready=suite.ready, user=suite.user or None, env=suite.own)
    recipe = Recipe(Source(root=str(root)), (run,))
    result = trace(recipe, Outputs(folder / "out", rootfs=str(folder / "rootfs")), Progress())
    mounts = suite.mounts(root)
    commands = suite.commands(mounts)
    fat, _, outputs = passed(suite, root, mounts, commands, {})
    if suite.compared:  # what two runs of the fat root do not say alike says nothing
        fat, _, _ = passed(suite, root, mounts, commands, outputs)
    slim, said, _ = passed(suite, folder / "rootfs", mounts, commands, outputs)
    return Score(result, fat, slim, said)


def passed(
    suite: Suite,
    root: Path,
    mounts: Mapping[str, Path],
    commands: Mapping[str, tuple[str, ...]],
    expected: Mapping[str, bytes],
) -> tuple[frozenset[str], str, dict[str, bytes]]:
    """The names of tests that pass in a tree, what was said by those that do not, and all outputs."""
    binds = tuple(Bind(str(source), f"/suite/{name}") for name, source in sorted(mounts.items()))
    if suite.shell:  # busybox goes by the name that it is called by
        binds += (Bind(str(mounts["bin"] / "busybox"), "/bin/sh"),)
    found: set[str] = set()
    said: list[str] = []
    outputs: dict[str, bytes] = {}
    environment = {"PATH": PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **suite.own, **suite.env}
    who = identity(suite.user, root)
    options = SessionOptions(str(root), record=False, binds=binds, identity=who)
    with Session.start(options) as session, open(os.devnull, "wb") as null:
        if suite.asks:
            _serve(session, suite, Command(suite.training, environment, identity=who), null.fileno())
        for name, argv in commands.items():
            workdir = "/suite/source" if "source" in mounts else "/"
            with tempfile.TemporaryFile() as out:
                command = Command(argv, environment, workdir, who)
                process = session.spawn(command, stdout=out.fileno(), stderr=out.fileno())
                code = process.wait(PATIENCE)
                if code is None:
                    process.signal(9)
                    process.wait(5)
                out.seek(0)
                output = out.read()
            outputs[name] = output
            rows = outcomes(suite, name, output)
            if rows:
                found |= {each for each, well in rows.items() if well}
                good = all(rows.values())
            else:
                good = code == 0 and (not suite.compared or output == expected.get(name, output))
                if good:
                    found.add(name)
            if not good:
                said.append(f"-- {name}: {code}\n" + OUTCOME.sub(b"", output).decode(errors="replace")[-20000:])
    return frozenset(found), "\n".join(said), outputs


def outcomes(suite: Suite, command: str, output: bytes) -> dict[str, bool]:
    """What a command's output says of each test; one that failed once has failed."""
    found: dict[str, bool] = {}
    for each in suite.says.finditer(output):
        told = each["name"].decode(errors="replace").strip()
        name = told if suite.says is OUTCOME else f"{command}: {told}"
        found[name] = each["failed"] is None and found.get(name, True)
    return found


def each_file(
    mounted: Mapping[str, Path], patterns: Sequence[str], argv: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """A command for each file of the source that a pattern names."""
    source = mounted["source"]
    found = [each for pattern in patterns for each in sorted(source.glob(pattern))]
    return {(name := str(each.relative_to(source))): (*argv, name) for each in found}


def identity(user: str, root: Path) -> Identity:
    """A user of a root by name."""
    for line in (root / "etc" / "passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == user:
            return Identity(int(uid), int(gid))
    return Identity()


def _serve(session: Session, suite: Suite, command: Command, null: int) -> None:
    """Start the server and wait until it answers what it was trained with."""
    server = session.spawn(command, stdout=null, stderr=null)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        ask = session.spawn(replace(command, argv=suite.asks), stdout=null, stderr=null)
        if ask.wait(30.0) == 0:
            return
        time.sleep(0.2)
    raise TracerError(f"the server of {suite.name} did not answer")
