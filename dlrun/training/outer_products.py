"""The gradient of a weight matrix from those of outputs and inputs: gᵀ x or (xᵀ g)ᵀ, of which one is faster.

Of a narrow x gᵀ x takes up to six times as long; of a wide one (xᵀ g)ᵀ does, as its transposed copy is slow.
Autograd computes gᵀ x for one matrix and (xᵀ g)ᵀ for stacked ones. A layer takes the faster form if both give
the same bits, which is tried once for each shape of x and g.
"""

from __future__ import annotations

from functools import cache
from math import prod

import torch
from torch import Tensor

_NARROW = range(2, 16)  # features of x with which (xᵀ g)ᵀ is faster; with one, gᵀ x is a sum of rows
_MOST = 2**24  # numbers in x and g on which both are tried: a trial of more would take long
_TRIED = 4096  # sums that are compared at least


def is_turned(inputs: Tensor, outputs: int) -> bool:
    """True if the gradient of a layer with inputs ([copies,] n, features) is to be (xᵀ g)ᵀ."""
    by_autograd, features = inputs.dim() == 3, inputs.shape[-1]
    is_narrow = features in _NARROW and features < outputs
    numbers = prod(inputs.shape[:-1]) * (features + outputs)
    if is_narrow == by_autograd or not inputs.is_contiguous() or numbers > _MOST:
        return by_autograd
    has_its_bits = have_the_same_bits(tuple(inputs.shape), outputs, inputs.dtype, torch.get_num_threads())
    return is_narrow if has_its_bits else by_autograd


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
def have_the_same_bits(shape: tuple[int, ...], outputs: int, dtype: torch.dtype, threads: int) -> bool:
    """True if both forms give the same bits for such inputs on this processor with so many threads."""
    stream, sums = torch.Generator().manual_seed(0), prod(shape[:-2]) * shape[-1] * outputs
    for _ in range(-(-_TRIED // sums)):
        inputs = torch.randn(shape, generator=stream, dtype=dtype).relu_()  # many are 0, as behind a ReLU
        gradient = torch.randn(*shape[:-1], outputs, generator=stream, dtype=dtype)
        one, other = (outer_product(gradient, inputs, None, turned=turned) for turned in (False, True))
        if not torch.equal(bits(one), bits(other)):
            return False
    return True


def bits(numbers: Tensor) -> Tensor:
    """The bits of floating-point numbers as whole ones: 0 and -0 differ, and nan is itself."""
    return numbers.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[numbers.dtype.itemsize])
