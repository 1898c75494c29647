"""The rules for programs in other languages, in the order in which they are asked. Scripts' interpreters are apart:
they are needed at every level (`scripts.ScriptRule`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from slimmer.closure.commands.needs import Embedded
from slimmer.closure.languages.awk.rule import AwkRule, awk_text
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.languages.compiled import CompiledRule
from slimmer.closure.languages.configuration import ConfigurationRule
from slimmer.closure.languages.environment import EnvironmentRule
from slimmer.closure.languages.erlang.rule import ErlangRule
from slimmer.closure.languages.foreign import ForeignLibraryRule
from slimmer.closure.languages.formats import FormatRule
from slimmer.closure.languages.gnuplot.rule import GnuplotRule, gnuplot_text
from slimmer.closure.languages.java.classes import JavaClassesRule
from slimmer.closure.languages.java.jars import JavaArchivesRule
from slimmer.closure.languages.java.rule import JavaRule, java_text
from slimmer.closure.languages.lua.rule import LuaRule
from slimmer.closure.languages.make.rule import MakeRule
from slimmer.closure.languages.mentions import MentionRule
from slimmer.closure.languages.node.rule import NodeRule, node_text
from slimmer.closure.languages.perl.rule import PerlRule, perl_text
from slimmer.closure.languages.php.rule import PhpRule
from slimmer.closure.languages.prolog.rule import PrologRule, prolog_text
from slimmer.closure.languages.python.rule import PythonRule, python_text
from slimmer.closure.languages.r.rule import RRule
from slimmer.closure.languages.ruby.rule import RubyRule, ruby_text
from slimmer.closure.languages.shell.rule import ShellRule
from slimmer.closure.languages.tcl.rule import TclRule
from slimmer.closure.model import Need, Reason, View
from slimmer.closure.profiles.load import Profile


def _awk_text(view: View, text: str, reason: Reason) -> Iterator[Need]:
    """A command of an awk program may hold a program of any language in turn."""
    return awk_text(INLINE, view, text, reason)


# Program text in other programs' arguments and here-documents: `python3 -c`, `perl -e`.
INLINE: Mapping[str, Embedded] = MappingProxyType(
    {
        "python": python_text,
        "node": node_text,
        "perl": perl_text,
        "ruby": ruby_text,
        "java": java_text,
        "awk": _awk_text,
        "gnuplot": gnuplot_text,
        "swipl": prolog_text,
    }
)


LANGUAGE_RULES: tuple[type[LanguageRule], ...] = (
    ShellRule,
    PythonRule,
    NodeRule,
    PerlRule,
    RubyRule,
    PhpRule,
    JavaRule,
    JavaArchivesRule,
    JavaClassesRule,
    LuaRule,
    TclRule,
    ErlangRule,
    RRule,
    MakeRule,
    AwkRule,
    GnuplotRule,
    PrologRule,
    CompiledRule,
    ConfigurationRule,
    FormatRule,
    ForeignLibraryRule,
    MentionRule,
    EnvironmentRule,
)


def language_rules(profiles: Sequence[Profile]) -> list[LanguageRule]:
    """New rules for one closure; the profiles say what packages stay without."""
    return [rule(INLINE, profiles) for rule in LANGUAGE_RULES]
