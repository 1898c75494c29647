"""Paths that the application's own texts name stay, when they exist and are no more than what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.ownership.named_paths import MentionRule
from slimmer.closure.profiles.load import load_all
from tests.unit.profiles_support import Deb, closure, debian, reached, recorded

CONFIG = """
# root /srv/commented;
server {{ {line} }}
"""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return debian(
        tmp_path,
        {
            "web": Deb(
                {"/usr/share/web/icons/a.png": "a", "/usr/share/web/big": "b" * 99, "/usr/bin/helper": "#755 h"}
            ),
        },
        {
            "/srv/site/index.html": "see /srv/other",
            "/srv/site/img/a.png": "a",
            "/srv/site/.git/HEAD": "ref",
            "/srv/other/x": "x",
            "/srv/commented/x": "x",
            "/etc/ssl/private/own.key": "key",
            "/app/x": "",
            "/about/x": "",
        },
    )


@pytest.mark.parametrize(
    ("line", "kept", "not_kept"),
    [
        ("root /srv/site;", {"/srv/site/img/a.png", "/srv/site/index.html"}, {"/srv/site/.git/HEAD", "/srv/other/x"}),
        ('alias "/usr/share/web/icons/";', {"/usr/share/web/icons/a.png"}, {"/usr/share/web/big"}),
        ("key=/etc/ssl/private/own.key", {"/etc/ssl/private/own.key"}, set()),
        ("command /usr/bin/helper --now", {"/usr/bin/helper"}, set()),
        ("get /app here", {"/app/x"}, set()),
        ("path ./srv/site and x/srv/site and $HOME/srv/site", set(), {"/srv/site/index.html"}),
        ("https://srv/site and http:/srv/site2", set(), {"/srv/site/index.html"}),
        ("everything in / and /usr and /usr/share and /etc", set(), {"/usr/share/web/big", "/etc/ssl/private/own.key"}),
        ("root /srv/nothing;", set(), set()),
    ],
)
def test_a_read_configuration_keeps_what_it_names(top: Path, line: str, kept: set[str], not_kept: set[str]) -> None:
    (top / "etc/web.conf").write_text(CONFIG.format(line=line))
    found = reached(top, recorded(read=["/etc/web.conf"]), [MentionRule(load_all())])
    assert kept <= found
    assert found.isdisjoint(not_kept | {"/srv/commented/x"})


def test_a_configuration_that_nobody_read_names_nothing(top: Path) -> None:
    (top / "etc/web.conf").write_text("root /srv/site;")
    assert reached(top, recorded(looked_at=["/srv"]), [MentionRule(load_all())]) == set()


def test_a_mentioned_text_does_not_mention_further(top: Path) -> None:
    (top / "srv/site/more.conf").write_text("/srv/other\n")
    (top / "etc/web.conf").write_text("root /srv/site;")
    assert "/srv/other" not in reached(top, recorded(read=["/etc/web.conf"]), [MentionRule(load_all())])


def test_data_is_no_text_that_mentions(top: Path) -> None:
    (top / "app/page.html").write_text("see /srv/site/index.html")
    (top / "app/blob").write_bytes(b"\0 /srv/site/index.html")
    recording = recorded(read=["/app/page.html", "/app/blob"])
    assert reached(top, recording, [MentionRule(load_all())]) == set()


def test_a_large_packaged_directory_stays_out_and_the_report_says_so(top: Path) -> None:
    (top / "usr/share/web/big").write_bytes(b"b" * 10_000_000)
    (top / "etc/web.conf").write_text("root /usr/share/web;")
    grown = closure(top, recorded(read=["/etc/web.conf"]), [MentionRule(load_all())])
    assert "/usr/share/web/big" not in grown.paths
    assert "mentioned-directory" in {warning.kind for warning in grown.warnings}
