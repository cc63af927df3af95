"""The place within an epoch from which a run goes on: its steps, the sums of its figures, random streams."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from dlrun.training.augmentation import Augmentation
from dlrun.training.copies import Copies
from dlrun.training.meters import DeviceMeter, Meter


@dataclass
class WithinEpoch:
    """The state within an epoch beside the weights and the optimizer, which ends with it.

    A copy draws its dropout and its augmentations from streams that begin anew with each epoch, so amid one
    their positions have to be kept, as the sums of the meter.
    """

    model: Copies
    augment: Augmentation
    meter: Meter | DeviceMeter
    step: int = 0  # steps done
    earlier: float = 0.0  # seconds that were spent on them before the run was resumed

    def __post_init__(self) -> None:
        self._started = perf_counter()

    @property
    def seconds(self) -> float:
        """The seconds since the epoch began, without those in which the run did not train."""
        return self.earlier + perf_counter() - self._started

    def go_on(self, saved: dict[str, Any]) -> None:
        """Go on after the steps of `state_dict`. Raises RuntimeError if a random stream is none."""
        assert isinstance(self.meter, Meter)
        self.meter.go_on(saved["step"], {name: sums.tolist() for name, sums in saved["sums"].items()})
        self.model.streams.positions = list(saved["dropout"])
        for stream, position in zip(self.augment.streams, saved["augmentation"], strict=True):
            stream.set_state(position)
        self.step, self.earlier = saved["step"], saved["seconds"]

    def state_dict(self) -> dict[str, Any] | None:
        """The place as plain values and tensors, for `go_on`; None on an accelerator.

        There its sums and streams may be part of a recorded step, from which they are not read. Of several
        processes, which all have to call it, the sums are those of all.
        """
        if not isinstance(self.meter, Meter):
            return None
        sums = self.meter.sums_of_all()
        return {
            "step": self.step,
            "seeds": list(self.model.seeds),
            "seconds": self.seconds,
            "sums": {name: torch.tensor(own, dtype=torch.float64) for name, own in sums.items()},
            "dropout": list(self.model.streams.positions),
            "augmentation": [stream.get_state() for stream in self.augment.streams],
        }
