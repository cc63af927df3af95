"""The mean of the weights after all steps."""

from __future__ import annotations


def my_part(step: int, *, skip: int = 0) -> float:
    """The mean of the weights after each step but the first ones.

    An average is `x(step, *, …) -> float`: after each step, from 1 on, dlrun keeps that share of the averaged
    weights and adds the rest of the new ones; 0 forgets the average. Call the parameter `epoch` to be asked
    after each epoch instead, and add a second one `epochs` to be given the length of the run. With
    `update_bn = True` in the file, batch normalisation is measured anew for averaged weights.

    Args:
        skip: Steps before the first one that counts.
    """
    counted = step - skip
    return max(counted - 1, 0) / max(counted, 1)
