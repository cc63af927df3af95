"""`dlrun eval --csv`: each example of a split with its truth, its prediction and its loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from dlrun.errors import UserError
from dlrun.training.trained import Trained

MOST_CLASSES = 20  # whose probabilities are all shown
_OWN = ("input", "true", "trained_on", "weight", "loss")  # entries of every row


def judged_examples(trained: Trained, split: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each example of a split, that with the largest loss first.

    It has the name as `input`, the `true` class or number, the prediction as `dlrun predict` gives it, and
    the `loss`, a mean over seeds; of many classes the probabilities of the true and the predicted one. With
    `trained_on`, where that is known, "yes" marks what was trained on, and `weight` is that of the example. A
    loss of whole batches is no figure of an example, and examples with a class at each place have their loss
    alone.
    """
    outputs, losses = trained.judged(split, torch.arange(len(trained.loaded[split])))
    order = list(range(len(trained.loaded[split])))
    if not trained.plan.loss.is_batchwise:
        means = losses.double().mean(0)
        order = means.nan_to_num(-torch.inf).argsort(descending=True, stable=True).tolist()
    yield from judged_rows(trained, split, outputs, losses, order)


def judged_rows(
    trained: Trained, split: str, outputs: Tensor, losses: Tensor, order: Iterable[int]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split's examples in some `order`, by outputs (copies, n, …) and losses (copies, n).

    These may be of more copies than the model has, such as those of other runs on the same examples.
    """
    plan, examples = trained.plan, trained.loaded[split]
    seen, weights, targets = trained.seen(split), trained.weights(split), None
    with suppress(UserError):  # several tensors, of which none is the truth
        targets = None if plan.task.are_inputs_targets else examples.targets.cpu()
    means = None if plan.loss.is_batchwise else losses.double().mean(0)
    for index in order:
        row: dict[str, Any] = {"input": trained.name_of(split, index) or f"example {index + 1}"}
        if not plan.data.places:
            row |= {} if targets is None else plan.task.truth(targets[index])
            row |= _prediction(plan.task.row(outputs[:, index]), row)
        row |= {} if seen is None else {"trained_on": "yes" if seen[index] else "no"}
        row |= {} if weights is None else {"weight": float(weights[index])}
        yield row | ({} if means is None else {"loss": float(means[index])})


def _prediction(row: Mapping[str, Any], truth: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a prediction, without the probabilities of classes if there are many."""
    found = {"prediction" if key in _OWN else key: value for key, value in row.items()}
    shares = found.get("probabilities", {})
    if len(shares) > MOST_CLASSES and "class" in found:
        found["probability of true"] = shares[truth["true"]]
        del found["probabilities"]
    return found
