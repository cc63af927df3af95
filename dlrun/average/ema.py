"""An exponential moving average of the weights."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Lt


def ema(step: int, *, decay: Annotated[float, Ge(0), Lt(1)] = 0.999, warmup: bool = True) -> float:
    """An exponential moving average: after each step, decay · average + (1 - decay) · weights.

    Running statistics of batch normalisation are averaged alike. `step` is the number of steps so far, from
    1. Source: Polyak and Juditsky 1992, doi:10.1137/0330046; for deep networks Tarvainen and Valpola 2017,
    arXiv 1703.01780.

    Args:
        decay: Share of the average that each step keeps; it spans about 1 / (1 - decay) steps.
        warmup: Keep at most (1 + step) / (10 + step), so that the first weights are soon forgotten.
    """
    return min(decay, (1 + step) / (10 + step)) if warmup else decay
