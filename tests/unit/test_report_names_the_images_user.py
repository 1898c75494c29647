"""Every view says who the image runs as, and a tree what it could not be given."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.image.config import ImageConfig
from slimmer.image.unpack import Feature, Unset, unset_words
from slimmer.report.build import build_report
from slimmer.report.card import image_card
from slimmer.report.model import Report, Subject
from slimmer.report.output import Check
from slimmer.report.table import markdown
from slimmer.report.words import is_root, user_words


def report(user: str) -> Report:
    return build_report([], [], Subject(source="fat", user=user))


@pytest.mark.parametrize(
    ("user", "root"), [("", True), ("0", True), ("root:adm", True), ("10:0", False), ("web", False)]
)
def test_root_is_named_whatever_it_is_called(user: str, root: bool) -> None:
    assert is_root(user) is root
    assert ("root" in user_words(user)) is root
    assert ("badge warn" in image_card(report(user), ImageConfig(user=user))) is root
    assert "Runs as: " in markdown(report(user), Check())


def test_the_card_tells_names_and_no_values(tmp_path: Path) -> None:
    config = ImageConfig(
        entrypoint=("/app/<run>",),
        env=(("PATH", "/bin"), ("DB_PASSWORD", "hunter22")),
        exposed_ports=("80/tcp", "443/tcp"),
        volumes=("/data",),
    )
    card = image_card(report("web"), config)
    for words in ("web", "/app/&lt;run&gt;", "PATH, DB_PASSWORD", "80/tcp, 443/tcp", "/data"):
        assert words in card
    assert "hunter22" not in card
    assert "<dt>command" not in card  # what is empty is left out


def test_a_tree_says_what_it_lacks_and_what_keeps_it() -> None:
    unset = [Unset(f"/srv/{name}", Feature.OWNER, "owner 0:0 not set") for name in "abc"]
    unset.append(Unset("/srv/c", Feature.SET_ID, "set-id bits left out"))
    words = unset_words(unset)
    assert words.startswith("this user could not set 3 owners, 1 set-id bit in the tree (e.g. /srv/a")
    assert "--archive" in words
    assert unset_words([]) == ""
