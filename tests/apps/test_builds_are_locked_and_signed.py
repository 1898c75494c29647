"""The lock in a build, and signatures from the build to the registry and to the running files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import daemons
from tests.apps.conftest import Slim
from tests.support import plant, requires
from tests.unit.imagemaker import Item, layout, tar

BUSYBOX = Path("/bin/busybox")
pytestmark = [
    requires("busybox"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="not installed: busybox-static"),
]


def root(top: Path, **files: str) -> Path:
    """A root of one static program and some files."""
    plant(top, {"/etc/passwd": "root:x:0:0:root:/:/bin/sh\n", "/srv/unused": "u", "/bin/sh": "-> busybox"})
    (top / "bin/busybox").write_bytes(BUSYBOX.read_bytes())
    (top / "bin/busybox").chmod(0o755)
    for name, text in files.items():
        plant(top, {f"/data/{name}": text})
    return top


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    root(tmp_path / "root", one="1\n")
    place = tmp_path / "slim.toml"
    place.write_text(
        f'[source]\nroot = "{tmp_path / "root"}"\n[[run]]\ncommand = ["/bin/busybox", "cat", "/data/one"]\n'
    )
    return place


def test_a_locked_build_stops_where_it_deviates_and_publishes_nothing(slim: Slim, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("trace", "--recipe", recipe, "-o", out, "--no-check")
    assert "cannot read the lock" in slim(*words, "--locked", code=1).stderr
    slim(*words, "--update-lock")
    lock = recipe.with_name("slim.lock")
    before = lock.read_bytes()
    said = slim(*words, "--locked").stderr
    assert "the same image, so there is nothing new to push" in said
    # What the image does not hold may change.
    (tmp_path / "root/srv/unused").write_text("other")
    (tmp_path / "root/etc/os-release").write_text("ID=other\n")
    published = (out / "manifest.json").read_bytes()
    (tmp_path / "root/data/one").write_text("2\n")
    archive = tmp_path / "a.tar"
    refused = slim(*words, "--locked", "--archive", archive, code=3).stderr
    assert "~ /data/one  content" in refused
    assert "+ /etc/os-release" in refused
    assert "tells scanners" in refused  # with the reason
    assert "nothing was published" in refused
    assert (out / "manifest.json").read_bytes() == published
    assert not archive.exists()
    slim(*words, "--locked", "--allow", "/data/*", "--allow", "/etc/os-release")
    recipe.write_text(recipe.read_text() + '[lock]\nallow = ["/data/*", "/etc/os-release"]\n')
    slim(*words, "--locked")
    slim(*words, "--update-lock")
    assert json.loads(lock.read_text().splitlines()[2]) == {"allow": ["/data/*", "/etc/os-release"]}
    assert lock.read_bytes() != before
    # From a recording alone it is held too.
    slim("build", out / "recording.json", "--recipe", recipe, "-o", tmp_path / "o2", "--no-check", "--locked")


@requires("docker-registry")
def test_what_is_signed_in_a_build_is_verified_in_a_registry_and_in_a_tree(slim: Slim, tmp_path: Path) -> None:
    busybox = Item("bin/busybox", content=BUSYBOX.read_bytes(), mode=0o755)
    data = tar(busybox, Item("data/one", content=b"1\n"), Item("data/two", content=b"2"))
    place = layout(tmp_path / "image", data, tag="t")
    environ = {"SLIMMER_KEY_PASSPHRASE": "words of a test", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    slim("key", "new", "-o", tmp_path / "slim.key", env=environ)
    out, pub = tmp_path / "out", tmp_path / "slim.pub"
    with daemons.docker_registry(tmp_path / "registry") as server:
        name = f"docker://{server.host}/team/app:slim"
        slim(
            *("trace", "--image", place, "--run", "/bin/busybox cat /data/one", "-o", out, "--push", name),
            *("--sign-key", tmp_path / "slim.key", "--builder", "urn:example:ci", "--rootfs", tmp_path / "tree"),
            env=environ,
        )
        for image in (out, name):
            done = slim("verify", image, "--key", pub, "--builder", "urn:example:*", "--source", "oci:*", "--json")
            assert json.loads(done.stdout)["verified"], done.stdout
        assert "FAIL" in slim("verify", name, "--key", pub, "--builder", "urn:other", code=3).stdout
        pinned = json.loads((out / "report.json").read_text())["subject"]["source_digest"]
        assert slim("verify", out, "--key", pub, "--source", pinned).stdout.count("ok") >= 8
        # The image of the registry is built again from its own record.
        assert "bit for bit equal" in slim("reproduce", name, env=environ).stdout
        # Somebody else's recipe names no source of this host by itself.
        stranger = {**environ, "XDG_STATE_HOME": str(tmp_path / "other"), "TMPDIR": str(tmp_path)}
        asked = slim("reproduce", name, env=stranger, code=2).stderr
        assert f"--image {place}" in asked
        assert "--trust" in asked
        assert not list(tmp_path.glob("slimmer-*"))
        assert "bit for bit equal" in slim("reproduce", name, "--trust", env=stranger).stdout
        # Files of a tree are those that were signed, until one is not.
        slim("verify", "--manifest", name, "--key", pub, "--files", tmp_path / "tree")
        (tmp_path / "tree/data/one").write_text("!\n")
        said = slim("verify", "--manifest", name, "--key", pub, "--files", tmp_path / "tree", code=3)
        assert "differs  /data/one  content" in said.stdout
    # Signed again, the output is still one that the next build may replace.
    slim("sign", out, "--key", tmp_path / "slim.key", env=environ)
    slim("trace", "--image", place, "--run", "/bin/busybox cat /data/one", "-o", out, "--no-check", env=environ)
    assert not (out / "attestations").exists()


def test_a_wrong_key_is_said_before_the_work(slim: Slim, recipe: Path, tmp_path: Path) -> None:
    words = ("trace", "--recipe", recipe, "-o", tmp_path / "out")
    assert "cannot read the key" in slim(*words, "--sign-key", tmp_path / "none", code=1).stderr
    slim("key", "new", "-o", tmp_path / "k.key", env={"SLIMMER_KEY_PASSPHRASE": "right"})
    done = slim(*words, "--sign-key", tmp_path / "k.key", env={"SLIMMER_KEY_PASSPHRASE": "wrong"}, code=1)
    assert "the passphrase is wrong" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_newer_source_is_outdated_only_where_the_image_holds_what_changed(
    slim: Slim, recipe: Path, tmp_path: Path
) -> None:
    out, newer = tmp_path / "out", tmp_path / "newer"
    slim("trace", "--recipe", recipe, "-o", out, "--no-check")
    root(newer, one="1\n", three="new")
    (newer / "srv/unused").write_text("other")
    assert "nothing that this image holds has changed" in slim("outdated", out, "--against", newer).stdout
    (newer / "data/one").write_text("2\n")
    done = slim("outdated", out, "--against", newer, "--json", code=3)
    assert [row["path"] for row in json.loads(done.stdout)["changes"]] == ["/data/one"]
    plant(tmp_path / "stranger", {"/else": "x"})
    assert "holds none of the files" in slim("outdated", out, "--against", tmp_path / "stranger", code=1).stderr
