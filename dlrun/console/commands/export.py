"""`dlrun export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dlrun.console.commands.arguments import (
    DataDir,
    Json,
    PartsDir,
    Plain,
    RunOrCheckpoint,
    RunsDir,
    Weights,
    WhichCheckpoint,
    checkpoint_of,
    expanded,
    parts_of,
    progress_unless,
)
from dlrun.console.commands.folders import DATA, RUNS
from dlrun.errors import UserError


def export(
    run: RunOrCheckpoint,
    format: Annotated[
        Literal["onnx", "torch", "safetensors"] | None,
        typer.Option(
            "--format",
            metavar="onnx|torch|safetensors",
            help="onnx: a graph for onnxruntime and others; torch: a graph for torch.export.load; "
            "safetensors: the weights alone (default: as FILE ends, else onnx).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            parser=expanded,
            help="The file to write (default: RUN.onnx, RUN.pt2 or RUN.safetensors here).",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The seed to take of a run with several.")
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="Take all seeds: the mean of their probabilities or numbers."),
    ] = False,
    checkpoint: WhichCheckpoint = "best",
    weights: Weights = None,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
) -> None:
    """Write a trained model into one file for other tools, from raw inputs to probabilities or numbers.

    Preprocessing, temperatures, thresholds and class names are in the file. It is loaded again, and compared
    with dlrun on 64 examples of the data; one that gives anything else is not kept.
    """
    from dlrun.console.export import print_export
    from dlrun.console.streams import say_json, warn
    from dlrun.results.export import SUFFIXES, export_run, format_of
    from dlrun.run_folders.run import DONE
    from dlrun.system.strict_json import finite

    if seed is not None and ensemble:
        raise UserError("--seed takes one seed, and --ensemble all of them", where="command line")
    chosen = format_of(format, out)
    path, found = checkpoint_of(run, checkpoint, runs_dir)
    name = found.name if found else path.stem
    if found and (status := found.status(found.summary())) not in DONE:
        warn(f"{name} is {status}: its model is that of the epoch that is said")
    exported = export_run(
        path,
        name,
        run,
        parts_of(parts),
        data_dir,
        chosen,
        out or Path(f"{name}{SUFFIXES[chosen]}"),
        seed=seed,
        is_ensemble=ensemble,
        weights=weights,
        progress=progress_unless(quiet=json),
    )
    if json:
        say_json(finite(exported.plain()))
    else:
        print_export(exported)
