"""Regression: one or several numbers for each example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.coverage import Coverage
from dlrun.blocks.estimates import are_estimates
from dlrun.blocks.ranges import Ranges
from dlrun.blocks.tasks import SPREAD, LossPart, Metric, Report, Task, guess_for_all, sees_main
from dlrun.data.example_weights import weighted_mean, wide
from dlrun.data.examples import Data, Shape, Split
from dlrun.data.misfits import wrong_numbers, wrong_shape
from dlrun.data.trees import MAIN, Tree, main_outputs, single
from dlrun.errors import UserError

usual_loss = "mse"
# Entries of a row of `predict`: one by the name of a target would be taken for something else.
_ENTRIES = ("input", "columns", "problem", "far_outside", "probabilities", "shares", "continuation")
_JUDGED = ("true", "trained_on", "loss", "weight")  # further entries in `eval --csv`
_GIVEN = " (given)"  # the end of the headings of cells that are carried from a file


def regression(data: Data, loss: LossPart) -> Regression:
    """Numbers for each example; targets are (n, d) in their own unit."""
    return Regression(data, loss)


class Regression(Task):
    """The outputs (n, k) are what the loss compares with the targets (n, d): by default estimates of them."""

    def usual_outputs(self) -> int:
        return self.data.targets

    def output_shape(self) -> Shape:
        return (self.outputs,)

    def made_up_targets(self, n: int) -> Tensor:
        return torch.zeros(n, self.data.targets)

    def misfit(self, targets: Tree) -> str:
        d, targets = self.data.targets, single(targets, "the targets")
        return wrong_numbers(targets) or wrong_shape(targets, (d,), f"Data states targets={d}: (n, {d})")

    def metric(self, metric: Metric) -> Metric:
        return sees_main(super().metric(metric))

    def guesses(self, training: Split, split: Split) -> Mapping[str, Tree]:
        """The mean target of the training split, and the columns that the dataset names as baselines.

        Of a loss that takes more than an estimate, such as quantiles, a guess has those of its errors in the
        training split, and that of all targets is called `constant`.
        """
        given, targets = self.given_guesses(split), training.targets
        if not bool((targets != targets[:1]).any()):
            raise UserError("all training targets are the same")
        mean = guess_for_all(weighted_mean(targets, training.weights), split)
        if self.loss.guess is None:
            return {"mean": mean} | given
        errors = {"constant": targets - mean[:1]}
        errors |= {name: targets - own for name, own in self.given_guesses(training).items()}
        return {name: self._around(own, errors[name]) for name, own in ({"constant": mean} | given).items()}

    def _around(self, guess: Tensor, errors: Tensor) -> Tree:
        """The outputs (n, d) of a guess (n, d) that has errors (m, d) in the training split."""
        assert self.loss.guess is not None, "the loss takes estimates alone"
        made = self.loss.guess(errors)
        if isinstance(made, Tensor):
            return guess + made
        return {name: own.expand_as(guess) if name == SPREAD else guess + own for name, own in made.items()}

    def given_guesses(self, split: Split) -> dict[str, Tensor]:
        """The columns that the dataset names as baselines."""
        if not self.are_estimates:
            what = (
                f"{self.loss.name} is not smallest where outputs are equal to the targets, or not only there"
            )
            raise UserError(f"{what}, so that they are no estimates of them")
        columns = {name: split.aside[name].to(split.targets) for name in self.data.baselines}
        return {name: own if own.dim() > 1 else own.unsqueeze(1) for name, own in columns.items()}

    @cached_property
    def are_estimates(self) -> bool:  # type: ignore[override]
        """True if the loss is smallest where the outputs are equal to the targets, and larger further away.

        Of a loss that takes other outputs, such as the logit of a probability, it is not.
        """
        return self.outputs == self.data.targets and are_estimates(self.loss, self.outputs, self.data.scaling)

    def report(self, copies: int) -> Report:
        """The errors of each target, if outputs estimate several, and the coverage of quantiles."""
        names = [self.data.target_name(number) for number in range(self.data.targets)]
        errors = ErrorsOfTargets(names) if len(names) > 1 and self.are_estimates else None
        coverage = Coverage(names, self.loss.quantiles) if self.loss.quantiles else None
        return Reports([report for report in (errors, coverage) if report])

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """Each target's prediction by its name; of several copies the mean, and of one target the `sd`."""
        figures = outputs.T.tolist()  # (k, copies)
        names = self._names(len(figures))
        row: dict[str, Any] = dict(zip(names, map(fmean, figures), strict=True))
        if len(figures) == 1 and len(figures[0]) > 1:
            row["sd"] = stdev(figures[0])
        return row

    def further(self, outputs: Mapping[str, Tensor]) -> dict[str, Any]:
        """Further figures that the loss has of each target, such as a quantile; of several copies the mean.

        Of a standard deviation it is the root of the mean variance.
        """
        row = {}
        for further, figures in outputs.items():
            means = _mean_over_copies(further, figures)
            for name, mean in zip(self._names(len(means)), means.tolist(), strict=True):
                row[f"{name}, {further}"] = mean
        return row

    def answers(self, outputs: Tree) -> dict[str, Tensor]:
        """`prediction` (n, d), or `outputs` if they are no estimates; further ones by their names."""
        main = "prediction" if self.are_estimates else MAIN
        if isinstance(outputs, Tensor):
            return {main: outputs.mean(0)}
        means = {name: _mean_over_copies(name, own) for name, own in outputs.items()}
        return {main: means.pop(MAIN)} | (means if self.loss.head else {})

    def _names(self, count: int) -> list[str]:
        """The names of the predictions of so many numbers."""
        target = (self.data.target or "prediction") if self.are_estimates else "output"
        if target in (*_ENTRIES, "sd") or target.endswith(_GIVEN):
            target = "prediction"
        if self.data.target_names and self.are_estimates:
            return _apart(self.data.target_names)
        return [target] if count == 1 else [f"{target} {number}" for number in range(1, count + 1)]

    def truth(self, target: Tensor) -> dict[str, Any]:
        numbers = target.tolist()
        if len(numbers) == 1:
            return {"true": numbers[0]}
        if names := self.data.target_names:
            return {f"true {name}": own for name, own in zip(names, numbers, strict=True)}
        return {f"true {number}": own for number, own in enumerate(numbers, 1)}

    def facts(self, split: Split) -> dict[str, Any]:
        ranges = Ranges()
        ranges.add(split.targets.cpu())
        if self.data.target_names:
            return {"targets": dict(zip(self.data.target_names, ranges.each(), strict=True))}
        return {"target": ranges.whole()}


def _mean_over_copies(name: str, figures: Tensor) -> Tensor:
    """The mean (…) of an output (copies, …) of that name; of a deviation the root of the mean variance."""
    return figures.square().mean(0).sqrt() if name == SPREAD else figures.mean(0)


def _apart(targets: Sequence[str]) -> list[str]:
    """The name of each target's prediction: its own, unless another entry of a row is called so."""
    names: list[str] = []
    others = {*_ENTRIES, *_JUDGED, *(f"true {name}" for name in targets)}
    for target in targets:
        name = target
        while name in others or name.endswith(_GIVEN) or (name != target and name in targets):
            name = f"predicted {name.removesuffix(_GIVEN)}"
        names.append(name)
        others.add(name)
    return names


class Reports(Report):
    """Several reports as one."""

    def __init__(self, each: Sequence[Report]) -> None:
        self.each = each

    def add(self, outputs: Tree, targets: Tree, weights: Tensor | None = None) -> None:
        for report in self.each:
            report.add(outputs, targets, weights)

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        return {name: own for report in self.each for name, own in report.sections(seeds).items()}

    def warnings(self) -> list[str]:
        return [line for report in self.each for line in report.warnings()]


class ErrorsOfTargets(Report):
    """Mean absolute error, root mean squared error and R² of each target, as means over seeds."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.count = names, 0.0
        self.sums: list[Tensor | float] = [0.0, 0.0]
        self.ranges = Ranges()

    def add(self, outputs: Tree, targets: Tree, weights: Tensor | None = None) -> None:
        main, truth = main_outputs(outputs), single(targets)
        missed = wide(main) - wide(truth)
        errors = [missed.abs(), missed.square()]
        own = None if weights is None else weights[0]
        if own is not None:
            errors = [error * own.unsqueeze(1) for error in errors]
        self.sums = [total + error.sum(1) for total, error in zip(self.sums, errors, strict=True)]
        self.count += missed.shape[1] if own is None else float(wide(own).sum())
        self.ranges.add(truth[0].cpu(), None if own is None else own.cpu())

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        absolute, squared = (torch.as_tensor(total) / self.count for total in self.sums)
        variances = [own["sd"] ** 2 for own in self.ranges.each()]
        figures: dict[str, list[Any]] = {
            "mae": absolute.mean(0).tolist(),
            "rmse": squared.sqrt().mean(0).tolist(),
            "r2": [
                1 - error / variance if variance else None  # of a constant it is not defined
                for error, variance in zip(squared.mean(0).tolist(), variances, strict=True)
            ],
        }
        rows = {name: {f: values[i] for f, values in figures.items()} for i, name in enumerate(self.names)}
        return {"per_target": rows}
