"""`dlrun calibrate --threshold`: the thresholds of a run, and what they change in its figures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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
        raise _without_positives(trained)
    refuse_without_validation(trained, "a threshold could be chosen")
    plan = decided_by(trained.plan, {})
    options = next((own.options for own in plan.config.metrics if own.name == name), None)
    choice = Choice(name, plan.parts.part("metrics", name).defaults if options is None else options)
    judged_by = metric_of_decisions(plan, choice)
    outputs, targets = trained.outputs("valid")
    log_odds, applies = task.log_odds(outputs), task.applies(targets)
    weights = trained.weights("valid")
    counted = applies if weights is None else applies[weights > 0]
    thresholds, undecided, verb = dict[str, float](), dict[str, str](), "is of" if task.decision else "has"
    for place, (positive, count) in enumerate(zip(task.positives, counted.sum(0).tolist(), strict=True)):
        found = None
        if 0 < count < len(counted):
            found = best_threshold(log_odds[..., place], applies[:, place], judged_by, weights)
            why = f"{name} is not defined at any threshold"
        else:
            why = f"{'every' if count else 'no'} validation example {verb} {positive}"
        if found is None:
            undecided[positive] = why
        thresholds[positive] = 0.5 if found is None else found
    if undecided and task.decision:
        [why] = undecided.values()
        raise UserError(f"no threshold is best: {why}", fix="hold out more examples: dataset.valid_fraction")
    # the metric comes first, with the options by which it chooses
    choices = {name: choice} | _beside(plan) | {name: choice}
    before = measured(replace(trained, plan=plan), choices)
    after = measured(replace(trained, plan=decided_by(plan, thresholds)), choices)
    chosen = {
        "metric": choice.plain(),
        "above": thresholds,
        "examples": {split: len(trained.loaded[split]) for split in before},
        "figures": {split: {"before": before[split], "after": after[split]} for split in before},
        "warnings": [*_of_undecided(undecided), *_of_few(task.positives, counted, undecided)],
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


def _without_positives(trained: Trained) -> UserError:
    """The reason why a task has nothing that a threshold decides, with the remedy if there is one."""
    data, task = trained.data, trained.plan.task
    if task.is_of_one_class:
        there, fix = f"there are {len(data.classes):,} classes", ""
    elif task.decision:
        there = f"a task {data.task} predicts a class at each place, and always the most probable one"
        fix = "train with loss.class_weight=balanced, by which rare classes are predicted more often"
    else:
        there, fix = f"a task {data.task} has neither", ""
    return UserError(f"a threshold decides between two classes, or for a label: {there}", fix=fix)


def _of_undecided(undecided: Mapping[str, str]) -> Iterator[str]:
    """Yield that labels keep 1/2, with the reason of each."""
    for name, why in undecided.items():
        yield f"the threshold of {name} stays 0.5: {why}"


def _of_few(positives: Sequence[str], applies: Tensor, undecided: Collection[str]) -> Iterator[str]:
    """Yield that thresholds rest on few of the examples (n, positives) that count."""
    true = applies.sum(0)
    least = dict(zip(positives, true.minimum(len(applies) - true).tolist(), strict=True))
    few = [f"{name} ({count})" for name, count in least.items() if count < FEW and name not in undecided]
    if few:
        what = f"threshold{'s' * (len(few) > 1)} of {', '.join(few)}"
        rule = f"with fewer than {FEW} on one side, others would have given another one"
        yield f"few validation examples decide on the {what}: {rule}"
