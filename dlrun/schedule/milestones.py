"""A learning rate that drops by a factor after given epochs."""

from __future__ import annotations

from collections.abc import Sequence

from dlrun.config.options import Positive


def milestones(progress: float, epochs: int, *, at: Sequence[Positive], factor: Positive = 0.1) -> float:
    """Multiply the learning rate by a factor after given epochs.

    `progress` goes from 0 to 1 over the `epochs` of the run. Raises ValueError for an epoch beyond the last.

    Args:
        at: Epochs after which the rate drops, such as [30, 60].
        factor: Multiple of the rate that is left at each drop.

    Example:
        schedule: {name: milestones, at: [5, 8], factor: 0.1}
    """
    if max(at, default=0) >= epochs:
        raise ValueError(f"after epoch {max(at):g} nothing of {epochs} epochs is left")
    return float(factor ** sum(progress * epochs + 1e-9 >= epoch for epoch in at))
