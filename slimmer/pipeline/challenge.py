"""The challenge as the pipeline puts it: what was kept, and how the application is started, from source and recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from slimmer.checks.challenge.model import Budget, Findings
from slimmer.checks.challenge.run import Challenge
from slimmer.checks.challenge.subject import Subject
from slimmer.closure.profiles.load import load_all
from slimmer.exercise.place import Place
from slimmer.exercise.source import Opened
from slimmer.packages.model import PackageIndex
from slimmer.pipeline.configuration import application_of
from slimmer.recipe import Recipe
from slimmer.root.model import Root
from tracer.errors import TracerError
from tracer.recording import Recording


@dataclass(slots=True)
class Asking:
    """One challenge over all rounds of a build."""

    opened: Opened
    recipe: Recipe
    recording: Recording
    packages: PackageIndex
    budget: Budget
    say: Callable[[str], None]
    _challenge: Challenge = field(init=False)

    def __post_init__(self) -> None:
        self._challenge = Challenge(self.opened, self.recipe, self.budget)

    def note(self, text: str) -> None:
        """Something that the review is to say of the challenge."""
        self._challenge.note(text)

    def put(self, place: Place, slim: Root) -> Findings:
        """Put it to a slim tree. Raises SlimmerError."""
        self.say(f"asking at most {self.budget.questions} questions that no run asked")
        reach = self.recipe.reach
        subject = Subject(
            self.opened.root,
            tuple(each.path for each in slim.walk()),
            self.recording,
            self.packages,
            application_of(self.opened, self.recipe),
            load_all(reach.profiles, reach.no_profiles),
        )
        try:
            found = self._challenge.put(subject, place, slim)
        except TracerError as error:  # the exercise went well: what cannot be asked beyond it spoils nothing
            found = Findings(why_not=str(error))
        self.say(f"challenge: {found.summary()}")
        return found
