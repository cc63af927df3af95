"""`dlrun calibrate`: the temperatures of a run, and what they change in its figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlrun.config.keys import Choice
from dlrun.errors import UserError
from dlrun.system.files import write_atomically
from dlrun.system.strict_json import finite
from dlrun.training.calibration import calibration_file, divide, fitted_temperatures, identity_of
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.loop import evaluate
from dlrun.training.named_parts import metric
from dlrun.training.recipe import Row
from dlrun.training.trained import Trained

FIGURES = ("log_loss", "ece", "accuracy")


def calibrate(trained: Trained, saved: Checkpoint, path: Path) -> dict[str, Any]:
    """Fit the temperatures on the validation split, keep them beside the checkpoint, and report.

    The report has the figures of each split but train before and after, a list over seeds. The model is
    calibrated from then on. Raises UserError if it predicts no class, or has no validation split.
    """
    plan = trained.plan
    if plan.task.decision is None or plan.data.places:
        raise UserError(f"calibrate is for a model that predicts one class, not for {plan.data.task}")
    if "valid" not in trained.loaded.splits:
        what = "there is no validation split, on which a temperature could be fitted"
        raise UserError(what, fix="train with one, such as dataset.valid_fraction=0.1")
    outputs, targets = trained.outputs("valid")
    temperatures = fitted_temperatures(outputs, targets, trained.decision, trained.weights("valid"))
    splits = [name for name in ("valid", "test") if name in trained.loaded.splits]
    before = {name: _figures(trained, name) for name in splits}
    divide(trained.model, temperatures)
    after = {name: _figures(trained, name) for name in splits}
    report = {
        "run": trained.run.name if trained.run else None,
        "checkpoint": str(path),
        **identity_of(saved),
        "temperatures": temperatures,
        "seeds": trained.seeds,
        "examples": {name: len(trained.loaded[name]) for name in splits},
        "figures": {name: {"before": before[name], "after": after[name]} for name in splits},
    }
    text = json.dumps(finite(report), indent=2, ensure_ascii=True, allow_nan=False)
    write_atomically(calibration_file(path), lambda file: file.write(f"{text}\n".encode()))
    return report


def _figures(trained: Trained, split: str) -> Row:
    """Log loss, ECE and accuracy of each seed on a split."""
    plan = trained.plan
    metrics = {
        name: metric(plan.parts, Choice(name, plan.parts.part("metrics", name).defaults), plan.task)
        for name in FIGURES
    }
    recipe = replace(plan.recipe, metrics=metrics)
    found = evaluate(trained.model, trained.loaded[split], recipe, trained.hardware)
    return {name: found[name] for name in FIGURES}
