"""Ruby, Perl and PHP: what one file of an application holds and another starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.mentions import MentionRule, texts
from tests.unit.closures import kept

TOOLS = {f"/usr/bin/{name}": "#755 \x7fELF" for name in ("sqlite3", "md5sum", "fold", "head", "comm", "wc", "sort")}


@pytest.mark.parametrize(
    ("held", "starter", "expected"),
    [
        (("a.rb", "DB = ENV.fetch('DB', 'sqlite3')"), ("b.rb", "IO.popen(x)"), {"sqlite3"}),
        (("a.rb", "T = {h: 'md5sum', s: 'sort'}"), ("b.rb", "Open3.capture2e(*c)"), {"md5sum"}),
        (("a.rb", 'Shell.sh("fold -w 20 #{x} | head -2")'), ("b.rb", "`#{x}`"), {"fold", "head"}),
        (("a.rb", "x = <<~S\n  comm -12 #{a} b | wc -l\nS\n"), ("b.rb", "system(x)"), {"comm", "wc"}),
        (("a.pl", "my $c = 'sqlite3';"), ("b.pl", "system($c)"), {"sqlite3"}),
        (("a.php", '<?php $c = "md5sum -b $x";'), ("b.php", "<?php proc_open($c, [], $p);"), {"md5sum"}),
        (("a.pl", "my %c = (tgz => ['sort', '-n'])"), ("b.pl", "open my $f, '-|', @c"), {"sort"}),
        (("a.php", '<?php $c = "md5sum -b $x";'), ("b.rb", "system(x)"), set[str]()),
        (("a.rb", "puts 'sort of a head'"), ("b.rb", "system(x)"), set[str]()),
    ],
)
def test_they_stay(held: tuple[str, str], starter: tuple[str, str], expected: set[str], tmp_path: Path) -> None:
    sources = {f"/app/{name}": text for name, text in (held, starter)}
    found = kept(tmp_path, {**TOOLS, **sources}, *sources, rules=(MentionRule,))
    assert {each.removeprefix("/usr/bin/") for each in found if each.startswith("/usr/bin/")} == expected


def test_long_texts_take_time_in_proportion() -> None:
    assert len(list(texts("x = '" + "a" * 200_000 + "'\n" + "<<S\n" * 2000))) < 10_000
