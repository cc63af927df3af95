"""The meaning of a model's outputs: the class that the files of `dlrun/task/` refine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from dlrun.blocks.class_weights import ClassWeights
from dlrun.blocks.decisions import Decision
from dlrun.blocks.teachers import Teacher
from dlrun.data.examples import Data, Shape, Split
from dlrun.data.trees import MAIN, Tree, main_outputs, single
from dlrun.errors import UserError

# outputs, targets of some examples -> a row of figures for each; some losses take inputs as a third
Measure = Callable[..., Tensor]
Judge = Callable[[Measure], Measure]
SPREAD = "deviation"  # the output of a loss's head that is a distance, and so has a unit but no origin


def mean_of(means: list[float]) -> float:
    """The mean of a figure; of figures with weights, whose means are (w · figure, w), the weighted mean."""
    if len(means) == 1:
        return means[0]
    return means[0] / means[1] if means[1] else math.nan


@dataclass(frozen=True)
class Metric:
    """A metric over a split: `measure` gives (n,) or (n, k), `finish` reduces their means to one figure.

    One of the `whole` split gives a single figure for all outputs (n, …) and targets (n, …) of a copy, on the
    CPU. It is measured where a split is evaluated, not over the changing weights of an epoch. `sees` is the
    name of its first parameter: outputs, probabilities or log_probabilities. With `has_places` it is given
    outputs and targets with their places, else each place as an example. `with_weights` makes the measure of
    a whole split from the weights (n,) of its examples, if it takes them. One `by_threshold` is given scores
    by which the thresholds of the task decide.
    """

    measure: Measure
    finish: Callable[[list[float]], float] = mean_of
    has_finish: bool = True  # else it gives (n,), or one figure of the whole split
    whole: bool = False
    sees: str = "outputs"
    has_places: bool = False
    with_weights: Callable[[Tensor], Measure] | None = None
    by_threshold: bool = False


@dataclass(frozen=True)
class LossPart:
    """A loss with its options, and what its file states about the outputs that it takes."""

    name: str
    measure: Measure  # outputs, targets[, inputs] -> (n,)
    outputs: Callable[[Data], int] | None = None  # the number of outputs that it needs
    probabilities: Callable[[Tensor], Tensor] | None = None  # (…, k) -> (…, classes)
    constant: Callable[[Tensor], Tensor] | None = None  # shares (classes,) -> outputs (k,)
    make: Callable[[nn.Module, Judge], nn.Module] | None = None  # joins a model and a loss with weights
    is_batchwise: bool = False  # it judges a batch as a whole, so that its figure depends on the batch size
    has_places: bool = False  # it is given outputs and targets with their places, not each place by itself
    of_estimates: bool = False  # it says itself that the outputs estimate the targets; else it is tried
    head: Callable[[Tensor], Tree] | None = None  # (n, k) of a model -> the outputs that the loss takes
    guess: Callable[[Tensor], Tree] | None = None  # errors (n, d) of a guess -> outputs (d,) of such a model
    quantiles: Callable[[Tree], Mapping[float, Tensor]] | None = None  # outputs -> (…, d) by their levels
    needs_own_unit: bool = False  # it takes no scaled targets
    label_smoothing: float = 0.0  # share of each target that is spread over all classes
    class_weights: ClassWeights | None = None
    takes_inputs: bool = False  # it is given outputs, targets and the inputs of the model
    teacher: Teacher | None = None  # the model of another run with which it compares the outputs


class Report:
    """The part of an evaluation that a task adds to loss and metrics, accumulated batch by batch: nothing.

    One whose `add` has a third parameter `weights` is given those of the examples, (copies, batch).
    """

    def add(self, outputs: Tree, targets: Tree, weights: Tensor | None = None) -> None:
        """Add a batch: outputs and targets (copies, batch, …)."""

    def figures(self) -> dict[str, list[float]]:
        """Further figures, one for each copy."""
        return {}

    def sections(self, seeds: list[int]) -> dict[str, Any]:
        """Further sections of the report, as values that JSON can hold."""
        return {}

    def warnings(self) -> list[str]:
        """Lines on figures of the report that cannot be trusted."""
        return []


class Task:
    """The meaning of a model's outputs, for a dataset and a loss; a file of `dlrun/task/` makes one.

    This one leaves the meaning open: there is a loss, and no baseline, prediction or picture. A task with
    more to say refines its methods. `decision` predicts a class, None in a task without classes.
    `are_estimates` is True if outputs estimate the targets, so that the difference of both is an error. With
    `are_inputs_targets` the targets are the inputs. If a model `continues` texts, the class at each place is
    the token that follows, which no output before it may have seen. One that `is_evaluated_shuffled` has
    batches of a fixed random order, for a loss that compares the examples of a batch, and its guesses have
    metrics alone. If it `has_own_space`, outputs of one model are not compared with those of another.
    Each of the `positives`, the second of two classes or the labels, may be predicted above another
    probability than 1/2. `metrics` and `plots` are those that `dlrun eval` adds to the config's. If
    predictions are images, `image_name` says what one is, such as mask.
    """

    decision: Decision | None = None
    are_estimates: bool = False
    are_inputs_targets: bool = False
    continues: bool = False
    is_evaluated_shuffled: bool = False
    has_own_space: bool = False
    positives: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()
    image_name: str = ""

    def __init__(self, data: Data, loss: LossPart) -> None:
        self.data, self.loss = data, loss
        self.outputs = self.needed_outputs()

    # ---------------------------------------------------------------- outputs and targets

    def needed_outputs(self) -> int:
        """The number of outputs of a model: that which the loss states, or one for each class or target.

        With a head of the loss it is that of the outputs that predict.
        """
        stated = None if self.loss.head else self.loss.outputs
        return stated(self.data) if stated else self.usual_outputs()

    def usual_outputs(self) -> int:
        """The number of outputs for a loss that does not state how many it needs."""
        return len(self.data.classes) or self.data.targets

    def output_shape(self) -> Shape | None:
        """The shape of the outputs of one example, without further ones by name; None: any."""
        return None

    def fits(self, shape: Shape) -> bool:
        """True if outputs of a shape are those that the task needs."""
        return self.output_shape() in (None, shape)

    def rows(self, outputs: Tensor) -> Tensor:
        """The outputs (n, …) of examples as rows that each predict one class, (m, k)."""
        return outputs

    def made_up_targets(self, n: int) -> Tree | None:
        """Targets (n, …) that examples of this task could have, to try parts on; None: unknown."""
        return None

    def misfit(self, targets: Tree) -> str:
        """The mistake in the targets (n, …) of a split, with the remedy; "" if there is none."""
        return ""

    @property
    def alternatives(self) -> int:
        """The number of classes of which a target is one; 0 if targets are no classes."""
        return self.decision.classes if self.decision else 0

    @property
    def is_of_one_class(self) -> bool:
        """True if each example is of one class, by which examples may be drawn."""
        return self.decision is not None and not self.data.places

    def class_counts(self, split: Split) -> Tensor:
        """The number (classes,) of targets of each class in a split; of examples with weights their sum."""
        raise UserError(f"a task {self.data.task} counts no classes")

    def soften(self, targets: Tree) -> Tree:
        """Targets that augmentations may blend, such as shares of classes; soft ones stay as they are."""
        return targets

    # ---------------------------------------------------------------- decisions by a threshold

    def log_odds(self, outputs: Tensor) -> Tensor:
        """The log odds (…, positives) of each, in float64, by outputs (…, k)."""
        raise NotImplementedError

    def applies(self, targets: Tensor) -> Tensor:
        """The positives that are true of targets (n, …), as bool (n, positives)."""
        raise NotImplementedError

    def decided_by(self, thresholds: Mapping[str, float]) -> Self:
        """The same task, which predicts each of the positives where its probability is above its threshold.

        Without thresholds it decides as it did in training.
        """
        raise NotImplementedError

    # ---------------------------------------------------------------- loss and metrics

    def judge(self, measure: Measure) -> Measure:
        """The loss of each example, (n,), or with weights (n, 2): w · loss and w (see `mean_of`)."""
        return measure

    @property
    def is_weighted(self) -> bool:
        """True if `judge` gives weights."""
        return False

    def metric(self, metric: Metric) -> Metric:
        """A metric of the outputs of a model as they are, from one that is given what it `sees`."""
        if metric.sees != "outputs":
            raise UserError(f"a task {self.data.task} has no {metric.sees}")
        return metric

    # ---------------------------------------------------------------- reports

    def guesses(self, training: Split, split: Split) -> Mapping[str, Tree]:
        """The outputs (n, …) of guesses without a model for the n examples of a split, by name.

        Raises UserError with the reason if the loss leaves open which outputs would be a guess.
        """
        raise UserError(f"a task {self.data.task} has no guess without a model")

    def given_guesses(self, split: Split) -> Mapping[str, Tensor]:
        """Those of the guesses that need no training examples."""
        return {}

    def report(self, copies: int) -> Report:
        """An empty report for so many copies."""
        return Report()

    def row(self, outputs: Tensor) -> dict[str, Any]:
        """The prediction for one input, from the outputs (copies, …): a row of `dlrun predict`."""
        figures = outputs.flatten(1).mean(0).tolist()
        return {f"output {number}": figure for number, figure in enumerate(figures, 1)}

    def further(self, outputs: Mapping[str, Tensor]) -> dict[str, Any]:
        """Further entries of that row, from outputs (copies, …) that say more of a prediction, by name."""
        return {}

    def answers(self, outputs: Tree) -> dict[str, Tensor]:
        """The answers (n, …) of the model by name, from the outputs (copies, n, …): means over copies.

        They are what an exported model gives, and computed by operations on tensors alone.
        """
        named = {MAIN: outputs} if isinstance(outputs, Tensor) else outputs
        return {name: own.mean(0) for name, own in named.items()}

    def truth(self, target: Tensor) -> dict[str, Any]:
        """The target (…) of one example in words, as `true`; {} if there are none."""
        return {}

    def image_of(self, outputs: Tensor) -> Tensor:
        """The image that is predicted for one input, from the outputs (copies, …).

        Classes (height, width) int64, or an input (channels, height, width) as it is after preprocessing.
        """
        raise NotImplementedError

    def facts(self, split: Split) -> dict[str, Any]:
        """The summary of the targets of a split that `dlrun data` prints."""
        return {}

    def warnings(self, training: Split) -> Iterator[str]:
        """Yield warnings about the targets of the training split."""
        yield from ()


def sees_main(metric: Metric, change: Callable[[Tensor], Tensor] | None = None) -> Metric:
    """A metric of the outputs that predict, perhaps changed, without further ones by name."""

    def measure(outputs: Tree, targets: Tree) -> Tensor:
        main = main_outputs(outputs)
        return metric.measure(change(main) if change else main, targets)

    return replace(metric, measure=measure)


def guess_for_all(constant: Tensor, split: Split) -> Tensor:
    """The same outputs (…) for every example of a split, (n, …), without taking memory for each."""
    return constant.expand(len(split), *constant.shape)


def targets_in_pieces(split: Split, size: int = 1024) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the targets (m, …) of a split in its order, and their weights (m,) if they have any."""
    for some in torch.arange(len(split), device=split.device).split(size):
        weights = None if split.weights is None else split.weights[some]
        yield single(split.targets_at(some), "the targets"), weights
