"""Programs in six languages, run by the real interpreters from nothing but what their closure keeps.

Each program has parts that only some arguments reach: lazy imports, encodings,
error output, child programs. The closure sees the sources and no run at all;
every command must then give in the slim tree exactly what it gives in the fat one.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slimmer.closure.commands.shebang import ScriptRule
from slimmer.closure.languages.registry import LANGUAGE_RULES
from slimmer.closure.model import Application
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.oracle.closures import lay, run
from tests.support import needs_root, plant, requires, root_of
from tests.unit.closures import closure

pytestmark = [needs_root, requires("mmdebstrap", "unshare")]
PACKAGES = ("gunicorn", "nodejs", "openjdk-17-jre-headless", "perl", "php-cli", "python3", "python3-flask", "ruby")


@dataclass(frozen=True)
class Program:
    """Files of an application, what is kept to begin with, and commands that nobody has shown."""

    files: dict[str, str]
    argv: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    seeds: tuple[str, ...] = ()
    most: float = 0.3  # of the bytes of the fat root
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)


PYTHON = Program(
    {
        "/srv/py/app.py": """
from flask import Flask, render_template
import jobs
app = Flask(__name__)

@app.get("/")
def home(): return "hi"

@app.get("/late/<name>")
def late(name):
    import importlib
    return importlib.import_module(f"kinds.{name}").answer()

@app.get("/page")
def page(): return render_template("page.html", name="x")
""",
        "/srv/py/templates/page.html": "<b>{{ name | upper }}</b>{% for x in range(3) %}{{ x }}{% endfor %}",
        "/srv/py/jobs.py": "def clean(): import subprocess; return subprocess.run(['date', '-u', '-d', '@0', '+%Y'],"
        " capture_output=True, text=True, check=True).stdout",
        "/srv/py/kinds/__init__.py": "",
        "/srv/py/kinds/codecs_.py": "def answer(): return str([('é' if 0 else 'e').encode(c) for c in"
        " ('shift_jis', 'gb18030', 'utf-16', 'idna', 'cp037')])",
        "/srv/py/kinds/base.py": "def answer():\n import sqlite3, decimal, hashlib, ssl, datetime, zoneinfo, uuid\n"
        " db = sqlite3.connect(':memory:'); db.execute('create table a (b)')\n"
        " return str((list(db.iterdump()), decimal.Decimal(1) / 3, datetime.datetime.strptime('2020', '%Y'),"
        " hashlib.sha3_256(b'').hexdigest(), len(ssl.create_default_context().get_ciphers()) > 3))",
        "/srv/py/kinds/tree.py": "def answer():\n import xml.dom.minidom, xml.sax, asyncio, concurrent.futures, csv\n"
        " asyncio.run(asyncio.sleep(0))\n"
        " assert list(concurrent.futures.ThreadPoolExecutor(1).map(str, [1])) == ['1']\n"
        " return xml.dom.minidom.parseString('<a><b/></a>').toxml()",
        "/srv/py/kinds/many.py": "import multiprocessing, sysconfig, logging.config, importlib.metadata\n"
        "def square(x): return x * x\n"
        "def answer():\n with multiprocessing.get_context('fork').Pool(1) as pool: found = pool.map(square, [3])\n"
        " logging.config.dictConfig({'version': 1, 'handlers': {'f': {'class': 'logging.handlers.MemoryHandler',"
        " 'capacity': 2}}})\n"
        " return str((found, sysconfig.get_config_var('EXT_SUFFIX'), importlib.metadata.version('flask')))",
        "/srv/py/kinds/boom.py": "def answer(): raise ValueError('on purpose')",
        "/srv/py/ask.py": "import sys, app, jobs\nclient = app.app.test_client()\nfor path in sys.argv[1:]:\n"
        "    print(client.get(path).get_data(as_text=True))\nprint(jobs.clean())",
    },
    ("/usr/bin/gunicorn", "app:app"),
    (
        ("python3", "/srv/py/ask.py", "/", "/page"),
        ("python3", "/srv/py/ask.py", "/late/codecs_", "/late/base", "/late/tree", "/late/many"),
        ("python3", "-c", "import sys; sys.path.insert(0, '/srv/py'); import kinds.boom; kinds.boom.answer()"),
        ("gunicorn", "--chdir", "/srv/py", "--check-config", "-k", "gthread", "app:app"),
        ("flask", "--app", "/srv/py/app.py", "routes"),
    ),
    ("/usr/bin/flask", "/usr/bin/gunicorn", "/usr/bin/date"),
    most=0.12,
    workdir="/srv/py",
)

NODE = Program(
    {
        "/srv/js/main.js": """
const what = process.argv[2];
if (what === 'view') { const engine = require(process.argv[3] || 'tiny-views'); console.log(engine.render('x')); }
if (what === 'esm') import('./lib/late.mjs').then((late) => console.log(late.greet('esm')));
if (what === 'child') {
  require('child_process').execFile('date', ['-u', '-d', '@0', '+%Y'], (e, out) => console.log(e, out));
}
if (what === 'boom') { const f = require('./lib/boom'); f(); }
if (what === 'plug') console.log(require('./plugins/' + process.argv[3]));
if (what === 'own') { const { createHash, scryptSync } = require('crypto'); const zlib = require('zlib');
  console.log(createHash('sha3-256').update('').digest('hex'), zlib.gunzipSync(zlib.gzipSync('x')).toString(),
    scryptSync('p', 's', 8).toString('hex'), new Date(0).toLocaleString('de-DE', { timeZone: 'Asia/Tokyo' })); }
""",
        "/srv/js/package.json": json.dumps({"dependencies": {"tiny-views": "1"}, "devDependencies": {"tester": "1"}}),
        "/srv/js/lib/late.mjs": "import { pad } from 'padder'; export const greet = (n) => pad(n);",
        "/srv/js/lib/boom.js": "module.exports = () => { throw new Error('on purpose'); };",
        "/srv/js/plugins/one.js": "module.exports = 'one'",
        "/srv/js/node_modules/tiny-views/package.json": json.dumps(
            {"name": "tiny-views", "exports": {".": {"require": "./lib/r.cjs"}}, "dependencies": {"padder": "1"}}
        ),
        "/srv/js/node_modules/tiny-views/lib/r.cjs": (
            "exports.render = (x) => require('padder').pad(x) + require('./' + 'data')"
        ),
        "/srv/js/node_modules/tiny-views/lib/data.json": '"data"',
        "/srv/js/node_modules/padder/package.json": json.dumps({"name": "padder", "main": "i"}),
        "/srv/js/node_modules/padder/i.js": "exports.pad = (x) => `[${x}]`",
        "/srv/js/node_modules/tester/package.json": "{}",
    },
    ("/usr/bin/node", "/srv/js/main.js"),
    (
        ("node", "/srv/js/main.js", "view"),
        ("node", "/srv/js/main.js", "esm"),
        ("node", "/srv/js/main.js", "child"),
        ("node", "/srv/js/main.js", "boom"),
        ("node", "/srv/js/main.js", "plug", "one"),
        ("node", "/srv/js/main.js", "own"),
        ("node", "--input-type=module", "-e", "import fs from 'fs'; console.log(typeof fs.readFile)"),
    ),
    ("/usr/bin/node", "/usr/lib/x86_64-linux-gnu/libnode.so.108", "/usr/bin/date"),
    workdir="/srv/js",
)

PERL = Program(
    {
        "/srv/pl/main.pl": r"""#!/usr/bin/perl
use strict; use warnings; use FindBin; use lib "$FindBin::Bin/lib"; use My::Thing; use JSON::PP;
print JSON::PP->new->canonical->encode({ %{ My::Thing->new } }), "\n";
exit unless @ARGV;
require Digest::SHA; print Digest::SHA::sha256_hex("x"), "\n";
require Encode; print join(",", map { length Encode::encode($_, "\x{3042}a") } qw(shiftjis euc-kr UTF-16 big5)), "\n";
require Time::Piece; print Time::Piece::gmtime(0)->ymd, "\n"; require Storable; print Storable::dclone([7])->[0], "\n";
print "letter\n" if "\x{e9}" =~ /\p{Letter}/ and "\N{GREEK SMALL LETTER ALPHA}" =~ /\p{Script=Greek}/;
open my $fh, "<:encoding(UTF-8)", $0 or die; print scalar <$fh>; open my $in, "<", \"text" or die; print <$in>, "\n";
require Math::BigInt; print Math::BigInt->new("123456789012345678901234567890")->bmul(2), "\n";
require Compress::Zlib; print length Compress::Zlib::memGzip("hi"), "\n"; require File::Temp;
require HTTP::Tiny;
print `date -u -d \@0 +%Y`; print join(",", glob("/srv/pl/*.pl")), "\n"; require Socket;
print Socket::inet_ntoa("\1\1\1\1"), "\n";
local $SIG{__WARN__} = sub { print "warned: @_" }; my $undefined; my $text = "$undefined";
printf "%s %s\n", lc "\x{c9}", fc("A");
require Carp; Carp::cluck("clucked"); eval { My::Thing->nothing }; print $@;
die ["three"]->[0] if @ARGV > 1; Carp::confess("end");
""".replace("use strict;", "use strict; use feature 'fc';", 1),
        "/srv/pl/lib/My/Thing.pm": (
            "package My::Thing; use strict; sub new { require POSIX; bless { t => POSIX::floor(3.5) }, shift } 1;"
        ),
    },
    ("/srv/pl/main.pl",),
    (("/srv/pl/main.pl",), ("/srv/pl/main.pl", "x"), ("/srv/pl/main.pl", "x", "y")),
    ("/srv/pl/main.pl", "/usr/bin/date"),
    most=0.12,
)

RUBY = Program(
    {
        "/srv/rb/main.rb": r"""#!/usr/bin/ruby
require_relative "lib/thing"
require "json"
puts JSON.generate(a: 1)
exit unless ARGV[0]
puts Thing.x
require "yaml"; puts({ "a" => [1] }.to_yaml)
require "erb"; puts ERB.new("<%= 1 + 1 %>").result
require "csv"; puts CSV.parse("a,b").inspect
require "time"; puts Time.at(0).utc.iso8601
require "openssl"; puts OpenSSL::Digest.hexdigest("SHA1", "x")
require "net/http"; require "socket"; require "zlib"; puts Zlib::Inflate.inflate(Zlib::Deflate.deflate("a"))
puts "あ".encode("Shift_JIS").bytes.inspect, "x".encode("UTF-16LE").bytes.inspect
puts "e\u0301".unicode_normalize(:nfc).size
require "bigdecimal"; puts BigDecimal("1.1").to_s; require "set"; require "ostruct"; require "securerandom"
require "open3"; puts Open3.capture2("date", "-u", "-d", "@0", "+%Y")[0], `sort /srv/rb/lib/thing.rb`.size
require "logger"; Logger.new($stdout, formatter: proc { |*a| a.last + "\n" }).info("hi")
begin; [].frist; rescue NoMethodError => e; puts e.message; end
raise ArgumentError, "on purpose"
""",
        "/srv/rb/lib/thing.rb": 'module Thing; def self.x; require "digest"; Digest::SHA256.hexdigest("x"); end; end',
    },
    ("/srv/rb/main.rb",),
    (("/srv/rb/main.rb",), ("ruby", "/srv/rb/main.rb", "x")),
    ("/srv/rb/main.rb", "/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1"),
    most=0.12,
    environment={"LANG": "C.UTF-8"},
)

PHP = Program(
    {
        "/srv/php/index.php": r"""<?php
require_once __DIR__ . '/lib/a.php';
echo a(), "\n";
if ($argc > 1) {
  echo json_encode(get_loaded_extensions()), ctype_alpha("x"), shell_exec("date -u -d @0 +%Y");
  echo (new DateTime("2024-01-01", new DateTimeZone("UTC")))->format("c"), (new finfo(FILEINFO_MIME))->buffer("GIF89a");
  include "lib/" . $argv[1] . ".php"; new PDO("none:x");
}
""",
        "/srv/php/lib/a.php": "<?php function a() { return 1; }",
        "/srv/php/lib/b.php": "<?php echo 'b';",
    },
    ("/usr/bin/php", "/srv/php/index.php"),
    (("php", "/srv/php/index.php"), ("php", "/srv/php/index.php", "b")),
    (
        "/usr/bin/php",
        "/srv/php/index.php",
        "/usr/bin/date",
        "/etc/php/8.2/cli/php.ini",
        "/usr/share/zoneinfo/tzdata.zi",
    ),
    most=0.08,
    workdir="/srv/php",
)

JAVA = Program(
    {
        "/srv/java/Main.java": r"""
import java.net.http.*; import java.security.*; import java.text.*; import java.time.*; import java.util.*;
public class Main { public static void main(String[] a) throws Exception {
  System.out.println(ZonedDateTime.of(2024, 1, 1, 0, 0, 0, 0, ZoneId.of("Asia/Tokyo")));
  System.out.println("x".getBytes("Shift_JIS").length + javax.net.ssl.SSLContext.getDefault().getProtocol());
  System.out.println(MessageDigest.getInstance("SHA3-256") + NumberFormat.getInstance(Locale.GERMANY).format(1234.5));
  System.out.println(Arrays.toString(Security.getProviders()) + (HttpClient.newHttpClient() != null));
  System.out.println(javax.xml.parsers.DocumentBuilderFactory.newInstance().newDocumentBuilder().newDocument());
  System.out.println(new String(new ProcessBuilder("/bin/echo", "x").start().getInputStream().readAllBytes()));
  System.out.println(new java.awt.image.BufferedImage(2, 2, 1).getWidth()); throw new RuntimeException("boom"); } }
""",
    },
    ("/usr/bin/java", "/srv/java/Main.java"),
    (("java", "/srv/java/Main.java"),),
    ("/usr/bin/java", "/usr/bin/echo", "/srv/java/Main.java"),
    most=0.4,
)
PROGRAMS = {"python": PYTHON, "node": NODE, "perl": PERL, "ruby": RUBY, "php": PHP, "java": JAVA}


@pytest.fixture(scope="module")
def fat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the interpreters and all programs. Its packages' files are the cached root's, by hard links."""
    source, top = root_of(*PACKAGES), tmp_path_factory.mktemp("fat") / "root"
    if subprocess.run(["cp", "-al", str(source), str(top)], stderr=subprocess.DEVNULL).returncode:
        subprocess.run(["rm", "-rf", str(top)], check=True)
        subprocess.run(["cp", "-a", str(source), str(top)], check=True)
    for program in PROGRAMS.values():
        plant(top, {path: f"#755 {text}" for path, text in program.files.items()})
    return top


@pytest.mark.parametrize("language", PROGRAMS)
def test_every_command_gives_what_it_gives_in_the_fat_root(language: str, fat: Path, tmp_path: Path) -> None:
    program, root = PROGRAMS[language], DirectoryRoot(str(fat))
    application = Application(argv=program.argv, workdir=program.workdir)
    found = closure(
        root,
        [*program.seeds, *program.files],
        [ScriptRule, *LANGUAGE_RULES],
        application=application,
        packages=index(root),
    )
    sizes = {entry.path: entry.size for entry in root.walk()}
    assert sum(sizes[path] for path in found.paths) < program.most * sum(sizes.values())
    slim = lay(found.paths, fat, tmp_path / "slim")
    for command in program.commands:
        expected = run(fat, command, program.environment, program.workdir)
        assert run(slim, command, program.environment, program.workdir) == expected
