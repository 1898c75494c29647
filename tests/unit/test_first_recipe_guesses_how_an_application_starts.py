"""`slim init` on trees of data: which start it finds, and what becomes of ports."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from slimmer.errors import UsageProblem
from slimmer.image.config import ImageConfig
from slimmer.recipe import Recipe, Run
from slimmer.root.directory import DirectoryRoot
from slimmer.suggest import Guess, Port, Short, guess, recipe_of
from tests.support import plant


def jar() -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Main-Class: Main\n")
    return memory.getvalue()


PROGRAM = "#755 \x7fELF"
NODE = {"/usr/bin/node": PROGRAM}
PYTHON = {"/usr/bin/python3": PROGRAM}
GUNICORN = {**PYTHON, "/usr/bin/gunicorn": "#755 #!/usr/bin/python3\n"}
UVICORN = {**PYTHON, "/app/.venv/bin/uvicorn": "#755 #!/app/.venv/bin/python\n"}
FLASK = "from flask import Flask\nweb = Flask(__name__)\n"

TREES: list[tuple[str, dict[str, str | bytes | None], tuple[str, ...], int | None]] = [
    ("procfile", {"/app/Procfile": "release: x\nweb: gunicorn -b :8000 app:web\n"},
     ("gunicorn", "-b", ":8000", "app:web"), 8000),
    ("procfile with a variable", {"/app/Procfile": "web: serve --port $PORT\n"},
     ("/bin/sh", "-c", "exec serve --port $PORT"), 5000),
    ("start script", {**NODE, "/app/package.json": '{"scripts": {"start": "node lib/serve.js"}}'},
     ("node", "lib/serve.js"), 3000),
    ("main", {**NODE, "/app/package.json": '{"main": "a.js"}', "/app/a.js": ""}, ("node", "a.js"), 3000),
    ("no node", {**PYTHON, "/app/package.json": '{"scripts": {"start": "x"}}', "/app/main.py": ""},
     ("python3", "main.py"), None),
    ("broken package.json", {**NODE, "/app/package.json": "{", "/app/server.js": ""}, ("node", "server.js"), 3000),
    ("wsgi", {**GUNICORN, "/app/app.py": FLASK}, ("gunicorn", "-b", "127.0.0.1:8000", "app:web"), 8000),
    ("wsgi function", {**GUNICORN, "/app/wsgi.py": "def application(environ, start_response): ..."},
     ("gunicorn", "-b", "127.0.0.1:8000", "wsgi:application"), 8000),
    ("asgi", {**UVICORN, "/app/main.py": "import fastapi\napi: object = fastapi.FastAPI()"},
     ("/app/.venv/bin/uvicorn", "main:api", "--port", "8000"), 8000),
    ("flask alone", {**PYTHON, "/usr/bin/flask": PROGRAM, "/app/app.py": FLASK},
     ("flask", "--app", "app", "run", "--port", "8000"), 8000),
    ("not python", {**PYTHON, "/app/app.py": "print 'old'"}, ("python3", "app.py"), None),
    ("django", {**GUNICORN, "/app/manage.py": "", "/app/shop/wsgi.py": ""},
     ("gunicorn", "-b", "127.0.0.1:8000", "shop.wsgi"), 8000),
    ("rack", {"/usr/bin/rackup": PROGRAM, "/app/config.ru": ""}, ("rackup", "-o", "127.0.0.1", "-p", "9292"), 9292),
    ("jar", {"/usr/bin/java": PROGRAM, "/app/lib.jar": b"PK", "/app/shop.jar": jar()},
     ("java", "-jar", "shop.jar"), 8080),
    ("executable war", {"/usr/bin/java": PROGRAM, "/app/shop.war": jar()}, ("java", "-jar", "shop.war"), 8080),
    ("quarkus", {"/usr/bin/java": PROGRAM, "/app/quarkus-app/quarkus-run.jar": jar()},
     ("java", "-jar", "quarkus-app/quarkus-run.jar"), 8080),
    ("php", {"/usr/bin/php": PROGRAM, "/var/www/html/index.php": ""},
     ("php", "-S", "127.0.0.1:8000", "-t", "/var/www/html"), 8000),
    ("program", {"/app/serve": PROGRAM, "/app/data": "x"}, ("/app/serve",), None),
    ("nginx", {"/usr/sbin/nginx": PROGRAM}, ("nginx", "-g", "daemon off;"), 80),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "command", "port"), [row[1:] for row in TREES], ids=[row[0] for row in TREES])
def test_a_start_is_found(
    tree: dict[str, str | bytes | None], command: tuple[str, ...], port: int | None, tmp_path: Path
) -> None:
    found = guess(DirectoryRoot(str(plant(tmp_path, tree))), ImageConfig())
    assert (found.command, found.port) == (command, port)
    assert found.why


def test_the_images_own_entrypoint_comes_first_and_stays_the_images(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path, {**PYTHON, "/app/main.py": ""})))
    config = ImageConfig(cmd=("serve",), exposed_ports=("53/udp", "8080/tcp"))
    found = guess(root, config)
    assert found.command == ()
    assert recipe_of(Recipe(), found, None).runs[0].command == ()


def test_a_directory_that_is_named_comes_before_the_usual_ones(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path, {**PYTHON, "/app/main.py": "", "/srv/x/server.py": ""})))
    assert guess(root, ImageConfig(), near="/srv/x").command == ("python3", "server.py")
    assert guess(root, ImageConfig(workdir="/srv/x")).workdir == "/srv/x"


def test_nothing_found_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="nothing in") as caught:
        guess(DirectoryRoot(str(plant(tmp_path, {"/etc/passwd": ""}))), ImageConfig())
    assert "--run" in caught.value.hint


def test_ports_become_probes() -> None:
    guessed = Guess("x", ("serve",), "/app", 8000)
    assert [each.url for each in recipe_of(Recipe(), guessed, None).runs[0].probes] == ["http://127.0.0.1:8000/"]
    seen = recipe_of(Recipe(), guessed, Short((Port(5000, 404), Port(6000, None)), None)).runs[0]
    assert [(each.url, each.status) for each in seen.probes] == [("http://127.0.0.1:5000/", 404)]
    assert seen.ready == ""
    assert recipe_of(Recipe(), guessed, Short((Port(6000, None),), None)).runs[0].ready == "6000"
    ended = recipe_of(Recipe(), guessed, Short((), 3)).runs[0]
    assert (ended.probes, ended.ready, ended.expect_exit) == ((), "", 3)


def test_what_the_caller_named_is_kept() -> None:
    base = Recipe(runs=(Run(command=("mine",), workdir="/w", env={"A": "1"}),))
    run = recipe_of(base, Guess("x", ("serve",), "/app", None, {"A": "0", "B": "2"}), None).runs[0]
    assert (run.command, run.workdir, run.env) == (("mine",), "/w", {"A": "1"})
