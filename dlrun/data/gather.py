"""Gather: batches of examples in memory, each written over the one before."""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.data.preprocessing import Preprocessing


class Gather:
    """Prepared batches of inputs (n, …) and targets (n, …), valid until the next one is gathered.

    They have the bits of `Split.batch`. As they are the same tensors each time, they stay in the processor's
    caches.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, preprocessing: Preprocessing) -> None:
        self._inputs, self._targets = inputs, targets
        self._offset, scale = preprocessing.offset, preprocessing.scale
        self._factor = None if scale is None else scale.reciprocal()
        self._raw = inputs.new_empty(0)
        self._prepared = torch.empty(0, dtype=preprocessing.dtype)

    @staticmethod
    def suits(inputs: Tensor, preprocessing: Preprocessing) -> bool:
        """True of inputs on the CPU that become floats by at most an offset and a scale of their type."""
        if preprocessing.fill is not None or preprocessing.quantiles is not None:
            return False
        kind = preprocessing.dtype
        if inputs.device.type != "cpu" or not kind.is_floating_point:
            return False
        if inputs.dtype == torch.float64 and kind != torch.float64:
            return False  # for they are prepared before they lose digits
        steps = [step for step in (preprocessing.offset, preprocessing.scale) if step is not None]
        # Inputs that are floats already take the type of a step that has more digits.
        return inputs.dtype != kind or all(torch.result_type(inputs, step) == kind for step in steps)

    def __call__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs (m, …) and targets (m, …) of the examples at these indices (m,)."""
        if self._prepared.shape[0] != indices.shape[0]:
            shape = (len(indices), *self._inputs.shape[1:])
            self._raw, self._prepared = self._raw.new_empty(shape), self._prepared.new_empty(shape)
        prepared = self._prepared
        if self._raw.dtype == prepared.dtype:
            torch.index_select(self._inputs, 0, indices, out=prepared)
        else:
            prepared.copy_(torch.index_select(self._inputs, 0, indices, out=self._raw))
        if self._offset is not None:
            prepared.sub_(self._offset)
        if self._factor is not None:
            prepared.mul_(self._factor)
        return prepared, self._targets.index_select(0, indices)
