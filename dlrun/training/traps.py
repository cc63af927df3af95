"""Traps: settings with which a run trains, but not what they seem to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import exp, inf, sqrt

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlrun.blocks.class_weights import BALANCED
from dlrun.blocks.decisions import Decision
from dlrun.blocks.tasks import LossPart
from dlrun.data.loaded import Loaded
from dlrun.data.trees import Tree, at, expanded, joined, leaves, main_outputs, single
from dlrun.errors import UserError
from dlrun.training.held_dropout import HeldDropout
from dlrun.training.layers import skeleton
from dlrun.training.losses import seen_by_loss
from dlrun.training.plan import Plan

_TRIED = 16  # training examples
_FREE_SIGNS = 20  # outputs with a sign of their own: by chance all are above 0 in one of 2^20
_ENDINGS = {"output_activation": "output_activation: identity", "relu_output": "relu_output: false"}
_LESSON_ON_LOGITS, _LESSON_ON_DEAD_UNITS = " (docs/lessons.md, lesson 2)", " (docs/lessons.md, lesson 5)"
_MOST_TARGETS = 1000
_LEAST_BEYOND = 0.01  # of the targets: a few outliers are no mistake of the model
_HARDLY = 0.05  # of the largest output: the least one after a leaky ReLU, an ELU or a GELU


def refuse_idle_dropout(plan: Plan, loaded: Loaded) -> None:
    """Raise ConfigError if the architecture's option `dropout` has no layer on which it would act."""
    stated = plan.config.architecture.options
    if not isinstance(stated.get("dropout"), float | int) or not stated["dropout"]:
        return
    if any("dropout" in type(module).__name__.lower() for module in skeleton(plan.build).modules()):
        return
    model, inputs = plan.model(plan.config.seeds[:1]), _some_inputs(plan, loaded)
    model.begin(1)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        once, twice = (leaves(joined(model(inputs))) for _ in range(2))
    if not all(map(torch.equal, once, twice)):  # it drops by a function, or somewhere else
        return
    name = plan.config.architecture.name
    what = f"{stated['dropout']:g} changes nothing: {name} drops units of hidden layers, and has none"
    fix = "add one, such as hidden: [100], or set dropout: 0" if "hidden" in stated else "set dropout: 0"
    raise plan.config.refuse([plan.config.mistake("architecture.dropout", what, fix)])


def _no_median(plan: Plan) -> Iterator[str]:
    """Yield a line if the output of a loss of quantiles that predicts is another one than the median."""
    loss = plan.loss
    if loss.quantiles is None or loss.outputs is None:
        return
    made_up = torch.randn(2, loss.outputs(plan.data), generator=torch.Generator().manual_seed(0))
    outputs = loss.head(made_up) if loss.head else made_up
    main = main_outputs(outputs)
    levels = [level for level, own in loss.quantiles(outputs).items() if torch.equal(own, main)]
    if levels and 0.5 not in levels:
        what = (
            f"the estimate is the quantile {levels[0]:g}, not the median: metrics judge it, predict shows it"
        )
        yield f"{what}; add 0.5 to loss.levels if that is not meant"


def trap_warnings(plan: Plan, loaded: Loaded) -> Iterator[str]:
    """Yield what a new run should be told of its settings, each with the remedy."""
    size, there = plan.config.batch_size, len(loaded["train"])
    if isinstance(size, int) and size > there:
        each = "each epoch is one step; set batch_size: full if that is meant"
        yield f"batch_size {size:,} exceeds the {there:,} training examples: {each}"
    yield from _no_median(plan)
    weights = plan.config.loss.options.get("class_weight")
    if weights == BALANCED and plan.recipe.sampling.is_balanced:
        both = "sampling draws each class as often, and loss.class_weight weighs the rare ones up again"
        yield f"{both}: they count the most; leave one of both out"
    most = plan.recipe.micro_batch
    if most and (whole := plan.recipe.sampling.size(there)) <= most:
        yield f"micro_batch: {most:,} parts no batch: the largest has {whole:,} examples"
    elif most:
        yield from _not_as_whole(plan, loaded, most)
    if plan.task.is_evaluated_shuffled and (what := _few_alike(plan, loaded)):
        yield what
    if what := limited_outputs(plan, loaded) or limited_estimates(plan, loaded):
        yield what


def _not_as_whole(plan: Plan, loaded: Loaded, most: int) -> Iterator[str]:
    """Yield why not quite the same is learnt from a batch in pieces of at most so many examples."""
    same = "not quite the same is learnt as from whole batches"
    if any(isinstance(module, _BatchNorm) for module in skeleton(plan.build).modules()):
        yield f"batch normalisation is by the {most:,} examples of a micro_batch: {same}"
    if draws_by_pieces(plan, loaded):
        yield f"the model draws random numbers, others in a micro_batch than in a whole batch: {same}"


def draws_by_pieces(plan: Plan, loaded: Loaded) -> bool:
    """True if a model draws random numbers for each piece of a batch, not for the batch, such as in a GRU."""
    model, inputs = plan.model(plan.config.seeds[:1]), _some_inputs(plan, loaded)
    model.begin(1)
    held = HeldDropout(model)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if not plan.config.compile:
            held.draw(inputs)
            held.take(slice(None))
        before = model.streams.positions[0].clone()
        model(inputs)
        held.release()
    return not torch.equal(before, model.streams.positions[0])


def limited_outputs(plan: Plan, loaded: Loaded) -> str:
    """The mistake of a model that ends in an activation before a loss of logits, with the remedy; else "".

    Seen by its outputs: with any weights they stay above 0, or near it.
    """
    decision, name = plan.task.decision, plan.config.architecture.name
    if decision is None or decision.outputs < 2 or not _takes_logits(plan.loss, decision):
        return ""
    try:
        found = _drawn_outputs(plan, loaded)
    except Exception:  # such as for want of memory: training meets it too, and says what to do
        return ""
    if not bool(found.isfinite().all()) or found.min() == found.max():
        return ""
    low, high, classes = float(found.min()), float(found.max()), found.shape[1]
    most = 1 / (1 + (classes - 1) * exp(low - high))  # of softmax, where one output is high and all else low
    loss = f"{plan.loss.name} takes logits"
    fix = _without_activation(plan)
    if low >= 0 and bool(((found.sum(1) - 1).abs() < 1e-3).all()):
        why = f"{name} gives probabilities, which sum to 1, but {loss} and applies the softmax itself"
        return f"{why}: no class can get more than {most:.0%}; {fix}{_LESSON_ON_LOGITS}"
    if max(-low, high) <= 1 + 1e-6:
        why = f"the outputs of {name} stay within {low:.3g} and {high:.3g}, as of an activation, but {loss}"
        return f"{why}: no class can get more than {most:.0%}; {fix}{_LESSON_ON_LOGITS}"
    if low >= -_HARDLY * high:
        ever, some = ("never", "no") if low >= 0 else ("hardly", "little")
        why = f"the outputs of {name} are {ever} below 0, as after a ReLU, but {loss} of either sign"
        return f"{why}: one that is cut off has {some} gradient; {fix}{_LESSON_ON_DEAD_UNITS}"
    return ""


def limited_estimates(plan: Plan, loaded: Loaded) -> str:
    """The mistake of a model of numbers whose outputs cannot reach the targets, with the remedy; else "".

    Seen by its outputs as the loss sees them: with any weights they are one number, stay within the bounds
    of an activation, or never fall below 0, while targets lie beyond.
    """
    if plan.task.decision is not None or not plan.task.are_estimates:
        return ""
    rounding = 1e-6 * (1 + float(seen_by_loss(plan.data, torch.zeros(1, plan.data.targets)).abs().max()))

    def is_free(outputs: Tensor) -> bool:
        seen = seen_by_loss(plan.data, outputs)
        return not _bounds(float(seen.min()), float(seen.max()), rounding)[-1]

    try:
        found, targets = _drawn_outputs(plan, loaded, is_free), _some_targets(loaded)
    except Exception:  # as above
        return ""
    if found.dim() != 2 or targets.shape[1:] != found.shape[1:] or not bool(found.isfinite().all()):
        return ""
    found, targets = (seen_by_loss(plan.data, each.cpu().double()) for each in (found, targets))
    name, fix = plan.config.architecture.name, _without_activation(plan)
    if bool((found.amax(0) - found.amin(0) <= rounding).all()):
        why = f"the outputs of {name} are the same for every input, as of a softmax over a single one"
        return f"{why}: they cannot follow the targets; {fix}" if targets.std(0).max() > rounding else ""
    least, most, said = _bounds(float(found.min()), float(found.max()), rounding)
    share = float(((targets < least - rounding) | (targets > most + rounding)).double().mean())
    if share < _LEAST_BEYOND:
        return ""
    is_scaled = plan.data.scaling is not None or plan.data.target_transform is not None
    seen = f", scaled as {plan.loss.name} sees them," if is_scaled else ""
    return f"the outputs of {name} {said}, but {share:.0%} of the targets{seen} lie beyond; {fix}"


def _bounds(low: float, high: float, rounding: float) -> tuple[float, float, str]:
    """The bounds that outputs of many random weights keep, from `low` to `high`, and a phrase on them."""
    if low >= -rounding and high > 1 + rounding:
        return 0, inf, "are never below 0, as after a ReLU"
    if low < -1 - rounding and high <= rounding:
        return -inf, 0, "are never above 0, as after a log_softmax"
    if max(-low, high) <= 1 + rounding:
        least = 0 if low >= -rounding else -1
        return least, 1, f"stay within {least} and 1, as of an activation"
    return -inf, inf, ""


def _few_alike(plan: Plan, loaded: Loaded) -> str:
    """The trap of batches in which examples seldom meet one of their class; "" if it is none."""
    size = plan.recipe.sampling.size(len(loaded["train"]))
    counts = single(loaded["train"].targets, "the targets").bincount().double()
    # of examples that are drawn as the sampling says, the others of an example's class
    shares = (counts > 0) / (counts > 0).sum() if plan.recipe.sampling.is_balanced else counts / counts.sum()
    others = (size - 1) * float(shares.square().sum())
    if others >= 1:
        return ""
    what = f"in a batch of {size} an example meets {others:.2g} others of its class on average"
    return f"{what}, by which {plan.loss.name} learns: raise batch_size"


def _without_activation(plan: Plan) -> str:
    """The remedy for an activation at the end of a model."""
    stated = plan.config.architecture.options.keys() & _ENDINGS.keys()
    return f"set {_ENDINGS[stated.pop()]}" if stated else "leave out the activation at the end"


def _some_targets(loaded: Loaded) -> Tensor:
    """Targets (m, …) of training examples, spread over all of them."""
    training = loaded["train"]
    places = torch.linspace(0, len(training) - 1, min(_MOST_TARGETS, len(training))).long()
    return single(training.targets_at(places.to(training.device)), "the targets")


def _some_inputs(plan: Plan, loaded: Loaded) -> Tree:
    """Some training inputs for one copy, (1, n, …)."""
    training = loaded["train"]
    places = torch.linspace(0, len(training) - 1, min(_TRIED, len(training))).long()
    return expanded(training.batch(places.to(plan.device))[0], 1)


def _takes_logits(loss: LossPart, decision: Decision) -> bool:
    """True if a loss goes towards 0, and never below, as the true class's output leaves all others behind."""
    if loss.is_batchwise or loss.has_places or loss.takes_inputs:
        return False
    classes = torch.arange(min(decision.classes, decision.outputs))
    sides = 2.0 * nn.functional.one_hot(classes, decision.outputs) - 1
    try:
        with torch.no_grad():
            near, far = (loss.measure(scale * sides, classes) for scale in (1.0, 50.0))
        return bool((far >= 0).all()) and bool((far < 0.5 * near).all())
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, UserError):
        return False


def _drawn_outputs(
    plan: Plan, loaded: Loaded, is_enough: Callable[[Tensor], bool] = lambda outputs: False
) -> Tensor:
    """The outputs (n, classes, …) of some models like that of the plan, with random weights.

    The outputs of one of them may be enough: there are no further models then.
    """
    inputs, found = at(_some_inputs(plan, loaded), 0), list[Tensor]()
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        [model] = plan.model(plan.config.seeds[:1]).eval().copies
        while len(found) * (found[0].shape[1] if found else 0) < _FREE_SIGNS:
            for weight in model.parameters():
                # Far from 0, and yet no product of many layers is beyond a float.
                deviation = 2 / sqrt(weight[0].numel()) if weight.dim() > 1 else 3.0
                weight.copy_(deviation * torch.randn(weight.shape, generator=stream))
            found.append(main_outputs(model(inputs)))
            if is_enough(found[-1]):
                break
    return torch.cat(found)
