"""`dlrun sweep` and `dlrun compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dlrun.console.commands.arguments import (
    DataDir,
    Device,
    Json,
    PartsDir,
    Plain,
    RunsDir,
    SeveralRunsDirs,
    Where,
    expanded,
    expanded_text,
    parts_of,
    with_options,
)
from dlrun.console.commands.completion import (
    complete_column,
    complete_config,
    complete_override,
    complete_run_or_sweep,
    complete_sweep,
)
from dlrun.console.commands.folders import DATA, RUNS, each_once
from dlrun.console.commands.sweeping import finished_in, planned_sweep, train_all
from dlrun.errors import UserError, shortened

PICTURES = (".png", ".pdf", ".svg")


def sweep(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help="A YAML file, or the name of a config that comes with dlrun.",
            autocompletion=complete_config,
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUES",
            help="A key and its values: 1e-4,1e-3 or log(1e-4,1e-1,7), linspace(0,0.5,6), 1..5.",
            autocompletion=complete_override,
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Train each setting with the seeds 0 … N-1.", min=1)
    ] = None,
    jobs: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="The number of runs that train at once; auto: one for each core, or for each GPU.",
        ),
    ] = "auto",
    jobs_per_gpu: Annotated[
        int | None,
        typer.Option(metavar="N", help="Train N runs at once on each GPU, which share it.", min=1),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Train on a Ray cluster: of that address, else the one that is found here, or `local`.",
        ),
    ] = None,
    random: Annotated[
        int | None, typer.Option(metavar="N", help="Draw N combinations at random.", min=1)
    ] = None,
    is_zipped: Annotated[
        bool,
        typer.Option("--zip", help="Pair the values of all keys, the first with the first, and so on."),
    ] = False,
    optuna: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Search with Optuna, N settings; hopeless ones are stopped early.", min=1
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of the sweep's folder, before its number.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column by which the settings are ranked.")
    ] = None,
    needed: Annotated[
        bool,
        typer.Option("--needed", help="Reuse finished runs with the same config, code and data."),
    ] = False,
    stack: Annotated[
        bool,
        typer.Option(
            "--stack",
            help="Train the seeds of a setting as one model if a trial shows that to be faster; the figures "
            "are then not bit for bit those of each seed alone.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the runs and estimate how long they would take.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="SWEEP",
            parser=expanded_text,
            help="Continue a sweep where it stopped; KEY=VALUES, --seeds, or --optuna of a search, add runs.",
            autocompletion=complete_sweep,
        ),
    ] = None,
    or_resume: Annotated[
        bool,
        typer.Option(
            "--or-resume",
            help="Go on with the latest sweep of this name, if there is one, which must have the same runs.",
        ),
    ] = False,
    create: Annotated[
        bool,
        typer.Option("--create", help="Only create the sweep's folder, with its runs for --resume."),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="With --resume: train only the I-th of N parts of the runs, such as in the jobs of an "
            "array; several parts may train at the same time. I counts from 1, or from 0.",
        ),
    ] = None,
    runs_dir: RunsDir = RUNS,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the sweep's folder.")] = False,
    json: Json = False,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Train a config with many values of some keys, each as an ordinary run, in one folder."""
    from dlrun.config.lookup import find_config
    from dlrun.console.streams import say, say_json
    from dlrun.console.sweep_results import print_dry_run
    from dlrun.run_folders.sweep_finding import find_sweep
    from dlrun.sweeps.base import base_of_grid
    from dlrun.sweeps.grid import Setting, settings_of_grid
    from dlrun.sweeps.growing import grow, grow_search, settings_to_add
    from dlrun.sweeps.shards import refuse_shard, shard_named

    wanted = _jobs(jobs)
    if jobs_per_gpu and wanted:
        raise UserError("--jobs and --jobs-per-gpu cannot both be given", where="command line")
    if quiet and json:
        raise UserError("--quiet and --json cannot both be given", where="command line")
    own_parts = parts_of(parts, quiet=quiet)
    chosen_seeds = range(seeds) if seeds else None
    found, space, chosen, base = None, None, list[Setting](), None
    part = shard_named(shard) if shard is not None else None
    if part and resume is None:
        fix = "create it by --create, and train it by --resume SWEEP --shard I/N"
        raise UserError("--shard is for a sweep that is there", where="command line", fix=fix)
    if ray is not None and (part or create):
        what = (
            "--ray and --shard cannot both be given"
            if part
            else "--create trains nothing, so it needs no Ray"
        )
        raise UserError(what, where="command line")
    if create and dry_run:
        raise UserError("--create and --dry-run cannot both be given", where="command line")
    further = [word for word in (config, *(values or ())) if word is not None] if resume is not None else []
    grows = resume is not None and bool(further or seeds)
    if other := next((word for word in further if "=" not in word), None):
        what = f"{shortened(other)!r} is no KEY=VALUES, and a sweep that goes on has its config"
        raise UserError(what, where="command line", fix="leave it out, or write KEY=VALUES")
    if resume is not None:
        if random or name or stack or device or or_resume or create:
            fix = "leave out --random, --name, --stack, --device, --or-resume and --create"
            raise UserError("--resume continues a sweep as it was begun", where="command line", fix=fix)
        if (needed or is_zipped or dry_run) and not grows:
            what = "--needed, --zip and --dry-run are for runs that KEY=VALUES or --seeds add"
            raise UserError(what, where="command line", fix="give further values, or leave them out")
        if part and (grows or optuna):
            fix = "add the runs first by --resume SWEEP KEY=VALUES, and train the parts of all then"
            raise UserError("--shard trains runs that are there", where="command line", fix=fix)
        found = find_sweep(resume, runs_dir)
        if part:
            refuse_shard(found, found.resume_command(parts))
        if optuna and (metric or grows):
            fix = "leave out --metric, --seeds and KEY=VALUES: a search has its own"
            raise UserError("--optuna has a search draw more settings", where="command line", fix=fix)
        if grows:
            chosen = settings_to_add(found, further, chosen_seeds, own_parts, is_zipped=is_zipped)
    elif config is None:
        raise UserError("name a CONFIG, or a sweep to --resume", where="command line")
    else:
        if is_zipped and random is not None:
            what = "--zip takes all pairs of values, and --random draws combinations"
            raise UserError(what, where="command line", fix="leave out one of them")
        path, words = find_config(config), with_options(values, device=device, name=name)
        if optuna is None:
            chosen = settings_of_grid(path, words, chosen_seeds, random, own_parts, is_zipped=is_zipped)
            base = base_of_grid(path, words, own_parts, is_zipped=is_zipped)
        elif random is not None or needed or metric or is_zipped:
            fix = "leave out --random, --zip, --needed and --metric; set monitor=COLUMN to choose the figure"
            raise UserError("--optuna draws the settings itself, by the monitored figure", fix=fix)
        else:
            from dlrun.sweeps.search import search_space

            space = search_space(path, words, chosen_seeds, own_parts, runs_dir)
            chosen = [space.setting]
    cluster = None
    if ray is not None:
        from dlrun.sweeps.ray_cluster import connect

        cluster = connect(ray)
    if found and jobs_per_gpu:
        from dlrun.sweeps.planning import runs_on_gpus

        on_cluster = cluster and cluster.of(found.device).at_once(found.device, jobs_per_gpu)
        wanted = on_cluster or runs_on_gpus(found.device, jobs_per_gpu)
    elif found and part:
        from dlrun.sweeps.planning import jobs_of_shard

        wanted = wanted or jobs_of_shard(found)
    if found and optuna:
        grow_search(found, optuna)
    if found is None or grows:
        prepared = planned_sweep(
            chosen,
            own_parts,
            data_dir,
            runs_dir,
            jobs=wanted or (found.jobs if found and found.has_chosen_jobs else None),
            metric=found.metric if found and metric is None else metric,
            beside=len(found.trials) if found else 0,
            quiet=quiet or json,
            space=space,
            times=optuna or 1,
            may_stack=stack,
            jobs_per_gpu=jobs_per_gpu,
            cluster=cluster,
        )
        answers = finished_in(found.folder.parent if found else runs_dir) if needed else []
        if or_resume and not dry_run:
            from dlrun.sweeps.earlier import earlier_sweep

            found = earlier_sweep(prepared, runs_dir, own_parts)
        if dry_run:
            from dlrun.sweeps.estimate import estimate_time

            if json:
                say_json(estimate_time(prepared, answers).plain())
            elif not quiet:
                print_dry_run(prepared, estimate_time(prepared, answers))
            return
        if found and grows:
            grow(found, prepared, answers)
        found = found or prepared.make(runs_dir, answers, base)
        del prepared  # frees its data: each worker reads its own
    command = found.resume_command(parts, ray)
    if create:
        if json:
            say_json({"sweep": str(found.folder), "runs": len(found.trials)})
        else:
            say(str(found.folder) if quiet else f"{found.folder} is there; train it: {command}")
        return
    code = train_all(
        found,
        own_parts,
        data_dir,
        f"{command} --shard {part}" if part else command,
        jobs=wanted,
        metric=metric,
        quiet=quiet,
        json=json,
        shard=part,
        jobs_per_gpu=jobs_per_gpu,
        cluster=cluster,
    )
    raise SystemExit(code)


def compare(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs by folder, start of the name, pattern such as 'spiral_*', or the folder of a sweep; "
            "with --where the default is all runs.",
            parser=expanded_text,
            autocompletion=complete_run_or_sweep,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Compare this column: test_accuracy, best.test_accuracy, seconds.",
            autocompletion=complete_column,
        ),
    ] = None,
    beside: Annotated[
        Literal["first", "best"] | None,
        typer.Option(help="The reference setting (default: of a sweep the best, otherwise the first)."),
    ] = None,
    where: Where = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            parser=expanded,
            help="Draw the training curves into this PNG, PDF or SVG.",
        ),
    ] = None,
    runs_dir: SeveralRunsDirs = None,
    parts: PartsDir = None,
) -> None:
    """Compare settings over their seeds, and test if the differences are more than chance."""
    from dlrun.console.comparison import print_comparison, print_comparison_csv
    from dlrun.console.streams import say, say_json
    from dlrun.run_folders.comparison import compare_runs
    from dlrun.run_folders.finding import find_runs_among
    from dlrun.run_folders.records import chosen_records, runs_of, shared_metric, values_of
    from dlrun.run_folders.sweep_finding import all_runs_in
    from dlrun.system.strict_json import finite

    if as_csv and json:
        raise UserError("--csv and --json cannot both be given", where="command line")
    if not named and where is None:
        raise UserError(
            "name the runs to compare", fix="dlrun compare spiral_relu-001 spiral_relu-002, or 'spiral_*'"
        )
    if metric == "":
        raise UserError("the name of the column is empty", where="--metric")
    if output and output.suffix.lower() not in PICTURES:
        raise UserError(
            f"{output} is not the name of a picture", where="--output", fix=f"end it in {', '.join(PICTURES)}"
        )
    parents = each_once(runs_dir)
    meant = [each for text in named or () for each in find_runs_among(text, parents)]
    asked = runs_of(meant) if named else all_runs_in(*parents)[::-1]
    chosen = chosen_records(asked, where)
    if not chosen:
        raise UserError(f"none of {len(asked)} runs fulfils this condition", where=f"--where {where}")
    values = values_of(meant)
    ranked = bool(values) if beside is None else beside == "best"
    metric = shared_metric(meant) if metric is None else metric
    found = compare_runs(chosen, metric, ranked=ranked, parts=parts_of(parts), values=values)
    if output:
        from dlrun.console.streams import warn
        from dlrun.drawing.sweep_pictures import draw_curves

        if not draw_curves(found, output, warn):
            raise UserError(
                f"{found.metric} has no curves: it is measured once",
                where="--output",
                fix="name a column of metrics.csv, such as --metric train_loss",
            )
    if json:
        say_json(finite(found.plain()))
    elif as_csv:
        print_comparison_csv(found)
    else:
        print_comparison(found)
        if output:
            say(str(output))


def _jobs(text: str) -> int | None:
    """Parse --jobs, the number of runs that train at once; None for auto."""
    if text == "auto":
        return None
    from dlrun.run_folders.sweep_folder import MOST_JOBS

    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:5]) <= MOST_JOBS:
        fix = f"write a number from 1 to {MOST_JOBS:,}, or leave it out"
        raise UserError(f"--jobs {text[:20]!r} is not a number of runs", fix=fix)
    return int(text)
