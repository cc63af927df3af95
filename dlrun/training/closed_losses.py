"""The closed form of losses of classes: their derivatives by the kernels that autograd would call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor

from dlrun.blocks.tasks import Measure
from dlrun.training.log_softmax import LogSoftmax

_nll = torch.ops.aten.nll_loss_forward.default._op
_nll_backward = torch.ops.aten.nll_loss_backward.default._op
_NO_REDUCTION, _IGNORED = 0, -100  # PyTorch's number of reduction="none"; the class that its losses leave out


class ClosedLoss(Protocol):
    """A loss of outputs (n, classes) and targets (n,); `gradient` is that of the last `losses`."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example, (n,)."""
        ...

    def gradient(self, share: float) -> Tensor:
        """The gradient (n, classes) of `share` times their sum with respect to the outputs."""
        ...


class CrossEntropy:
    """-log softmax(o)[t]: its derivative with respect to o is softmax(o) - onehot(t)."""

    def __init__(self) -> None:
        self._share, self._shares, self._log_softmax = 0.0, torch.empty(0), LogSoftmax()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self._logs, self._targets = self._log_softmax.forward(outputs), targets
        losses, self._total = _nll(self._logs, targets, None, _NO_REDUCTION, _IGNORED)
        return cast(Tensor, losses)

    def gradient(self, share: float) -> Tensor:
        logs = self._logs
        if len(self._shares) != len(logs) or share != self._share:
            self._share, self._shares = share, logs.new_full((len(logs),), share)
        given = _nll_backward(self._shares, logs, self._targets, None, _NO_REDUCTION, _IGNORED, self._total)
        return self._log_softmax.backward(cast(Tensor, given))


class NegativeLogLikelihood:
    """-o[t]: its derivative with respect to o is -onehot(t)."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self._places, self._outputs = targets.unsqueeze(1), outputs
        return -outputs.gather(1, self._places).squeeze(1)

    def gradient(self, share: float) -> Tensor:
        return torch.zeros_like(self._outputs).scatter_(1, self._places, -share)


def closed_loss(measure: Measure) -> ClosedLoss | None:
    """The closed form of a loss of dlrun's without options; None of any other."""
    if not isinstance(measure, partial) or measure.args or measure.keywords:
        return None
    made = _CLOSED.get(getattr(measure.func, "__module__", ""))
    return made() if made else None


_CLOSED: dict[str, Callable[[], ClosedLoss]] = {
    "dlrun.loss.cross_entropy": CrossEntropy,
    "dlrun.loss.nll": NegativeLogLikelihood,
}
