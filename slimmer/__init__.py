"""Packs exactly what an application needs into a deterministic, checked image.

What `slimmer.api` holds is reached by this package's name, and loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimmer.api import (
        Access,
        Budget,
        CheckFailed,
        CheckMode,
        Choice,
        ClosureWarning,
        Comparison,
        Execution,
        Image,
        ImageOptions,
        IncompleteRecording,
        Init,
        Interrupt,
        Keep,
        KeptPath,
        Kind,
        Layers,
        LevelSize,
        Miss,
        Network,
        Observer,
        Output,
        Outputs,
        Probe,
        Progress,
        Reach,
        Reason,
        Recipe,
        Recorded,
        Recording,
        RemovedPath,
        Report,
        Result,
        Run,
        Sandbox,
        SlimmerError,
        Source,
        TracerError,
        UsageProblem,
        Verdict,
        build,
        check,
        load_recipe,
        load_recording,
        open_output,
        record,
        trace,
    )

__version__ = "0.1.0"

# As in slimmer.api, where a list by itself would cost every start of `slim` the whole of it.
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


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("slimmer.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
