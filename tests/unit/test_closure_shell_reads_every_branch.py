"""Shell: commands of branches that no run took, words with known values, sourced files, named paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.commands.shell_syntax import parse
from slimmer.closure.languages.shell.rule import ShellRule
from slimmer.closure.model import Application
from tests.unit.closures import kept

TOOLS = """awk
    basename bzip2 cat cut date diff dirname find flock gawk git gzip head id less make mkdir nice pigz rm sed
    sleep sort stat tar tee test tr uniq wc which xargs xz env timeout sh""".split()  # noqa: SIM905


def tools(tmp_path: Path, script: str, **more: object) -> set[str]:
    """Names of the programs that a script at /app/bin/run.sh keeps."""
    tree: dict[str, str | bytes | None] = {f"/usr/bin/{name}": "#755 x" for name in TOOLS}
    tree |= {"/bin": "-> usr/bin", "/app/bin/run.sh": f"#755 #!/bin/bash\n{script}"}
    found = kept(tmp_path, tree, "/app/bin/run.sh", rules=(ShellRule,), **more)
    return {path.removeprefix("/usr/bin/") for path in found} - {"/app/bin/run.sh", "/bin"}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("if false; then awk 1; elif x; then cut -f1; else date; fi", "awk cut date"),
        ("case $1 in a) sort ;; b) uniq | tr a b ;; *) head ;; esac", "sort uniq tr head"),
        ("f() { stat x; }; f", "stat"),
        ("while read l; do sed p; done; until git pull; do sleep 1; done", "sed git sleep"),
        ("x=$(date +%s); y=`id -u`; diff <(sort a) <(uniq b)", "date id diff sort uniq"),
        ("[[ -f x ]] && wc -l || rm x; ! make", "wc rm make"),
        ("( cd /; tar xf a.tar.xz ) & { gzip x; } 2>&1 | tee log", "tar xz gzip tee sh"),
        ("X=1 Y=2 make -j", "make"),
        ("echo gzip; printf '%s' bzip2; : xz; test awk", ""),
    ],
)
def test_commands_of_every_construct(tmp_path: Path, script: str, expected: str) -> None:
    assert tools(tmp_path, script) == {*expected.split()}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("timeout -k 5 10 nice -n 5 env -i A=1 git log", "timeout nice env git"),
        ("find . -name x -exec stat {} \\; -o -execdir sh -c 'wc -l \"$1\"' _ {} +", "find stat sh wc"),
        ("sort | xargs -0 -n1 -P 4 basename", "sort xargs basename"),
        ("bash -ec 'date; id'; sh -o pipefail -c \"sed s\"", "date id sh sed"),
        ("command -v pigz || exec git", "pigz git"),
        (r'''bash -c "sed \"a b\" | cut -d \\\\ | \`date\`; wc \$x"''', "sed cut date wc"),
        ("eval 'awk 1'; trap 'rm -f x; wc' EXIT", "awk rm wc"),
        ('awk \'BEGIN { system("date"); "id -u" | getline x; print | "sort -n" }\'', "awk date id sort sh"),
        ("tar -czf a b", "tar gzip sh"),
        ("tar --use-compress-program=pigz -cf a b", "tar pigz"),
        ('tar -xf "$1"', "tar gzip bzip2 xz sh"),
        ("flock -n /tmp/l -c 'stat x'", "flock stat"),
        ("sort --compress-program=gzip", "sort gzip"),
        ("xargs test -f", "xargs test"),
        ("builtin echo; command cd /", ""),
    ],
)
def test_programs_that_run_programs(tmp_path: Path, script: str, expected: str) -> None:
    assert tools(tmp_path, script) == {*expected.split()}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("Z=gzip; $Z x", "gzip"),
        ('f() { "$Z" x; }; Z=gzip; [ y ] && Z=pigz', "gzip pigz"),
        ("${PAGER:-less} x", "less"),
        ("for tool in awk sed; do $tool; done", "awk sed"),
        ('cmd=(git log); "${cmd[@]}"', "git"),
        ('run() { "$@"; }; run date; log() { echo "$1"; }; log stat', "date"),
        ('declare -r G=/usr/bin/git; "$G" log; local H=id', "git"),
        ("P=/usr/bin; $P/${Q:=wc} x", "wc"),
        ("T=$(command -v tar); $T c", "tar"),
        ('$UNKNOWN x; "$1"', ""),
    ],
)
def test_words_whose_values_can_be_known(tmp_path: Path, script: str, expected: str) -> None:
    assert tools(tmp_path, script) == {*expected.split()}


def test_files_that_a_script_sources_are_read_too(tmp_path: Path) -> None:
    tree = {
        "/app/bin/run": (
            '#755 #!/bin/sh\nhere=$(cd "$(dirname "$0")" && pwd)\n'
            '. "$here/../lib/common"\n. ${0%/*}/near\n. /etc/conf\n'
        ),
        "/app/lib/common": "date\n",
        "/app/bin/near": "id\n",
        "/etc/conf": "git gc\n",
        "/usr/bin/date": "#755 x",
        "/usr/bin/id": "#755 x",
        "/usr/bin/git": "#755 x",
    }
    assert kept(tmp_path, tree, "/app/bin/run", rules=(ShellRule,)) == {*tree}


def test_paths_that_a_script_names_stay_when_they_exist(tmp_path: Path) -> None:
    tree = {
        "/app/run.sh": "cat /etc/motd < /etc/issue; [ -x /opt/tool ] && X=/opt/data; cp x /dev/null; ls /proc/self",
        "/etc/motd": "x",
        "/etc/issue": "x",
        "/opt/tool": "#755 x",
        "/opt/data": "x",
        "/opt/other": "x",
        "/dev/null": "x",
        "/proc/self": "x",
    }
    expected = {"/app/run.sh", "/etc/motd", "/etc/issue", "/opt/tool", "/opt/data"}
    assert kept(tmp_path, tree, "/app/run.sh", rules=(ShellRule,)) == expected


def test_a_script_extends_path_for_its_own_words(tmp_path: Path) -> None:
    tree = {
        "/app/run.sh": 'export PATH="/opt/x/bin:$PATH"\ntool\n',
        "/opt/x/bin/tool": "#755 x",
        "/opt/y/tool": "#755 x",
    }
    assert kept(tmp_path, tree, "/app/run.sh", rules=(ShellRule,)) == {"/app/run.sh", "/opt/x/bin/tool"}


def test_the_command_line_itself_is_a_script_when_it_calls_a_shell(tmp_path: Path) -> None:
    tree = {"/usr/bin/a": "#755 x", "/usr/bin/b": "#755 x", "/usr/bin/c": "#755 x", "/bin/sh": "#755 x"}
    application = Application(argv=("/bin/sh", "-c", "a; exec b"), executables=("sh -c 'c || false'",))
    assert kept(tmp_path, tree, rules=(ShellRule,), application=application) == {*tree}


def test_what_the_parser_cannot_read_still_gives_its_words() -> None:
    script = parse(b"a) gzip x )) ;;\n")
    assert script.unread
    assert ("gzip",) in {command.words[0] for command in script.commands}


def test_values_multiply_only_so_far() -> None:
    digits = " ".join("0123456789")
    script = parse(f"for a in {digits}; do for b in {digits}; do x$a$b; done; done".encode())
    assert [command.words[0] for command in script.commands] == [()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bash -lc a", {"profile", "x.sh", ".profile", "p", "x", "own"}),
        ("sh --login /run.sh", {"profile", "x.sh", ".profile", "p", "x", "own"}),
        ("su - app -c a", {"profile", "x.sh", ".profile", "p", "x", "own"}),
        ("bash -ic a", {"bash.bashrc", ".bashrc", "i", "mine"}),
        ("bash -c a", set[str]()),
        ("sh /run.sh -l", set[str]()),
    ],
)
def test_login_and_interactive_shells_read_their_files_first(line: str, expected: set[str], tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {f"/usr/bin/{name}": "#755 x" for name in ("p", "x", "own", "i", "mine", "z")}
    tree |= {
        "/etc/profile": "p\nfor i in /etc/profile.d/*.sh; do . $i; done",
        "/etc/profile.d/x.sh": "x",
        "/etc/profile.d/x.csh": "z",
        "/srv/.profile": "own",
        "/etc/bash.bashrc": "i",
        "/srv/.bashrc": "mine",
        "/other/.profile": "z",
    }
    application = Application(argv=tuple(line.split()), env={"HOME": "/srv"})
    found = kept(tmp_path, tree, rules=(ShellRule,), application=application)
    assert {path.rpartition("/")[2] for path in found} == expected
