"""The rules for programs in other languages, in the order in which they are asked. Scripts' interpreters are apart:
they are needed at every level (`scripts.ScriptRule`).
"""

from __future__ import annotations

from slimmer.closure.embedded import EMBEDDED
from slimmer.closure.java import JavaRule
from slimmer.closure.java_classes import JavaClassesRule
from slimmer.closure.model import Rule
from slimmer.closure.node import NodeRule, node_text
from slimmer.closure.perl import PerlRule, perl_text
from slimmer.closure.php import PhpRule
from slimmer.closure.python import PythonRule, python_text
from slimmer.closure.ruby import RubyRule, ruby_text
from slimmer.closure.shell import ShellRule

LANGUAGE_RULES: tuple[type[Rule], ...] = (
    ShellRule,
    PythonRule,
    NodeRule,
    PerlRule,
    RubyRule,
    PhpRule,
    JavaRule,
    JavaClassesRule,
)

EMBEDDED.update(python=python_text, node=node_text, perl=perl_text, ruby=ruby_text)
