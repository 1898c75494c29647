"""What profiles ask of frameworks in their own languages: routes, and whether the application's templates compile.

The programs of the profiles run here beside small stand-ins for the frameworks, which have the same interfaces.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from slimmer.checks.challenge.questions import filled, framework
from slimmer.checks.challenge.subject import Subject
from slimmer.closure.model import Application
from slimmer.closure.profiles.load import load_all
from slimmer.packages.index import index
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.unit.profiles_support import profile
from tracer.recording import Recording


def said(name: str, why: str, directory: Path, files: Mapping[str, str], **places: str) -> list[str]:
    """The lines that a profile's question prints in a directory with these files."""
    if shutil.which(places[min(places)] if places else name) is None:
        pytest.skip(f"{name} is not installed")
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    (line,) = (
        each
        for known in load_all()
        if known.name == name
        for challenge in known.challenge
        for each in challenge.ask
        if challenge.why.startswith(why) and "\n" in each
    )
    words = shlex.split(line)
    for place, value in places.items():
        words = [word.replace(f"{{{place}}}", value) for word in words]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


ENVIRONMENT = """
class Environment:
    def list_templates(self): return ["page.html", "base.html", "broken.html"]
    def get_template(self, name):
        if name == "broken.html": raise LookupError(name)
class Proxy:
    def __getattr__(self, name): raise RuntimeError("outside of a request")
request = Proxy()
"""


@pytest.mark.parametrize(
    "target",
    [
        "class App: jinja_env = Environment()\napp = App()",
        "class App: jinja_env = Environment()\ndef app(): return App()",  # a factory
        "class Held: env = Environment()\nheld = Held()\nclass App:\n    def __call__(self): 1 / 0\napp = App()",
    ],
)
def test_jinja_compiles_what_its_environments_list(target: str, tmp_path: Path) -> None:
    files = {"shop.py": f"{ENVIRONMENT}\n{target}\n"}
    found = said("python", "Jinja", tmp_path, files, python=sys.executable, target="shop:app")
    assert found == ["base.html compiles", "broken.html LookupError", "page.html compiles"]


def test_django_compiles_the_templates_of_the_application_alone(tmp_path: Path) -> None:
    files = {
        "manage.py": "import sys\nassert sys.argv[1:3] == ['shell', '-c']\nexec(sys.argv[3])\n",
        "django/__init__.py": "",
        "django/template/__init__.py": f"""
class Engine:
    template_dirs = [{str(tmp_path / "templates")!r}, {str(tmp_path / "site-packages/admin")!r}]
    def get_template(self, name):
        if "bad" in name: raise SyntaxError(name)
class engines:
    all = staticmethod(lambda: [Engine()])
""",
        "templates/page.html": "",
        "templates/deep/bad.html": "",
        "site-packages/admin/base.html": "",
    }
    found = said("python", "Django compiles", tmp_path, files, python=sys.executable)
    assert found == ["page.html compiles", "deep/bad.html SyntaxError"]


EXPRESS = """
const layer = (path, ...methods) => ({route: {path, methods: Object.fromEntries(methods.map((each) => [each, true]))}});
const nested = {handle: {stack: [layer('/b', 'get')]}, regexp: /^\\/sub/};
const app = () => {}; app.settings = {};
const router = {stack: [{name: 'query', handle: () => {}}, nested, layer('/a', 'post', 'get')]};
"""


@pytest.mark.parametrize(
    "given", ["app._router = router; module.exports = app", "app.router = router; exports.app = app"]
)
def test_express_lists_its_routes_by_the_module_that_hands_out_the_application(given: str, tmp_path: Path) -> None:
    files = {
        "app.js": EXPRESS + given,
        "bin/www": "#!/usr/bin/env node\nrequire('../app'); setInterval(() => {}, 1000)",
    }
    found = said("node", "Express", tmp_path, files, node="node", script=str(tmp_path / "bin/www"))
    assert found == [f"{tmp_path}/app.js", "use query", "get ^\\/sub>/b", "get,post /a"]


def test_engines_of_node_compile_each_template(tmp_path: Path) -> None:
    compile_ = "exports.compile = (text) => { if (text === 'bad') throw new SyntaxError(text); }"
    files = {
        "views/a.ejs": "x",
        "views/deep/bad.ejs": "bad",
        "views/c.hbs": "x",
        "views/d.pug": "x",
        "views/e.txt": "x",
        "node_modules/ejs/index.js": compile_,
        "node_modules/handlebars/index.js": "exports.precompile = () => 1",
        "node_modules/other/views/f.ejs": "bad",
    }
    found = said("node", "EJS", tmp_path, files, node="node")
    assert found == [
        "views/a.ejs compiles",
        "views/c.hbs compiles",
        "views/d.pug MODULE_NOT_FOUND",
        "views/deep/bad.ejs SyntaxError",
    ]


def test_erb_compiles_each_template(tmp_path: Path) -> None:
    files = {"app/views/a.erb": "<% if x %><%= y %><% end %>", "app/views/b.erb": "<% if x %>", "vendor/c/d.erb": "<%"}
    found = said("ruby", "ERB", tmp_path, files, ruby="ruby")
    assert found == ["app/views/a.erb compiles", "app/views/b.erb SyntaxError"]


def test_twig_compiles_each_template(tmp_path: Path) -> None:
    autoload = r"""<?php namespace Twig\Loader { class FilesystemLoader { function __construct($top) {} } }
namespace Twig {
class Source { function __construct(public $code, public $name) {} }
class Environment { function __construct($loader) {} function parse($x) { return $x; } function compile($x) {}
function tokenize($x) { if ($x->code == 'bad') throw new \LogicException('x'); return $x; } } }"""
    files = {
        "vendor/autoload.php": autoload,
        "templates/a.twig": "x",
        "templates/b/c.html.twig": "bad",
        "templates/d": "",
    }
    found = said("php", "Twig", tmp_path, files)
    assert found == ["templates/a.twig compiles", "templates/b/c.html.twig LogicException"]


def test_a_question_is_given_the_source_that_is_started_and_says_what_it_is_about(tmp_path: Path) -> None:
    plant(tmp_path, {"/usr/bin/tool": "#!/bin/sh\n", "/app/bin/server.js": "x", "/app/notes.txt": "x"})
    (tmp_path / "usr/bin/tool").chmod(0o755)
    root = DirectoryRoot(str(tmp_path))
    ask = "[[challenge]]\nask = ['''tool -e \"\nx\n\" {script}''', 'tool --list']\nwhy = \"it lists\"\n"
    paths = tuple(each.path for each in root.walk())
    application = Application(("tool", "notes.txt", "bin/server.js"), {}, workdir="/app")
    it = Subject(root, paths, Recording(()), index(root), application, (profile(f'why = "x"\n{ask}'),))
    assert [(each.argv, each.what) for each in framework(it)] == [
        (("tool", "-e", "\nx\n", "/app/bin/server.js"), "it lists"),
        (("tool", "--list"), "tool --list"),
    ]
    assert filled(["{script}"], replace(it, application=Application(("tool", "notes.txt"), {}, workdir="/app"))) == ()
