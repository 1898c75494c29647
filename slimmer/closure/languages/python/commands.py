"""What a Python source starts, and what in it looks like a command line though nothing there starts it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from slimmer.closure.commands.literals import HOLE, CommandLine, is_statement
from slimmer.closure.commands.values import Value
from slimmer.closure.languages.python.constants import Constants, Scope, called

SHELL_CALLS = frozenset(
    {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "popen2", "popen3"}
)
SPAWNS = frozenset(
    "spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe posix_spawn posix_spawnp".split()  # noqa: SIM905
)
EXECS = frozenset("execl execle execlp execlpe execv execve execvp execvpe".split())  # noqa: SIM905
# They search PATH for a program, which is started later, under another name.
LOOKUPS = frozenset({"which", "find_executable", "get_bin_path", "find_program", "find_binary", "find_exe"})
LOOKS_UP = re.compile(rb"\b(?:which|get_bin_path|find_(?:executable|program|binary|exe))\(")
SURE = LOOKUPS | {"Popen", "check_call", "check_output", "create_subprocess_exec", "run_command", "run_process"}
# Names that other things have too: only where the source can start programs, and only with a text or a list.
LIKELY = frozenset({"run", "call", "spawn", "sudo", "local", "start", "execute", "Command", "pexpect", "spawnu"})
PROGRAM_CALLS = SHELL_CALLS | SPAWNS | EXECS | SURE | LIKELY
# Words of sources that can start programs.
STARTERS = re.compile(
    rb"\bsubprocess\b|\bos\.(?:system|popen|exec|spawn|posix_spawn)|\bpexpect\b|\bplumbum\b|(?:import|from) sh\b"
    rb"|\bfabric\b|\binvoke\b|\bPopen\b|create_subprocess|\bptyprocess\b|\banyio\b|\bgetoutput\b|\bQProcess\b"
    rb"|from os import[^\n]*\b(?:system|popen|exec|spawn)|\bdelegator\b|\bpty\.spawn"
)
TOGETHER = 200  # values of one expression when an application is read as one
BUDGET = 200_000  # expressions that are looked at then
PROGRAM = re.compile(r"(?=[\d./+-]*+[A-Za-z_])[\w./+-]++")
# A text that may be a command line: a word in small letters, then an option, a pipe or the like, or a hole.
LINE = re.compile(r"\s*+[\w./+-]++(?:\s|$)")
WORD = re.compile(r"\S+")
# So many words in a row are a language's keywords or a list of names: what one of them is, all are, and no library
# starts so many other programs.
VOCABULARY = 40
CANDIDATE = re.compile(rb"""["'][\w./+-]{1,60} (?:--?\w|[^"'\n]{0,80}(?:&&|\|))""")


@dataclass(slots=True)
class Commands:
    """Command lines of one source: those that it starts, those that it only holds, lines where the name is computed."""

    started: list[CommandLine] = field(default_factory=list)
    mentioned: list[CommandLine] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)


def scan_commands(
    tree: ast.Module, *, lists: bool = True, mentions: bool = False, vocabularies: bool = True
) -> Commands:
    """Read a module's tree. With `mentions` its texts and lists that could be command lines too.

    With `lists` a list of words counts as started: `command = ["git", "log"]`, started later under another name.
    Without `vocabularies` the words of long lists of words are no commands.
    """
    constants = Constants()
    constants.read(tree)
    found = Commands()
    skipped = constants.documents if vocabularies else constants.documents.union(*_vocabularies(constants.order))
    arguments: set[int] = set()
    for node, scope in constants.order:
        if isinstance(node, ast.Call):
            _call(node, scope, constants, found, arguments)
        elif id(node) in skipped:
            continue
        elif isinstance(node, ast.List | ast.Tuple):
            _list(node, scope, constants, found, lists)
        elif mentions:
            _text(node, scope, constants, found)
    found.started += _imported(tree)
    found.started = [*dict.fromkeys(found.started)]
    known = {*found.started}
    found.mentioned = [each for each in dict.fromkeys(found.mentioned) if each not in known]
    return found


def _imported(tree: ast.Module) -> Iterator[CommandLine]:
    """Programs that plumbum and sh import or index; the shell to which invoke and fabric hand every line."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="plumbum.cmd" | "sh"):
                yield from (CommandLine((each.name.replace("_", "-"),), node.lineno) for each in node.names)
            case ast.ImportFrom(module="invoke" | "fabric"):
                yield CommandLine(("bash",), node.lineno)
            case ast.Import(names=[ast.alias(name="invoke" | "fabric")]):
                yield CommandLine(("bash",), node.lineno)
            case ast.Subscript(value=ast.Name(id="local"), slice=ast.Constant(value=str(program))):
                yield CommandLine((program,), node.lineno)


def _vocabularies(nodes: Sequence[tuple[ast.expr, Scope]]) -> Iterator[set[int]]:
    """Each long list of single words, with the words."""
    for node, _ in nodes:
        match node:
            case ast.List(elts=words) | ast.Tuple(elts=words) | ast.Set(elts=words) if len(words) >= VOCABULARY:
                if all(isinstance(each, ast.Constant) and WORD.fullmatch(str(each.value)) for each in words):
                    yield {id(node), *map(id, words)}


def scan_together(modules: Sequence[tuple[str, ast.Module]]) -> dict[str, Commands]:
    """What modules of one application start, each with the names, constants and functions of all of them.

    `settings.TOOL` and `helpers.run("git log")` are what they are in the module that holds them; names are not told
    apart by module. By the key that each module was given with.
    """
    constants = Constants(most=TOGETHER, budget=BUDGET)
    found: dict[str, Commands] = {}
    owners: list[tuple[int, str]] = []
    for key, tree in modules:
        constants.read(tree)
        owners.append((len(constants.order), key))
    at = 0
    for end, key in owners:
        commands = found.setdefault(key, Commands())
        for node, scope in constants.order[at:end]:
            if isinstance(node, ast.Call):
                _call(node, scope, constants, commands, set())
        commands.started = [*dict.fromkeys(commands.started)]
        at = end
    return found


def _call(node: ast.Call, scope: Scope, constants: Constants, found: Commands, seen: set[int]) -> None:
    name = called(node)
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == "sh":
        words = tuple(next(iter(constants.texts(each, scope)), "") for each in node.args)
        found.started.append(CommandLine((name.replace("_", "-"), *words), node.lineno))
        return
    if name not in PROGRAM_CALLS:
        return
    arguments = list(node.args)
    keyword = {each.arg: each.value for each in node.keywords if each.arg}
    if not arguments:
        given = next((keyword[each] for each in ("args", "cmd", "command", "program") if each in keyword), None)
        if given is None:
            return
        arguments = [given]
    if name in SPAWNS and len(arguments) > 1 and not isinstance(arguments[0], ast.Constant):
        arguments = arguments[1:]  # os.spawnlp(os.P_WAIT, "git", …)
    if name in EXECS | SPAWNS and len(arguments) == 1:
        return
    shell = name in SHELL_CALLS or getattr(keyword.get("shell"), "value", False) is True
    executable = keyword.get("executable")
    if executable is not None:
        found.started += [
            CommandLine((text,), node.lineno) for text in constants.texts(executable, scope) if HOLE not in text
        ]
    if name in EXECS | SPAWNS and not name.removeprefix("exec").removeprefix("spawn").startswith("l"):
        lists = [each for each in constants.fold(arguments[1], scope) if isinstance(each, tuple)]
        programs = constants.texts(arguments[0], scope)
        values: tuple[Value, ...] = tuple((text, *each[1:]) for text in programs for each in lists or [()])
    elif len(arguments) > 1 and name in EXECS | SPAWNS | {"create_subprocess_exec"}:
        if name != "create_subprocess_exec":
            arguments = [arguments[0], *arguments[2:]]  # the second is what the program is to be called
        values = constants.listed(arguments, scope)
    else:
        values = constants.fold(arguments[0], scope)
        if name == "spawn" and len(arguments) > 1:  # pexpect.spawn("git", ["log"])
            lists = [each for each in constants.fold(arguments[1], scope) if isinstance(each, tuple)]
            values = tuple((text, *each) for text in values if isinstance(text, str) for each in lists) or values
    before = len(found.started)
    for value in values:
        found.started.extend(_line(value, name, node.lineno, shell))
    if len(found.started) == before and name not in LIKELY - {"run", "call"} and _may_start(node, name, keyword):
        found.computed.append(node.lineno)
        if shell:
            found.started.append(CommandLine(("",), node.lineno, True))


def _may_start(node: ast.Call, name: str, keyword: object) -> bool:
    """`x.run(y)` is any method; `subprocess.run(y)` is none but that."""
    if name in LOOKUPS:
        return False
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    if name in ("run", "call"):
        return isinstance(owner, ast.Name) and owner.id in ("subprocess", "sp", "sub")
    if name in SHELL_CALLS and name in ("system", "popen"):
        return (isinstance(owner, ast.Name) and owner.id in ("os", "subprocess")) or owner is None
    return True


def _line(value: Value, name: str, line: int, shell: bool) -> Iterator[CommandLine]:
    if isinstance(value, str):
        if shell:
            yield CommandLine((value,), line, True)
        elif HOLE in value.split(" ")[0] or not value.strip() or (name == "execute" and is_statement(value)):
            return
        elif " " in value.strip() and name not in LOOKUPS:
            yield CommandLine((value,), line, True)  # a library's own `run("git log")`; subprocess itself would refuse
        else:
            yield CommandLine((value.strip(),), line)
    elif value and value[0] and HOLE not in value[0]:
        yield CommandLine(value, line, shell and len(value) == 1)
    elif len(value) > 1 and value[1] and not value[0] and PROGRAM.fullmatch(value[1]) and not value[1].startswith("-"):
        yield CommandLine(value[1:], line)  # behind a wrapper, or a list that may be empty


def _list(node: ast.List | ast.Tuple, scope: Scope, constants: Constants, found: Commands, started: bool) -> None:
    if not node.elts:
        return
    match node.elts[0]:
        case ast.Constant(value=str(first)) if PROGRAM.fullmatch(first):
            kind = found.started if started and isinstance(node, ast.List) else found.mentioned
            kind.append(CommandLine(constants.words(node, scope), node.lineno))
        case ast.Attribute(attr="executable", value=ast.Name(id="sys")) if len(node.elts) > 1:
            found.started.append(CommandLine(("python3", *constants.words(node, scope)[1:]), node.lineno))
        case ast.Name() | ast.Attribute() | ast.Starred() | ast.IfExp() | ast.BoolOp():
            for each in constants.fold(node, scope):
                if isinstance(each, tuple) and each and each[0] and PROGRAM.fullmatch(each[0]):
                    found.mentioned.append(CommandLine(each, node.lineno))


def _text(node: ast.expr, scope: Scope, constants: Constants, found: Commands) -> None:
    for value in constants.fold(node, scope):
        if isinstance(value, str) and LINE.match(value) and HOLE not in value.split(" ")[0]:
            found.mentioned.append(CommandLine((value.strip(),), getattr(node, "lineno", 0), True))
