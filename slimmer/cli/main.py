"""`slim`: finds the verb, runs it, and turns every error that is meant for a person into a message and an exit code."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence

import click

from slimmer import __version__
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
    "vex": "Which findings of a scanner no longer apply.",
    "profiles": "List and show profiles.",
    "init": "Write a first slim.toml for a root.",
    "cache": "Show and prune the cache of unpacked layers.",
}


class Verbs(click.Group):
    """Loads a verb's module only when it is asked for: a start costs what it uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        found: click.Command = importlib.import_module(f"slimmer.cli.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="slim")
def cli() -> None:
    """Trace an application in its fat root and pack exactly what it needs into a deterministic, checked image."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program. Exit codes: 0 done, 1 input or environment, 2 usage, 3 check or policy, 130 interrupted."""
    _speak_utf8()
    gc.set_threshold(50_000, 20, 50)  # millions of small objects, hardly a cycle: looking for them takes a tenth
    try:
        code = cli.main(
            args=list(arguments) if arguments is not None else None, prog_name="slim", standalone_mode=False
        )
    except click.exceptions.Abort:
        code = _fail("interrupted", "nothing was published", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except TracerError as error:
        code = _fail(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        code = _fail("interrupted", "nothing was published", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
        code = 141
    except MemoryError:
        code = _fail("out of memory", "nothing was published", 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        code = _fail(f"{place}{error.strerror or error}", "", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, hint: str, code: int) -> int:
    if not sys.stderr.isatty():
        click.echo(f"slim: {message}" + (f"\n  {hint}" if hint else ""), err=True)
    else:
        click.echo(click.style("slim: ", fg="red", bold=True) + message + (f"\n  {hint}" if hint else ""), err=True)
    return code


def _speak_utf8() -> None:
    """Names of files are UTF-8 with escapes everywhere here, whatever the caller's locale says.

    The interpreter decides that at its start, so under another encoding it is started again.
    """
    if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
