"""Embeddings: points of a space in which the examples of a class lie together, apart from those of others."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.tasks import LossPart, Task
from dlrun.data.examples import Data, Shape, Split
from dlrun.data.misfits import wrong_classes, wrong_shape
from dlrun.data.trees import Tree, main_outputs, single
from dlrun.errors import UserError

usual_loss = "supervised_contrastive"
takes_data_of = "classification"
_AT_ONCE = 1024  # examples that are prepared together
_MOST_NUMBERS = 2**27  # in the inputs of a split that are held as points
_MOST_PRODUCTS = 4e11  # of the distances of all to all: a minute


def embedding(data: Data, loss: LossPart) -> Embedding:
    """Points in a space where examples of a class lie close together, from a dataset of a class for each."""
    return Embedding(data, loss)


class Embedding(Task):
    """The outputs (n, d) are points, whose distances tell how much alike examples are; none is a class.

    Each seed has a space of its own. Evaluation is in a random order, because the examples of a split may be
    sorted by class, and a batch of one class tells nothing.
    """

    metrics = ("recall_at_k",)
    is_evaluated_shuffled = True
    has_own_space = True
    is_of_one_class = True

    def __init__(self, data: Data, loss: LossPart) -> None:
        if not data.classes or data.places:
            raise UserError("embeddings are of examples that have one class each")
        if loss.outputs is None:
            what = f"{loss.name} does not say how many dimensions it needs"
            raise UserError(what, fix="define outputs(data) in its file")
        super().__init__(data, loss)

    def needed_outputs(self) -> int:
        assert self.loss.outputs is not None, "a loss without it is refused"
        return self.loss.outputs(self.data)

    def output_shape(self) -> Shape:
        return (self.outputs,)

    def made_up_targets(self, n: int) -> Tensor:
        return torch.zeros(n, dtype=torch.long)

    def misfit(self, targets: Tree) -> str:
        targets = single(targets, "the targets")
        return wrong_shape(targets, (), "a class number for each example is (n)") or wrong_classes(
            targets, len(self.data.classes)
        )

    def guesses(self, training: Split, split: Split) -> dict[str, Tensor]:
        """The prepared inputs themselves as points, for the metrics of a split beside training.

        Raises UserError for inputs that are no points, or too many or large ones.
        """
        if not isinstance(self.data.input_shape, tuple) or self.data.has_whole_numbers():
            raise UserError("the inputs are several or whole numbers, and so no points themselves")
        if split is training:  # of which a row has no metric of points
            return {}
        numbers = len(split) * prod(self.data.input_shape)
        if numbers > _MOST_NUMBERS or len(split) * numbers > _MOST_PRODUCTS:
            raise UserError("the inputs are too large to be compared with one another")
        pieces = torch.arange(len(split), device=split.device).split(_AT_ONCE)
        return {"the inputs": torch.cat([single(split.batch(some)[0]).flatten(1) for some in pieces])}

    def answers(self, outputs: Tree) -> dict[str, Tensor]:
        """`embedding` (n, d), of one copy alone."""
        return {"embedding": main_outputs(outputs)[0]}

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """The coordinates of a point. Raises UserError for those of several copies, which have no mean."""
        if len(outputs) > 1:
            what = (
                f"the run has {len(outputs)} seeds, each with a space of its own, in which a mean is no point"
            )
            raise UserError(what, fix="take those of one: dlrun.load(RUN, seed=…).predict(inputs)")
        return super().row(outputs)

    def truth(self, target: Tensor) -> dict[str, Any]:
        return {"true": self.data.classes[int(target)]}

    def facts(self, split: Split) -> dict[str, Any]:
        counts: list[int] = torch.bincount(split.targets, minlength=len(self.data.classes)).tolist()
        return {"classes": dict(zip(self.data.classes, counts, strict=True))}
