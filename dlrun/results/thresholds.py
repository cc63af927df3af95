"""`dlrun calibrate --threshold`: the thresholds of a run, and what they change in its figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dlrun.config.keys import Choice
from dlrun.errors import UserError
from dlrun.results.calibration import about, measured, refuse_without_validation
from dlrun.training.calibration import THRESHOLD, keep_calibration, kept_calibration
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.plan import Plan
from dlrun.training.thresholds import best_threshold, decided_by, metric_of_decisions
from dlrun.training.trained import Trained

FEW = 30  # examples of either kind, below which a threshold is left to chance


def choose_thresholds(trained: Trained, saved: Checkpoint, path: Path, name: str) -> dict[str, Any]:
    """Choose thresholds by a metric on the validation split, keep them beside the checkpoint, and report.

    Of two classes all seeds share one, at which the mean of the metric over seeds is best; each label has its
    own, at which that label's figure is. They are thresholds of the probabilities by the temperatures that
    the model has. The report has, as `threshold`, the figures of each split but train before and after, a
    list over seeds. Raises UserError for other tasks and metrics, and without a validation split.
    """
    task = trained.plan.task
    if not task.positives:
        there = f"a task {trained.data.task} has none of both"
        if task.decision and task.is_of_one_class:
            there = f"there are {len(trained.data.classes):,} classes"
        raise UserError(f"a threshold decides between two classes, or for a label: {there}")
    refuse_without_validation(trained, "a threshold could be chosen")
    plan = decided_by(trained.plan, {})
    options = next((own.options for own in plan.config.metrics if own.name == name), None)
    choice = Choice(name, plan.parts.part("metrics", name).defaults if options is None else options)
    judged_by = metric_of_decisions(plan, choice)
    outputs, targets = trained.outputs("valid")
    log_odds, applies = task.log_odds(outputs), task.applies(targets)
    weights = trained.weights("valid")
    thresholds = {}
    for place, positive in enumerate(task.positives):
        found = best_threshold(log_odds[..., place], applies[:, place], judged_by, weights)
        if found is None and task.decision:
            what = f"{name} is not defined at any threshold: the validation examples are of one class"
            raise UserError(what, fix="hold out more examples: dataset.valid_fraction")
        thresholds[positive] = 0.5 if found is None else found
    choices = {name: choice} | _beside(plan)
    before = measured(replace(trained, plan=plan), choices)
    after = measured(replace(trained, plan=decided_by(plan, thresholds)), choices)
    chosen = {
        "metric": choice.plain(),
        "above": thresholds,
        "examples": {split: len(trained.loaded[split]) for split in before},
        "figures": {split: {"before": before[split], "after": after[split]} for split in before},
        "warnings": list(_warnings(task.positives, applies if weights is None else applies[weights > 0])),
    }
    kept = kept_calibration(path) if trained.temperatures else about(trained, saved, path)
    report = kept | {THRESHOLD: chosen}
    keep_calibration(path, report)
    return report


def _beside(plan: Plan) -> dict[str, Choice]:
    """The metrics that are reported beside the one that chose: of two classes those of the second."""
    if plan.task.decision is None:
        names, changes = ("exact_match", "precision", "recall"), dict[str, Any]()
    else:
        names, changes = ("accuracy", "precision", "recall"), {"average": "binary"}
    each = {name: plan.parts.part("metrics", name).defaults for name in names}
    return {
        name: Choice(name, defaults | (changes if "average" in defaults else {}))
        for name, defaults in each.items()
    }


def _warnings(positives: tuple[str, ...], applies: Tensor) -> Iterator[str]:
    """Yield that thresholds rest on few examples (n, positives)."""
    true = applies.sum(0)
    least = dict(zip(positives, true.minimum(len(applies) - true).tolist(), strict=True))
    few = [f"{name} ({count})" for name, count in least.items() if count < FEW]
    if few:
        what = f"threshold{'s' * (len(few) > 1)} of {', '.join(few)}"
        rule = f"with fewer than {FEW} on one side, others would have given another one"
        yield f"few validation examples decide on the {what}: {rule}"
