"""No source, however odd, breaks a reader: what is no program names nothing, and never raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimmer.closure import node_syntax, perl_syntax, python_bytecode, python_imports, scripts, shell_syntax
from slimmer.closure.commands import effects

READERS: dict[str, Callable[[bytes], object]] = {
    "python": lambda content: python_imports.scan(content, words=True),
    "bytecode": python_bytecode.scan_bytecode,
    "javascript": node_syntax.scan,
    "javascript by pattern": lambda content: list(node_syntax.plain_loads(content)),
    "perl": perl_syntax.scan,
    "shell": lambda content: shell_syntax.parse(content, "/app/run"),
    "first line": scripts.parse_shebang,
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
