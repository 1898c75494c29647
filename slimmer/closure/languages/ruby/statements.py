"""Ruby's ways to name a file that is loaded."""

from __future__ import annotations

import re

REQUIRE = re.compile(
    r"""\b(?<![\w.:@$-])(require|require_relative|load|gem|autoload\s*+\(?\s*+:?\w+\s*+,)\s*+\(?\s*+["']([^"'\n]+)["']"""
)
# `require File.expand_path("../lib/x", __FILE__)`, `require_relative File.join(__dir__, "x")`
PLACED = re.compile(
    r"""\b(?:require|load|autoload)\b[^\n"']{0,80}(?:__FILE__|__dir__|File\.(?:expand_path|join))[^\n"']{0,80}["']([^"'\n]{1,300})["']|["']([^"'\n]{1,300})["']\s*,\s*__FILE__"""
)
# `$LOAD_PATH.unshift File.expand_path("../lib", __FILE__)`, `$: << "lib"`
LOAD_PATH = re.compile(
    r"""(?:\$LOAD_PATH|\$:)[ \t]*+(?:<<|\.(?:unshift|push|append|prepend|concat|insert)\b)"""
    r"""[^\n"']{0,80}["']([^"'\n]{1,300})["']"""
)
