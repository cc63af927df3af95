"""A class at each place of an example: at the positions of a sequence, at the pixels of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.class_reports import Confusions, constant_guesses, decision_of, seen_by
from dlrun.blocks.decisions import Decision
from dlrun.blocks.tasks import (
    LossPart,
    Measure,
    Metric,
    Report,
    Task,
    guess_for_all,
    mean_of,
    targets_in_pieces,
)
from dlrun.data.example_weights import counted, wide
from dlrun.data.examples import Data, Shape, Split
from dlrun.data.misfits import AT_ONCE, wrong_classes, wrong_shape
from dlrun.data.trees import Tree, main_outputs, single
from dlrun.errors import UserError

IGNORED = -100  # the target of a place that does not count, as in PyTorch's cross entropy
MOST_CLASSES = 256  # of which confusions are reported


class ClassAtPlaces(Task):
    """The outputs (n, k, *places) are scores of the classes at each place; targets are (n, *places).

    Losses and metrics of a classification judge each place as if it were an example: outputs (m, k) and
    targets (m,). Places whose target is IGNORED do not count, and each other place of a split counts the
    same, as in PyTorch's cross entropy.
    """

    decision: Decision
    metrics: tuple[str, ...] = ("accuracy",)
    places_name = "places"  # what they are called in tables

    def __init__(self, data: Data, loss: LossPart) -> None:
        super().__init__(data, loss)
        if not data.places:
            raise UserError(f"{data.task} needs Data(places=…), the shape of the targets of one example")
        if loss.is_batchwise and not loss.has_places:
            what = f"{loss.name} judges a batch as a whole, but is given each place as an example"
            fix = f"set places = True in its file; then targets are (n, …), {IGNORED} where none counts"
            raise UserError(what, fix=fix)
        self.decision = decision_of(loss, self.outputs, len(data.classes))

    def usual_outputs(self) -> int:
        return len(self.data.classes)

    def output_shape(self) -> Shape:
        return (self.outputs, *self.data.places)

    def rows(self, outputs: Tensor) -> Tensor:
        return rows_of(outputs)

    def made_up_targets(self, n: int) -> Tensor:
        return torch.zeros(n, *self.data.places, dtype=torch.long)

    def misfit(self, targets: Tree) -> str:
        targets, places = single(targets, "the targets"), self.data.places
        mistake, count = wrong_shape(targets, places, f"Data states places={places}"), 0
        for some in targets.split(AT_ONCE):
            counted = some[some != IGNORED]
            count += counted.numel()
            if counted.numel():
                mistake = mistake or wrong_classes(counted, len(self.data.classes))
        return mistake or ("" if count else f"every target is {IGNORED}, which does not count")

    def judge(self, measure: Measure) -> Measure:
        if self.loss.has_places:
            return measure

        def judged(outputs: Tree, targets: Tree) -> Tensor:
            flat, counts = flat_and_counted(targets)
            # Outputs where none counts may be of any size, and 0 · inf would be nan, in the gradient too.
            rows = torch.where(counts.view(-1, 1), rows_of(main_outputs(outputs)), 0.0)
            figures = measure(rows, flat.clamp_min(0))
            weights = None
            if self.loss.class_weights:  # w · loss and w of each place
                figures, weights = figures.unbind(1)
            if figures.shape != flat.shape:
                raise ValueError(f"it gives shape {tuple(figures.shape)} for {len(flat)} places")
            kept = torch.where(counts, figures.view(counts.shape), 0.0)
            each = counts if weights is None else torch.where(counts, weights.view(counts.shape), 0.0)
            return torch.stack([kept.sum(1), each.sum(1).to(kept)], 1)

        return judged

    @property
    def is_weighted(self) -> bool:
        return not self.loss.has_places

    def metric(self, metric: Metric) -> Metric:
        change = seen_by(metric, self.decision)

        def seen(outputs: Tensor) -> Tensor:
            return change(outputs) if change else outputs

        if metric.has_places:
            if change is not None:
                what = "is given outputs with their places, so that the loss may state no probabilities"
                raise UserError(f"it {what}, and it may not ask for them")
            return replace(metric, measure=lambda o, t: metric.measure(main_outputs(o), t))

        def of_split(outputs: Tree, targets: Tree) -> Tensor:
            flat, counts = flat_and_counted(targets)
            there = counts.flatten()
            return metric.measure(seen(rows_of(main_outputs(outputs))[there]), flat[there])

        def of_batch(outputs: Tree, targets: Tree) -> Tensor:
            flat, counts = flat_and_counted(targets)
            found = metric.measure(seen(rows_of(main_outputs(outputs))), flat.clamp_min(0))
            figures = found.double() if found.device.type != "mps" else found.float()
            kept = torch.where(counts.unsqueeze(2), figures.view(*counts.shape, -1), 0.0)
            return torch.cat([kept.sum(1), counts.sum(1, keepdim=True).to(kept)], 1)

        if metric.whole:
            return replace(metric, measure=of_split)

        def finish(means: list[float]) -> float:
            return metric.finish([mean_of([mean, means[-1]]) for mean in means[:-1]])

        return replace(metric, measure=of_batch, finish=finish, has_finish=True)

    def guesses(self, training: Split, split: Split) -> dict[str, Tensor]:
        """The constant model whose probabilities are the shares of the classes in training.

        With `class_weight` there is a second one, of the shares that they have in the loss.
        """
        counts, judged = map(self.class_counts, (training, split))
        shape = (-1, *[1] * len(self.data.places))
        return {
            name: guess_for_all(constant.view(shape).expand(-1, *self.data.places), split)
            for name, constant in constant_guesses(counts, judged, self.loss, self.decision).items()
        }

    def report(self, copies: int) -> Report:
        if len(self.data.classes) > MOST_CLASSES:
            return Report()
        return _ConfusionsOfPlaces(self.data.classes, self.decision, copies, self.places_name)

    def decided(self, outputs: Tensor) -> Tensor:
        """The classes (*places) that copies predict together for one input, from the outputs (copies, …)."""
        return self.decision.decide_together(outputs.movedim(1, -1))

    def answers(self, outputs: Tree) -> dict[str, Tensor]:
        """`probabilities` (n, classes, *places), and `class` (n, *places), the predicted ones."""
        of_places = main_outputs(outputs).movedim(2, -1)
        shares = self.decision.probabilities(of_places).mean(0).movedim(-1, 1)
        return {"probabilities": shares, "class": self.decision.decide_together(of_places)}

    def facts(self, split: Split) -> dict[str, Any]:
        counts = self._counts(split)
        return {"classes": dict(zip(self.data.classes, counts.tolist(), strict=True))}

    def _counts(self, split: Split) -> Tensor:
        """The number of places of each class (classes,) in a split, on its device."""
        counts = torch.zeros(len(self.data.classes), dtype=torch.long, device=split.device)
        for targets, _ in targets_in_pieces(split):
            counts += torch.bincount(targets[targets != IGNORED], minlength=len(counts))
        return counts

    def class_counts(self, split: Split) -> Tensor:
        """The number (classes,) of places of each class, each as often as the weight of its example says."""
        if split.weights is None:
            return self._counts(split)
        counts = wide(torch.zeros(len(self.data.classes), device=split.device))
        for targets, weights in targets_in_pieces(split):
            assert weights is not None, "the split has weights"
            there = targets != IGNORED
            each = weights.view(-1, *[1] * (targets.dim() - 1)).expand(targets.shape)
            counts += counted(targets[there], each[there], len(counts))
        return counts


class _ConfusionsOfPlaces(Confusions):
    """The confusions over all places that count."""

    def __init__(self, classes: Sequence[str], decision: Decision, copies: int, places_name: str) -> None:
        super().__init__(classes, decision, copies)
        self.places_name = places_name

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        return {"counted": self.places_name} | super().sections(seeds)

    def add_copy(self, index: int, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        flat = targets.flatten()
        there = flat != IGNORED
        each = None if weights is None else weights.repeat_interleave(targets[0].numel())[there]
        super().add_copy(index, rows_of(outputs)[there], flat[there], each)


def flat_and_counted(targets: Tree) -> tuple[Tensor, Tensor]:
    """The targets (n, *places) of all places in a row, (m,), and which of them count, (n, places)."""
    of_places = single(targets, "the targets")
    return of_places.flatten(), (of_places != IGNORED).flatten(1)


def rows_of(outputs: Tensor) -> Tensor:
    """The outputs (n, k, *places) as rows, (n · places, k)."""
    return outputs.movedim(1, -1).reshape(-1, outputs.shape[1])
