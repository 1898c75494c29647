"""Each risk mark: what carries it, and what looks like it and does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from slimmer.report.model import Risk
from slimmer.report.risk import DEFINITIONS, Marker, program_risks
from slimmer.root.directory import DirectoryRoot
from slimmer.root.model import Entry, FileType
from tests.support import plant


def entry(
    path: str, mode: int = 0o644, kind: FileType = FileType.FILE, uid: int = 0, gid: int = 0, size: int = 1
) -> Entry:
    return Entry(path, kind, mode, uid, gid, size if kind is FileType.FILE else 0, 0)


def marks(
    top: Path,
    which: Entry,
    content: str | bytes = "x",
    *,
    owned: bool = False,
    uid: int = 0,
    gids: tuple[int, ...] = (),
    xattrs: Mapping[str, bytes] | None = None,
    listens: Mapping[str, int] | None = None,
) -> list[str]:
    plant(top, {which.path: content})
    marker = Marker(DirectoryRoot(str(top)), uid=uid, gids=gids, listens=listens)
    return [str(mark) for mark in marker.marks(which, xattrs or {}, owned=owned)]


def test_every_risk_has_a_definition() -> None:
    assert set(DEFINITIONS) == set(Risk)


@pytest.mark.parametrize(
    ("path", "risks"),
    [
        ("/usr/bin/bash", "shell"),
        ("/busybox/sh", "shell"),
        ("/usr/bin/busybox", "shell interpreter network-client"),
        ("/usr/bin/python3.11", "interpreter"),
        ("/usr/bin/python3", "interpreter"),
        ("/opt/venv/bin/python", "interpreter"),
        ("/usr/bin/perl5.36.0", "interpreter"),
        ("/usr/bin/lua5.4", "interpreter"),
        ("/usr/bin/gcc-12", "compiler"),
        ("/usr/bin/x86_64-linux-gnu-gcc-12", "compiler"),
        ("/usr/bin/x86_64-linux-gnu-ld.bfd", "compiler"),
        ("/usr/bin/x86_64-linux-gnu-python3-config", ""),
        ("/usr/lib/gcc/x86_64-linux-gnu/12/cc1plus", "compiler"),
        ("/usr/bin/apt-get", "package-manager"),
        ("/usr/bin/pip3.11", "package-manager"),
        ("/usr/bin/curl", "network-client"),
        ("/usr/bin/nc.openbsd", "network-client"),
        ("/usr/bin/su", "privilege-tool"),
        ("/usr/bin/gdb", "debugger"),
        ("/usr/share/bash-completion/completions/curl", ""),
        ("/usr/lib/python3/dist-packages/pip", ""),
        ("/etc/skel/bash", ""),
        ("/usr/bin/shasum", ""),
        ("/usr/bin/ld-config", ""),
    ],
)
def test_a_program_is_known_by_its_name_and_place(path: str, risks: str) -> None:
    assert " ".join(program_risks(path)) == risks


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (entry("/usr/bin/x", 0o4755), ["setuid"]),
        (entry("/usr/bin/x", 0o2755), ["setgid"]),
        (entry("/usr/bin/x", 0o6711), ["setuid", "setgid"]),
        (entry("/usr/bin/x", 0o4644), ["setuid"]),
        (entry("/srv", 0o2775, FileType.DIRECTORY), []),  # a setgid directory only passes its group on
        (entry("/usr/bin/bash", 0o755), ["shell"]),
        (entry("/usr/bin/bash", 0o644), []),  # cannot be started
        (entry("/usr/bin/sh", 0o777, FileType.SYMLINK), ["shell"]),
        (entry("/usr/bin/bash", 0o755, FileType.DIRECTORY), []),
        (entry("/boot/vmlinuz-6.1"), ["kernel"]),
        (entry("/usr/lib/modules/6.1/x.ko"), ["kernel"]),
        (entry("/vmlinuz", 0o777, FileType.SYMLINK), ["kernel"]),
        (entry("/boot", 0o755, FileType.DIRECTORY), []),
        (entry("/srv/data.bin", 0o666), ["world-writable"]),
        (entry("/srv/drop", 0o777, FileType.DIRECTORY), ["world-writable"]),
        (entry("/tmp", 0o1777, FileType.DIRECTORY), []),
        (entry("/dev/null", 0o666, FileType.CHAR), []),
        (entry("/srv/x", 0o777, FileType.SYMLINK), []),
    ],
    ids=lambda value: value.path if isinstance(value, Entry) else "",
)  # fmt: skip
def test_modes_types_and_places_give_marks(tmp_path: Path, which: Entry, expected: list[str]) -> None:
    marker = Marker(DirectoryRoot(str(tmp_path)))
    assert [str(mark) for mark in marker.marks(which, {})] == expected


def test_a_file_capability_is_seen_in_the_attributes(tmp_path: Path) -> None:
    given = {"security.capability": b"\x01"}
    assert marks(tmp_path, entry("/usr/bin/ping", 0o755), xattrs=given) == ["file-capability", "network-client"]


@pytest.mark.parametrize(
    ("which", "writable"),
    [
        (entry("/srv/a", 0o644, uid=1000), True),
        (entry("/srv/a", 0o444, uid=1000), False),
        (entry("/srv/a", 0o464, uid=1000, gid=50), False),  # the owner's bits decide, not the group's
        (entry("/srv/a", 0o664, gid=50), True),
        (entry("/srv/a", 0o664, gid=51), False),
        (entry("/srv", 0o755, FileType.DIRECTORY, uid=1000), True),
        (entry("/tmp", 0o1777, FileType.DIRECTORY), False),
    ],
)
def test_what_the_images_user_may_write_is_marked(tmp_path: Path, which: Entry, writable: bool) -> None:
    marker = Marker(DirectoryRoot(str(tmp_path)), uid=1000, gids=(50,))
    assert ("user-writable" in [str(mark) for mark in marker.marks(which, {})]) is writable


def test_nothing_is_marked_as_writable_by_root(tmp_path: Path) -> None:
    assert Marker(DirectoryRoot(str(tmp_path))).marks(entry("/srv/a"), {}) == ()


def test_a_program_that_listened_below_1024_is_marked(tmp_path: Path) -> None:
    which = entry("/usr/sbin/nginx", 0o755)
    assert marks(tmp_path, which, listens={"/usr/sbin/nginx": 80}) == ["privileged-port:80"]
    assert marks(tmp_path, which, listens={"/usr/sbin/nginx": 8080}) == []


KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n-----END RSA PRIVATE KEY-----\n"
)


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/etc/ssl/private/server.key", KEY, "private-key"),
        ("/app/config.json", '{"private_key": "' + KEY.replace("\n", "\\n") + '"}', "private-key"),
        ("/root/.ssh/id_ed25519", KEY.replace("RSA", "OPENSSH"), "private-key"),
        ("/app/parse.py", 'HEAD = "-----BEGIN RSA PRIVATE KEY-----"\n', ""),  # names it, has none
        ("/etc/ssl/certs/ca.pem", "-----BEGIN CERTIFICATE-----\nMIIEowIBAAKCAQEAxxxxxxxxxxx\n", ""),
        ("/etc/ssl/x.pub.pem", "-----BEGIN PUBLIC KEY-----\nMIIEowIBAAKCAQEAxxxxxxxxxxxxxxxxxxxxx\n", ""),
        ("/app/settings.py", "TOKEN = 'ghp_" + "a1" * 18 + "'", "token"),
        ("/app/deploy.sh", "aws_secret_access_key = abcdefghij0123456789ABCD", "cloud-credentials"),
        ("/app/x.yml", "key: AKIA" + "ABCD" * 4, "cloud-credentials"),
        ("/root/.aws/credentials", "[default]\naws_secret_access_key=abcdefghij0123456789ABCD\n", "cloud-credentials"),
        ("/root/.docker/config.json", '{"auths": {"r": {"auth": "dXNlcjpwYXNz"}}}', "registry-credentials"),
        ("/root/.docker/config.json", '{"auths": {}}', ""),
        ("/app/.npmrc", "//registry/:_authToken=abcdefgh12345678\n", "registry-credentials"),
        ("/app/.npmrc", "//registry/:_authToken=${NPM_TOKEN}\n", ""),
        ("/root/.netrc", "machine x login y password z", "netrc"),
        ("/root/.bash_history", "ls", "shell-history"),
        ("/root/.bash_history", "", ""),
        ("/app/.env", "DB_PASSWORD=correcthorse\n", "password"),
        ("/app/.env", "DB_PASSWORD=${SECRET}\n", ""),
        ("/app/.env", "DATABASE_URL=postgres://bob:hunter22@db/x\n", "password"),
        ("/app/code.py", "password = get_password(user)\n", ""),
        ("/etc/shadow", "root:$y$j9T$abcdefgh$ijkl:19000:0:99999:7:::\n", "password-hash"),
        ("/etc/shadow", "root:*:19000:0:99999:7:::\n", ""),
        ("/app/store.p12", b"\0\1binary", "key-store"),
        ("/app/data.txt", b"\0" + KEY.encode(), ""),  # not text
        ("/app/notes.txt", "nothing here", ""),
    ],
)
def test_a_secret_is_found_by_name_or_content(tmp_path: Path, path: str, content: str | bytes, kind: str) -> None:
    size = len(content)
    assert marks(tmp_path, entry(path, size=size), content) == ([f"credential:{kind}"] if kind else [])


def test_a_packages_file_is_read_only_when_its_name_asks_for_it(tmp_path: Path) -> None:
    assert marks(tmp_path, entry("/usr/lib/python3/x.py", size=200), f'"""{KEY}"""', owned=True) == []
    assert marks(tmp_path, entry("/usr/lib/python3/test/cert.pem", size=200), KEY, owned=True) == [
        "credential:private-key"
    ]


def test_a_secret_in_a_big_file_is_not_looked_for(tmp_path: Path) -> None:
    assert marks(tmp_path, entry("/app/big.txt", size=10_000_000), KEY) == []


def test_an_unreadable_secret_is_not_an_error(tmp_path: Path) -> None:
    assert Marker(DirectoryRoot(str(tmp_path))).marks(entry("/app/gone.key"), {}) == ()
