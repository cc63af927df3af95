"""Trials of a plan on its data before a run: memory, batch size, the user's own parts, stacking."""

from __future__ import annotations

from math import isnan

import torch
from torch import Tensor

from dlrun.blocks.tasks import Measure
from dlrun.config.merging import COMMAND_LINE, written
from dlrun.config.mistakes import Mistake
from dlrun.data.loaded import Loaded
from dlrun.data.trees import Tree, expanded, joined, main_outputs, mapped, single
from dlrun.errors import UserError
from dlrun.system.progress import Progress, no_progress
from dlrun.system.randomness import generator
from dlrun.training.devices import lack_of_memory
from dlrun.training.initial_weights import initial_weights
from dlrun.training.memory_format import refuse_views
from dlrun.training.noting import Noting
from dlrun.training.opening import bring_teacher
from dlrun.training.own_parts import trials
from dlrun.training.plan import Plan
from dlrun.training.stacking import refuse_what_differs
from dlrun.training.traps import refuse_idle_dropout
from dlrun.training.trials import lonely_example

_ALIKE = 1e-5  # of outputs, relative to the largest: those of other tokens differ by far more


def try_on(plan: Plan, loaded: Loaded, progress: Progress = no_progress, *, is_new: bool = True) -> None:
    """Raise ConfigError for a mistake that needs the data or the model to be seen.

    A split would not be measured, the model does not fit into memory, the weights that it should begin with
    cannot be read or do not fit it, a batch of one has no variance to normalise by, a part of the user's own
    does not repeat or judges a batch as a whole, stacked seeds differ from seeds apart, or the outputs are
    not the probabilities that the loss takes them for. In a new run a dropout that acts nowhere is one too;
    runs of before have it.
    """
    wanted = (
        3 * plan.dtype.itemsize * plan.layers.parameters * len(plan.config.seeds)
    )  # weights, gradients, momentum
    needing = f"{plan.layers.parameters:,} parameters for each seed need"
    if what := lack_of_memory(needing, wanted, plan.device, "to train"):
        raise plan.config.refuse([plan.config.mistake("architecture", what)])
    initial_weights(plan, progress)
    micro_batch = plan.recipe.micro_batch
    if what := lonely_example(plan.build, plan.data, loaded, plan.recipe.sampling, micro_batch):
        key = "micro_batch" if what.startswith("some micro") else "batch_size"
        raise plan.config.refuse([plan.config.mistake(key, what)])
    if loaded.undeclared:
        raise plan.config.refuse([plan.config.mistake("dataset", loaded.undeclared)])
    if is_new:
        refuse_idle_dropout(plan, loaded)
    if plan.data.autoregressive and (what := _seen_later(plan, loaded)):
        fix = "set causal: true (of a transformer) or bidirectional: false (of an rnn)"
        raise plan.config.refuse([plan.config.mistake("architecture", what, fix)])
    bring_teacher(plan, loaded.preprocessing)
    if plan.loss.teacher:
        plan.loss.teacher.opened()
    noting = Noting(plan.config, plan.parts)
    for augment in plan.recipe.augmentations:
        with noting("augmentations", augment.name):
            augment.on(loaded)
    if plan.config.channels_last:
        with noting("channels_last"):
            refuse_views(plan.model(plan.config.seeds[:1]), expanded(_some(plan, loaded, 2), 1))
    noting.refuse()
    for key, name, trial in trials(plan, loaded):
        with noting(key, name):
            trial()
    noting.refuse()
    if plan.config.is_stacked:
        try:
            _refuse_stacking(plan, loaded)
        except UserError as error:
            raise plan.config.refuse([plan.config.mistake("stacked", error.what)]) from error
    if plan.loss.probabilities is None or plan.task.decision is None:
        return
    with torch.no_grad():
        outputs = plan.model(plan.config.seeds[:1]).eval()(expanded(_some(plan, loaded, 8), 1))
        sums = plan.task.decision.probabilities(plan.task.rows(main_outputs(joined(outputs))[0])).sum(-1)
    worst = float(sums.flatten()[(sums - 1).abs().argmax()])
    if not abs(worst - 1) <= 1e-3:  # nan is refused too
        raise plan.config.refuse([_no_probabilities(plan, worst)])


def _some(plan: Plan, loaded: Loaded, count: int) -> Tree:
    """The inputs of so many training examples at most, on the device."""
    training = loaded["train"]
    return training.batch(torch.arange(min(count, len(training)), device=plan.device))[0]


def _no_probabilities(plan: Plan, total: float) -> Mistake:
    """The mistake of a loss by which the probabilities of the classes sum to another `total` than 1."""
    config, parts = plan.config, plan.parts
    loss, name = config.loss.name, config.architecture.name
    if not parts.part("loss", loss).built_in:
        what = f"{loss} takes outputs whose probabilities sum to {total:.3g} instead of 1"
        fix = "end the architecture with what it needs, or correct probabilities(), whose classes are on the "
        return config.mistake("loss", what, f"{fix}last axis")
    if isnan(total):  # infinite exponentials may be of finite outputs
        return config.mistake("architecture", f"the outputs of {name} are not all finite numbers")
    what = f"{loss} takes log-probabilities, and the outputs of {name} are none"
    place, end = config.tree.at(("loss",)).place, "log_softmax"
    if "output_activation" in parts.part("architecture", name).options:
        key = "architecture.output_activation" if place == COMMAND_LINE else "output_activation"
        end = written(key, "log_softmax", place)
    other = written("loss", "cross_entropy", place)
    fix = f"end the architecture with {end}, or take {other}, which needs none"
    return config.mistake("loss", f"{what}: their exponentials sum to {total:.3g} instead of 1", fix)


@torch.no_grad()
def _seen_later(plan: Plan, loaded: Loaded) -> str:
    """The mistake of a model whose outputs at a position depend on later inputs; "" if they do not."""
    inputs = single(_some(plan, loaded, 2))
    length = inputs.shape[1]
    if length < 2:
        return ""
    half = length // 2
    others = inputs.clone()
    others[:, half:] += 1
    if not inputs.is_floating_point():
        others %= max(2, len(plan.data.vocabulary))
    model = plan.model(plan.config.seeds[:1]).eval()
    one, other = (main_outputs(joined(model(expanded(some, 1))))[..., :half] for some in (inputs, others))
    if torch.allclose(one, other, rtol=1e-4, atol=1e-5):
        return ""
    name = plan.config.architecture.name
    how = f"with another one at position {half + 1} it gives other outputs before"
    return f"{name} sees the tokens that it is to predict: {how}"


def _refuse_stacking(plan: Plan, loaded: Loaded) -> None:
    """Raise UserError if two seeds trained as one model differ from the same seeds trained apart."""
    training = loaded["train"]
    order = torch.randperm(len(training), generator=generator("stacking", 0, 0))
    some = order.repeat(-(-64 // len(order)))[:64].view(2, 32).to(plan.device)
    trees = training.batch(some[:, :4])[0], training.batch(some)[1]
    inputs, targets = (mapped(Tensor.cpu, tree) for tree in trees)
    judges: dict[str, Measure] = {plan.config.loss.name: plan.recipe.loss}
    judges |= {name: metric.measure for name, metric in plan.recipe.means.items()}
    with_inputs = [plan.config.loss.name] * plan.recipe.loss_takes_inputs
    refuse_what_differs(plan.build, plan.optimizers, judges, inputs, targets, with_inputs)
