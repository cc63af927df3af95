"""Limited-memory BFGS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from dlrun.config.options import Count, Positive


def lbfgs(
    parameters: Iterable[Tensor],
    *,
    lr: Positive = 1.0,
    iterations: Count = 20,
    history: Count = 10,
    line_search: Literal["strong_wolfe"] | None = "strong_wolfe",
) -> torch.optim.Optimizer:
    """L-BFGS: several quasi-Newton iterations on each batch, for small models and `batch_size: full`.

    A step computes the loss up to about 1.25 · `iterations` times. Source: Liu and Nocedal 1989.

    Args:
        lr: Length of a step along the direction of the iteration, with a line search the first that is tried.
        iterations: Most iterations in a step.
        history: Earlier iterations of which the curvature is estimated; memory grows with it.
        line_search: Search for the length of each step that fulfils the strong Wolfe conditions; null: lr is
            the length.
    """
    return torch.optim.LBFGS(
        parameters, lr=lr, max_iter=iterations, history_size=history, line_search_fn=line_search
    )
