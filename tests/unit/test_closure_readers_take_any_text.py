"""No source, however odd, breaks a reader: what is no program names nothing, and never raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimmer.closure.commands import shebang, shell_syntax
from slimmer.closure.commands.wrappers import effects
from slimmer.closure.languages.node import imports as node_imports
from slimmer.closure.languages.perl import imports as perl_imports
from slimmer.closure.languages.php import syntax as php_syntax
from slimmer.closure.languages.python import bytecode
from slimmer.closure.languages.python import imports as python_imports
from slimmer.closure.languages.ruby import syntax as ruby_syntax

READERS: dict[str, Callable[[bytes], object]] = {
    "python": lambda content: python_imports.scan(content, words=True),
    "bytecode": bytecode.scan_bytecode,
    "javascript": node_imports.scan,
    "javascript by pattern": lambda content: list(node_imports.plain_loads(content)),
    "perl": perl_imports.scan,
    "php": lambda content: php_syntax.scan(b"<?php system($x);" + content, "/app/x.php"),
    "ruby": lambda content: ruby_syntax.scan(b"system(x)\n" + content, "/app/x.rb"),
    "shell": lambda content: shell_syntax.parse(content, "/app/run"),
    "first line": shebang.parse_shebang,
    "command line": lambda content: list(effects(content.decode("latin-1").split(" "))),
}
WORDS = r"""import from require use system exec open eval ( ) [ ] { } ' " ` $x ${ $( \ # /* // << <<EOF EOF =pod =cut
    __END__ a.b a::b ./x | ; & if then fi do done case esac def class: try: find -exec sh -c env -S tar x xargs"""
PIECES = [*WORDS.split(), "\0", "\xff", "é", "\n=pod\n", "\n__END__\n", "\nEOF\n"]
NOISE = st.lists(st.one_of(st.sampled_from([*PIECES, " ", "\n", "\n    "]), st.text(max_size=8)), max_size=60)


@pytest.mark.parametrize("reader", READERS)
@given(pieces=NOISE)
@settings(max_examples=60, deadline=None)
def test_a_reader_takes_any_text(reader: str, pieces: list[str]) -> None:
    READERS[reader](" ".join(pieces).encode("utf-8", "replace"))


@pytest.mark.parametrize("reader", READERS)
@given(content=st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_a_reader_takes_any_bytes(reader: str, content: bytes) -> None:
    READERS[reader](content)
