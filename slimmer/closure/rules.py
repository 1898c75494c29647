"""The rules of one closure, in the order in which they speak."""

from __future__ import annotations

from collections.abc import Sequence

from slimmer.closure import languages
from slimmer.closure.application import ApplicationRule
from slimmer.closure.essentials import EssentialsRule
from slimmer.closure.families import FamilyRule
from slimmer.closure.libraries import library_rules
from slimmer.closure.library_data import LibraryDataRule
from slimmer.closure.mentions import MentionRule
from slimmer.closure.model import Rule
from slimmer.closure.names import NamesRule
from slimmer.closure.packages_level import PackagesRule
from slimmer.closure.profile_rules import ProfileRule
from slimmer.closure.profiles import Profile
from slimmer.closure.recorded import IncludeRule, RecordedRule
from slimmer.closure.scripts import ScriptRule


def rules_for(profiles: Sequence[Profile], include: Sequence[str] = (), *, cpu: str | None = None) -> list[Rule]:
    """New rules for one closure; they hold its state. `cpu` pins the level whose library variants stay."""
    return [
        RecordedRule(),
        IncludeRule(include),
        EssentialsRule(),
        ScriptRule(),
        *library_rules(cpu=cpu),
        ApplicationRule(profiles),
        ProfileRule(profiles),
        FamilyRule(profiles),
        LibraryDataRule(profiles),
        MentionRule(profiles),
        NamesRule(),
        *(rule() for rule in languages.LANGUAGE_RULES),
        PackagesRule(profiles),
    ]
