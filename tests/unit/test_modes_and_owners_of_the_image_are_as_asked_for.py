"""--chmod and --chown: what they change of an image's files, as chmod(1) and chown(1) would, and nothing else."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimmer.cli.described import recipe_over
from slimmer.errors import UsageProblem
from slimmer.pipeline.attributes import change, require_known
from slimmer.recipe import ImageOptions, Recipe, parse
from slimmer.report.words import mode_words
from slimmer.root.directory import DirectoryRoot
from slimmer.root.layered import CAPABILITY
from slimmer.root.model import sort_key
from tests.support import plant

PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n"
TREE = {
    "/etc/passwd": PASSWD,
    "/etc/group": "root:x:0:\nstaff:x:50:\n",
    "/srv/app/run.sh": "#644 #!/bin/sh\n",
    "/srv/app/sudo": "#755 x",
    "/srv/app/data/one": "#600 1",
    "/srv/app/data/two": "#600 2",
    "/srv/run": "-> app/run.sh",
}


class Root(DirectoryRoot):
    """With capabilities, which only root could give a file."""

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        return {CAPABILITY: b"\1", "user.x": b"y"} if path == "/srv/app/sudo" else super().xattrs(path)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    plant(tmp_path, TREE)
    (tmp_path / "srv/app/sudo").chmod(0o6755)
    os.link(tmp_path / "srv/app/data/one", tmp_path / "srv/app/data/name")
    return Root(str(tmp_path))


def differing(
    root: Root, *, chmod: Mapping[str, str] | None = None, chown: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What has another mode or owner then, with the caller's own ids as `me`."""
    kept = sorted((each.path for each in root.walk()), key=sort_key)
    changed = change(root, kept, ImageOptions(chmod=chmod or {}, chown=chown or {}))
    own = f"{os.getuid()}:{os.getgid()}"
    found = {}
    for path in kept:
        entry, before = changed.root.entry(path), root.entry(path)
        assert entry is not None
        assert before is not None
        if mode_words(entry) != mode_words(before):
            found[path] = (
                mode_words(entry).replace(own, "me") if own != "0:0" else mode_words(entry).replace(" 0:0", " me")
            )
    assert list(found) == list(changed.was)
    return found


def test_only_what_is_named_changes_and_all_names_of_a_file_do(root: Root) -> None:
    assert differing(root) == {}
    assert differing(root, chmod={"/srv/app/run.sh": "755"}) == {"/srv/app/run.sh": "0755 me"}
    assert differing(root, chmod={"/srv/app/run.sh": "0644"}) == {}
    assert differing(root, chmod={"/srv/app/data/one": "0640"}) == {
        "/srv/app/data/name": "0640 me",
        "/srv/app/data/one": "0640 me",
    }


def test_links_lead_on_and_globs_fit_what_is_packed(root: Root) -> None:
    assert differing(root, chmod={"/srv/run": "0700"}) == {"/srv/app/run.sh": "0700 me"}
    globbed = differing(root, chmod={"/srv/*/data/*": "0400", "/srv/app/data/two": "0440"})
    assert globbed == {
        "/srv/app/data/name": "0400 me",
        "/srv/app/data/one": "0400 me",
        "/srv/app/data/two": "0440 me",
    }
    assert set(differing(root, chown={"/srv/r*": "7:8"})) == {"/srv/run"}  # the link itself


@pytest.mark.parametrize(
    ("owner", "ids"),
    [("app", "1000:G"), ("app:staff", "1000:50"), ("app:", "1000:1001"), (":50", "U:50"), ("7:8", "7:8")],
)
def test_owners_are_numbers_or_names_of_the_roots_own_files(root: Root, owner: str, ids: str) -> None:
    changed = change(root, ["/etc/passwd"], ImageOptions(chown={"/etc/passwd": owner}))
    entry = changed.root.entry("/etc/passwd")
    assert entry is not None
    assert f"{entry.uid}:{entry.gid}" == ids.replace("U", str(os.getuid())).replace("G", str(os.getgid()))


def test_a_new_owner_takes_privileges_away_unless_they_are_given_again(root: Root) -> None:
    path = "/srv/app/sudo"
    chown = {path: "app:staff"}
    assert differing(root, chown=chown) == {path: "0755 1000:50"}
    assert differing(root, chown=chown, chmod={path: "4755"}) == {path: "4755 1000:50"}
    changed = change(root, [path], ImageOptions(chown=chown))
    assert changed.root.xattrs(path) == {"user.x": b"y"}
    kept = change(root, [path], ImageOptions(chmod={path: "0700"}))
    assert CAPABILITY in kept.root.xattrs(path)


def test_what_the_root_does_not_know_is_refused_and_what_is_not_packed_is_said(root: Root) -> None:
    with pytest.raises(UsageProblem, match="--chmod /srv/none"):
        require_known(root, ImageOptions(chmod={"/srv/none": "0755"}))
    for owner in ("nobody", "0:x"):
        with pytest.raises(UsageProblem, match=f"--chown {owner}"):
            require_known(root, ImageOptions(chown={"/srv/app": owner}))
    changed = change(root, ["/etc/passwd"], ImageOptions(chmod={"/srv/app/run.sh": "0755", "/opt/*": "0755"}))
    assert [each.path for each in changed.warnings] == ["/srv/app/run.sh", "/opt/*"]
    assert not changed.was


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("chmod", "srv=0755"),
        ("chmod", "/=0755"),
        ("chmod", "/srv=u+x"),
        ("chmod", "/srv=99"),
        ("chmod", "/srv"),
        ("chown", "/srv="),
        ("chown", "/srv=a b"),
        ("chown", "/srv=:"),
    ],
)
def test_what_is_no_mode_or_owner_is_refused(option: str, text: str) -> None:
    with pytest.raises(UsageProblem, match=f"--{option}"):
        recipe_over(Recipe(), {option: (text,)})


def test_the_recipe_holds_both() -> None:
    options = {"chmod": ("/srv/a=b=0755",), "chown": ("/srv=app:staff",)}
    recipe = recipe_over(Recipe(image=ImageOptions(chmod={"/srv": "0700"})), options)
    assert recipe.image.chmod == {"/srv": "0700", "/srv/a=b": "0755"}
    assert parse(tomllib.loads(recipe.dump()), "recipe.toml").image == recipe.image
