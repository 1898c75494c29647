"""A distribution that was installed by name and whose commands are not in the image is said, with what keeps it."""

from __future__ import annotations

from pathlib import Path

from slimmer.closure.languages.python.rule import PythonRule
from slimmer.closure.languages.python.unused import unused
from slimmer.closure.model import Application, ClosureWarning, Level, Rule
from slimmer.closure.profiles.load import parse
from slimmer.closure.recorded import IncludeRule, RecordedRule
from slimmer.closure.worklist import grow
from slimmer.packages.index import index
from slimmer.report.remedies import actionable
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tracer.recording import Access, Kind, Recording, collect

SITE = "/opt/v/lib/python3.11/site-packages"
PROFILE = parse('why = "x"\n[modules]\nlanguage = "python"\nbuilders = ["checker"]\n', "python", "python.toml")


def wheel(name: str, *, command: bool = True, requested: bool = True) -> dict[str, str | bytes | None]:
    info = f"{SITE}/{name}-1.dist-info"
    record = f"{name}/__init__.py,,\n{name}/main.py,,\n{name}-1.dist-info/METADATA,,\n"
    files: dict[str, str | bytes | None] = {
        f"{SITE}/{name}/__init__.py": "",
        f"{SITE}/{name}/main.py": "def main(): pass\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/RECORD": record + (f"../../../bin/{name},sha256=x,9\n" if command else ""),
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}.main:main\n" if command else "",
    }
    if command:
        files[f"/opt/v/bin/{name}"] = f"#755 #!/opt/v/bin/python3.11\nfrom {name}.main import main\nmain()\n"
    if requested:
        files[f"{info}/REQUESTED"] = ""
    return files


def said(
    tmp: Path, *wheels: dict[str, str | bytes | None], include: tuple[str, ...] = (), level: Level = Level.REACHABLE
) -> list[ClosureWarning]:
    """The warnings of an application that imports `web` and nothing else."""
    tree: dict[str, str | bytes | None] = {
        "/usr/bin/python3.11": "#755 \x7fELF",
        "/usr/lib/python3.11/os.py": "",
        "/opt/v/pyvenv.cfg": "home = /usr/bin",
        "/opt/v/bin/python3.11": "-> /usr/bin/python3.11",
        "/app/run.py": "import web\n",
        **wheel("web"),
    }
    for each in wheels:
        tree |= each
    root = DirectoryRoot(str(plant(tmp, tree)))
    read = ["/opt/v/bin/python3.11", "/opt/v/pyvenv.cfg", "/app/run.py", f"{SITE}/web/__init__.py"]
    seen = collect([Access(path, frozenset({Kind.READ}), frozenset()) for path in read])
    rules: list[Rule] = [RecordedRule(), IncludeRule(include), PythonRule(profiles=(PROFILE,))]
    application = Application(argv=("/opt/v/bin/python3.11", "/app/run.py"))
    closure = grow(root, Recording(seen), index(root), application, rules, highest=level)
    return list(unused({*closure.at(level)}, root, (PROFILE,)))


def test_a_command_that_nothing_starts_is_one_warning_with_a_line_to_paste(tmp_path: Path) -> None:
    (warning,) = said(tmp_path, wheel("database"), wheel("cli"))
    assert "cli, database" in warning.text
    assert warning.remedy == "--include /opt/v/bin/cli --include /opt/v/bin/database"
    assert actionable([warning]) == (warning,)


def test_what_the_line_includes_is_there_and_no_longer_said(tmp_path: Path) -> None:
    assert said(tmp_path, wheel("cli"), include=("/opt/v/bin/cli",)) == []


def test_what_others_required_is_no_wish_and_builders_are_none(tmp_path: Path) -> None:
    assert said(tmp_path, wheel("cli", requested=False), wheel("checker"), wheel("library", command=False)) == []


def test_what_a_run_imported_is_not_said_where_its_metadata_does_not_stay(tmp_path: Path) -> None:
    assert said(tmp_path, level=Level.RECORDED) == []


def test_many_are_counted(tmp_path: Path) -> None:
    (warning,) = said(tmp_path, *(wheel(f"tool{each}") for each in range(5)))
    assert "tool0, tool1, tool2 and 2 more" in warning.text
    assert warning.remedy.count("--include") == 3
