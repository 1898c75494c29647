"""`slim`: finds the verb, runs it, and turns every error that is meant for a person into a message and an exit code."""

from __future__ import annotations

import difflib
import gc
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

import click

from slimmer import __version__
from slimmer.cli.narration import with_common
from slimmer.errors import Interrupted, UsageProblem
from slimmer.values import masked, plain
from tracer.errors import TracerError

VERBS = {
    "trace": "Record an application, build its slim image, check it, and report.",
    "record": "Only record what an application touches, to a file.",
    "build": "Build an image from one or more recordings.",
    "check": "Run a slim image against its fat root.",
    "report": "The review: what was removed, what stays and why.",
    "why": "Why a path stays, or what became of it.",
    "diff": "What changed between two outputs or images.",
    "gate": "Hold an output against a policy.",
    "resolve": "What the dynamic loader would load, for any architecture.",
    "push": "Send an output's image to a registry.",
    "index": "Join several outputs into one multi-platform image.",
    "sbom": "The image's software bill of materials.",
    "harden": "Run-time policy for the image: seccomp, AppArmor, security context, flags.",
    "debug": "A shell beside a running slim container, with the tools that its image has not.",
    "debug-image": "A twin of the image with the removed files on top, on the same layers.",
    "vex": "Which findings of a scanner no longer apply.",
    "key": "Make a key to sign with.",
    "sign": "Sign statements about an output: provenance, materials, verdict.",
    "verify": "Is an image what was signed; are files those of a signed manifest.",
    "reproduce": "Build an output again from its own record, and compare.",
    "outdated": "What would change if the image were made again from a newer source.",
    "profiles": "List and show profiles.",
    "init": "Write a first slim.toml for a root.",
    "cache": "Show and prune the cache: unpacked layers, and what is known of content.",
    "batch": "Make the images of a list, here or on a cluster.",
    "doctor": "What works on this machine, what does not, and what to do.",
    "completion": "The shell's completion: bash, zsh or fish.",
    "help": "Show a verb's options.",
}

PATIENT = 3  # signals that may come before the clearing away is ended too


class Verbs(click.Group):
    """Loads a verb's module only when it is asked for: a start costs what it uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        found: click.Command = importlib.import_module(f"slimmer.cli.{cmd_name.replace('-', '_')}").command
        return with_common(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not ctx.resilient_parsing and not args[0].startswith("-") and args[0] not in VERBS:
            near = difflib.get_close_matches(args[0], VERBS, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "`slim --help` lists the verbs"
            raise UsageProblem(f"there is no verb {args[0]!r}", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="slim")
def cli() -> None:
    """Trace an application in its fat root and pack exactly what it needs into a deterministic, checked image."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program. Exit codes: 0 done, 1 input or environment, 2 usage, 3 check or policy, 128+N by signal N."""
    _open_streams()
    _speak_utf8()
    _hear_signals()
    gc.set_threshold(50_000, 20, 50)  # millions of small objects, hardly a cycle: looking for them takes a tenth
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=words, prog_name="slim", standalone_mode=False, color=None if _colours() else False)
        sys.stdout.flush()  # a reader that is gone is noticed here, not at exit
    except click.exceptions.Abort as error:
        code = _interrupted(error.__cause__ or error.__context__)
    except click.ClickException as error:
        if "--json" in words:
            code = _fail(error.format_message(), "", error.exit_code)
        else:
            error.show()
            code = error.exit_code
    except TracerError as error:
        code = _fail(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt as error:
        code = _interrupted(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
        code = 141
    except MemoryError:
        code = _fail("out of memory", "nothing was published", 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        code = _fail(f"{place}{error.strerror or error}", "", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupted(error: BaseException | None) -> int:
    if isinstance(error, Interrupted):
        return _fail(f"ended by {signal.Signals(error.number).name}", error.hint, 128 + error.number)
    return _fail("interrupted", "nothing was published", 128 + signal.SIGINT)


def _hear_signals() -> None:
    """SIGTERM and SIGHUP end the program as Ctrl-C does, so that everything is cleared away. Children die of them."""
    owner = os.getpid()
    came = 0

    def end(number: int, frame: object) -> None:
        nonlocal came
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        came += 1
        if came == 1 or came > PATIENT:  # those in between would disturb the clearing away
            raise Interrupted(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup(1) has it ignored
            signal.signal(number, end)

    unraisable = sys.unraisablehook

    def again(told: sys.UnraisableHookArgs) -> None:
        """What a handler raised where nothing can be raised (below a fork, in a finalizer) would be lost."""
        nonlocal came
        if os.getpid() == owner and isinstance(told.exc_value, Interrupted | KeyboardInterrupt):
            came = 0
            number = told.exc_value.number if isinstance(told.exc_value, Interrupted) else signal.SIGINT
            threading.Timer(0.05, os.kill, (owner, number)).start()  # sent here it would be raised here again
        else:
            unraisable(told)

    sys.unraisablehook = again


def _colours() -> bool:
    """https://no-color.org, and terminals that show escapes as they are."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _fail(message: str, hint: str, code: int) -> int:
    """Tell an error. Under --json it is a line of JSON, the last on stderr: stdout holds results only."""
    if "--json" in sys.argv[1:]:
        value = {"format": "slimmer.error/1", "message": masked(message), "hint": masked(hint), "exit_code": code}
        click.echo(json.dumps(value), err=True)
        return code
    # Words of programs, file names and answers stand in messages: a terminal is to show them, not to obey them.
    message, hint = plain(message), plain(hint)
    name = click.style("slim: ", fg="red", bold=True) if sys.stderr.isatty() and _colours() else "slim: "
    click.echo(name + message + (f"\n  {hint}" if hint else ""), err=True)
    return code


def _open_streams() -> None:
    """A caller may have closed any of the three; a file that is opened later must not take such a number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def _speak_utf8() -> None:
    """Names of files are UTF-8 with escapes everywhere here, whatever the caller's locale says.

    The interpreter decides that at its start, so under another encoding it is started again.
    """
    if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
