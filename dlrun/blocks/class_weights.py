"""The weights of the classes in a loss: stated in the config, or balanced over the training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dlrun.blocks.constants import constants
from dlrun.errors import UserError, in_words, listed, nearest, shortened

BALANCED = "balanced"
_MOST_SAID = 10  # classes whose weights are said one by one
Stated = str | Mapping[str, float] | Sequence[float] | None  # as a config has them


class ClassWeights:
    """The weight of each class: an example of a class of weight 2 counts as two in the loss.

    Balanced ones are unknown (`values` is None, and each is 1) until the training examples are counted or a
    checkpoint is opened; with them the classes count the same in all, and an example 1 in the mean.

    Raises UserError for stated weights that do not fit the classes.
    """

    def __init__(self, stated: Stated, classes: Sequence[str]) -> None:
        if not classes:
            raise UserError("the dataset has no classes")
        self.classes = classes
        self.values: list[float] | None = None if stated == BALANCED else _stated(stated, classes)
        self._placed: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    @property
    def by_name(self) -> dict[str, float]:
        """The weight of each class by its name; empty if they are unknown."""
        return dict(zip(self.classes, self.values or (), strict=bool(self.values)))

    def __str__(self) -> str:
        named = [f"{weight:.4g} for {shortened(name)}" for name, weight in self.by_name.items()]
        least, most = (pick(self.values or (0.0,)) for pick in (min, max))
        return in_words(named) if len(named) <= _MOST_SAID else f"from {least:.4g} to {most:.4g}"

    def balance(self, counts: Sequence[float]) -> None:
        """Set the weights n / (k · n_c) from the number n_c of training examples of each of k classes.

        Raises UserError for a class without any.
        """
        if missing := [name for name, count in zip(self.classes, counts, strict=True) if not count]:
            what = f"no training example is of class {shortened(missing[0])}, which no weight balances"
            raise UserError(what, fix=f"state weights, such as class_weight: {{{shortened(missing[0])}: 1}}")
        self.values = [sum(counts) / (len(counts) * count) for count in counts]
        self._placed.clear()

    def restore(self, saved: object) -> None:
        """Set balanced weights from an untrusted checkpoint. Raises TypeError if they are malformed."""
        if self.values is not None:
            return
        if not isinstance(saved, list) or len(saved) != len(self.classes):
            raise TypeError("class_weights")
        if not all(type(weight) is float and 0 < weight < float("inf") for weight in saved):
            raise TypeError("class_weights")
        self.values = saved
        self._placed.clear()

    def of(self, targets: Tensor, like: Tensor) -> Tensor:
        """The weights (n,) of examples, with the type of `like`.

        From class numbers (n,), or from shares of classes (n, classes), whose weights are then blended alike.
        """
        place = like.device, like.dtype
        if place not in self._placed:  # many classes take long to be looked up among all constants
            self._placed[place] = constants(self.values or [1.0] * len(self.classes), like)
        weights = self._placed[place]
        if targets.is_floating_point():
            return targets.to(weights) @ weights
        return weights.index_select(0, targets)


def _stated(stated: Stated, classes: Sequence[str]) -> list[float]:
    """The weights that a config states; classes that it does not name have 1. Raises UserError."""
    if isinstance(stated, Mapping):
        for name in stated:
            if name not in classes:
                raise UserError(f"there is no class {shortened(name)}{nearest(name, classes)}")
        weights = [float(stated.get(name, 1.0)) for name in classes]
    else:
        weights = list(map(float, stated or ()))
        if len(weights) != len(classes):
            what = f"it has {len(weights)} weights for {len(classes)} classes {listed(classes)}"
            raise UserError(what, fix="give each class a weight, in this order, or some by their names")
    if not any(weights):
        raise UserError("no class has a weight above 0, so that nothing would be learnt")
    return weights
