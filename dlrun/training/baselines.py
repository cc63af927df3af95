"""Baselines: the loss and metrics of guesses without a model, such as the majority class."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from dlrun.config.keys import Choice
from dlrun.data.examples import EVALUATION_BATCH
from dlrun.data.loaded import Loaded
from dlrun.training.copies import Apart
from dlrun.training.meters import meter_for
from dlrun.training.plan import Plan, metric
from dlrun.training.recipe import Recipe


def baselines_of(plan: Plan, loaded: Loaded, split: str) -> dict[str, dict[str, float]]:
    """The figures of the baselines on a split: baseline -> figure -> value."""
    targets, found = loaded[split].targets, {}
    for name, outputs in guesses(plan, loaded, split).items():
        guessing = Apart(nn.Identity, [0])
        recipe, when = reported_recipe(plan), f"the baseline {name}"
        meter = meter_for(targets.device, recipe, guessing, len(targets), when)
        for some in torch.arange(len(targets), device=targets.device).split(EVALUATION_BATCH):
            meter.measure(outputs[some].unsqueeze(0), targets[some].unsqueeze(0))
        found[name] = {figure: values[0] for figure, values in meter.means().items()}
    return found


def guesses(plan: Plan, loaded: Loaded, split: str) -> dict[str, Tensor]:
    """The outputs of each baseline on a split: baseline -> outputs (n, k).

    One is always the majority class or the mean target of the training split; the others are the columns
    that the dataset declares as baselines.
    """
    targets, aside = loaded[split].targets, loaded[split].aside
    constant = "majority class" if plan.data.task == "classification" else "mean"
    found = {constant: plan.constant(loaded["train"].targets).expand(len(targets), -1)}
    return found | {name: aside[name].to(targets).unsqueeze(1) for name in plan.data.baselines}


def reported_recipe(plan: Plan) -> Recipe:
    """The recipe with accuracy added to the metrics of a classification."""
    metrics = dict(plan.recipe.metrics)
    if plan.data.task == "classification":
        metrics.setdefault("accuracy", metric(plan.parts, Choice("accuracy")))
    return replace(plan.recipe, metrics=metrics)
