"""Tools of accounts, of cron and of logs, started only by branches of a script that no run took, in slim trees.

The tree is what the closure of the script keeps; each command does there what it does in the fat root.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from slimmer.closure.model import Application, Level
from slimmer.closure.profiles.load import shipped
from slimmer.closure.rules import rules_for
from slimmer.closure.worklist import grow
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.oracle.closures import lay
from tests.support import needs_root, plant, requires, root_of
from tests.unit.closures import Seed
from tracer.recording import Recording

pytestmark = [needs_root, requires("mmdebstrap", "unshare")]
SCRIPT = """#!/bin/sh
case "$1" in
useradd) useradd -m bob && getent passwd bob && ls -A /home/bob && cd /etc; grep -ls bob *; userdel -r bob 2>&1;;
system) useradd -r -s /usr/sbin/nologin svc && getent passwd svc;;
group) groupadd -r grp && usermod -aG grp root && id root && gpasswd -d root grp && groupdel grp;;
adduser) adduser --disabled-password --gecos x eve && ls -A /home/eve && deluser --quiet eve;;
password) echo root:x | chpasswd && passwd -S root | cut -c1-6 && chage -l root | tail -1;;
shell) chsh -s /bin/sh root && chfn -f x root && getent passwd root;;
su) su -c id root && su - root -c 'echo $HOME' && runuser -u nobody id;;
cron) echo '0 0 * * * true' | crontab - && crontab -l;;
logrotate) logrotate -f /etc/logrotate.conf && wc -l < /var/lib/logrotate/status;;
key) ssh-keygen -q -t ed25519 -N '' -C c -f /tmp/key && cut -c1-11 /tmp/key.pub;;
esac
"""
COMMANDS = ("useradd", "system", "group", "adduser", "password", "shell", "su", "cron", "logrotate", "key")


def run(tree: Path, word: str, aside: Path) -> tuple[int, str, str]:
    """The script's answer in a throw-away layer above a tree: exit code, stdout, stderr."""
    aside.mkdir(exist_ok=True)
    enter = (
        f"mount -t tmpfs none {aside} && cd {aside} && mkdir up work root"
        f" && mount -t overlay none -o lowerdir={tree},upperdir=up,workdir=work root && mount -t proc proc root/proc"
        f" && mount --rbind /dev root/dev && exec unshare -R root -w / /srv/do {word}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", enter],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The fat tree and the slim one."""
    source, top = root_of("cron", "logrotate", "openssh-client", "adduser"), tmp_path_factory.mktemp("accounts")
    lay((entry.path for entry in DirectoryRoot(str(source)).walk()), source, top / "fat")
    plant(top / "fat", {"/srv/do": f"#755 {SCRIPT}"})
    root = DirectoryRoot(str(top / "fat"))
    rules = [Seed(["/srv/do"]), *rules_for(shipped())]
    found = grow(root, Recording(()), index(root), Application(argv=("/srv/do",)), rules, highest=Level.REACHABLE)
    return top / "fat", lay(found.paths, top / "fat", top / "slim")


@pytest.mark.parametrize("word", COMMANDS)
def test_a_tool_does_what_it_does_in_the_fat_root(word: str, trees: tuple[Path, Path], tmp_path: Path) -> None:
    expected = run(trees[0], word, tmp_path / "a")
    assert expected[0] == 0, expected
    assert run(trees[1], word, tmp_path / "b") == expected
