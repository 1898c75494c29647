"""Interpreters' options: clusters, values, program text, modules, and where the program's own arguments begin."""

from __future__ import annotations

import pytest

from slimmer.closure.commands.interpreters import Code, File, Found, Module, interpreted


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python -uc CODE x.py", [Code("python", "CODE")]),
        ("python -Ic CODE", [Code("python", "CODE")]),
        ("python -IcCODE", [Code("python", "CODE")]),
        ("python -W ignore x.py y.py", [File("python", "x.py")]),
        ("python -Wignore -OO x.py -c z", [File("python", "x.py")]),
        ("python -X dev -m mod -c x", [Module("mod")]),
        ("python -Imhttp.server 80", [Module("http.server")]),
        ("python --check-hash-based-pycs never x.py", [File("python", "x.py")]),
        ("python - x.py", []),
        ("python -- x.py", [File("python", "x.py")]),
        ("perl -we CODE", [Code("perl", "CODE")]),
        ("perl -i.bak -pe CODE file", [Code("perl", "CODE")]),
        ("perl -0777ne CODE file", [Code("perl", "CODE")]),
        ("perl -lne CODE -e MORE file", [Code("perl", "CODE"), Code("perl", "MORE")]),
        ("perl -F: -lane CODE", [Code("perl", "CODE")]),
        ("perl -Ilib -I inc -wT x.pl", [File("perl", "x.pl")]),
        ("perl -MJSON::PP=decode_json -e CODE", [Code("perl", "use JSON::PP;"), Code("perl", "CODE")]),
        ("perl -m-strict -E CODE", [Code("perl", "use strict;"), Code("perl", "CODE")]),
        ("php -d a=b x.php", [File("php", "x.php")]),
        ("php -da=b -r CODE", [Code("php", "CODE")]),
        ("php -n -c /etc/php -f x.php", [File("php", "x.php")]),
        ("php -S 0:80 -t public router.php", [File("php", "router.php")]),
        ("php --define a=b --run CODE", [Code("php", "CODE")]),
        ("ruby -I lib x.rb", [File("ruby", "x.rb")]),
        ("ruby -Ilib -rjson -ne CODE", [Code("ruby", "require 'json'"), Code("ruby", "CODE")]),
        ("ruby -W0 -Eutf-8 -C dir x.rb", [File("ruby", "x.rb")]),
        ("ruby --enable=frozen-string-literal x.rb", [File("ruby", "x.rb")]),
        ("node --require ./a x.js", [Code("node", "require('./a')"), File("node", "x.js")]),
        ("node -r ./a --import=./b", [Code("node", f"require('{x}')") for x in ("./a", "./b")]),
        ("node -pe CODE", [Code("node", "CODE")]),
        ("node --max-old-space-size=4096 --enable-source-maps x.js", [File("node", "x.js")]),
        ("node --conditions production --input-type module -e CODE", [Code("node", "CODE")]),
        ("node -", []),
    ],
)  # fmt: skip
def test_options_are_read_as_the_interpreter_reads_them(line: str, expected: list[Found]) -> None:
    language, *arguments = line.split()
    assert list(interpreted(language, arguments)) == expected


def test_a_document_is_the_program_only_where_no_other_is_named() -> None:
    assert list(interpreted("perl", ["-w"], "TEXT")) == [Code("perl", "TEXT")]
    assert list(interpreted("python", ["-u", "-"], "TEXT")) == [Code("python", "TEXT")]
    assert list(interpreted("python", ["-u", "-", "word"], "TEXT")) == [Code("python", "TEXT")]
    assert list(interpreted("perl", ["-ne", "CODE"], "TEXT")) == [Code("perl", "CODE")]
    assert list(interpreted("python", ["x.py"], "TEXT")) == [File("python", "x.py")]
    assert list(interpreted("ruby", [""], "TEXT")) == []
