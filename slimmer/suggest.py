"""A first slim.toml: what a root seems to hold, how that is started, and on which ports it answers.

Looks, in this order, at the source image's entrypoint, at the application's own
directory (Procfile, package.json, a WSGI or ASGI module, config.ru, a jar, index.php, a
lone program) and at well-known servers. The first that is found wins; its `why` says so.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from slimmer.closure.commands.search import DEFAULT_PATH
from slimmer.closure.profiles.load import shipped
from slimmer.closure.profiles.modules import known_modules
from slimmer.errors import SlimmerError, UsageProblem
from slimmer.exercise.listening import listeners
from slimmer.exercise.output import Stream
from slimmer.exercise.perform import command_of, session_options, shared_network
from slimmer.exercise.place import Place
from slimmer.exercise.probe import NoAnswer, send
from slimmer.image.config import ImageConfig
from slimmer.recipe import Probe, Recipe, Run, split_command
from slimmer.recipe_checks import signal_number
from slimmer.root.model import FileType, Root
from slimmer.root.zips import unzipped
from tracer.session import Session

DIRECTORIES = ("/app", "/usr/src/app", "/code", "/workspace", "/srv/app", "/opt/app", "/home/app", "/var/www/html")
LIMIT = 1 << 20  # bytes of a file that is looked at
SETTLED = 0.5  # seconds without another port after the first one
PAUSE = 0.05
WSGI, ASGI = "wsgi", "asgi"
MODULES = ("wsgi", "asgi", "app", "main", "server", "application", "api", "run")


@dataclass(frozen=True, slots=True)
class Guess:
    """How an application seems to be started. No `command`: the image's own entrypoint."""

    why: str
    command: tuple[str, ...] = ()
    workdir: str | None = None
    port: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    exec: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a short run opened; `status` of GET / when it speaks HTTP."""

    number: int
    status: int | None


@dataclass(frozen=True, slots=True)
class Short:
    """A short run: what it opened, and its exit code when it ended by itself."""

    ports: tuple[Port, ...]
    exit_code: int | None


def guess(root: Root, config: ImageConfig, *, near: str = "") -> Guess:
    """The best guess. `near` is a directory to look at first. Raises UsageProblem when nothing is recognised."""
    found = next(_all(root, config, near), None)
    if found is None:
        raise UsageProblem(
            f"nothing in {root.name} says how the application is started",
            'name it: slim init --run "app --serve"',
        )
    return found


def _all(root: Root, config: ImageConfig, near: str) -> Iterator[Guess]:
    port = next((int(each.partition("/")[0]) for each in config.exposed_ports if each[:1].isdigit()
                 and each.partition("/")[0].isdigit()), None)  # fmt: skip
    if config.entrypoint or config.cmd:
        yield Guess("the image's own entrypoint", port=port)
    workdir = config.workdir if config.workdir not in (None, "", "/") else ""
    for directory in dict.fromkeys([*filter(None, [near, workdir]), *DIRECTORIES]):
        found = root.find(directory)
        if found is not None and found.type is FileType.DIRECTORY:
            yield from _application(_Directory(root, found.path))
    yield from _servers(root)


class _Directory:
    """An application's directory, read with patience."""

    def __init__(self, root: Root, path: str) -> None:
        self.root = root
        self.path = path
        self.names = sorted(root.children(path))

    def at(self, name: str) -> str:
        return posixpath.join(self.path, name)

    def text(self, name: str) -> str:
        try:
            return self.root.read(self.at(name), LIMIT).decode("utf-8", "replace") if name in self.names else ""
        except SlimmerError:
            return ""

    def program(self, *names: str) -> str:
        """The first of these programs that the root has; here first (a virtual environment), then PATH."""
        for name in names:
            for place in (self.at(f".venv/bin/{name}"), self.at(f"venv/bin/{name}"), self.at(f"bin/{name}")):
                if _runs(self.root, place):
                    return place
            if any(_runs(self.root, f"{top}/{name}") for top in DEFAULT_PATH):
                return name
        return ""

    def guess(self, why: str, *command: str, port: int | None = None, **more: str) -> Guess:
        return Guess(f"{why} in {self.path}", command, self.path, port, dict(more))


def _runs(root: Root, path: str) -> bool:
    found = root.find(path)
    return found is not None and found.executable


def _application(here: _Directory) -> Iterator[Guess]:
    yield from _procfile(here)
    yield from _node(here)
    yield from _python(here)
    yield from _ruby(here)
    yield from _java(here)
    if php := "index.php" in here.names and here.program("php"):
        yield here.guess("index.php", php, "-S", "127.0.0.1:8000", "-t", here.path, port=8000)
    elves = [name for name in here.names if _elf(here, name)]
    if len(elves) == 1:
        yield here.guess(f"the program {elves[0]}", here.at(elves[0]))


def _procfile(here: _Directory) -> Iterator[Guess]:
    found = re.search(r"^web\s*:\s*(\S.*)$", here.text("Procfile"), re.MULTILINE)
    if found is None:
        return
    line = found[1].strip()
    if "$" in line:
        yield here.guess("Procfile", "/bin/sh", "-c", f"exec {line}", port=5000, PORT="5000")
    else:
        yield here.guess("Procfile", *split_command(line), port=_port(line))


def _port(line: str) -> int | None:
    found = re.search(r"(?:-p|--port|-b|--bind|--listen)[ =]\S*?(\d{2,5})(?=\s|$)|:(\d{2,5})(?=\s|$)", line)
    return int(found[1] or found[2]) if found else None


def _node(here: _Directory) -> Iterator[Guess]:
    node = here.program("node", "nodejs")
    if not node:
        return
    try:
        package = json.loads(here.text("package.json") or "null")
    except ValueError:
        package = None
    if isinstance(package, dict):
        scripts, main = package.get("scripts"), package.get("main")
        start = scripts.get("start") if isinstance(scripts, dict) else None
        if isinstance(start, str) and start.strip():
            # Without npm itself: it is large, and only starts what the script says.
            yield here.guess("package.json's start script", *split_command(start), port=3000)
        if isinstance(main, str) and main in here.names:
            yield here.guess("package.json's main", node, main, port=3000)
    for name in ("server.js", "app.js", "index.js", "main.js", "server.mjs", "index.mjs"):
        if name in here.names:
            yield here.guess(name, node, name, port=3000)


def _python(here: _Directory) -> Iterator[Guess]:
    python = here.program("python3", "python")
    if not python:
        return
    modules = [name for name in MODULES if f"{name}.py" in here.names]
    if "manage.py" in here.names:
        yield from _django(here, python)
    for name in modules:
        kind, variable = _interface(here.text(f"{name}.py"))
        if kind == ASGI and (server := here.program("uvicorn", "hypercorn")):
            bind = ("--port", "8000") if server.endswith("uvicorn") else ("-b", "127.0.0.1:8000")
            yield here.guess(f"the ASGI module {name}.py", server, f"{name}:{variable}", *bind, port=8000)
        elif kind == WSGI and (server := here.program("gunicorn")):
            yield here.guess(
                f"the WSGI module {name}.py", server, "-b", "127.0.0.1:8000", f"{name}:{variable}", port=8000
            )
        elif kind == WSGI and (flask := here.program("flask")):
            yield here.guess(f"the Flask module {name}.py", flask, "--app", name, "run", "--port", "8000", port=8000)
    if "__main__.py" in here.names:
        yield here.guess("__main__.py", python, here.path)
    for name in modules:
        yield here.guess(f"{name}.py", python, f"{name}.py")


def _django(here: _Directory, python: str) -> Iterator[Guess]:
    project = next((name for name in here.names if here.root.find(here.at(f"{name}/wsgi.py"))), "")
    if project and (server := here.program("gunicorn")):
        yield here.guess("a Django project", server, "-b", "127.0.0.1:8000", f"{project}.wsgi", port=8000)
    yield here.guess("a Django project", python, "manage.py", "runserver", "--noreload", "127.0.0.1:8000", port=8000)


def _interface(text: str) -> tuple[str, str]:
    """ "wsgi" or "asgi" and the variable that holds the application; empty when a module has none."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return "", ""
    known = known_modules((each.modules for each in shipped()), "python").interfaces
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            called = node.value.func
            name = (
                called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            )
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if name in known and isinstance(target, ast.Name):
                return known[name], target.id
        if isinstance(node, ast.FunctionDef) and [each.arg for each in node.args.args] == ["environ", "start_response"]:
            return WSGI, node.name
        if isinstance(node, ast.AsyncFunctionDef) and [each.arg for each in node.args.args] == [
            "scope",
            "receive",
            "send",
        ]:
            return ASGI, node.name
    return "", ""


def _ruby(here: _Directory) -> Iterator[Guess]:
    if "config.ru" in here.names:
        if rails := here.root.find(here.at("bin/rails")):
            yield here.guess("a Rails application", rails.path, "server", "-b", "127.0.0.1", "-p", "3000", port=3000)
        if puma := here.program("puma"):
            yield here.guess("config.ru", puma, "-b", "tcp://127.0.0.1:9292", port=9292)
        if rackup := here.program("rackup"):
            yield here.guess("config.ru", rackup, "-o", "127.0.0.1", "-p", "9292", port=9292)
    ruby = here.program("ruby")
    for name in ("server.rb", "app.rb", "main.rb"):
        if ruby and name in here.names:
            yield here.guess(name, ruby, name)


def _java(here: _Directory) -> Iterator[Guess]:
    java = here.program("java")
    archives = [name for name in here.names if name.endswith((".jar", ".war"))]  # Spring Boot's WARs are executable
    for name in (*archives, "quarkus-run.jar", "quarkus-app/quarkus-run.jar") if java else ():
        try:
            with unzipped(here.root, here.at(name)) as archive:
                manifest = archive.read("META-INF/MANIFEST.MF")[:LIMIT]
        except SlimmerError:
            continue
        if b"Main-Class:" in manifest:
            yield here.guess(f"the jar {name}", java, "-jar", name, port=8080)


def _elf(here: _Directory, name: str) -> bool:
    entry = here.root.entry(here.at(name))
    if entry is None or not entry.executable:
        return False
    try:
        return here.root.read(entry.path, 4) == b"\x7fELF" and ".so" not in name
    except SlimmerError:
        return False


def _servers(root: Root) -> Iterator[Guess]:
    """Servers of distributions, in the foreground, as profiles say; one that serves the web's own port first."""
    for each in sorted((start for profile in shipped() for start in profile.starts), key=lambda each: each.port != 80):
        if _runs(root, each.program):
            yield Guess(f"{each.program} is there", each.command, port=each.port, exec=(each.ask,) if each.ask else ())


def look(place: Place, recipe: Recipe, seconds: float) -> Short:
    """Start the recipe's first run, unrecorded, and see for at most `seconds` what it opens. Raises TracerError."""
    command = command_of(place, recipe.runs[0])
    shared = shared_network(place, recipe)
    before = listeners() if shared else frozenset()
    out, err = Stream(), Stream()
    with Session.start(session_options(place, recipe, command.identity, record=False)) as session:
        try:
            process = session.spawn(command, stdout=out.fd, stderr=err.fd)
        finally:
            out.started()
            err.started()
        deadline = time.monotonic() + seconds
        found: frozenset[int] = frozenset()
        code: int | None = None
        while time.monotonic() < deadline:
            now = listeners(process.pid) - before
            if now - found:
                found |= now
                deadline = min(deadline, time.monotonic() + SETTLED)
            code = process.poll()
            if code is not None and not session.busy():
                break
            time.sleep(PAUSE)
        ports = tuple(Port(each, _status(each, session, shared=shared)) for each in sorted(found))
        session.stop(signal_number(recipe.runs[0].stop_signal), 5.0)
        out.finish()
        err.finish()
    return Short(ports, code)


def _status(port: int, session: Session, *, shared: bool) -> int | None:
    try:
        return send(Probe(f"http://127.0.0.1:{port}/"), session.socket, shared=shared, timeout=5.0).status
    except NoAnswer:
        return None


def recipe_of(base: Recipe, found: Guess, short: Short | None) -> Recipe:
    """The recipe: the guess, under what the caller named in the first run of `base`, with probes for open ports."""
    given = base.runs[0] if base.runs else Run()
    run = replace(
        given,
        command=given.command or found.command,
        workdir=given.workdir or found.workdir,
        exec=given.exec or found.exec,
    )
    if short is not None:
        pages = tuple(Probe(f"http://127.0.0.1:{each.number}/", each.status) for each in short.ports if each.status)
        silent = [each.number for each in short.ports if not each.status]
        run = replace(
            run,
            probes=given.probes or pages,
            ready=given.ready or ("" if pages or not silent else str(silent[0])),
            expect_exit=given.expect_exit or (short.exit_code or 0 if not short.ports else 0),
        )
    elif found.port is not None and not (given.probes or given.ready):
        http = not found.exec
        run = replace(
            run,
            probes=(Probe(f"http://127.0.0.1:{found.port}/"),) if http else (),
            ready="" if http else str(found.port),
        )
    image = replace(base.image, env={**found.env, **base.image.env})  # the image needs it as the run does
    return replace(base, runs=(run, *base.runs[1:]), image=image)
