"""The preprocessing of an input, and of every input of an example."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dlrun.data.devices import on_device
from dlrun.data.normal_ranks import are_quantiles, normal_ranks, of_normal_ranks


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of every input: `fill` replaces nan, then (input - offset) / scale, as `dtype`.

    Before that, the features `ranked` (k,) int64 of an input (features,) become the normal quantiles of their
    ranks among `quantiles` (k, q), see `normal_ranks`. A step that is None is left out.
    """

    offset: Tensor | None = None
    scale: Tensor | None = None
    fill: Tensor | None = None
    dtype: torch.dtype = torch.float32
    quantiles: Tensor | None = None
    ranked: Tensor | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        # A number such as a time in seconds loses digits in float32 unless it is centred first.
        prepared = inputs if inputs.dtype == torch.float64 else inputs.to(self.dtype)
        if self.fill is not None:
            prepared = torch.where(prepared.isnan(), self.fill, prepared)
        if self.quantiles is not None and self.ranked is not None:
            scores = normal_ranks(prepared.index_select(-1, self.ranked), self.quantiles)
            prepared = prepared.index_copy(-1, self.ranked, scores)
        if self.offset is not None:
            prepared = prepared - self.offset if prepared is inputs else prepared.sub_(self.offset)
        if self.scale is not None:
            factor = self.scale.reciprocal()  # dividing would take as long as all the rest
            prepared = prepared * factor if prepared is inputs else prepared.mul_(factor)
        return prepared.to(self.dtype)

    def undone(self, prepared: Tensor) -> Tensor:
        """Inputs on their own scale, as floats, from prepared ones."""
        given = prepared
        if self.scale is not None:  # an infinite one has mapped every number to 0
            prepared = prepared * torch.where(self.scale.isinf(), 0.0, self.scale)
        if self.offset is not None:
            prepared = prepared + self.offset if prepared is given else prepared.add_(self.offset)
        if self.quantiles is None or self.ranked is None:
            return prepared
        numbers = of_normal_ranks(prepared.index_select(-1, self.ranked), self.quantiles)
        return prepared.index_copy(-1, self.ranked, numbers)

    def in_unit(self, unit: float) -> Preprocessing:
        """The same for numbers that are given as x / unit."""
        offset = None if self.offset is None else self.offset / unit
        scale = torch.tensor(1 / unit) if self.scale is None else self.scale / unit
        return replace(self, offset=offset, scale=scale)

    def suits(self, shape: tuple[int, ...]) -> bool:
        """True if it keeps the shape of such inputs and can be finite; a hostile checkpoint's may not.

        An infinite scale is allowed: it maps a feature that was constant in training to 0.
        """
        try:
            steps = [step for step in (self.offset, self.scale, self.fill) if step is not None]
            shaped = all(not step.expand(shape).is_complex() and not step.isnan().any() for step in steps)
            finite = [step for step in (self.offset, self.fill) if step is not None]
            sound = all(bool(step.isfinite().all()) for step in finite)
            return shaped and sound and (self.scale is None or bool(self.scale.all())) and self._ranks(shape)
        except (AttributeError, RuntimeError):
            return False

    def _ranks(self, shape: tuple[int, ...]) -> bool:
        """True if the quantiles, should there be any, are those of features of a vector."""
        if self.quantiles is None or self.ranked is None:
            return self.quantiles is self.ranked
        return len(shape) == 1 and are_quantiles(self.quantiles, self.ranked, *shape)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Preprocessing:
        """The same on a device, giving inputs of another type; whole numbers stay whole numbers."""
        steps = {
            name: None if step is None else on_device(step, device)
            for name, step in self.state_dict().items()
        }
        return Preprocessing(**steps, dtype=dtype if self.dtype.is_floating_point else self.dtype)

    def state_dict(self) -> dict[str, Tensor | None]:
        steps = {"offset": self.offset, "scale": self.scale, "fill": self.fill}
        ranks = {"quantiles": self.quantiles, "ranked": self.ranked}
        return steps if self.quantiles is None else steps | ranks
