"""Perl's large charsets come with the application's own sources, not with a helper script of some package."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.perl.rule import PerlRule
from tests.unit.profiles_support import Deb, debian, reached, recorded

TOP = "/usr/share/perl/5.36"
PERL: dict[str, str | bytes | None] = {
    "/usr/bin/perl": b"\x7f" + f"\0{TOP}\0".encode(),
    f"{TOP}/Encode.pm": "use Encode::Config;\n",
    f"{TOP}/Encode/Config.pm": "our %M = ('shiftjis' => 'Encode::JP');\n",
    f"{TOP}/Encode/JP.pm": "package Encode::JP;\n",
    f"{TOP}/Encode/Unicode.pm": "package Encode::Unicode;\n",
    f"{TOP}/auto/Encode/JP/JP.so": "tables",
    f"{TOP}/IO.pm": "",
    f"{TOP}/IO/File.pm": "use IO;\n",
    f"{TOP}/IO/Zlib.pm": "use Encode;\n",
}
TABLES = {f"{TOP}/Encode/JP.pm", f"{TOP}/auto/Encode/JP/JP.so"}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    wrapper = "#755 #!/usr/bin/perl\nuse {};\n"
    packages = {
        "perl-base": Deb(PERL),
        "wrap": Deb({"/usr/bin/plain": wrapper.format("strict"), "/usr/bin/encodes": wrapper.format("Encode")}),
    }
    debian(tmp_path, packages, {"/app/run.pl": "#!/usr/bin/perl\nuse strict;\n"})
    (tmp_path / "usr/bin/perl").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("script", "encode", "tables"),
    [("/usr/bin/plain", False, False), ("/usr/bin/encodes", True, False), ("/app/run.pl", True, True)],
)
def test_tables_come_with_own_sources(top: Path, script: str, encode: bool, tables: bool) -> None:
    found = reached(top, recorded(executed=["/usr/bin/perl"], read=[script]), [PerlRule()])
    assert (f"{TOP}/Encode/Unicode.pm" in found) is encode
    assert (found >= TABLES) is tables
    assert found >= TABLES or found.isdisjoint(TABLES)
