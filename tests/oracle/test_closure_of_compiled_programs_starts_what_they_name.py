"""What the compilers themselves make of a program that starts others: names stay, with and without a symbol table."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from slimmer.closure.languages.compiled import CompiledRule
from slimmer.closure.ownership.declared_programs import DeclaredProgramsRule
from slimmer.closure.profiles.load import load_all
from tests.support import requires
from tests.unit.closures import kept
from tests.unit.profiles_support import Deb, debian, reached, recorded

RUST = """
use std::process::Command;
const LIST: [&str; 2] = ["fold", "-w"];
fn run(name: &str, a: &str) { let _ = Command::new(name).arg(a).output(); }
fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.len() > 1 {
        let _ = Command::new("git").arg("log").arg(&args[1]).output();
        let _ = Command::new("tar").args(["-cz", &args[1]]).output();
        let _ = Command::new("sh").arg("-c").arg("ls / | wc -l").output();
        let _ = Command::new(LIST[0]).args(&LIST[1..]).spawn();
        run("paste", &args[1]);
    }
}
"""
NAMED = ("git", "tar", "sh", "ls", "wc", "fold", "paste")


@pytest.mark.parametrize("options", [(), ("-C", "strip=symbols")], ids=("symbols", "stripped"))
def test_rust(options: tuple[str, ...], tmp_path: Path) -> None:
    rustc = shutil.which("rustc")
    if rustc is None:
        pytest.skip("rustc is not installed")
    (tmp_path / "main.rs").write_text(RUST)
    (tmp_path / "root/app").mkdir(parents=True)
    command = [rustc, "-O", *options, "-o", str(tmp_path / "root/app/tool"), str(tmp_path / "main.rs")]
    subprocess.run(command, check=True, capture_output=True)
    tree: dict[str, str | bytes | None] = {
        f"/usr/bin/{name}": "#755 \x7fELF" for name in (*NAMED, "comm", "expand", "tsort")
    }
    found = kept(tmp_path, tree, "/app/tool", rules=(CompiledRule,))
    assert found - {"/app/tool"} == {f"/usr/bin/{name}" for name in NAMED}


POPEN = '#include <stdio.h>\nint main(int n, char **v) { return n > 1 && popen(v[1], "r") == 0; }\n'
EXEC = '#include <unistd.h>\nint main(int n, char **v) { return n > 1 && execl("/bin/sh", "sh", v[1], (char *)0); }\n'
NEITHER = 'const char *shell = "/bin/sh";\n#include <stdio.h>\nint main(void) { return puts(shell) == 0; }\n'


@requires("cc")
@pytest.mark.parametrize(("source", "shell"), [(POPEN, True), (EXEC, True), (NEITHER, False)])
def test_a_run_program_of_a_package_that_can_start_a_shell_brings_it(source: str, shell: bool, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(source)
    subprocess.run(["cc", "-o", str(tmp_path / "plot"), str(tmp_path / "main.c")], check=True, capture_output=True)
    top = debian(
        tmp_path / "root",
        {"plot": Deb({"/usr/bin/plot": "#755 x"}), "dash": Deb({"/bin/sh": "#755 x"}, {"Essential": "yes"})},
    )
    shutil.copy(tmp_path / "plot", top / "usr/bin/plot")
    rules = [DeclaredProgramsRule(load_all())]
    assert ("/bin/sh" in reached(top, recorded(executed=["/usr/bin/plot"]), rules)) is shell
    assert "/bin/sh" not in reached(top, recorded(read=["/usr/bin/plot"], executed=["/bin/none"]), rules)
