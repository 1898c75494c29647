"""What we read of real files is what pyelftools reads of them: this machine's libraries and foreign ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection
from elftools.elf.sections import SymbolTableSection

from slimmer.elf.file import parse
from slimmer.elf.symbols import imports, versions
from slimmer.root.directory import DirectoryRoot
from tests.support import root_of

LIMIT = 30  # files of each root


def sample(top: Path) -> Iterator[str]:
    """Some ELF files of a root, the same ones each time."""
    found = 0
    for directory in ("usr/bin", "usr/lib", "lib", "bin"):
        for base, _, names in sorted(os.walk(top / directory)):
            for name in sorted(names):
                path = os.path.join(base, name)
                if os.path.islink(path) or not 4000 < os.path.getsize(path) < 2_000_000:
                    continue
                with open(path, "rb") as stream:
                    if stream.read(4) == b"\x7fELF":
                        found += 1
                        yield path
                        if found == LIMIT:
                            return


@pytest.mark.parametrize("name", ["amd64", "arm64", "s390x"])
def test_headers_dynamic_section_symbols_and_versions(name: str) -> None:
    top = root_of("libc6", "zlib1g", "libpcre2-8-0", "xz-utils", architecture=name, variant="extract")
    root = DirectoryRoot(str(top))
    checked = 0
    for path in sample(top):
        with open(path, "rb") as stream:
            ours = parse(stream, path)
            stream.seek(0)
            theirs = ELFFile(stream)
            assert (ours.bits, ours.little) == (theirs.elfclass, theirs.little_endian)
            assert [each.address for each in ours.segments] == [each["p_vaddr"] for each in theirs.iter_segments()]
            dynamic = next((each for each in theirs.iter_segments() if isinstance(each, DynamicSegment)), None)
            assert ours.dynamic == (dynamic is not None)
            if dynamic is None:
                continue
            tags = list(dynamic.iter_tags())
            needed = tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED")
            assert ours.needed == needed
            assert ours.soname == next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), None)
            assert ours.runpath == next((tag.runpath for tag in tags if tag.entry.d_tag == "DT_RUNPATH"), None)
            entry = root.entry(path[len(str(top)) :])
            assert entry is not None
            table = theirs.get_section_by_name(".dynsym")
            if isinstance(table, SymbolTableSection):
                undefined = {
                    each.name for each in table.iter_symbols() if each["st_shndx"] == "SHN_UNDEF" and each.name
                }
                assert imports(root, entry, ours) == undefined
            mine = versions(root, entry, ours)
            needs = theirs.get_section_by_name(".gnu.version_r")
            if isinstance(needs, GNUVerNeedSection):
                pairs = {(library.name, each.name) for library, each_of in needs.iter_versions() for each in each_of}
                assert {(each.library, each.version) for each in mine.required} == pairs
            gives = theirs.get_section_by_name(".gnu.version_d")
            if isinstance(gives, GNUVerDefSection):
                assert set(mine.defined or ()) == {next(iter(names)).name for _, names in gives.iter_versions()}
            checked += 1
    assert checked > 5
