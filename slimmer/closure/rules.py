"""The rules of one closure, in the order in which they speak."""

from __future__ import annotations

from collections.abc import Sequence

from slimmer.closure.binaries.aliases import NamesRule
from slimmer.closure.binaries.dlopen import library_rules
from slimmer.closure.commands.shebang import ScriptRule
from slimmer.closure.essentials import EssentialsRule
from slimmer.closure.languages.registry import language_rules
from slimmer.closure.model import Rule
from slimmer.closure.ownership.application import ApplicationRule
from slimmer.closure.ownership.declared_programs import DeclaredProgramsRule
from slimmer.closure.ownership.library_data import LibraryDataRule
from slimmer.closure.ownership.named_paths import MentionRule
from slimmer.closure.ownership.package_families import FamilyRule
from slimmer.closure.ownership.whole_packages import PackagesRule
from slimmer.closure.profiles.load import Profile
from slimmer.closure.profiles.rule import ProfileRule
from slimmer.closure.recorded import IncludeRule, RecordedRule


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
        DeclaredProgramsRule(profiles),
        LibraryDataRule(profiles),
        MentionRule(profiles),
        NamesRule(),
        *language_rules(profiles),
        PackagesRule(profiles),
    ]
