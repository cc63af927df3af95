"""The input itself, given back by a model that has to pass it through something smaller."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.estimates import are_estimates
from dlrun.blocks.tasks import LossPart, Measure, Metric, Task, guess_for_all, sees_main, targets_in_pieces
from dlrun.data.examples import Data, Shape, Split
from dlrun.data.trees import MAIN, Tree, main_outputs, single
from dlrun.errors import UserError

parts_of = "regression"


def reconstruction(data: Data, loss: LossPart) -> Reconstruction:
    """The outputs estimate the inputs, as they are after preprocessing and before augmentation.

    Augmentations that move pixels, such as flip and crop, move those of the targets alike.
    """
    return Reconstruction(data, loss)


class Reconstruction(Task):
    """The outputs have the shape of an input, or are that many numbers; targets are the prepared inputs.

    Losses and metrics of a regression judge an example as a row of numbers, (n, d).
    """

    are_inputs_targets = True

    def __init__(self, data: Data, loss: LossPart) -> None:
        if not data.shape or data.has_whole_numbers():
            raise UserError("a reconstruction needs a single input of numbers")
        super().__init__(data, loss)
        self.are_estimates = are_estimates(loss, self.outputs, data.scaling)
        if len(data.shape) == 3 and self.are_estimates:
            self.plots = ("reconstructions",)
            self.image_name = "reconstruction"

    def needed_outputs(self) -> int:
        return prod(self.data.shape)

    def output_shape(self) -> Shape:
        return self.data.shape

    def fits(self, shape: Shape) -> bool:
        return shape in (self.data.shape, (self.outputs,))

    def made_up_targets(self, n: int) -> Tensor:
        return torch.zeros(n, *self.data.shape)

    def judge(self, measure: Measure) -> Measure:
        if self.loss.has_places:
            return measure

        def judged(outputs: Tree, targets: Tree) -> Tensor:
            rows = (
                outputs.flatten(1)
                if isinstance(outputs, Tensor)
                else outputs | {MAIN: outputs[MAIN].flatten(1)}
            )
            return measure(rows, single(targets, "the targets").flatten(1))

        return judged

    def metric(self, metric: Metric) -> Metric:
        metric = super().metric(metric)
        if metric.has_places:
            return sees_main(metric)

        def measure(outputs: Tree, targets: Tree) -> Tensor:
            return metric.measure(main_outputs(outputs).flatten(1), single(targets).flatten(1))

        return replace(metric, measure=measure)

    def guesses(self, training: Split, split: Split) -> dict[str, Tensor]:
        """The mean input of the training split."""
        if not self.are_estimates:
            what = (
                f"{self.loss.name} is not smallest where outputs are equal to the inputs, or not only there"
            )
            raise UserError(f"{what}, so that they are no estimates of them")
        wide = torch.float32 if training.device.type == "mps" else torch.float64
        total = torch.zeros(self.data.shape, dtype=wide, device=training.device)
        for targets, weights in targets_in_pieces(training):
            if weights is None:
                total += targets.sum(0, dtype=wide)
            else:
                total += torch.tensordot(weights.to(wide), targets.to(wide), 1)
        count = len(training) if training.weights is None else training.weights.sum(dtype=wide)
        return {"mean": guess_for_all((total / count).to(targets.dtype), split)}

    def image_of(self, outputs: Tensor) -> Tensor:
        return outputs.mean(0).view(self.data.shape)

    def answers(self, outputs: Tree) -> dict[str, Tensor]:
        """`reconstruction` (n, *input shape), on the scale of prepared inputs."""
        return {"reconstruction": main_outputs(outputs).mean(0).reshape(-1, *self.data.shape)}

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """The numbers given back for a vector, on the scale of prepared inputs, as means over copies."""
        if len(self.data.shape) > 1:
            return {}
        names = self.data.features or [f"x{number}" for number in range(1, self.outputs + 1)]
        return {f"{name}, prepared": own for name, own in zip(names, outputs.mean(0).tolist(), strict=True)}
