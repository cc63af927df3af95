"""The command line: `COMMANDS` lists every command, `main` turns every error into a message and exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from copy import copy
from functools import cache
from inspect import getdoc
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from dlrun.console.commands import (
    calibrate,
    evaluate,
    export,
    init,
    log,
    look,
    new,
    report,
    runs,
    schema,
    slurm,
    sweep,
    train,
    tune,
)
from dlrun.console.commands.examples import epilog
from dlrun.console.commands.other_words import command_instead, option_instead
from dlrun.errors import (
    RunFailed,
    Unforeseen,
    UserError,
    noted_resume,
    shortened,
)
from dlrun.system.environment import prepare_drawing
from dlrun.system.processes import quoted, speaks_here, started_together
from dlrun.system.shortages import refuse_little_memory, shortage
from dlrun.system.slurm import refuse_lone_tasks

app = typer.Typer(
    name="dlrun",
    help="One YAML file in, one reproducible deep-learning run folder out.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The time for which OpenMP threads busy-wait; read once, when torch is loaded. With none, an idle machine
# loses two fifths of its speed, because threads fall asleep between two layers; with OpenMP's default, a
# busy machine becomes ten times slower.
WAITING = ("GOMP_SPINCOUNT", "10000")
# Of a process that is gone PyTorch would show a page of C++ frames, beside the error that dlrun shows.
SILENCE = ("TORCH_CPP_LOG_LEVEL", "ERROR")
_OF_PYDANTIC = "Value error, "  # before what a check of dlrun says
COMPLETING = "_DLRUN_COMPLETE"  # set by the shells' scripts of `dlrun --install-completion`


def main() -> NoReturn:
    """Run the command line. Every error is printed here, and only here."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(*WAITING)
    if started_together(os.environ):
        os.environ.setdefault(*SILENCE)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console may have few letters: --help and tracebacks too
            stream.reconfigure(errors="replace")
    words, chosen = sys.argv[1:], dict[str, Any](debug=False)
    try:
        if COMPLETING in os.environ:  # a shell that asks for words would show all that is printed
            with redirect_stderr(StringIO()):
                code = _called(words, chosen)
        else:
            code = _called(words, chosen)
    except Exception as error:
        if COMPLETING in os.environ:
            sys.exit(1)
        from dlrun.console.errors import print_error

        told = _told(error, words)
        if told.is_heard or not started_together(os.environ) or speaks_here(os.environ):
            print_error(told, error if chosen["debug"] else None)
        sys.exit(told.exit_code)
    sys.exit(code)


def _called(words: list[str], chosen: dict[str, Any]) -> int:
    """Call the command that the arguments name; return its exit code."""
    refuse_several_processes(os.environ, words)
    words = with_ray_address(words)
    try:
        refuse_lone_tasks(os.environ, words)
    except UserError as error:
        if any(os.environ.get(name, "0") != "0" for name in ("SLURM_PROCID", "LOCAL_RANK")):
            return error.exit_code  # the first process says it for all
        raise
    try:
        Path.cwd()
    except OSError:  # PyTorch would end the process without a message
        raise UserError("the working directory no longer exists", fix="change to one that exists") from None
    command_line = _command_line("" if COMPLETING in os.environ else _named(words))
    found = command_line(words or ["--help"], prog_name="dlrun", standalone_mode=False, obj=chosen)
    code = found if isinstance(found, int) else 0
    if "dlrun.console.streams" in sys.modules:  # a command printed something
        from dlrun.console.streams import output_failure

        failure = output_failure()
        if failure and code == 0 and chosen.get("command") not in ("train", "resume"):  # these leave a folder
            raise _cannot_print(failure)
    return code


def _named(words: list[str]) -> str:
    """The command that the arguments name; "" if there is none of this name."""
    name = next((word for word in words if not word.startswith("-")), "")
    return name if name in COMMANDS else ""


@cache
def _command_line(name: str) -> Callable[..., Any]:
    """The command line, which Typer builds from the signatures of one command, or without a name of all.

    All of them take as long as a short command itself.
    """
    parted = copy(app)
    parted.registered_commands = [each for each in app.registered_commands if name in ("", each.name)]
    return typer.main.get_command(parted)


def with_ray_address(words: list[str]) -> list[str]:
    """The arguments with `auto` behind a --ray that has no address.

    Click knows no option whose value may be missing: it would take CONFIG or KEY=VALUES for the address.
    """
    if "--ray" not in words:
        return words
    from dlrun.sweeps.ray_address import ADDRESS, AUTO

    at = words.index("--ray")
    following = words[at + 1 : at + 2]
    has_address = any(ADDRESS.fullmatch(word) for word in following)
    return words if has_address else [*words[: at + 1], AUTO, *words[at + 1 :]]


def refuse_several_processes(environment: Mapping[str, str], words: list[str]) -> None:
    """Raise UserError if torchrun or another launcher has started several processes of a command.

    Those of train and resume train one run together; of any other each would do the same for itself. The
    error is that of rank 0; others say nothing.
    """
    together = started_together(environment)
    if together and words[:1] not in (["train"], ["resume"]):
        if int(environment["RANK"]):
            sys.exit(UserError.exit_code)
        what = f"{together} processes were started (WORLD_SIZE), but only train and resume are for several"
        raise UserError(
            what, where="environment", fix="start dlrun without torchrun, or unset WORLD_SIZE and RANK"
        )


def _cannot_print(error: OSError) -> RunFailed:
    what = f"cannot write the output: {error.strerror}"
    return RunFailed(what, fix="free some space, or redirect the output")


def _told(error: Exception, words: list[str]) -> UserError:
    """Turn an exception into the UserError that is shown."""
    if isinstance(error, UserError):
        return error
    if told := shortage(error):
        told.resume = noted_resume(error)
        return told
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UserError(f"there is no {shortened(error.filename)}: {error.strerror}")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return _cannot_print(error)  # from --help, which Typer prints
    if hasattr(error, "format_message"):  # a click error; some versions of Typer have a copy of that class
        context = getattr(error, "ctx", None)
        named = [word for word in words if word in COMMANDS][:1]
        command = context.command_path if context else " ".join(["dlrun", *named])
        is_of_option = hasattr(error, "option_name")
        fix = _option_instead(error, words) if is_of_option else command_instead(words, COMMANDS)
        said = str(getattr(error, "message", "")) if fix else error.format_message()
        said = said.replace(_OF_PYDANTIC, "")
        return UserError(said, fix=fix or f"{command} --help says what can be written")
    return Unforeseen(error, quoted(["dlrun", "--debug", *words]))


def _option_instead(error: Exception, words: list[str]) -> str:
    """The remedy for an option that the command at hand does not have; "" if none is known."""
    context, name = getattr(error, "ctx", None), getattr(error, "option_name", None)
    if not name or not isinstance(name, str) or not hasattr(error, "possibilities"):
        return ""
    is_begun = any(each.startswith(name) for each in error.possibilities or ())
    if context and context.info_name == "slurm" and not is_begun:
        return f"options of sbatch that dlrun does not know stand behind --, as in -- {name}=…"
    taken = context.command.params if context else []
    own = [option for each in taken for option in each.opts]
    takes_keys = any("KEY=" in str(each.metavar) for each in taken)
    return option_instead(name, words, error.possibilities or (), own, takes_keys=takes_keys)


COMMANDS: dict[str, Callable[..., None]] = {  # in the order of --help
    "init": init.init,
    "train": train.train,
    "resume": train.resume,
    "eval": evaluate.evaluate,
    "calibrate": calibrate.calibrate,
    "predict": evaluate.predict,
    "plot": evaluate.plot,
    "export": export.export,
    "data": look.preview,
    "show": look.show,
    "lr": tune.lr,
    "configs": look.list_configs,
    "parts": look.list_parts,
    "schema": schema.schema,
    "new": new.new,
    "sweep": sweep.sweep,
    "slurm": slurm.slurm,
    "compare": sweep.compare,
    "report": report.report,
    "log": log.log,
    "runs": runs.list_runs,
    "rm": runs.rm,
    "diff": runs.diff,
    "reproduce": runs.reproduce,
}
WITHOUT_TORCH = (
    "configs",
    "parts",
    "schema",
    "new",
    "slurm",
    "compare",
    "report",
    "log",
    "runs",
    "rm",
    "diff",
)
WITHOUT_PICTURES = (
    "init",
    "export",
    "show",
    "configs",
    "parts",
    "schema",
    "new",
    "slurm",
    "report",
    "log",
    "runs",
    "rm",
    "diff",
)


def _help(command: Callable[..., None]) -> str:
    """A command's docstring with each paragraph in one line, which Typer breaks at the terminal's width."""
    return "\n\n".join(" ".join(each.split()) for each in (getdoc(command) or "").split("\n\n"))


for name, command in COMMANDS.items():
    app.command(name, help=_help(command), epilog=epilog(name))(command)


def _print_version(is_asked: bool) -> None:
    """Print the versions that a result depends on, without the seconds that importing PyTorch takes."""
    if not is_asked:
        return
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    from dlrun import __version__
    from dlrun.console.streams import say
    from dlrun.system.switches import FAST_PATHS, has_fast_paths

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
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error, and each of very many mistakes."),
    ] = False,
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
    """Options before the command's name; keep them and the name for `main`."""
    command = context.invoked_subcommand
    context.ensure_object(dict).update(debug=debug, command=command)
    if {"-h", "--help"} & {*sys.argv}:
        return
    if command not in WITHOUT_TORCH:
        refuse_little_memory()
    if command not in WITHOUT_PICTURES:
        prepare_drawing()
