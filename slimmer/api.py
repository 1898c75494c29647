"""slimmer from Python: what `import slimmer` gives. The verbs of `slim` do their work by the same functions.

    import slimmer

    recipe = slimmer.Recipe(
        source=slimmer.Source(root="rootfs"),
        runs=(slimmer.Run(command=("python3", "/app/server.py"), probes=(slimmer.Probe("http://127.0.0.1:8000/"),)),),
    )
    result = slimmer.trace(recipe, slimmer.Outputs(Path("slim-out")))
    print(result.image.image_id, result.report.slim.bytes, result.verdict.word)

Results are frozen values. Errors are `TracerError`, of which `SlimmerError` is one, with a `message` and a
`hint` for a person. Nothing is printed: give a `Progress` to hear how it goes.
"""

from __future__ import annotations

from pathlib import Path

from slimmer import recipe as recipes
from slimmer.checks.challenge.model import Budget
from slimmer.checks.compare import Comparison, Verdict
from slimmer.closure.model import ClosureWarning, LevelSize, Reason
from slimmer.errors import CheckFailed, IncompleteRecording, SlimmerError, UsageProblem
from slimmer.exercise.observer import Interrupt, Observer
from slimmer.image.layout import Image
from slimmer.pipeline import consent
from slimmer.pipeline.outputs import CheckMode, Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.target import RECIPE
from slimmer.pipeline.trace import Recorded, Result, build, check_output, record, trace
from slimmer.recipe import ImageOptions, Keep, Layers, Miss, Probe, Reach, Recipe, Run, Sandbox, Source
from slimmer.report.model import KeptPath, RemovedPath, Report
from slimmer.report.output import Output, open_output
from tracer.errors import TracerError
from tracer.recorder.protocol import Choice
from tracer.recording import Access, Execution, Kind, Recording
from tracer.recording import load as load_recording
from tracer.session import Init, Network

__all__ = [
    "Access",
    "Budget",
    "CheckFailed",
    "CheckMode",
    "Choice",
    "ClosureWarning",
    "Comparison",
    "Execution",
    "Image",
    "ImageOptions",
    "IncompleteRecording",
    "Init",
    "Interrupt",
    "Keep",
    "KeptPath",
    "Kind",
    "Layers",
    "LevelSize",
    "Miss",
    "Network",
    "Observer",
    "Output",
    "Outputs",
    "Probe",
    "Progress",
    "Reach",
    "Reason",
    "Recipe",
    "Recorded",
    "Recording",
    "RemovedPath",
    "Report",
    "Result",
    "Run",
    "Sandbox",
    "SlimmerError",
    "Source",
    "TracerError",
    "UsageProblem",
    "Verdict",
    "build",
    "check",
    "load_recipe",
    "load_recording",
    "open_output",
    "record",
    "trace",
]


def check(
    directory: Path,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
    *,
    rounds: int = 0,
    challenge: Budget | None = None,
) -> Verdict:
    """Run an output's slim image and its fat root by the same exercise, and compare.

    `recipe` is what both are asked; without one it is the output's own, which must have been published
    by this user: what a stranger's recipe would do to this host is its caller's to read first, and to
    allow by giving that recipe. `rounds` is how often the output may be built again with what was looked
    for in vain. `challenge` asks what was kept what no run asked.

    A verdict that did not pass is returned, not raised. Raises UsageProblem for a stranger's recipe that
    would use this host, and SlimmerError for what is no output or cannot be run here.
    """
    place = directory / RECIPE
    if recipe is None:
        recipe = load_recipe(place)
        if not consent.remembered(place.read_bytes()):
            consent.require(recipe, consent.Named(), str(directory))
    return check_output(directory, recipe, progress or Progress(), rounds=rounds, challenge=challenge)


def load_recipe(path: Path) -> Recipe:
    """A slim.toml, or the recipe.toml of an output. Raises UsageProblem, with line and column."""
    return recipes.load(path)
