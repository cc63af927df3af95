"""`dlrun lr`: a learning rate found by a short trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlrun.console.commands.arguments import (
    ConfigName,
    DataDir,
    Device,
    Json,
    Overrides,
    PartsDir,
    Plain,
    RunsDir,
    expanded,
    parts_of,
    progress_unless,
    warn_of_notes,
    with_options,
    with_seeds,
)
from dlrun.console.commands.folders import DATA, RUNS
from dlrun.errors import RunFailed, UserError

if TYPE_CHECKING:
    from dlrun.config.keys import Config

_PICTURE = "learning_rates.png"
_FEWEST = 20  # steps


def lr(
    config: ConfigName,
    overrides: Overrides = None,
    low: Annotated[
        float, typer.Option("--from", metavar="RATE", help="The smallest rate, of the first step.")
    ] = 1e-7,
    high: Annotated[float, typer.Option("--to", metavar="RATE", help="The largest rate.")] = 10.0,
    steps: Annotated[
        int, typer.Option(metavar="N", help="Steps of each seed, with a rate for each.", min=_FEWEST)
    ] = 200,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Test only this seed.")] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Test the seeds 0 … N-1.", min=1)] = None,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Write the rate into the file of CONFIG, if it can be trusted."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=expanded,
            help="The folder for the picture (default: previews/NAME in the runs folder).",
        ),
    ] = None,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Suggest a learning rate by a range test: a short training in which it grows until the loss rises.

    The rates of all groups of weights grow together. Nothing is kept of the training; no run folder is made.
    """
    from dlrun.config.loading import load_config
    from dlrun.config.lookup import find_config

    _refuse_range(low, high)
    own_parts, path = parts_of(parts, quiet=json), find_config(config)
    words = with_seeds(with_options(overrides, device=device), seed, seeds)
    checked = load_config(path, words, own_parts)
    if apply:
        _refuse_to_apply(path, config, overrides or [], checked)
    from dlrun.console.rate_range import print_rates
    from dlrun.console.streams import say, say_json, warn
    from dlrun.system.files import ANOTHER_OUT
    from dlrun.system.strict_json import finite
    from dlrun.training.plan_making import make_plan
    from dlrun.training.plan_trials import try_on
    from dlrun.training.rate_range import RATE, RateRange, rate_curves
    from dlrun.training.rate_suggestion import SeedRate, Suggestion
    from dlrun.training.teachers import with_runs_found

    progress = progress_unless(quiet=json)
    plan = make_plan(with_runs_found(checked, own_parts, runs_dir), own_parts, data_dir)
    loaded = plan.load(progress=progress)
    try_on(plan, loaded, progress)
    warn_of_notes([] if json else [checked])
    tested = RateRange(low, high, steps)
    curves = rate_curves(plan, loaded, tested, progress)
    found = Suggestion(tested, [SeedRate(curve) for curve in curves], plan.optimizer.takes_closure())
    if json:
        say_json(finite({"config": checked.name} | found.plain()))
    else:
        from dlrun.drawing.rate_pictures import rate_figure
        from dlrun.drawing.sweep_pictures import save_picture

        print_rates(found, _left_out(checked))
        picture = (out or runs_dir / "previews" / checked.name) / _PICTURE
        save_picture(rate_figure(found, checked.name, plan.dataset_said), picture, warn, ANOTHER_OUT)
        say(str(picture))
    if not apply:
        return
    from dlrun.config.written_values import written_number

    if found.doubts:
        fix = "test again as the warnings say, or set optimizer.lr yourself"
        raise RunFailed(f"{path} is left as it was: {found.doubts[0]}", fix=fix)
    place = written_number(path, RATE)
    now = place.set_to(found.rate)
    if not json:
        say(f"{place.place}: lr: {place.written} is now {now}")


def _refuse_range(low: float, high: float) -> None:
    """Raise UserError for rates of which no range is made."""
    if not 0 < low < high < float("inf"):
        what = f"the rates go from {low:g} to {high:g}"
        raise UserError(what, where="--from, --to", fix="write two positive rates, the smaller one first")
    if high < 10 * low:
        what = f"from {low:g} to {high:g} is less than a factor of ten, too little to see a loss fall"
        raise UserError(what, where="--from, --to", fix="leave them out, for 1e-7 to 10")


def _left_out(config: Config) -> dict[str, str]:
    """The keys of a config that the test does without, with their values."""
    left = {"schedule": config.schedule.name} if config.schedule.name != "constant" else {}
    left |= {"average": config.average.name} if config.average.name != "none" else {}
    return left | ({"freeze_epochs": str(config.freeze_epochs)} if config.freeze_epochs else {})


def _refuse_to_apply(path: Path, named: str, overrides: list[str], config: Config) -> None:
    """Raise UserError unless the rate that is found is one that the config file itself can hold."""
    from dlrun.config.dumping import as_argument
    from dlrun.config.lookup import shipped_folder
    from dlrun.config.written_values import written_number
    from dlrun.run_folders.run import Run
    from dlrun.training.rate_range import RATE

    if overrides:
        what = f"the rate would be found with {overrides[0]}, which the file does not have"
        raise UserError(what, where="--apply", fix="write it into the file, or leave it out")
    if shipped_folder() in path.resolve().parents:
        fix = f"write it out with dlrun show {named} --yaml > my.yaml, and apply to my.yaml"
        raise UserError(f"{named} is a config that comes with dlrun", where="--apply", fix=fix)
    if Run(path.parent).metrics.exists():
        what = f"{path} is the record of a run, which was trained with the rate that it has"
        raise UserError(what, where="--apply", fix="apply to a copy elsewhere")
    written_number(path, RATE)
    own = [group for group in config.groups if isinstance(group.get("lr"), int | float)]
    fixed = [f"the group {group['match']}" for group in own]
    others = config.optimizer.options.items()
    fixed += [f"optimizer.{name}" for name, value in others if name.endswith("_lr") and value is not None]
    if fixed:
        what = f"{fixed[0]} has a rate of its own, which was tested in its ratio to {RATE}"
        fix = f"write it as a factor, such as lr: 0.1x, or change both by hand: {as_argument(RATE, '…')}"
        raise UserError(what, where="--apply", fix=fix)
