"""`dlrun slurm`: a script for sbatch, printed to be read and submitted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlrun.console.commands.arguments import DataDir, PartsDir, RunsDir, parts_of, seconds_named
from dlrun.console.commands.completion import complete_config
from dlrun.console.commands.folders import DATA, RUNS
from dlrun.errors import UserError, shortened

if TYPE_CHECKING:
    from dlrun.config.registry import Parts
    from dlrun.console.batch_script import Job
    from dlrun.run_folders.sweep_folder import Sweep

_WORD = re.compile(r"[\w.,:%@/=+\[\]-]+", re.ASCII)
_ARRAY = re.compile(r"([1-9]\d{0,5})(%[1-9]\d{0,5})?", re.ASCII)
_MOST_JOBS = 1000  # of an array: Slurm's MaxArraySize is 1001 unless a site has raised it


def slurm(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG_OR_SWEEP",
            help="A YAML file, the name of a config that comes with dlrun, or the folder of a sweep.",
            autocompletion=complete_config,
        ),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Override config keys; behind -- further options of sbatch, such as -- --mem=16G.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of the run folder, before its number.")
    ] = None,
    nodes: Annotated[int, typer.Option(metavar="N", help="Machines, all for one run.", min=1)] = 1,
    gpus: Annotated[
        int, typer.Option(metavar="N", help="GPUs of a job, on all its nodes together.", min=0)
    ] = 0,
    cpus_per_task: Annotated[
        int | None, typer.Option(metavar="N", help="Cores of a job on each node.", min=1)
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Time of a job, such as 4:00:00, 1-12:00:00 or 4h."),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="NAME", help="The partition of the cluster.")
    ] = None,
    array: Annotated[
        str | None,
        typer.Option(
            metavar="N[%M]",
            help="Of a sweep: N jobs, to which its runs are dealt, and M of them at a time "
            "(default: one for each run).",
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
) -> None:
    """Print a script for sbatch that trains a config, or the runs of a sweep in an array of jobs.

    Nothing is submitted: dlrun slurm … > job.sh, then sbatch job.sh. Two minutes before a job's time is over
    it saves and goes back into the queue.
    """
    from dlrun.console.batch_script import Job, script_of_run, script_of_sweep
    from dlrun.console.streams import say

    own_parts = parts_of(parts)
    overrides = [word for word in words or () if not word.startswith("-")]
    more = [word for word in words or () if word.startswith("-")]
    if gpus % nodes:
        fix = f"ask for {nodes * max(1, round(gpus / nodes))}"
        raise UserError(f"{gpus} GPUs cannot be shared evenly by {nodes} nodes", where="--gpus", fix=fix)
    folders = ["--data-dir", str(data_dir.absolute())]
    folders += ["--parts", str(own_parts.folder.absolute())] if own_parts.folder else []
    job = Job("", nodes, gpus // nodes, cpus_per_task, _clock(time), partition or "", more=more)
    if sweep := _sweep_named(config, runs_dir):
        if overrides or name or nodes > 1:
            what = "the runs of a sweep have their configs, and each trains on one node"
            fix = "leave out KEY=VALUE, --name and --nodes"
            raise UserError(what, where="command line", fix=fix)
        job = replace(job, name=sweep.name, array=_indices(array, len(sweep.trials)))
        _refuse_device(sweep.device, gpus)
        _refuse_idle(sweep)
        said = script_of_sweep(job, ["sweep", "--resume", str(sweep.folder.absolute()), *folders])
    elif array:
        fix = "make one by dlrun sweep CONFIG … --create, and name its folder"
        raise UserError("an array is for the runs of a sweep", where="--array", fix=fix)
    else:
        path, run_name, folder = _checked(config, overrides, name, gpus, own_parts, runs_dir)
        folders += ["--runs-dir", str(runs_dir.absolute())]
        train = ["train", str(path), *overrides, "--name", run_name, "--or-resume", *folders]
        job = replace(job, name=run_name)
        said = script_of_run(job, train, folder.absolute())
    _refuse_odd(job)
    say(said)


def _sweep_named(text: str, runs_dir: Path) -> Sweep | None:
    """The sweep whose folder is named; None if there is none. Raises UserError if it cannot have parts."""
    from dlrun.run_folders.locating import SWEEP_FILE
    from dlrun.run_folders.sweep_finding import find_sweep
    from dlrun.sweeps.shards import refuse_shard
    from dlrun.system.files import is_file, with_home

    path = Path(with_home(text))
    if not any(is_file(folder / SWEEP_FILE) for folder in (path, runs_dir / path)):
        return None
    sweep = find_sweep(str(path), runs_dir)
    refuse_shard(sweep, sweep.resume_command(None))
    return sweep


def _checked(
    text: str, overrides: list[str], name: str | None, gpus: int, parts: Parts, runs_dir: Path
) -> tuple[Path, str, Path]:
    """The config's file, the name of the run, and its folder, which may be there.

    Raises UserError for a config with mistakes, and if the run is finished.
    """
    from dlrun.config.loading import load_config
    from dlrun.config.lookup import find_config
    from dlrun.console.commands.arguments import with_options
    from dlrun.run_folders.locating import run_called
    from dlrun.run_folders.run import ENDED

    path = find_config(text).absolute()
    checked = load_config(path, with_options(overrides, name=name), parts)
    _refuse_device(checked.device, gpus)
    latest = run_called(runs_dir, checked.name)
    if latest and latest.summary().get("status") in ENDED:
        what = f"{latest.name} has ended: the job would train nothing"
        raise UserError(what, where=str(latest.folder), fix="give another --name")
    return path, checked.name, latest.folder if latest else runs_dir / f"{checked.name}-001"


def _refuse_device(device: str, gpus: int) -> None:
    """Raise UserError if a device is asked for that the job lacks, or GPUs that it leaves idle."""
    if device.startswith("cuda") and not gpus:
        raise UserError(f"device is {device}, and the job has no GPU", where="--gpus", fix="give --gpus 1")
    if device == "cpu" and gpus:
        raise UserError("device is cpu, and the job's GPUs would be idle", where="--gpus", fix="leave it out")


def _refuse_idle(sweep: Sweep) -> None:
    if not sweep.unfinished():
        raise UserError("no run of it is left to train", where=str(sweep.folder))


def _indices(array: str | None, runs: int) -> str:
    """The option --array of sbatch: from 1 to the number of jobs, with the most that run at a time."""
    if array is None:
        return f"1-{min(runs, _MOST_JOBS)}"
    found = _ARRAY.fullmatch(array)
    if not found:
        fix = "write 8 for eight jobs, or 8%2 for two of them at a time"
        raise UserError(f"{shortened(array)!r} is no number of jobs", where="--array", fix=fix)
    if int(found[1]) > runs:
        raise UserError(f"there are {runs} runs for {found[1]} jobs", where="--array", fix=f"write {runs}")
    return f"1-{array}"


def _clock(time: str | None) -> str:
    """A duration as sbatch writes it, D-HH:MM:SS; "" without one. Raises UserError if it is too short."""
    if time is None:
        return ""
    from dlrun.console.batch_script import SECONDS_LEFT

    seconds = int(seconds_named(time, "--time"))
    if seconds <= SECONDS_LEFT:
        what = f"{time} is no longer than the {SECONDS_LEFT} seconds that are left for saving"
        raise UserError(what, where="--time")
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:{seconds:02}"


def _refuse_odd(job: Job) -> None:
    """Raise UserError for options of sbatch that would not stand in one word, or that are given twice."""
    own = [option.split("=")[0] for option in job.options()[: -len(job.more) or None]]
    for option in (*job.more, *filter(None, [job.partition])):
        if not _WORD.fullmatch(option):
            what = f"{shortened(option)!r} is no option of sbatch in one word"
            raise UserError(what, fix="write it as in --mem=16G")
        if option.split("=")[0] in own:
            fix = "write it in front of --, or change the script"
            raise UserError(f"{option.split('=')[0]} is in the script already", fix=fix)
