"""The quantile (pinball) loss, of one or several quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from dlrun.data.examples import Data
from dlrun.data.trees import MAIN
from dlrun.errors import UserError

task = "regression"
of_estimates = True


def quantile(
    outputs: Tensor | dict[str, Tensor],
    targets: Tensor,
    *,
    levels: Sequence[Annotated[float, Gt(0), Lt(1)]] = (0.1, 0.5, 0.9),
) -> Tensor:
    """The mean over levels q of q · e for an error e = target - output above 0, and of (q - 1) · e below.

    It is smallest where the share q of the targets is below the output. The model gives a number for each
    level and target, (n, d) each. The level nearest to 0.5 is the estimate, `dlrun predict` shows the others
    beside it; they are learnt apart, so that one may cross another where examples are few. Gives (n,), in the
    target's unit, or in its standard deviations if the dataset scales it. Source: Koenker and Bassett 1978,
    doi 10.2307/1913643.

    Args:
        levels: Shares of the targets that lie below each output: 0.1 and 0.9 hold 80 % between them.
    """
    losses = []
    for level, name in zip(levels, _names(levels), strict=True):
        errors = targets - (outputs if isinstance(outputs, Tensor) else outputs[name])
        losses.append(torch.maximum(level * errors, (level - 1) * errors))
    return torch.stack(losses).mean((0, 2))


def outputs(data: Data, *, levels: Sequence[float]) -> int:
    """The number of outputs: one for each level and target. Raises UserError for levels that stand twice."""
    if not levels or len({*levels}) < len(levels):
        raise UserError("levels needs one or more shares, each of them once, such as [0.1, 0.5, 0.9]")
    return len(levels) * data.targets


def guess(errors: Tensor, *, levels: Sequence[float]) -> Tensor | dict[str, Tensor]:
    """The quantiles of the errors (n, d) of a guess."""
    ranked, last = errors.sort(0).values, len(errors) - 1
    each = {name: ranked[round(level * last)] for level, name in zip(levels, _names(levels), strict=True)}
    return each[MAIN] if len(levels) == 1 else each


def head(outputs: Tensor, *, levels: Sequence[float]) -> Tensor | dict[str, Tensor]:
    """The quantiles (n, d) of outputs (n, levels · d) by their names; of a single level the outputs."""
    if len(levels) == 1:
        return outputs
    return dict(zip(_names(levels), outputs.chunk(len(levels), -1), strict=True))


def quantiles(outputs: Tensor | dict[str, Tensor], *, levels: Sequence[float]) -> dict[float, Tensor]:
    """The quantiles (…, d) by their levels."""
    each = {MAIN: outputs} if isinstance(outputs, Tensor) else outputs
    return {level: each[name] for level, name in zip(levels, _names(levels), strict=True)}


def _names(levels: Sequence[float]) -> list[str]:
    """The names of the outputs: that of the level nearest to 0.5 is the one that predicts."""
    middle = min(levels, key=lambda level: abs(level - 0.5))
    return [MAIN if level == middle else f"quantile {level}" for level in levels]
