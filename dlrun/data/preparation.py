"""The preprocessing of every input by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlrun.data.examples import Data
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.trees import Tree


@dataclass(frozen=True)
class Preparation:
    """The preprocessing of every input by its name; that of a single input has the name ""."""

    each: Mapping[str, Preprocessing]

    @classmethod
    def of(cls, fitted: Preprocessing | Mapping[str, Preprocessing], data: Data) -> Preparation:
        """The preprocessing of each input that `fit` gave; whole numbers are left as they are."""
        each = {}
        for name in data.shapes:
            own = fitted if isinstance(fitted, Preprocessing) else fitted.get(name, Preprocessing())
            each[name] = Preprocessing(dtype=torch.int64) if data.has_whole_numbers(name) else own
        return cls(each)

    @classmethod
    def of_single(cls, preprocessing: Preprocessing) -> Preparation:
        """The preprocessing of a single input."""
        return cls({"": preprocessing})

    @classmethod
    def restored(cls, saved: Mapping[str, Any], data: Data) -> Preparation:
        """The preprocessing in a checkpoint, as `state_dict` gave it. Raises TypeError if it is malformed."""
        several = not isinstance(data.input_shape, tuple)
        return cls.of(
            {n: Preprocessing(**of) for n, of in saved.items()} if several else Preprocessing(**saved), data
        )

    def __call__(self, inputs: Tree) -> Tree:
        if isinstance(inputs, Tensor):
            return self.each[""](inputs)
        return {name: own(inputs[name]) for name, own in self.each.items()}

    def undone(self, prepared: Tensor) -> Tensor:
        """A single input on its own scale, from a prepared one."""
        return self.each[""].undone(prepared)

    def suits(self, data: Data) -> bool:
        """True if it fits the inputs of a dataset (see `Preprocessing.suits`)."""
        return all(name in self.each and self.each[name].suits(shape) for name, shape in data.shapes.items())

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Preparation:
        """The same on a device, giving inputs of another type."""
        return Preparation({name: own.to(device, dtype) for name, own in self.each.items()})

    def state_dict(self) -> dict[str, Any]:
        """The steps of a single input, or of each by its name."""
        saved = {name: own.state_dict() for name, own in self.each.items()}
        return dict(saved.get("", saved))
