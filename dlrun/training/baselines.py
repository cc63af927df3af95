"""Baselines: the loss and metrics of guesses without a model, such as the class prior."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from dlrun.config.keys import Choice
from dlrun.data.example_weights import with_weights
from dlrun.data.loaded import Loaded
from dlrun.data.trees import Tree, at, expanded, first_of, main_outputs
from dlrun.errors import Diverged, UserError
from dlrun.training.copies import Apart
from dlrun.training.meters import meter_for
from dlrun.training.named_parts import metric
from dlrun.training.plan import Plan
from dlrun.training.recipe import Recipe


def baselines_of(plan: Plan, loaded: Loaded, split: str) -> dict[str, dict[str, float]]:
    """The figures of the baselines on a split: baseline -> figure -> value; none where there is no guess.

    Without training data there are only those that learn nothing, such as columns of the dataset.
    A loss or a metric that does not take a guess, or has no finite figure for it, gives none.
    """
    examples, found, every = loaded[split], {}, dict[str, Tree]()
    with suppress(UserError):
        every |= _guesses(plan, loaded, split)
    for name, outputs in every.items():
        guessing = Apart(nn.Identity, [0])
        recipe, when = reported_recipe(plan), f"the baseline {name}"
        has_loss = not recipe.is_evaluated_shuffled
        recipe = recipe if has_loss else replace(recipe, loss=_no_figures, loss_takes_inputs=False)
        size, device = recipe.evaluation_batch, examples.device
        meter = meter_for(device, recipe, guessing, len(examples), when, size)
        # A guess is a constant, which a loss made for a model's outputs need not take.
        with suppress(Diverged, RuntimeError, IndexError, TypeError, ValueError, ArithmeticError):
            for some in torch.arange(len(examples), device=device).split(size):
                weights = None if examples.weights is None else examples.weights[some]
                targets = with_weights(examples.targets_at(some), weights)
                # inputs are prepared only if the loss is given them
                inputs = examples.batch(some)[0] if recipe.loss_takes_inputs else targets
                meter.measure(*(expanded(tree, 1) for tree in (at(outputs, some), targets, inputs)))
            figures = {figure: values[0] for figure, values in meter.means().items()}
            found[name] = {each: own for each, own in figures.items() if has_loss or each != "loss"}
    return found


def _no_figures(outputs: Tree, targets: Tree) -> Tensor:
    """The loss of guesses whose metrics alone say something."""
    return torch.zeros(len(first_of(outputs)), device=first_of(outputs).device)


def guesses(plan: Plan, loaded: Loaded, split: str) -> dict[str, Tensor]:
    """The outputs that predict of each baseline on a split, (n, k), by name; none if there is no guess."""
    with suppress(UserError):
        return {name: main_outputs(every) for name, every in _guesses(plan, loaded, split).items()}
    return {}


def why_no_guess(plan: Plan, loaded: Loaded) -> str:
    """The reason why there is no baseline; "" if there is one."""
    try:
        _guesses(plan, loaded, "train")
    except UserError as error:
        return error.inline + (f"; {error.fix}" if error.fix else "")
    return ""


def _guesses(plan: Plan, loaded: Loaded, split: str) -> Mapping[str, Tree]:
    """The outputs of each baseline. Raises UserError, with the reason, if there is no guess."""
    if plan.loss.make:
        raise UserError(f"{plan.loss.name} has weights of its own, which no guess has trained")
    if plan.loss.is_batchwise and not plan.task.is_evaluated_shuffled:
        raise UserError(f"{plan.loss.name} judges a batch as a whole, in which a guess is the same for all")
    if plan.layers.output_shapes and not plan.loss.guess:
        names = ", ".join(plan.layers.output_shapes)
        raise UserError(f"the loss sees several outputs ({names}), and a guess would be one of them alone")
    if "train" not in loaded.splits:
        return plan.task.given_guesses(loaded[split])
    return plan.task.guesses(loaded["train"], loaded[split])


def reported_recipe(plan: Plan) -> Recipe:
    """The recipe with the metrics that the task adds to those of the config."""
    metrics = dict(plan.recipe.metrics)
    for name in plan.task.metrics:
        metrics.setdefault(
            name, metric(plan.parts, Choice(name, plan.parts.part("metrics", name).defaults), plan.task)
        )
    return replace(plan.recipe, metrics=metrics)
