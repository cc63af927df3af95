"""Shared code of architectures that take sequences: what they refuse, padding, the mean over positions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from dlrun.data.examples import Data
from dlrun.errors import UserError

PADDING = 0  # the id that fills up a sequence behind its end, if the vocabulary begins with ""


def refuse_other_than_sequences(shape: tuple[int, ...], data: Data) -> None:
    """Raise UserError unless inputs are ids (length,) or a series (length, features).

    Raises it too if the targets are neither one row for an example nor one for each position.
    """
    if len(shape) != (1 if data.vocabulary else 2):
        series = "give a series as (length, features), with 1 feature if it is one number at a time"
        fix = "give the ids of an example as (length,)" if data.vocabulary else series
        raise UserError(f"it takes sequences, but the inputs are {'×'.join(map(str, shape))}", fix=fix)
    if data.places not in ((), shape[:1]):
        places = "×".join(map(str, data.places))
        raise UserError(
            f"it gives a class for each of {shape[0]} positions, but the targets have {places} places",
            fix=f"give targets (n, {shape[0]}), or (n,) for a class of the whole sequence",
        )


def is_padded(data: Data) -> bool:
    """True if id 0 is no token, but fills up shorter sequences."""
    return data.vocabulary[:1] == ("",)


def pooled(x: Tensor, real: Tensor | None, pooling: Literal["mean", "sum", "max"] = "mean") -> Tensor:
    """The mean, sum or maximum over the positions, (batch, length, width) -> (batch, width).

    Only over those where `real` (batch, length) is True, if it is given; where there are none it is 0.
    """
    if pooling == "max":
        if real is None:
            return x.amax(1)
        highest = x.masked_fill(~real.unsqueeze(2), float("-inf")).amax(1)
        return highest.masked_fill(~real.any(1, keepdim=True), 0.0)
    if real is None:
        return x.mean(1) if pooling == "mean" else x.sum(1)
    ones = real.to(x.dtype)
    total = (ones.unsqueeze(1) @ x).squeeze(1)
    return total / ones.sum(1, keepdim=True).clamp_min(1) if pooling == "mean" else total
