"""Evaluation of a trained model on a split: the report of `dlrun eval`, and its files in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from dlrun.config.keys import Choice
from dlrun.training.baselines import reported_recipe
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.loop import predictions
from dlrun.training.meters import meter_for
from dlrun.training.ownership import how_foreign
from dlrun.training.plot_files import draw_plot
from dlrun.training.trained import Trained


def evaluate_run(trained: Trained, saved: Checkpoint, path: Path, split: str) -> dict[str, Any]:
    """The report of `dlrun eval` for a model on one split; top-level figures are means over seeds.

    Besides the loss and the metrics it has what the task adds (`Task.report`), for a classification accuracy,
    the mean predictive entropy in bits, precision, recall and F1 of each class, and the confusion matrix.
    """
    plan, seeds = trained.plan, trained.seeds
    examples = len(trained.loaded[split])
    recipe = reported_recipe(plan)
    size = recipe.evaluation_batch
    meter = meter_for(trained.hardware.device, recipe, trained.model, examples, batch=size)
    of_task = plan.task.report(len(seeds))
    for outputs, targets in predictions(trained.model, trained.loaded[split], trained.hardware, size):
        meter.measure(outputs, targets)
        of_task.add(outputs, targets)

    figures = meter.means() | of_task.figures()
    column = "trainset" if split == "train" else split  # train_* are running means of an epoch
    recorded = {figure: _recorded(saved, f"{column}_{figure}", len(seeds)) for figure in figures}
    return {
        "run": trained.run.name if trained.run else None,
        "checkpoint": str(path),
        "sha256": saved.digest,
        "epoch": trained.epoch,
        **({"epochs": trained.epochs} if len(set(trained.epochs)) > 1 else {}),
        "split": split,
        "examples": examples,
        "loss": fmean(figures["loss"]),
        "metrics": {figure: fmean(values) for figure, values in figures.items() if figure != "loss"},
        "baselines": trained.baselines(split),
        **plan.loss_of_batches,
        "per_seed": {
            str(seed): {figure: values[index] for figure, values in figures.items()}
            for index, seed in enumerate(seeds)
        },
        "recorded": {
            figure: {"at_training": fmean(values), "difference": _difference(values, figures[figure])}
            for figure, values in recorded.items()
            if values
        },
        "foreign": how_foreign(trained.run, path, saved, plan.parts) if trained.run else "",
        "same_data": trained.loaded.fingerprint == saved.data.get("fingerprint"),
    } | of_task.sections(seeds)


def _recorded(saved: Checkpoint, column: str, copies: int) -> list[float]:
    """The figures of each copy in a checkpoint's column; empty if it is missing or malformed."""
    values = saved.figures.get(column)
    if not isinstance(values, list) or len(values) != copies:
        return []
    return values if all(type(value) is float for value in values) else []


def keep_report(trained: Trained, found: dict[str, Any], split: str, warn: Callable[[str], None]) -> None:
    """Write a report, and the plots that the task adds to it, to the run folder."""
    assert trained.run is not None, "a bare checkpoint has no folder to write into"
    trained.run.write_json(f"eval/{split}.json", found)
    for name in trained.plan.task.plots:
        choice = Choice(name, trained.plan.parts.part("plots", name).defaults | {"split": split})
        draw_plot(trained, choice, trained.run.folder / "eval" / f"{split}_{name}.png", warn)


def _difference(recorded: Sequence[float], measured: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(recorded, measured, strict=True))
