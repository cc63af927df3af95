"""A learning rate that falls by the root of the steps."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Lt


def inverse_sqrt(progress: float, *, warmup: Annotated[float, Gt(0), Lt(1)] = 0.1) -> float:
    """Linear warm-up to 1, then decay by one over the root of the steps, as of the first transformer.

    `progress` goes from 0 to 1 over the run. Source: Vaswani et al. 2017, arXiv 1706.03762.

    Args:
        warmup: Share of the run in which the rate rises from 0 to its full value.
    """
    return min(progress / warmup, (warmup / progress) ** 0.5) if progress else 0.0
