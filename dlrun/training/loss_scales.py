"""Loss scaling for float16, for each seed by itself."""

from __future__ import annotations

from typing import Any

import torch

from dlrun.training.copies import Copies


class LossScales:
    """A factor on each copy's loss, so that one whose gradients overflow holds back no other.

    A copy that overflows passes over the step, and its factor is halved; it doubles after STEADY
    steps without. PyTorch's GradScaler does the same with one factor for all.
    """

    STEADY = 2000

    def __init__(self, copies: int) -> None:
        self.factors = [65536.0] * copies
        self.steady = [0] * copies  # steps since the factor changed
        self.active = list(range(copies))  # the copies that train

    def state_dict(self) -> dict[str, Any]:
        return {"factors": list(self.factors), "steady": list(self.steady)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.factors, self.steady = list(saved["factors"]), list(saved["steady"])

    def unscale(self, model: Copies) -> None:
        """Divide the gradients of the active copies by their factors again; drop those that overflowed."""
        gradients = [[p.grad for p in copy.parameters() if p.grad is not None] for copy in model.copies]
        whole = [torch.stack([torch.isfinite(g).all() for g in each]).all() for each in gradients]
        for place, finite in enumerate(torch.stack(whole).tolist()):
            index = self.active[place]
            if finite:
                torch._foreach_div_(gradients[place], self.factors[index])
                self.steady[index] += 1
            else:
                model.copies[place].zero_grad()  # to None: optimizers leave alone what has no gradient
                self.factors[index] /= 2
                self.steady[index] = 0
            if self.steady[index] == self.STEADY:
                self.factors[index] *= 2
                self.steady[index] = 0
