"""Syntax trees of sources that may be anything: parsed within a budget."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tree_sitter import Node, Parser, Point, Tree

from slimmer.root.budget import Unread, check_depth

SECONDS = 20.0  # of the processor; a grammar that has to guess grows with the square of what it guesses about
PLAIN = 4 << 10  # bytes, up to which nothing can take long


def parsed(parser: Parser, source: bytes) -> Tree:
    """The tree. Raises Unread for what is nested too deeply or holds the parser up."""
    if len(source) <= PLAIN:
        return parser.parse(source)
    check_depth(source)
    ends = time.thread_time() + SECONDS

    def read(offset: int, point: Point) -> bytes:
        return source[offset : offset + (64 << 10)]

    def late(offset: int, error: bool) -> bool:
        return time.thread_time() > ends

    try:
        return parser.parse(read, progress_callback=late)
    except ValueError as error:
        parser.reset()  # it would go on where it stopped
        raise Unread(f"its syntax holds the parser up for more than {SECONDS:.0f} seconds") from error


def named_nodes(root: Node) -> Iterator[Node]:
    """Every named node of a tree, in the order of the source, without recursion."""
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(node.named_children))
