"""The command line: the commands by their names, and every error as lines and an exit code."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from dlrun.console.commands import evaluate, look, runs, sweep, train
from dlrun.errors import (
    RunFailed,
    Unforeseen,
    UserError,
    is_out_of_memory,
    noted_resume,
    shortened,
)

app = typer.Typer(
    name="dlrun",
    help="One YAML file in, one reproducible deep-learning run folder out.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# How long threads wait awake for each other; read once, when torch is loaded. Those that go to sleep at once
# between two layers cost an idle machine two fifths of its speed, and those that stay awake for as long as
# OpenMP likes make a busy one ten times slower.
WAITING = ("GOMP_SPINCOUNT", "10000")


def main() -> NoReturn:
    """The command line. Whatever goes wrong is printed here, and only here."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(*WAITING)
    words, chosen = sys.argv[1:], dict[str, Any](debug=False)
    try:
        code = _called(words, chosen)
    except Exception as error:
        from dlrun.console.errors import print_error

        told = _told(error, words)
        print_error(told, error if chosen["debug"] else None)
        sys.exit(told.exit_code)
    sys.exit(code)


def _called(words: list[str], chosen: dict[str, Any]) -> int:
    """Call the command that the words name; its exit code."""
    try:
        Path.cwd()
    except OSError:  # PyTorch would end the process in a way of its own
        raise UserError("the folder you are in is gone", fix="go to one that is there") from None
    found = app(words or ["--help"], prog_name="dlrun", standalone_mode=False, obj=chosen)
    code = found if isinstance(found, int) else 0
    if "dlrun.console.streams" in sys.modules:  # something was printed
        from dlrun.console.streams import output_failure

        failure = output_failure()
        if failure and code == 0 and chosen.get("command") not in ("train", "resume"):  # those leave a folder
            raise _cannot_print(failure)
    return code


def _cannot_print(error: OSError) -> RunFailed:
    what = f"cannot write the output: {error.strerror}"
    return RunFailed(what, fix="free some space, or send it elsewhere")


def _told(error: Exception, words: list[str]) -> UserError:
    """An exception as it is told to the user."""
    if isinstance(error, UserError):
        return error
    if is_out_of_memory(error):
        fix = "take a smaller model or less data, or end what else needs memory"
        told = RunFailed("out of memory", fix=fix)
        told.resume = noted_resume(error)
        return told
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UserError(f"there is no {shortened(error.filename)}: {error.strerror}")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return _cannot_print(error)  # of --help, which Typer prints
    if hasattr(error, "format_message"):  # an error of click, which some versions of Typer hide in their own
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "dlrun"
        return UserError(error.format_message(), fix=f"{command} --help says what can be written")
    return Unforeseen(error, shlex.join(["dlrun", "--debug", *words]))


COMMANDS: dict[str, Callable[..., None]] = {  # in the order of --help
    "train": train.train,
    "resume": train.resume,
    "eval": evaluate.evaluate,
    "predict": evaluate.predict,
    "plot": evaluate.plot,
    "data": look.preview,
    "show": look.show,
    "parts": look.list_parts,
    "sweep": sweep.sweep,
    "compare": sweep.compare,
    "runs": runs.list_runs,
    "rm": runs.rm,
    "diff": runs.diff,
    "reproduce": runs.reproduce,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def _print_version(is_asked: bool) -> None:
    """Print the versions that a result depends on, without the seconds that importing PyTorch takes."""
    if not is_asked:
        return
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    from dlrun import __version__
    from dlrun.console.streams import say
    from dlrun.system.environment import FAST_PATHS, has_fast_paths

    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "(not installed)"
    fast = "on" if has_fast_paths() else f"off ({FAST_PATHS}=0)"
    say(f"dlrun {__version__}, torch {torch}, Python {python_version()}, fast paths {fast}")
    raise typer.Exit


@app.callback()
def of_every_command(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole of what goes wrong.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the versions of dlrun, PyTorch and Python, and whether the fast paths are on.",
        ),
    ] = False,
) -> None:
    """Keep what is said before the name of the command, and that name."""
    context.ensure_object(dict).update(debug=debug, command=context.invoked_subcommand)
