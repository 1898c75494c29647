"""What a check must say for an image to be published."""

from __future__ import annotations

from slimmer.checks.compare import Verdict
from slimmer.errors import CheckFailed
from slimmer.pipeline.outputs import CheckMode


def accept(verdict: Verdict, mode: CheckMode) -> None:
    """Raises CheckFailed for what may not be published."""
    if verdict.performed and not verdict.passed:
        raise CheckFailed(_failed(verdict), "nothing was published; `--no-check` writes the image all the same")
    if not verdict.performed and mode is CheckMode.REQUIRED:
        raise CheckFailed(
            f"the slim image is not proved: {verdict.why_not}",
            "nothing was published; `--check=auto` writes it and says so (required is the default where CI is set)",
        )


def _failed(verdict: Verdict) -> str:
    lines = [f"{each.what}: {each.problem}" for each in verdict.comparisons if each.problem][:6]
    lines += [
        f"looked for in vain: {miss.path} (by {', '.join(miss.by) or 'a program'})" for miss in verdict.misses[:6]
    ]
    return "the slim image does not do what the fat root does:\n  " + "\n  ".join(lines)
