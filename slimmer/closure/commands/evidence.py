"""How far a text is believed to be a command line, when nothing is seen to start it.

"pdftotext"               a word that is nothing but a program's name
"tar -cz"  "ls | wc -l"   options, pipes: a command line
"sort by date"            words of a language that happen to be programs
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable

from slimmer.closure.commands.literals import HOLE, CommandLine

# Programs whose names are words of English or of programmers' speech: options or operators must speak for them.
COMMON = frozenset(
    """
    [ a2x add apply apt ar arch as at attr awk base32 base64 bash batch bc bundle bzip2 c cal capsh cat cc cd
    chat chfn choom clear cmp code col column comm compare compile composer compress conjure cp cpp crontab csh
    cut cxx dash data date dc dd debug delete df diff dig dir dircolors disable display docker dot du dwp ed
    edit editor egrep eject enable env ex expand expiry expr f factor faillog false fc fg fgrep file filter fin
    find fold format free g ftp gem get group groups gzip h head help host hostname i icon id identify import
    info init install integer int ip ipcs irb jar java join jq js json key kill last lastlog latex less lex line
    link linux ln local locale locate log logger login logname look lookup ls m4 mail make man map mask md5 menu
    mesg message mkdir mode montage more mount mt mv name namei nano nawk nc newgrp nice nl node normal nohup
    npm od on open openssl option order pack page pager paste patch path perl php pick pid pip plot post pr
    print printenv printf process prove psql ptx pull push pwd python python3 query quota r rake read redirect
    rename report reset resize rev rm rmdir ruby run runner save sc script search sed select send seq server
    service session set sg sh show shred shuf shutdown size skill sleep slice snap sort source split sql start
    stat state status stop stream strings strip stty su sudo sum sync tac tail tar task tee telnet test text
    time timeout toe tool top touch tput tr trace true tset tty ul uname unexpand uniq unlink unzip update
    uptime user users v vi view vim w wait wall watch wc wget which who whoami write x xml xz y yes z zip
    """.split()  # noqa: SIM905
)
OPERATOR = re.compile(r"\s(?:\||&&|\|\||;|>>?|2>&1)\s|;\s|\$\(|`")
OPTION = re.compile(r"\s--?[A-Za-z0-9][\w=.,:/%$-]*+(?:\s|$)")
PROSE = re.compile(
    r"[A-Za-z]{2}[.:,!?](?:\s|$)|\b(?:the|is|are|not|of|was|were|has|have|this|that|must|should|cannot)\b"
)
MOST_WORDS = 40


class Belief(enum.IntEnum):
    """How sure it is that a text is a command line."""

    NONE = 0
    WORD = 1  # nothing but the name of a program
    LINE = 2  # a command line


def belief(command: CommandLine, programs: Callable[[str], object]) -> Belief:
    """How far to believe; `programs` says whether PATH leads to a word."""
    words = command.words[0].split() if command.shell else list(command.words)
    if not words or not words[0] or len(words) > MOST_WORDS:
        return Belief.NONE
    first = words[0]
    if "/" in first and not first.startswith("/"):
        return Belief.NONE
    if not programs(first):
        return Belief.NONE
    common = first in COMMON or len(first) < 3
    if len(words) == 1:
        return Belief.NONE if common else Belief.WORD
    if not command.shell:
        return Belief.LINE if not common or any(_argument(word) for word in words[1:]) else Belief.NONE
    text = command.words[0]
    if OPERATOR.search(text) and (not common or OPTION.search(text) or _second(text, programs)):
        return Belief.LINE
    if PROSE.search(text):
        return Belief.NONE
    if OPTION.search(text) or any(_argument(word) for word in words[1:3]):
        return Belief.LINE
    return Belief.NONE if common or len(words) > 4 else Belief.WORD


def _argument(word: str) -> bool:
    return word == "" or word.startswith(("-", "/", "./", "$", "'", '"')) or HOLE in word


def _second(text: str, programs: Callable[[str], object]) -> bool:
    """Whether what follows an operator is a program too, or the first has a file to work on."""
    found = re.findall(r"(?:\||&&|;|\$\(|`)\s*([\w./+-]+)", text)
    return any(programs(word) for word in found) or bool(re.search(r"\s/\w|\$UNKNOWN", text))
