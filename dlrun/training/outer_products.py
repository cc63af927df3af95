"""The gradient of a weight matrix from those of outputs and inputs: gᵀ x or (xᵀ g)ᵀ, of which one is faster.

Where x is narrow, gᵀ x takes up to six times as long; where x is wide, (xᵀ g)ᵀ does, as its transposed copy
is slow. Autograd has gᵀ x of one matrix and (xᵀ g)ᵀ of stacked ones. Here it is the faster one if both give
the same bits, which is tried once for each shape.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

_NARROW = range(2, 16)  # features of x with which (xᵀ g)ᵀ is faster; with one, gᵀ x is a sum of rows


def turns(inputs: Tensor, outputs: int) -> bool:
    """True if the gradient of a layer with inputs ([copies,] n, features) is to be (xᵀ g)ᵀ."""
    usual, features = inputs.dim() == 3, inputs.shape[-1]
    faster = features in _NARROW and features < outputs
    if faster == usual or not inputs.is_contiguous():
        return usual
    is_same = _is_the_same(tuple(inputs.shape), outputs, inputs.dtype, torch.get_num_threads())
    return faster if is_same else usual


def outer_product(gradient: Tensor, inputs: Tensor, out: Tensor | None, *, turned: bool) -> Tensor:
    """The sum over examples of g xᵀ, ([copies,] outputs, features), into `out` if there is one.

    `gradient` is ([copies,] n, outputs) and `inputs` ([copies,] n, features).
    """
    product = torch.bmm if inputs.dim() == 3 else torch.mm
    if not turned:
        return product(gradient.mT, inputs, out=out)
    found = product(inputs.mT, gradient).mT
    return found.contiguous() if out is None else out.copy_(found)


@cache
def _is_the_same(shape: tuple[int, ...], outputs: int, dtype: torch.dtype, threads: int) -> bool:
    """True if both ways give the same bits on this processor with so many threads."""
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn(shape, generator=stream, dtype=dtype)
    gradient = torch.randn(*shape[:-1], outputs, generator=stream, dtype=dtype)
    one, other = (outer_product(gradient, inputs, None, turned=turned) for turned in (False, True))
    return torch.equal(one, other)
