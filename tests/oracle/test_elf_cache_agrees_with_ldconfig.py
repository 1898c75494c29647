"""Caches that ldconfig wrote are read as it prints them; what we write, it and ld.so read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from slimmer.elf import ldcache
from slimmer.root.directory import DirectoryRoot
from tests.support import plant, requires
from tests.support_elf import elf

LDCONFIG = "/sbin/ldconfig"
pytestmark = [
    requires("ldconfig"),
    pytest.mark.skipif(not Path(LDCONFIG).exists(), reason="no ldconfig"),
]


def printed(cache: Path) -> list[tuple[str, str]]:
    done = subprocess.run([LDCONFIG, "-p", "-C", str(cache)], capture_output=True, text=True, check=True)
    return re.findall(r"^\t(\S+) \(.*\) => (.*)$", done.stdout, re.M)


@pytest.mark.parametrize("form", ["new", "compat", "old"])
def test_every_format_is_read_as_ldconfig_prints_it(form: str, tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "etc/ld.so.conf": "/opt/lib\n",
            "opt/lib/libx.so.1.0": elf((14, "libx.so.1")),
            "opt/lib/liby.so.10": elf((14, "liby.so.10")),
            "opt/lib/liby.so.9": elf((14, "liby.so.9")),
            "opt/lib/glibc-hwcaps/x86-64-v3/libx.so.1.0": elf((14, "libx.so.1")),
        },
    )
    (tmp_path / "opt/lib/libx.so.1").symlink_to("libx.so.1.0")
    (tmp_path / "opt/lib/glibc-hwcaps/x86-64-v3/libx.so.1").symlink_to("libx.so.1.0")
    subprocess.run([LDCONFIG, "-X", "-r", str(tmp_path), "-c", form], check=True)
    place = tmp_path / "etc/ld.so.cache"
    cache = ldcache.read(place.read_bytes())
    found = [(each.name, each.path) for each in cache.entries]
    assert found == printed(place)
    assert len(found) >= 3
    if form != "old":
        assert [each.variant for each in cache.find("libx.so.1")] == ["x86-64-v3", ""]
        again = tmp_path / "again"
        again.write_bytes(ldcache.write(reversed(cache.entries)))
        assert printed(again) == found


def test_the_machines_own_cache_survives_a_round() -> None:
    data = Path(ldcache.PATH).read_bytes()
    cache = ldcache.read(data)
    assert ldcache.read(ldcache.write(cache.entries)).entries == cache.entries
    root = DirectoryRoot("/")
    everything = {entry.path for entry in _everything(root, cache)}
    kept = ldcache.fresh(root, everything)
    assert kept is not None
    assert set(ldcache.read(kept).entries) <= set(cache.entries)
    assert len(ldcache.read(kept).entries) > len(cache.entries) // 2


def _everything(root: DirectoryRoot, cache: ldcache.Cache) -> list:  # type: ignore[type-arg]
    out = []
    for each in cache.entries:
        where = root.resolve(each.path)
        out += [entry for path in (*where.links, where.path) if (entry := root.entry(path)) is not None]
    return out
