"""Log softmax in closed form, several times as fast as PyTorch's for few classes, with the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from dlrun.training.outer_products import bits

_forward = torch.ops.aten._log_softmax.out._op
_backward = torch.ops.aten._log_softmax_backward_data.out._op
_FEWEST = 640  # outputs of a batch, from which on the copies into another layout pay
_REGISTER = 64  # bytes of the widest vector register
_TRIED = 8192  # examples on which the bits are compared


class LogSoftmax:
    """Log softmax over the classes of outputs (…, classes); the layer of a closed form.

    For the last axis PyTorch's kernel takes one example at a time, whose few classes fill a part of a vector
    register. For another axis it fills registers with examples. With fewer classes than a register holds
    both add in the same order; their bits are compared once for each shape.
    """

    weights: Sequence[Tensor] = ()

    def __init__(self) -> None:
        self._shape, self._rooms = torch.Size(), list[Tensor]()
        self._logs = torch.empty(0)

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.shape != self._shape:
            self._shape, self._rooms = inputs.shape, _rooms(inputs.flatten(0, -2))
        if not self._rooms:
            self._logs = inputs.log_softmax(-1)
            return self._logs
        return _by_class(self._rooms, inputs)

    def backward(self, gradient: Tensor, is_lowest: bool = False, is_own: bool = False) -> Tensor:
        if not self._rooms:
            return torch._log_softmax_backward_data(gradient, self._logs, -1, gradient.dtype)
        return _gradient_by_class(self._rooms, gradient)


def _by_class(rooms: Sequence[Tensor], outputs: Tensor) -> Tensor:
    """Log softmax of outputs (…, classes), a class of all examples after the other."""
    values, logs, _ = rooms
    _fill(values, outputs)
    return _rows(_forward(values, 0, False, out=logs), outputs)


def _gradient_by_class(rooms: Sequence[Tensor], gradient: Tensor) -> Tensor:
    """The gradient of the outputs that `_by_class` was given last, from that of their log softmax."""
    values, logs, of_values = rooms
    _fill(values, gradient)
    return _rows(_backward(values, logs, 0, values.dtype, out=of_values), gradient)


def _rooms(examples: Tensor) -> list[Tensor]:
    """Tensors for values, their logarithms and gradients, (classes, n); none where they would not pay.

    n is rounded up to full registers: PyTorch computes the rest of a row by other functions.
    """
    (n, classes), dtype = examples.shape, examples.dtype
    if not 1 < classes < _REGISTER // dtype.itemsize or n * classes < _FEWEST:
        return []
    is_same = have_the_same_bits(n, classes, dtype, torch.get_num_threads())
    return _empty_rooms(n, classes, dtype) if is_same else []


def _empty_rooms(n: int, classes: int, dtype: torch.dtype) -> list[Tensor]:
    full = _REGISTER // dtype.itemsize
    return [torch.zeros(classes, -(-n // full) * full, dtype=dtype) for _ in range(3)]


def _fill(room: Tensor, rows: Tensor) -> None:
    """Copy rows (…, classes) into a room (classes, n)."""
    examples = rows.flatten(0, -2)
    room[:, : len(examples)].copy_(examples.t())


def _rows(room: Tensor, like: Tensor) -> Tensor:
    """The figures in a room (classes, n) as rows (…, classes)."""
    return room[:, : like.numel() // len(room)].t().contiguous().view(like.shape)


@cache
def have_the_same_bits(n: int, classes: int, dtype: torch.dtype, threads: int) -> bool:
    """True if both kernels give the same bits for such batches on this processor with so many threads."""
    rooms, stream = _empty_rooms(n, classes, dtype), torch.Generator().manual_seed(0)
    for _ in range(-(-_TRIED // n)):
        outputs = 4 * torch.randn(n, classes, generator=stream, dtype=dtype)
        gradient = torch.randn(n, classes, generator=stream, dtype=dtype) / n
        logs = outputs.log_softmax(-1)
        if not torch.equal(bits(_by_class(rooms, outputs)), bits(logs)):
            return False
        expected = torch._log_softmax_backward_data(gradient, logs, -1, dtype)
        if not torch.equal(bits(_gradient_by_class(rooms, gradient)), bits(expected)):
            return False
    return True
