"""The mean of the weights after the last epochs."""

from __future__ import annotations

from dlrun.config.options import Fraction

# Averaged weights have other activations than those whose running statistics were averaged.
update_bn = True


def swa(epoch: int, epochs: int, *, start: Fraction = 0.75) -> float:
    """Stochastic weight averaging: the mean of the weights after each of the last epochs.

    Until then the average is the weights themselves. A rate that stays high, such as that of the schedule
    constant, lets them move around the minimum. Batch normalisation is measured anew on the training batches
    of each averaged epoch. Source: Izmailov et al. 2018, arXiv 1803.05407.

    Args:
        start: Share of the epochs after which averaging begins.
    """
    averaged = epoch - int(start * epochs + 1e-9)  # 0.29 · 100 is less than 29
    return max(averaged - 1, 0) / max(averaged, 1)
