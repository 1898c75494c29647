"""What --exclude takes away although something needed it is told once for each pattern, with the number."""

from __future__ import annotations

from pathlib import Path

from slimmer.closure.model import Application
from slimmer.pipeline.plan import make_plan
from slimmer.recipe import Reach, Recipe
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.support_roots import Owned
from tests.unit.profiles_support import recorded

READ = ("/opt/app/run", "/opt/app/data/a", "/opt/app/data/b/c", "/opt/app/data/b/d", "/opt/app/words.txt")


def test_a_directory_and_a_pattern_are_each_one_warning(tmp_path: Path) -> None:
    root = DirectoryRoot(str(plant(tmp_path / "root", dict.fromkeys(READ, ""))))
    reach = Reach(exclude=("/opt/app/data", "*.txt", "/nothing/*"))
    found = make_plan(root, Owned(), recorded(read=READ), Application(argv=("/opt/app/run",)), Recipe(reach=reach))
    assert [path for path in found.paths if path.startswith("/opt/app/")] == ["/opt/app/run"]
    told = [(each.path, each.weight, each.text) for each in found.warnings if each.kind == "excluded"]
    assert [(path, weight) for path, weight, _ in told] == [("/opt/app/data/a", 70), ("/opt/app/words.txt", 70)]
    assert told[0][2].endswith("; the same pattern, /opt/app/data, takes 2 more")
    assert told[1][2].startswith("excluded, but ")
    assert "more" not in told[1][2]
