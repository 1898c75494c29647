"""Perl: modules through the compiled-in @INC, compiled parts, families, the application's own directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.perl.imports import scan
from slimmer.closure.languages.perl.rule import PerlRule
from slimmer.closure.model import Application
from slimmer.closure.recorded import RecordedRule
from slimmer.packages.model import Package, PackageType
from tests.support_roots import Owned
from tests.unit.closures import kept
from tracer.recording import Access, Execution, Kind, Recording

INC = ("/etc/perl", "/usr/lib/x/perl/5.36", "/usr/share/perl/5.36")
BINARY = b"\x7fELF\0" + b"\0".join(place.encode() for place in INC) + b"\0/usr/share/perl/none\0"
BASE: dict[str, str | bytes | None] = {"/usr/bin/perl": BINARY, **dict.fromkeys(INC)}


def reached(tmp_path: Path, tree: dict[str, str | bytes | None], *seeds: str) -> set[str]:
    return kept(tmp_path, {**BASE, **tree}, "/usr/bin/perl", *seeds, rules=(PerlRule,)) - {*BASE}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("use strict; use A::B 1.2 qw(x y);", {"strict", "A::B"}),
        ("sub f { require C; } eval { require D; 1 }", {"C", "D"}),
        ("use parent -norequire, 'E'; use base qw(F G::H);", {"parent", "E", "base", "F", "G::H"}),
        ("use if $x, 'I';", {"if", "I"}),
        ("eval \"use J\"; eval 'require K';", {"J"}),
        ("=pod\n\nuse L;\n\n=cut\nuse M;\n# use N;\n__END__\nuse O;\n", {"M"}),
        ("$x->require('P'); my %h = (use => 1); $require; no Q;", {"Q"}),
        ("use_module('R::S'); load_class \"T\";", {"R::S", "T"}),
    ],
)
def test_modules(source: str, expected: set[str]) -> None:
    found = {mention.text for mention in scan(source.encode()).modules}
    assert expected <= found
    assert not {"L", "N", "O", "P"} & found


@pytest.mark.parametrize(
    ("source", "commands", "shells"),
    [
        ('system("git", "log");', {("git", "log")}, set()),
        ("exec qw(tar cz x);", {("tar", "cz", "x")}, set()),
        ('system("date | wc");', set(), {"date | wc"}),
        ("my $x = `id -u`; my $y = qx(stat x);", set(), {"id -u", "stat x"}),
        ('open(my $f, "-|", "sort", "-u");', {("sort", "-u")}, set()),
        ("system(q{x}); system($y); $z->system('no');", set(), set()),
        ('system("printf \'a b\' | sort -k\\"2\\"");', set(), {"printf 'a b' | sort -k\"2\""}),
        ('system { $p } "git", "log", $x, "y";', {("git", "log", "", "y")}, set()),
        ('open F, "gzip -dc x |"; open G, "| mail root";', set(), {"gzip -dc x", "mail root"}),
    ],
)
def test_programs(source: str, commands: set[tuple[str, ...]], shells: set[str]) -> None:
    found = scan(source.encode()).commands
    assert {command.words for command in found if not command.shell} == commands
    assert {command.words[0] for command in found if command.shell} == shells


def test_modules_bring_their_compiled_parts(tmp_path: Path) -> None:
    core = "/usr/lib/x/perl/5.36"
    tree: dict[str, str | bytes | None] = {
        "/app/main.pl": "use A::B;\nuse lib 'lib';\nuse My::Own;\n",
        "/app/lib/My/Own.pm": "require 'conf.pl';",
        "/app/lib/conf.pl": "1;",
        f"{core}/A/B.pm": "package A::B; sub x { require A::Late }",
        f"{core}/auto/A/B/B.so": b"\x7fELF\0A::FromC\0",
        f"{core}/auto/A/B/split.al": "",
        f"{core}/auto/A/B/C/C.so": "",
        f"{core}/A/Late.pm": "",
        f"{core}/A/FromC.pm": "",
        f"{core}/A/Other.pm": "",
        "/usr/share/perl/5.36/A/B.pm": "",
    }
    left_out = {f"{core}/auto/A/B/C/C.so", f"{core}/A/Other.pm"}
    assert reached(tmp_path, tree, "/app/main.pl") == {*tree} - left_out


def test_families_of_computed_names_stay(tmp_path: Path) -> None:
    top = "/usr/share/perl/5.36"
    tree: dict[str, str | bytes | None] = {
        "/app/main.pl": 'use DBI; my $d = shift; eval "require Plug::$d";',
        f"{top}/DBI.pm": "",
        f"{top}/DBD/SQLite.pm": "",
        f"{top}/auto/DBD/SQLite/SQLite.so": "",
        f"{top}/Plug/One.pm": "use Deep;",
        f"{top}/Plug/Two.pod": "",
        f"{top}/Deep.pm": "",
        f"{top}/Else.pm": "",
    }
    assert reached(tmp_path, tree, "/app/main.pl") == {*tree} - {f"{top}/Plug/Two.pod", f"{top}/Else.pm"}


def test_a_few_modules_load_others_by_names_that_they_compute(tmp_path: Path) -> None:
    top = "/usr/share/perl/5.36"
    tree: dict[str, str | bytes | None] = {
        "/app/main.pl": "use bigrat;",
        f"{top}/bigrat.pm": 'my $class = "Math::BigRat";',
        f"{top}/Math/BigRat.pm": "",
        f"{top}/Math/Complex.pm": "",
    }
    assert reached(tmp_path, tree, "/app/main.pl") == {*tree} - {f"{top}/Math/Complex.pm"}


def test_unicode_tables_stay_when_a_program_asks_for_properties(tmp_path: Path) -> None:
    table = "/usr/share/perl/5.36/unicore/lib/Gc/Lu.pl"
    tree: dict[str, str | bytes | None] = {"/app/a.pl": "print if /\\p{Lu}/;", "/app/b.pl": "print if /x/;", table: ""}
    assert reached(tmp_path / "1", tree, "/app/b.pl") == {"/app/b.pl"}
    assert reached(tmp_path / "2", tree, "/app/a.pl") == {"/app/a.pl", table}


def test_a_program_without_a_suffix_is_told_by_its_first_line(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/bin/tool": "#755 #!/usr/bin/env perl\nuse X::Y;\nsystem('git', 'log');",
        "/app/lib/X/Y.pm": "",
        "/usr/bin/git": "#755 x",
    }
    assert reached(tmp_path, tree, "/app/bin/tool") == {*tree}


def test_commands_of_a_package_that_the_run_loaded_stay(tmp_path: Path) -> None:
    shared = "/usr/share/perl/5.36"
    tree: dict[str, str | bytes | None] = {
        f"{shared}/Web.pm": "package Web; use Helper; 1;",
        f"{shared}/Helper.pm": "package Helper; 1;",
        f"{shared}/Web/Cli.pm": "",
        "/usr/bin/web": "#755 #!/usr/bin/perl\nuse Web::Cli;\n",
        "/usr/bin/web-native": "#755 \x7fELF",
        "/usr/bin/helper": "#755 #!/usr/bin/perl\n",
    }
    owned = Owned(
        {
            Package(PackageType.DEB, "libweb-perl", "1"): [f"{shared}/Web.pm", "/usr/bin/web", "/usr/bin/web-native"],
            Package(PackageType.DEB, "libhelper-perl", "1"): [f"{shared}/Helper.pm", "/usr/bin/helper"],
        }
    )
    recording = Recording((Access(f"{shared}/Web.pm", frozenset({Kind.READ}), frozenset()),))
    rules = (RecordedRule, PerlRule)
    found = kept(tmp_path, {**BASE, **tree}, "/usr/bin/perl", rules=rules, recording=recording, packages=owned)
    assert {"/usr/bin/web", f"{shared}/Web/Cli.pm", f"{shared}/Helper.pm"} <= found
    assert not {"/usr/bin/web-native", "/usr/bin/helper"} & found


ROLES = {
    "archlibexp": "/usr/lib/x/perl/5.36",
    "privlibexp": "/usr/share/perl/5.36",
    "vendorlibexp": "/usr/share/perl5",
    "vendorarchexp": "/usr/lib/x/perl5",
}
CONFIGURED: dict[str, str | bytes | None] = {
    # as the linker lays texts out, which is not how perl searches
    "/usr/bin/perl": "\0".join(("\x7fELF", *ROLES.values(), "/usr/lib/x/perl-base", "")).encode(),
    "/usr/lib/x/perl-base/Config.pm": "".join(f"    {name} => '{ROLES[name]}',\n" for name in [*ROLES][:2]),
    "/usr/lib/x/perl-base/Config_heavy.pl": "".join(f"{name}='{place}'\n" for name, place in ROLES.items()),
    **dict.fromkeys(ROLES.values()),
}


def loaded(tmp_path: Path, tree: dict[str, str | bytes | None], *seeds: str, **more: object) -> set[str]:
    whole = {**CONFIGURED, **tree}
    return kept(tmp_path, whole, "/usr/bin/perl", *seeds, rules=(PerlRule,), **more) - {*CONFIGURED, *seeds}


def test_of_copies_along_inc_the_first_stays_with_its_compiled_part(tmp_path: Path) -> None:
    base, arch, share = "/usr/lib/x/perl-base", "/usr/lib/x/perl/5.36", "/usr/share/perl/5.36"
    stays: dict[str, str | bytes | None] = {
        f"{base}/POSIX.pm": "package POSIX; use In::Base;",
        f"{base}/auto/POSIX/POSIX.so": "",
        f"{base}/In/Base.pm": "",
        f"{arch}/Only/Arch.pm": "",
        f"{arch}/auto/Only/Arch/Arch.so": "",
        "/usr/share/perl5/JSON.pm": "",
    }
    second: dict[str, str | bytes | None] = {
        f"{arch}/POSIX.pm": "package POSIX; use In::Base;",
        f"{arch}/auto/POSIX/POSIX.so": "",
        f"{share}/In/Base.pm": "",
        f"{share}/JSON.pm": "",
    }
    source = "use POSIX; require 'JSON.pm'; use JSON; use Only::Arch; require 'In/Base.pm';"
    assert loaded(tmp_path, {**stays, **second, "/app/a.pl": source}, "/app/a.pl") == {*stays}


def test_a_second_copy_that_the_run_read_stays_with_its_compiled_part(tmp_path: Path) -> None:
    arch = "/usr/lib/x/perl/5.36"
    tree: dict[str, str | bytes | None] = {
        "/usr/lib/x/perl-base/POSIX.pm": "",
        "/usr/lib/x/perl-base/auto/POSIX/POSIX.so": "",
        f"{arch}/POSIX.pm": "",
        f"{arch}/auto/POSIX/POSIX.so": "",
        "/app/a.pl": "use POSIX;",
    }
    assert loaded(tmp_path, tree, "/app/a.pl", f"{arch}/POSIX.pm") == {*tree} - {"/app/a.pl", f"{arch}/POSIX.pm"}


def test_a_family_stays_without_second_copies(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/usr/lib/x/perl5/DBI.pm": "",
        "/usr/lib/x/perl5/DBD/A.pm": "",
        "/usr/lib/x/perl/5.36/DBD/A.pm": "",
        "/usr/lib/x/perl/5.36/DBD/B.pm": "",
        "/app/a.pl": "use DBI;",
    }
    assert loaded(tmp_path, tree, "/app/a.pl") == {*tree} - {"/app/a.pl", "/usr/lib/x/perl/5.36/DBD/A.pm"}


@pytest.mark.parametrize(("started", "stays"), [("/app/local", False), ("/other", True)])
def test_a_directory_that_every_perl_is_started_with_comes_first(started: str, stays: bool, tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/local/JSON.pm": "",
        "/usr/share/perl5/JSON.pm": "",
        "/app/a.pl": "use JSON;",
    }
    recording = Recording((), (Execution("/usr/bin/perl", "/", (("PERL5LIB", started),)),))
    application = Application(env={"PERL5LIB": "/app/local"})
    found = loaded(tmp_path, tree, "/app/a.pl", application=application, recording=recording)
    assert found == {"/app/local/JSON.pm", *(["/usr/share/perl5/JSON.pm"] if stays else [])}


def test_two_perls_keep_what_each_finds(tmp_path: Path) -> None:
    other = {"archlibexp": "/opt/perl/lib/x", "privlibexp": "/opt/perl/lib"}
    tree: dict[str, str | bytes | None] = {
        "/opt/perl/bin/perl": b"\x7fELF\0" + b"\0".join(each.encode() for each in other.values()) + b"\0",
        "/opt/perl/lib/x/Config.pm": "".join(f"    {name} => '{place}',\n" for name, place in other.items()),
        "/opt/perl/lib/JSON.pm": "",
        "/usr/share/perl5/JSON.pm": "",
        "/usr/share/perl/5.36/JSON.pm": "",
        "/app/a.pl": "use JSON;",
    }
    found = loaded(tmp_path, tree, "/opt/perl/bin/perl", "/app/a.pl")
    assert found == {"/opt/perl/lib/JSON.pm", "/usr/share/perl5/JSON.pm"}


def test_a_library_that_programs_embed_finds_its_own_first_copy(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/usr/lib/libperl.so.5.36": "\0".join(("\x7fELF", *ROLES.values(), "")).encode(),  # knows no perl-base
        "/usr/lib/x/perl/5.36/Config.pm": CONFIGURED["/usr/lib/x/perl-base/Config.pm"],
        "/usr/lib/x/perl-base/POSIX.pm": "",
        "/usr/lib/x/perl/5.36/POSIX.pm": "",
        "/usr/share/perl/5.36/POSIX.pm": "",
        "/app/a.pl": "use POSIX;",
    }
    for seeds in (("/usr/lib/libperl.so.5.36", "/app/a.pl"), ("/app/a.pl", "/usr/lib/libperl.so.5.36")):
        found = loaded(tmp_path, tree, *seeds)
        assert found == {"/usr/lib/x/perl-base/POSIX.pm", "/usr/lib/x/perl/5.36/POSIX.pm"}
