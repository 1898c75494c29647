"""Tcl: sourced files, packages below directories that a script adds, and started programs.

The library and the distribution's packages stay by profile. `exec` is no shell: its words are a pipeline of programs
(exec(n)); `open "|…"` and Expect's `spawn` take the same words.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from slimmer.closure.commands.search import head
from slimmer.closure.languages.base import LanguageRule
from slimmer.closure.languages.runtimes import system_owner
from slimmer.closure.model import Need, Reason, View
from slimmer.root.model import Entry, FileType

COMMENT = re.compile(r"^[ \t]*+#[^\n]*+", re.M)
CONTINUED = re.compile(r"\\\n[ \t]*+")
STARTS = re.compile(r"(?<![\w:$-])(?:::)?(?:exec|spawn)[ \t]++([^\n;\]]{1,2000})")
FOUND = re.compile(r"(?<![\w:$-])auto_execok[ \t]++([\w.+/-]{1,200})")
PIPES = re.compile(r"(?<![\w:$-])(?:::)?open[ \t]++(?:\[list[ \t]++)?[\"{]?\|([^\n;\]]{1,2000})")
SOURCED = re.compile(r"(?<![\w:$-])source[ \t]++([^\n;]{1,500})")
ADDED = re.compile(
    r"(?<![\w:$-])(?:lappend|set)[ \t]++(?:::)?auto_path[ \t]++([^\n;]{1,500})|tm::path[ \t]++add[ \t]++([^\n;]{1,500})"
)
WORD = re.compile(r"\{([^{}\n]{0,500})\}|\"((?:[^\"\\\n]|\\.){0,500})\"|([^\s{}\"]{1,500})")
PLACE = re.compile(r"[\w./+-]{1,300}")
KNOWN = re.compile(r"\$(?:\{([\w:]{1,80})\}|([\w:]{1,80}))")
SET = re.compile(
    r"(?<![\w:$-])(?:set|variable)[ \t]++([\w:]{1,80})[ \t]++"
    r"(?:\"([^\"$\[\n]{0,500})\"|\{([^{}\n]{0,500})\}|([^\s\"{}$\[;]{1,500}))"
)
REDIRECTION = re.compile(r"(?:\d?>{1,2}&?|<{1,2}|<@|\d?>@|>&@?)\S*")


class TclRule(LanguageRule):
    """Sourced files, added package directories and started programs of the application's own Tcl sources."""

    name = "tcl"
    suffixes = re.compile(r"\.(?:tcl|tm|itcl|exp|test\.tcl|adp)$|/pkgIndex\.tcl$")
    programs = re.compile(r"(?:tclsh|wish|expect|jimsh|tclkit)[\d.]*")
    spared = re.compile(r"^/usr/share/(?:doc|tcltk)/|/tcl\d[\d.]*/")

    def visit(self, entry: Entry, view: View) -> Iterable[Need]:
        if not self.is_source(entry) or entry.type is not FileType.FILE or system_owner(entry.path, view) is not None:
            return
        text = head(entry, view, self.largest).decode("utf-8", "surrogateescape")
        text = COMMENT.sub("", CONTINUED.sub(" ", text))
        values = {found[1]: found[2] or found[3] or found[4] or "" for found in SET.finditer(text)}
        for pattern in (STARTS, PIPES, FOUND):
            for found in pattern.finditer(text):
                line = text.count("\n", 0, found.start()) + 1
                for words in _pipeline(KNOWN.sub(lambda each: values.get(each[1] or each[2], ""), found[1])):
                    yield from self._started.line(words, entry.path, line)
        yield from self._files(text, entry.path)

    def _files(self, text: str, path: str) -> Iterator[Need]:
        bases = tuple(dict.fromkeys((posixpath.dirname(path), *self._environment.workdirs)))
        for found in SOURCED.finditer(text):
            reason = Reason(self.name, f"sourced by {path}", path)
            for place in self._places(found[1], bases):
                entry = self._view.root.find(place)
                if entry is not None and entry.type is FileType.FILE:
                    yield Need(place, reason)
        for found in ADDED.finditer(text):
            reason = Reason(self.name, f"holds packages for {path}", path)
            for place in self._places(found[1] or found[2], bases):
                entry = self._view.root.find(place)
                if entry is not None and entry.type is FileType.DIRECTORY and place.count("/") > 1:
                    yield Need(place, reason, tree=True)

    def _places(self, words: str, bases: Iterable[str]) -> Iterator[str]:
        """`[file join $here lib a.tcl]`: the known words behind the last unknown one, from a base; else each word."""
        known = [found[0] for found in PLACE.finditer(re.sub(r"\[info script\]|\$[\w:]+", "", words))]
        known = [
            word
            for word in known
            if word not in ("file", "join", "dirname", "normalize", "list", "info", "script", ".")
        ]
        for name in dict.fromkeys(("/".join(known), *known)):
            for base in bases if name else ():
                yield posixpath.normpath(posixpath.join(base, name.lstrip("/") if not name.startswith("/") else name))
                yield posixpath.normpath(posixpath.join(base, name.lstrip("/")))


def _pipeline(text: str) -> Iterator[list[str]]:
    """The commands of `exec`'s words, unknown words as ""."""
    words: list[str] = []
    for found in WORD.finditer(text):
        word = next((group for group in found.groups() if group is not None), "")
        if word in ("|", "|&", "&"):
            yield words
            words = []
        elif not (
            REDIRECTION.fullmatch(word) or (not words and word in ("-ignorestderr", "-keepnewline", "--", "-noecho"))
        ):
            words.append("" if "$" in word or "[" in word else word)
    yield words
