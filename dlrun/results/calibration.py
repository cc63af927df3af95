"""`dlrun calibrate`: the temperatures of a run, and what they change in its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlrun.config.keys import Choice
from dlrun.errors import UserError
from dlrun.training.calibration import (
    THRESHOLD,
    calibration_of,
    divide,
    fitted_temperatures,
    identity_of,
    keep_calibration,
    kept_calibration,
)
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.loop import evaluate
from dlrun.training.named_parts import metric
from dlrun.training.recipe import Row
from dlrun.training.trained import Trained

FIGURES = ("log_loss", "ece", "accuracy")
_OTHER_SHARES = (
    "classes count in its training otherwise than they occur ({}): a temperature cannot undo that, and the "
    "probabilities of those that count for more stay too high"
)
DROPPED = "dropped"  # the entry of a report that has thresholds which are kept no more
_CLOSE = 1e-6  # relative difference of temperatures that count as equal


def calibrate(trained: Trained, saved: Checkpoint, path: Path) -> dict[str, Any]:
    """Fit the temperatures on the validation split, keep them beside the checkpoint, and report.

    The report has the figures of each split but train before and after, a list over seeds. The model is
    calibrated from then on. A threshold that was chosen at other temperatures, or for other weights, is
    `dropped`. Raises UserError if it predicts no class, or has no validation split, and CheckpointRefused for
    a damaged file beside the checkpoint.
    """
    plan = trained.plan
    if plan.task.decision is None or plan.data.places:
        what = f"calibrate is for a model that predicts one class, not for {plan.data.task}"
        fix = "choose thresholds of its labels: --threshold f1" if plan.task.positives else ""
        raise UserError(what, fix=fix)
    refuse_without_validation(trained, "a temperature could be fitted")
    earlier, _ = calibration_of(saved, path, plan.task.positives)
    threshold = None
    with suppress(FileNotFoundError):
        threshold = kept_calibration(path).get(THRESHOLD)
    outputs, targets = trained.outputs("valid")
    temperatures = fitted_temperatures(outputs, targets, trained.decision, trained.weights("valid"))
    choices = {name: Choice(name, plan.parts.part("metrics", name).defaults) for name in FIGURES}
    before = measured(trained, choices)
    divide(trained.model, temperatures)
    after = measured(trained, choices)
    report = {
        **about(trained, saved, path),
        "temperatures": temperatures,
        "examples": {name: len(trained.loaded[name]) for name in before},
        "figures": {name: {"before": before[name], "after": after[name]} for name in before},
        "warnings": [_OTHER_SHARES.format(key)] if (key := _balancing(trained)) else [],
    }
    stays = bool(earlier.thresholds) and _are_close(earlier.temperatures, temperatures)
    if stays:
        report[THRESHOLD] = threshold
    keep_calibration(path, report)
    if stays or threshold is None:
        return report
    why = "at other temperatures" if earlier.thresholds else "for other weights"
    return report | {DROPPED: threshold | {"chosen": why}}


def _balancing(trained: Trained) -> str:
    """The key by which classes count otherwise than they occur, with its value; "" if there is none."""
    if trained.plan.loss.class_weights:
        return f"loss.class_weight: {trained.plan.config.loss.options['class_weight']}"
    return "sampling: balanced" if trained.plan.recipe.sampling.is_balanced else ""


def about(trained: Trained, saved: Checkpoint, path: Path) -> dict[str, Any]:
    """The entries of a report that say which model it is of, without temperatures."""
    return {
        "run": trained.run.name if trained.run else None,
        "checkpoint": str(path),
        **identity_of(saved),
        "temperatures": [],
        "seeds": trained.seeds,
    }


def refuse_without_validation(trained: Trained, what: str) -> None:
    """Raise UserError if there is no validation split on which something could be done."""
    if "valid" not in trained.loaded.splits:
        fix = "train with one, such as dataset.valid_fraction=0.1"
        raise UserError(f"there is no validation split, on which {what}", fix=fix)


def measured(trained: Trained, choices: Mapping[str, Choice]) -> dict[str, Row]:
    """Some metrics of each seed on every split but train: split -> name -> figures."""
    plan = trained.plan
    metrics = {name: metric(plan.parts, choice, plan.task) for name, choice in choices.items()}
    recipe = replace(plan.recipe, metrics=metrics)
    found = {
        name: evaluate(trained.model, trained.loaded[name], recipe, trained.hardware)
        for name in ("valid", "test")
        if name in trained.loaded.splits
    }
    return {split: {name: figures[name] for name in choices} for split, figures in found.items()}


def _are_close(some: list[float], others: list[float]) -> bool:
    return len(some) == len(others) and all(
        math.isclose(*pair, rel_tol=_CLOSE) for pair in zip(some, others, strict=True)
    )
