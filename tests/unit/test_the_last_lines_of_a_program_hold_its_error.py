"""A stack below an error does not push the error out of a message's last lines."""

from __future__ import annotations

import pytest

from slimmer.exercise.words import last_lines


@pytest.mark.parametrize(
    "step",
    [
        "    at Module._compile (node:internal/modules/cjs/loader:1364:14)",
        "\tat org.x.Main.main(Main.java:3)",
        "\tfrom /usr/lib/ruby/x.rb:3:in `require'",
        "#3 /app/index.php(12): f()",
    ],
)
def test_steps_of_a_stack_are_few_and_the_error_is_shown(step: str) -> None:
    said = last_lines("\n".join(["before", "Error: no session", *[step] * 20, "Node.js v18"]).encode())
    assert "Error: no session" in said
    assert said.count(step.strip()) == 2
    assert said.endswith("Node.js v18")


def test_other_indented_lines_all_count() -> None:
    said = last_lines(b"\n".join(b"  File %d" % at for at in range(20)))
    assert said.splitlines()[1:] == [f"    File {at}" for at in range(12, 20)]
