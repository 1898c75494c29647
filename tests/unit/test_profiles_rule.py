"""Profiles keep what they name when their conditions hold, with the cause as reason, and leave out what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.model import Application
from slimmer.closure.profiles.load import load_all
from slimmer.closure.profiles.rule import ProfileRule
from tests.support import plant
from tests.unit.profiles_support import Deb, closure, debian, profile, reached, recorded

SERVER = "#755 server"


def rule(text: str) -> list[ProfileRule]:
    return [ProfileRule([profile(f'why = "x"\n{text}')])]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return debian(
        tmp_path,
        {
            "server": Deb(
                {
                    "/usr/sbin/server": SERVER,
                    "/usr/lib/server/modules/one.so": "1",
                    "/usr/lib/server/modules/two.so": "2",
                    "/usr/share/server/error/404.html": "gone",
                    "/usr/share/doc/server/README": "read me",
                    "/etc/server/server.conf": "conf",
                }
            ),
            "server-extra": Deb({"/usr/lib/server/modules/three.so": "3"}),
            "libssl": Deb({"/usr/lib/libssl.so.3": "ssl"}),
        },
        {"/usr/sbin/srv": "-> server", "/usr/lib/server/modules/own.so": "own", "/var/empty/deep": None},
    )


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ('paths = ["/usr/sbin/server"]', True),
        ('paths = ["/usr/sbin/*"]', True),
        ('paths = ["/usr/bin/*"]', False),
        ('interpreters = ["server"]', True),
        ('interpreters = ["serv"]', False),
        ('packages = ["server"]', True),
        ('packages = ["server-*"]', False),
        ('sonames = ["libssl.so*"]', False),
        ('environment = ["TZ"]', True),
        ('environment = ["TERM"]', False),
        ('environment = ["TERM"]\nsonames = ["nope"]\npackages = ["ser*"]', True),
    ],
)
def test_any_word_of_a_condition_suffices(top: Path, when: str, holds: bool) -> None:
    text = f'[when]\n{when}\n[[keep]]\npaths = ["/etc/server/server.conf"]\nwhy = "y"\n'
    recording = recorded(executed=["/usr/sbin/server"], environment={"TZ": "UTC"})
    assert ("/etc/server/server.conf" in reached(top, recording, rule(text))) is holds


def test_without_a_condition_a_profile_always_speaks(top: Path) -> None:
    text = '[[keep]]\npaths = ["/etc/server"]\nwhy = "y"\n'
    assert "/etc/server/server.conf" in reached(top, recorded(), rule(text))


def test_a_soname_may_be_a_link(top: Path) -> None:
    plant(top, {"/usr/lib/libz.so.1": "-> libz.so.1.3", "/usr/lib/libz.so.1.3": "z"})
    text = '[when]\nsonames = ["libz.so.1"]\n[[keep]]\npaths = ["/etc/server"]\nwhy = "y"\n'
    assert "/etc/server" in reached(top, recorded(read=["/usr/lib/libz.so.1"]), rule(text))


def test_a_program_that_only_came_along_is_no_interpreter(top: Path) -> None:
    text = (
        '[[keep]]\npaths = ["/usr/sbin/server"]\nwhy = "y"\n'
        '[[keep]]\npaths = ["/etc/server"]\nwhy = "z"\nwhen = { interpreters = ["server"] }\n'
    )
    assert "/etc/server" not in reached(top, recorded(), rule(text))
    assert "/etc/server" in reached(top, recorded(executed=["/usr/sbin/srv"]), rule(text))


def test_one_profile_may_fulfil_the_condition_of_another(top: Path) -> None:
    first = profile('why = "x"\n[[keep]]\npaths = ["/usr/lib/libssl.so.3"]\nwhy = "y"\n', "first")
    second = profile(
        'why = "x"\n[when]\nsonames = ["libssl.so.3"]\n[[keep]]\npaths = ["/etc/server"]\nwhy = "z"\n', "second"
    )
    grown = closure(top, recorded(), [ProfileRule([second, first])])
    (reason,) = grown.paths["/etc/server/server.conf"].reasons
    assert (reason.rule, reason.text, reason.needed_by) == ("profile:second", "z", "/usr/lib/libssl.so.3")


def test_directories_stay_without_content_and_empty_ones_with_trees(top: Path) -> None:
    text = '[[keep]]\ndirectories = ["/usr/share/server"]\npaths = ["/var/empty"]\nwhy = "y"\n'
    found = reached(top, recorded(), rule(text))
    assert {"/usr/share/server", "/var/empty", "/var/empty/deep"} <= found
    assert "/usr/share/server/error" not in found


def test_writable_directories_stay(top: Path) -> None:
    text = '[when]\npaths = ["/usr/sbin/server"]\n[writable]\npaths = ["/var/empty/*"]\nwhy = "y"\n'
    assert "/var/empty/deep" in reached(top, recorded(executed=["/usr/sbin/server"]), rule(text))


def test_a_package_stays_with_its_run_time_files(top: Path) -> None:
    text = '[[keep]]\npackages = ["server"]\nwhy = "y"\n'
    text += '[[drop]]\nof = "packages"\npaths = ["/usr/share/doc/**"]\nwhy = "z"\n'
    found = reached(top, recorded(), rule(text))
    assert {"/usr/sbin/server", "/usr/share/server/error/404.html", "/etc/server/server.conf"} <= found
    assert not any(path.startswith("/usr/share/doc/") for path in found)
    assert "/usr/lib/server/modules/three.so" not in found


def test_siblings_are_those_of_the_same_package(top: Path) -> None:
    text = '[[keep]]\nsiblings = ["/usr/lib/server/modules/*.so"]\nwhy = "y"\n'
    modules = "/usr/lib/server/modules"
    assert reached(top, recorded(read=[f"{modules}/one.so"]), rule(text)) == {f"{modules}/two.so"}
    assert reached(top, recorded(read=[f"{modules}/own.so"]), rule(text)) == set()
    assert reached(top, recorded(), rule(text)) == set()


def test_excluding_leaves_out(top: Path) -> None:
    text = '[[keep]]\npaths = ["/usr/lib/server"]\nexcluding = ["**/two.so"]\nwhy = "y"\n'
    found = reached(top, recorded(), rule(text))
    assert "/usr/lib/server/modules/one.so" in found
    assert "/usr/lib/server/modules/two.so" not in found


def test_above_its_limit_an_entry_adds_nothing_and_says_so(top: Path) -> None:
    text = '[[keep]]\npaths = ["/usr/lib/server"]\nlimit = 2\nwhy = "modules"\n'
    grown = closure(top, recorded(read=["/usr/lib/server/modules/one.so"]), rule(text))
    assert "/usr/lib/server/modules/two.so" not in grown.paths
    (warning,) = grown.warnings
    assert (warning.kind, "modules" in warning.text) == ("too-large", True)


def test_the_shipped_profiles_add_next_to_nothing_to_a_static_program(tmp_path: Path) -> None:
    debian(tmp_path, {"tool": Deb({"/usr/bin/tool": "#755 static"})}, {"/usr/share/zoneinfo/Asia/Tokyo": "TZif"})
    grown = closure(tmp_path, recorded(executed=["/usr/bin/tool"]), [ProfileRule(load_all())])
    assert [path for path in grown.paths if (tmp_path / path[1:]).is_file()] == ["/usr/bin/tool"]


def test_the_environment_of_the_application_counts(tmp_path: Path) -> None:
    debian(tmp_path, {"tool": Deb({"/usr/bin/tool": "#755 static"})}, {"/usr/share/zoneinfo/Asia/Tokyo": "TZif"})
    application = Application(env={"TZ": "Asia/Tokyo"})
    found = reached(tmp_path, recorded(executed=["/usr/bin/tool"]), [ProfileRule(load_all())], application)
    assert "/usr/share/zoneinfo/Asia/Tokyo" in found


def test_a_log_in_finds_the_hashes_that_no_trained_request_asked_for(tmp_path: Path) -> None:
    library, module = (f"/usr/lib/x86_64-linux-gnu/{name}" for name in ("libpam.so.0", "security/pam_unix.so"))
    top = debian(
        tmp_path,
        {
            "libpam0g": Deb({library: "elf"}),
            "libpam-modules": Deb({module: "elf", "/usr/sbin/unix_chkpwd": "#2755 elf"}),
            "vsftpd": Deb({"/usr/sbin/vsftpd": SERVER, "/usr/sbin/other": SERVER}),
        },
        {"/etc/shadow": "ann:$y$x", "/etc/pam.d/vsftpd": "auth required pam_unix.so"},
    )
    hashes = {"/etc/shadow", "/usr/sbin/unix_chkpwd"}
    pam = [ProfileRule([each for each in load_all() if each.name == "pam"])]
    assert hashes | {"/etc/pam.d/vsftpd"} <= reached(top, recorded(executed=["/usr/sbin/vsftpd"], read=[library]), pam)
    assert not hashes & reached(top, recorded(executed=["/usr/sbin/other"], read=[library]), pam)


def test_an_ssh_server_knows_users_that_did_not_come_in_the_training(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "/usr/sbin/sshd": SERVER,
            "/home/ann/.ssh/authorized_keys": "ssh-ed25519 A",
            "/home/ann/.ssh/id_ed25519": "PRIVATE",
            "/home/bob/notes": "own",
            "/var/log/lastlog": "",
        },
    )
    rules = [ProfileRule([each for each in load_all() if each.name in ("openssh-server", "fhs")])]
    found = reached(tmp_path, recorded(executed=["/usr/sbin/sshd"]), rules)
    assert {"/home/ann/.ssh/authorized_keys", "/home/bob", "/var/log/lastlog"} <= found
    assert not {"/home/ann/.ssh/id_ed25519", "/home/bob/notes"} & found


def test_handlers_of_mod_perl_stay_with_it_and_its_build_does_not(tmp_path: Path) -> None:
    modules, perl = "/usr/lib/apache2/modules", "/usr/lib/x86_64-linux-gnu/perl5/5.36"
    plant(
        tmp_path,
        {
            "/usr/sbin/apache2": SERVER,
            f"{modules}/mod_perl.so": "elf",
            f"{modules}/mod_mime.so": "elf",
            f"{perl}/ModPerl/Registry.pm": "package ModPerl::Registry;",
            f"{perl}/ModPerl/WrapXS.pm": "package ModPerl::WrapXS;",
            f"{perl}/auto/APR/APR.so": "elf",
        },
    )
    rules = [ProfileRule([each for each in load_all() if each.name == "apache"])]
    wanted = {f"{perl}/ModPerl/Registry.pm", f"{perl}/auto/APR/APR.so"}
    found = reached(tmp_path, recorded(executed=["/usr/sbin/apache2"], read=[f"{modules}/mod_perl.so"]), rules)
    assert wanted <= found
    assert f"{perl}/ModPerl/WrapXS.pm" not in found
    assert not wanted & reached(
        tmp_path, recorded(executed=["/usr/sbin/apache2"], read=[f"{modules}/mod_mime.so"]), rules
    )


def test_modules_of_lua_stay_for_the_versions_that_something_runs_or_embeds(tmp_path: Path) -> None:
    versions = ("5.1", "5.2", "5.3", "5.4")
    modules = {f"/usr/lib/x86_64-linux-gnu/lua/{each}/a/core.so": each for each in versions}
    libraries = {f"/usr/lib/liblua{each}-a.so.2": "x" for each in versions}
    programs = {f"/usr/bin/{name}": "#755 \x7fELF" for name in ("lua5.1", "lua5.4", "luajit")}
    embedded = (
        "/usr/lib/liblua5.3.so.0",
        "/usr/lib/liblua5.2-c++.so.0",
        "/usr/lib/libluajit-5.1.so.2",
        "/usr/lib/liblua-5.4.so.0",
    )
    packages = {"lua": Deb({**modules, **libraries, **programs, **dict.fromkeys(embedded, "x")})}
    lua = [each for each in load_all() if each.name == "lua"]
    for number, (executed, read, expected) in enumerate(
        (
            (["/usr/bin/lua5.4"], [], "5.4"),
            (["/usr/bin/lua5.1", "/usr/bin/lua5.4"], [], "5.1 5.4"),
            (["/usr/bin/luajit"], [], "5.1"),
            (["/usr/bin/lua5.4"], ["/usr/lib/liblua5.1-a.so.2"], "5.4"),  # a module's library
            *(([], [path], version) for path, version in zip(embedded, ("5.3", "5.2", "5.1", "5.4"), strict=True)),
        )
    ):
        top = debian(tmp_path / str(number), packages)
        found = reached(top, recorded(executed=executed, read=read), [ProfileRule(lua)])
        assert sorted({modules[path] for path in found & modules.keys()}) == expected.split(), (executed, read)


def test_tools_of_accounts_find_what_their_options_ask_for_where_a_script_starts_them(tmp_path: Path) -> None:
    files = {f"/etc/{name}": "x" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid", "login.defs")}
    defaults = {
        "/etc/default/useradd": "SHELL=/bin/sh",
        "/etc/skel/.profile": "x",
        "/etc/shadow-maint/useradd-post.d/a": "x",
    }
    shown = {"/etc/issue": "x", "/etc/issue.d/a.issue": "x", "/etc/default/su": "x"}
    other = {"/etc/cron.allow": "x", "/etc/other": "x"}
    tools = {f"/usr/sbin/{name}": "#755 \x7fELF" for name in ("useradd", "groupadd", "su", "crontab")}
    packages = {"passwd": Deb({**files, **defaults, **shown, **other, **tools})}
    accounts = [each for each in load_all() if each.name == "accounts"]
    cases = (
        ("useradd", {**files, **defaults}),
        ("groupadd", files),
        ("su", shown),
        ("crontab", {"/etc/cron.allow": ""}),
    )
    for tool, expected in cases:
        top = debian(tmp_path / tool, packages)
        found = reached(top, recorded(executed=[f"/usr/sbin/{tool}"]), [ProfileRule(accounts)])
        assert {path for path in found if (top / path[1:]).is_file()} == {*expected}, tool
