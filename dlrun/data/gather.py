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
        """True of inputs on the CPU that become floats by at most an offset and a scale."""
        plain = preprocessing.fill is None and preprocessing.quantiles is None
        are_precise = inputs.dtype == torch.float64 != preprocessing.dtype  # prepared as they are
        return (
            plain
            and not are_precise
            and preprocessing.dtype.is_floating_point
            and inputs.device.type == "cpu"
        )

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
