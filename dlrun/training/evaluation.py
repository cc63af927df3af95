"""Evaluation of a trained model on a split: the report of `dlrun eval`, and its files in the run folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

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

    Besides the loss and metrics, for a classification: accuracy, the mean predictive entropy in bits,
    precision, recall and F1 of each class, and the confusion matrix, rows true and columns predicted.
    """
    plan, seeds = trained.plan, trained.seeds
    examples, classes = len(trained.loaded[split]), len(plan.data.classes)
    meter = meter_for(trained.hardware.device, reported_recipe(plan), trained.model, examples)
    confusion = torch.zeros(len(seeds), classes, classes, dtype=torch.long)
    entropy = torch.zeros(len(seeds), dtype=torch.float64)
    for outputs, targets in predictions(trained.model, trained.loaded[split], trained.hardware):
        meter.measure(outputs, targets)
        if plan.probabilities is not None:
            shares = plan.probabilities(outputs)
            entropy += -torch.special.xlogy(shares, shares).sum((1, 2)).cpu() / math.log(2)
            for index, predicted in enumerate(shares.argmax(-1)):
                cells = (targets[index] * classes + predicted).cpu()
                confusion[index] += torch.bincount(cells, minlength=classes**2).view(classes, classes)

    figures = meter.means()
    if plan.probabilities is not None:
        figures["entropy_bits"] = (entropy / examples).tolist()
    column = "trainset" if split == "train" else split  # train_* are running means of an epoch
    recorded = {figure: _recorded(saved, f"{column}_{figure}", len(seeds)) for figure in figures}
    found: dict[str, Any] = {
        "run": trained.run.name if trained.run else None,
        "checkpoint": str(path),
        "sha256": saved.digest,
        "epoch": trained.epoch,
        "split": split,
        "examples": examples,
        "loss": fmean(figures["loss"]),
        "metrics": {figure: fmean(values) for figure, values in figures.items() if figure != "loss"},
        "baselines": trained.baselines(split),
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
    }
    if plan.data.task == "classification":
        found["per_class"] = per_class(confusion, plan.data.classes)
        found["confusion"] = {
            str(seed): counts.tolist() for seed, counts in zip(seeds, confusion, strict=True)
        }
    return found


def _recorded(saved: Checkpoint, column: str, copies: int) -> list[float]:
    """The figures of each copy in a checkpoint's column; empty if it is missing or malformed."""
    values = saved.figures.get(column)
    if not isinstance(values, list) or len(values) != copies:
        return []
    return values if all(type(value) is float for value in values) else []


def keep_report(trained: Trained, found: dict[str, Any], split: str, warn: Callable[[str], None]) -> None:
    """Write a report, and for a classification the plot of the confusion matrix, to the run folder."""
    assert trained.run is not None, "a bare checkpoint has no folder to write into"
    trained.run.write_json(f"eval/{split}.json", found)
    if trained.data.task == "classification":
        defaults = trained.plan.parts.part("plots", "confusion_matrix").defaults
        choice = Choice("confusion_matrix", defaults | {"split": split})
        draw_plot(trained, choice, trained.run.folder / "eval" / f"{split}_confusion_matrix.png", warn)


def per_class(confusion: Tensor, classes: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall and F1 of each class, means over copies; None if undefined (division by zero).

    `confusion` (copies, classes, classes) holds counts, rows true, columns predicted.
    """
    right = confusion.diagonal(dim1=1, dim2=2).double()
    true, predicted = confusion.sum(2).double(), confusion.sum(1).double()
    figures = {"precision": right / predicted, "recall": right / true, "f1": 2 * right / (true + predicted)}
    return {
        name: {figure: _mean_or_none(values[:, index].tolist()) for figure, values in figures.items()}
        | {"examples": int(true[0, index])}
        for index, name in enumerate(classes)
    }


def _difference(recorded: Sequence[float], measured: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(recorded, measured, strict=True))


def _mean_or_none(values: list[float]) -> float | None:
    return None if any(math.isnan(value) for value in values) else fmean(values)
