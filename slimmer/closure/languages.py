"""The rules for programs in other languages, in the order in which they are asked."""

from __future__ import annotations

from slimmer.closure.java import JavaRule
from slimmer.closure.model import Rule
from slimmer.closure.node import NodeRule
from slimmer.closure.perl import PerlRule
from slimmer.closure.php import PhpRule
from slimmer.closure.python import PythonRule
from slimmer.closure.ruby import RubyRule
from slimmer.closure.scripts import ScriptRule
from slimmer.closure.shell import ShellRule

LANGUAGE_RULES: tuple[type[Rule], ...] = (
    ScriptRule,
    ShellRule,
    PythonRule,
    NodeRule,
    PerlRule,
    RubyRule,
    PhpRule,
    JavaRule,
)
