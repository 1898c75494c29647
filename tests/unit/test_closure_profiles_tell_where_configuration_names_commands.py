"""Formats of one program each: what profiles find in them, and that it stays once the program is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.formats import FormatRule, command_lines
from slimmer.closure.model import Application
from slimmer.closure.profiles import globs
from slimmer.closure.profiles.load import Commands, parse, shipped
from slimmer.errors import SlimmerError
from tests.unit.closures import kept


def found(path: str, text: str) -> list[str]:
    entries = [each for profile in shipped() for each in profile.commands if globs.matcher(each.files).fullmatch(path)]
    return [" ".join(line.words) for each in entries for line in command_lines(each, text)]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "/etc/systemd/system/a.service",
            "[Service]\nExecStartPre=-/bin/mkdir -p /x\nExecStart=/usr/bin/tac --once\nExecStopPost = +rev 'a b'\n",
            ["/bin/mkdir -p /x", "/usr/bin/tac --once", "rev a b"],
        ),
        ("/etc/sv/late/run", "#!/usr/bin/execlineb\nexec tac -b\n", ["tac -b"]),
        ("/etc/init.d/late", '#!/sbin/openrc-run\ncommand="/usr/bin/tac"\n', ["/usr/bin/tac"]),
        (
            "/etc/logrotate.d/app",
            "/var/log/a {\n compresscmd /usr/bin/xz\n postrotate\n  tac x | rev\n  uname\n endscript\n}\n",
            ["/usr/bin/xz", "tac x | rev\n  uname"],
        ),
        ("/etc/nagios4/objects/commands.cfg", "define command {\n command_line  $U$/c -H x\n}", ["$U$/c -H x"]),
        ("/etc/nagios/nrpe.cfg", "command[load]=/usr/lib/check_load -w 1\n", ["/usr/lib/check_load -w 1"]),
        ("/etc/zabbix/zabbix_agentd.conf", "UserParameter=a[*],tac $1 | rev\n", ["tac $1 | rev"]),
        ("/etc/monit/conf.d/a", 'start program = "/bin/tac -b" with timeout\n', ["/bin/tac -b"]),
        ("/etc/snmp/snmpd.conf", "extend uptime /bin/tac -b\n#extend x /no\n", ["/bin/tac -b"]),
        ("/etc/xinetd.d/a", "service a\n{\n server = /usr/bin/tac\n}\n", ["/usr/bin/tac"]),
        ("/etc/inetd.conf", "ftp stream tcp nowait root /usr/sbin/tcpd in.ftpd\n", ["/usr/sbin/tcpd in.ftpd"]),
        ("/etc/ssh/sshd_config", "Subsystem sftp /usr/sftp\nForceCommand /bin/tac\n", ["/usr/sftp", "/bin/tac"]),
        (
            "/root/.gitconfig",
            '[alias]\n x = !tac a | rev\n st = status\n[diff "a"]\n textconv = pdftotext -\n',
            ["tac a | rev", "pdftotext -"],
        ),
        ("/etc/postfix/master.cf", "a unix - n n - - pipe\n  flags=R argv=/bin/tac ${x}\n", ["/bin/tac ${x}"]),
        ("/etc/aliases", 'a: "|/usr/bin/vacation a"\nb: c\n', ["/usr/bin/vacation a"]),
        ("/root/.procmailrc", ":0\n| tac -b\n", ["tac -b"]),
        ("/root/.mailfilter", 'X=`rev x`\nxfilter "reformail"\nto "| tac -b"\n', ["rev x", "tac -b"]),
        ("/etc/apache2/sites-enabled/a.conf", 'ErrorLog "|/usr/bin/rotatelogs /x 60"\n', ["/usr/bin/rotatelogs /x 60"]),
        ("/etc/keepalived/keepalived.conf", 'vrrp_script a {\n script "/bin/tac x"\n}\n', ["/bin/tac x"]),
        ("/etc/openvpn/server.conf", "client-connect /etc/openvpn/up.sh\n", ["/etc/openvpn/up.sh"]),
        ("/etc/postgresql/15/main/postgresql.conf", "archive_command = 'tac %p'\n#restore_command = ''\n", ["tac %p"]),
        ("/etc/fail2ban/action.d/a.conf", "actionban = tac <ip>\n", ["tac <ip>"]),
        (
            "/app/Snakefile",
            'rule a:\n  shell:\n    "tac {input} "\n    "| rev > {output}"\nrule b:\n  shell: "fold {input}"\n',
            ["tac {input}", "| rev > {output}", "fold {input}"],
        ),
        (
            "/app/rules/a.smk",
            'rule a:\n  shell:\n    """\n    tac {input} |\n rev\n    """\n  run:\n    shell("uname -a")\n',
            ["tac {input} |\n rev", "uname -a"],
        ),
        ("/app/main.nf", 'process a {\n script:\n """\n tac x\n """\n}\n', ["tac x"]),
        ("/app/a.wdl", "task a {\n command <<<\n tac ~{x}\n >>>\n}\n", ["tac ~{x}"]),
        ("/app/a.m", "[s] = system('tac x');\nf = popen(sprintf(\"rev %s\", x), \"r\");\n", ["tac x", "rev %s"]),
        ("/app/uwsgi.ini", "[uwsgi]\nexec-pre-app = tac x\ncron = 59 2 -1 -1 -1 rev y\n", ["tac x", "rev y"]),
    ],
)  # fmt: skip
def test_lines_are_found(path: str, text: str, expected: list[str]) -> None:
    assert found(path, text) == expected


def test_they_stay_once_the_program_is_run(tmp_path: Path) -> None:
    tree = {
        "/bin/sh": "#755 \x7fELF",
        "/usr/bin/tac": "#755 \x7fELF",
        "/usr/sbin/logrotate": "#755 \x7fELF",
        "/etc/logrotate.d/app": "/x {\n postrotate\n tac x\n endscript\n}\n",
    }
    run = Application(argv=("/usr/sbin/logrotate",))
    assert kept(tmp_path / "a", tree, "/usr/bin/tac", rules=(FormatRule,), application=run) == {"/usr/bin/tac"}
    stays = kept(tmp_path / "b", tree, "/usr/sbin/logrotate", rules=(FormatRule,), application=run)
    assert stays == {*tree}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("files = ['/a']\nline = '('", "no regular expression"),
        ("files = ['/a']\nline = 'a'", "no group"),
        ("files = ['/a']\nline = 3", "regular expression whose first group"),
        ("line = '(a)'", "needs files"),
        ("files = ['/a']\nline = '(a)'\nshell = 1", "true or false"),
    ],
)
def test_what_is_wrong_is_said(entry: str, says: str) -> None:
    with pytest.raises(SlimmerError, match=says):
        parse(f"why = 'a'\n[[commands]]\nwhy = 'b'\n{entry}\n", "a", "a.toml")
    assert Commands("b", ("/a",), "(a)").shell
