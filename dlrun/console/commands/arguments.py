"""Arguments and options that several commands share, with their shell completion and parsing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dlrun.console.commands.completion import (
    complete_config,
    complete_device,
    complete_override,
    complete_run,
)
from dlrun.errors import UserError, listed, meant, nearest, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlrun.config.keys import Config
    from dlrun.config.registry import Part, Parts
    from dlrun.run_folders.run import Run
    from dlrun.system.progress import Progress


def expanded(text: str | Path) -> Path:
    """A path with `~` as the shell means it, which expands none inside of quotes or after `=`."""
    return Path(expanded_text(text))


def expanded_text(text: str | Path) -> str:
    """The name of a run, which may be a path, with `~` as the shell means it."""
    from dlrun.system.files import with_home

    return with_home(str(text))


def known_kind(text: str) -> str | None:
    """The kind of part that is named in the singular or the plural, if there is one."""
    from dlrun.config.registry import FOLDERS, singular

    for kind in FOLDERS:
        one = singular(kind)
        if text in (one, f"{one}es" if one.endswith("s") else f"{one}s"):
            return kind
    return None


def kind_named(text: str) -> str:
    """The kind of part, in the singular or the plural. Raises UserError if there is none."""
    from dlrun.config.registry import FOLDERS

    if kind := known_kind(text):
        return kind
    raise UserError(f"there is no kind of part {text!r}{nearest(text, FOLDERS)}")


def parts_named(parts: Parts, name: str) -> list[Part]:
    """The part of a name such as `optimizer.adam`, or those of every kind that have the name `adam`.

    Raises UserError if there is none.
    """
    from dlrun.config.keys import KEYS
    from dlrun.config.reference import kind_reference
    from dlrun.config.registry import FOLDERS

    kind, dot, of_kind = name.partition(".")
    if dot:
        if not known_kind(kind) and any(kind in parts.names(each) for each in FOLDERS):
            raise UserError(
                f"{kind} is a part, and no kind of part", fix=f"dlrun parts {kind} has its options"
            )
        return [parts.part(kind_named(kind), of_kind)]
    found = [parts.part(each, name) for each in FOLDERS if name in parts.names(each)]
    if not found:
        every = [part for each in FOLDERS for part in kind_reference(parts, each).parts]
        options = {option for part in every for option in part.options}
        known = [*FOLDERS, *(part.name for part in every), *KEYS, *sorted(options)]
        what = f"there is no part and no kind of part {shortened(name)!r}{meant(name, known)}"
        raise UserError(f"{what} {listed(FOLDERS)}", fix="dlrun parts lists all of them")
    return found


_CONFIG = typer.Argument(
    metavar="CONFIG",
    help="A YAML file, or the name of a config that comes with dlrun.",
    autocompletion=complete_config,
)
ConfigName = Annotated[str, _CONFIG]
OptionalConfigName = Annotated[str | None, _CONFIG]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder, the name of a run or the start of it, or `last`.",
        parser=expanded_text,
        autocompletion=complete_run,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Override config keys, such as optimizer.lr=3e-4.",
        autocompletion=complete_override,
    ),
]
PartsDir = Annotated[
    Path | None,
    typer.Option(
        "--parts",
        metavar="DIR",
        envvar="DLRUN_PARTS",
        parser=expanded,
        help="A folder with your own parts, in subfolders named as in dlrun/.",
    ),
]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="DLRUN_DATA",
        parser=expanded,
        help="The folder of datasets.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.", autocompletion=complete_device
    ),
]
RunsDir = Annotated[
    Path,
    typer.Option(
        "--runs-dir",
        metavar="DIR",
        parser=expanded,
        help="The folder in which run folders are made and found.",
    ),
]
SeveralRunsDirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--runs-dir",
        metavar="DIR",
        parser=expanded,
        help="A folder in which run folders are found (default: runs); give it again for another one.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="CONDITION",
        help="Select runs by a condition, such as 'optimizer.name == adam and train_accuracy > 0.9'.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Redraw = Annotated[bool, typer.Option("--watch", help="Redraw plots/curves.png every few seconds.")]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Judge every claim under `expect`, and exit with 5 if one is not met, although other keys were "
        "changed on the command line.",
    ),
]


def _print_plainly(is_asked: bool) -> bool:
    from dlrun.console.streams import print_plainly

    print_plainly(is_asked)
    return is_asked


Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        callback=_print_plainly,
        envvar="DLRUN_PLAIN",
        help="Print lines without colours or a table that is redrawn, as in notebooks and CI logs.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the run folder.")]

RunOrCheckpoint = Annotated[
    str,
    typer.Argument(
        metavar="RUN_OR_CHECKPOINT",
        help="A run folder, the name of a run or the start of it, `last`, or a checkpoint file.",
        parser=expanded_text,
        autocompletion=complete_run,
    ),
]
WhichCheckpoint = Annotated[Literal["best", "last"], typer.Option(help="The checkpoint of the run to use.")]
MaxTime = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Stop after so much time, such as 90m or 3:50:00, from the start of this command, with "
        "everything saved; `dlrun resume` or --or-resume goes on. The key max_time is for the whole run.",
    ),
]
Processes = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Train in N processes, each on its part of every batch; auto: one for each GPU.",
    ),
]
Weights = Annotated[
    Literal["trained", "averaged"] | None,
    typer.Option(
        metavar="trained|averaged",
        help="The weights to take of a run with averaged ones (default: those its monitor chose).",
    ),
]
Tta = Annotated[
    Literal["flip", "flips", "d4"] | None,
    typer.Option(
        "--tta",
        help="Average the outputs over views of each image (test-time augmentation). flip: it and its "
        "mirror image; flips: also upside down; d4: also turned by quarters. With softmax that is the "
        "geometric mean of probabilities, normalised. A view has to keep the meaning: no flip for digits.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print only one JSON object.")]
MOST_NAMED = 5  # parts in a warning


def seconds_named(duration: str, option: str) -> float:
    """The seconds of a duration that an option was given. Raises UserError if it is none."""
    from dlrun.config.durations import is_duration, seconds_of

    if not is_duration(duration):
        fix = "write 90m, 1h30m, 3:50:00 (hours, minutes, seconds) or 1-12:00:00 (a day and 12 hours)"
        raise UserError(f"{shortened(duration)!r} is not a duration", where=option, fix=fix)
    return seconds_of(duration)


def with_options(overrides: list[str] | None, **options: str | None) -> list[str]:
    """KEY=VALUE arguments, followed by those that options such as --device stand for."""
    import json

    return [
        *(overrides or []),
        *(
            f"{key}={json.dumps(value, ensure_ascii=False)}"
            for key, value in options.items()
            if value is not None
        ),
    ]


def with_seeds(words: list[str], seed: int | None, seeds: int | None) -> list[str]:
    """KEY=VALUE arguments, followed by the seeds that --seed and --seeds stand for."""
    if seed is not None and seeds is not None:
        raise UserError("--seed and --seeds cannot both be given", where="command line")
    words = words + [f"seeds=[{seed}]"] * (seed is not None)
    return words + ([f"seeds={list(range(seeds))}"] if seeds is not None else [])


def parts_of(folder: Path | None, *, quiet: bool = False) -> Parts:
    """The parts of dlrun and those in a folder; a warning names those that stand in for dlrun's own."""
    from dlrun.config.registry import Parts

    parts = Parts(folder)
    if (replaced := parts.replaced) and not quiet:
        from dlrun.console.streams import warn

        more = f" and {len(replaced) - MOST_NAMED} more" if len(replaced) > MOST_NAMED else ""
        stand = "stands" if len(replaced) == 1 else "stand"
        warn(f"{', '.join(replaced[:MOST_NAMED])}{more} of {parts.folder} {stand} in for dlrun's own")
    return parts


def warn_of_notes(configs: Iterable[Config]) -> None:
    """Print what the KEY=VALUE arguments leave out of a config, each note once."""
    from dlrun.console.streams import warn

    for note in dict.fromkeys(note for config in configs for note in config.notes):
        warn(note)


def progress_unless(quiet: bool) -> Progress:
    """The progress display of slow work before training, such as a download; none with --quiet."""
    from dlrun.console.streams import show_progress
    from dlrun.system.progress import no_progress

    return no_progress if quiet else show_progress


def checkpoint_of(run: str, which: str, runs_dir: Path) -> tuple[Path, Run | None]:
    """The checkpoint file that RUN_OR_CHECKPOINT names, and its run, if a run is named."""
    from dlrun.console.streams import warn
    from dlrun.run_folders.finding import find_run
    from dlrun.run_folders.mistaken_names import refuse_other_files
    from dlrun.system.files import is_file, is_missing

    given = Path(run)
    if is_file(given) or given.suffix == ".pt":
        refuse_other_files(given, runs_dir)
        return given, None
    found = find_run(run, runs_dir)
    if which == "best" and not is_missing(found.last) and is_missing(found.best):
        warn("there is no best.pt yet; this is last.pt")
        return found.last, found
    return found.best if which == "best" else found.last, found
