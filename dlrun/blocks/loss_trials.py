"""Trials of losses on made-up outputs: are these logits, the largest of which predicts the class?"""

from __future__ import annotations

import torch
from torch import Tensor

from dlrun.blocks.decisions import Decision
from dlrun.blocks.tasks import LossPart
from dlrun.errors import UserError

_TRIED, _TRIED_CLASSES = 64, 4  # made-up outputs, and classes


def refuse_other_classes(loss: LossPart, decision: Decision) -> None:
    """Raise UserError if a loss takes probabilities, or is no smaller where the true class is predicted.

    A few classes are tried. A loss that judges no example by itself, or by its inputs, or takes no such
    outputs, is not.
    """
    if loss.is_batchwise or loss.has_places or loss.takes_inputs or decision.classes < 2:
        return
    made_up = _random(_TRIED, decision.outputs)
    shares = made_up.softmax(-1) if decision.outputs > 1 else made_up.sigmoid()
    _refuse_probabilities(loss, 3 * made_up, torch.arange(_TRIED) % decision.classes, shares)
    for number in range(min(_TRIED_CLASSES, decision.classes)):
        if decision.outputs == 1:
            sign = 1 if number else -1
            likely, unlikely = sign * (1 + made_up.abs()), -sign * (1 + made_up.abs())
        else:
            likely, unlikely = made_up.clone(), made_up.clone()
            likely[:, number] = made_up.amax(1) + 1
            unlikely[:, number] = made_up.amin(1) - 1
        figures = _figures(loss, torch.cat([likely, unlikely]), torch.full((2 * _TRIED,), number))
        if figures is None or bool((figures == figures[0]).all()):
            return
        if not bool(figures[:_TRIED].mean() < figures[_TRIED:].mean()):
            what = f"{loss.name} is not smaller where the output of the true class is the largest"
            raise UserError(what, fix="define probabilities(outputs), those of the classes, in its file")


def refuse_other_labels(loss: LossPart, labels: int) -> None:
    """Raise UserError if a loss of labels (n, labels), which are 0 or 1, takes no logits."""
    if loss.is_batchwise or loss.make or loss.takes_inputs:
        return
    targets = torch.stack([torch.zeros(labels), torch.ones(labels)])
    made_up = 3 * _random(2, labels)
    _refuse_probabilities(loss, made_up, targets, made_up.sigmoid())
    sure = 3.0 * (2 * targets - 1)
    figures = _figures(loss, torch.cat([sure, 0 * sure]), targets.repeat(2, 1))
    if figures is not None and not bool(figures[:2].mean() < figures[2:].mean()):
        what = f"{loss.name} is not smallest where a label's output is far from 0 on its side"
        raise UserError(f"{what}: the outputs of a task multilabel are logits", fix="take bce")


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _refuse_probabilities(loss: LossPart, logits: Tensor, targets: Tensor, shares: Tensor) -> None:
    """Raise UserError if a loss has no finite figures for logits (n, k), but has them for probabilities."""
    if _figures(loss, logits, targets) is None and _figures(loss, shares, targets) is not None:
        what = f"{loss.name} takes probabilities, and the outputs of a model are taken for logits"
        fix = "leave out the softmax or sigmoid of the model, and take a loss of logits, such as "
        raise UserError(what, fix=fix + "F.cross_entropy or F.binary_cross_entropy_with_logits")


def _figures(loss: LossPart, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """The losses (n,) of made-up outputs; None if it has none, or not all are finite.

    A loss that fails here is refused where it is tried on the outputs of the model.
    """
    try:
        with torch.no_grad():
            figures = loss.measure(outputs, targets)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, AssertionError):
        return None
    is_right = (
        isinstance(figures, Tensor) and figures.shape == (len(outputs),) and figures.is_floating_point()
    )
    return figures if is_right and bool(figures.isfinite().all()) else None
