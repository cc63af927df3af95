"""Trials of a user's own parts on real examples: do they repeat, and judge each example by itself?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from dlrun.blocks.tasks import Measure, Report
from dlrun.config.keys import Choice
from dlrun.data.loaded import Loaded
from dlrun.data.misfits import said_kind
from dlrun.data.trees import (
    MAIN,
    Tree,
    at,
    expanded,
    first_of,
    joined,
    leaves,
    main_outputs,
    mapped,
    named_leaves,
    said_shapes,
)
from dlrun.errors import UserError
from dlrun.system.randomness import generator
from dlrun.training.augmentation import Augment
from dlrun.training.copies import Copies
from dlrun.training.layers import skeleton
from dlrun.training.plan import Plan
from dlrun.training.trials import try_judges

_TRIED = 64  # training examples
_CLOSE = 1e-4  # relative tolerance of figures that are computed in batches of another size
_SHORT = 1.0  # seconds within which a dataset is read a second time
Trial = tuple[str, str, Callable[[], None]]  # a key of the config, a part, and what is tried


def trials(plan: Plan, loaded: Loaded) -> Iterator[Trial]:
    """Yield the trials of the parts of a plan that are the user's; each raises UserError for a mistake."""
    config = plan.config
    if _is_own(plan, "dataset", config.dataset):
        yield "dataset", config.dataset.name, partial(_refuse_another_reading, plan, loaded)
    if _is_own(plan, "architecture", config.architecture):
        yield "architecture", config.architecture.name, partial(_refuse_another_model, plan, loaded)
    if _is_own(plan, "optimizer", config.optimizer):
        yield "optimizer", config.optimizer.name, partial(_refuse_another_step, plan)
    for choice, augment in zip(config.augmentations, plan.recipe.augmentations, strict=True):
        if _is_own(plan, "augmentations", choice):
            yield "augmentations", choice.name, partial(_refuse_another_change, augment, loaded)
    if _is_own(plan, "task", Choice(plan.data.task)):
        yield "task", plan.data.task, partial(_refuse_failing_task, plan, loaded)
    has_own_loss = _is_own(plan, "loss", config.loss)
    own_metrics = [choice.name for choice in config.metrics if _is_own(plan, "metrics", choice)]
    if not has_own_loss and not own_metrics:
        return
    inputs, outputs, targets = _some_outputs(plan, loaded)
    if plan.task.made_up_targets(2) is None or plan.loss.teacher:  # so that the plan could not try them
        yield from _first_trials(plan, outputs, targets, inputs)
    if has_own_loss:
        judged = plan.recipe.judged(targets, inputs)
        yield "loss", config.loss.name, partial(_refuse_another_loss, plan, outputs, *judged)
    for name in own_metrics:
        yield "metrics", name, partial(_refuse_another_metric, plan, name, outputs, targets)


def _first_trials(plan: Plan, outputs: Tree, targets: Tree, inputs: Tree) -> Iterator[Trial]:
    """Yield the trials by `try_judges`, on two real examples."""
    found: list[tuple[str, str, UserError]] = []

    @contextmanager
    def noting(key: str, name: str) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            found.append((key, name, error))

    def tell(error: UserError) -> None:
        raise error

    two = (at(tree, slice(2)) for tree in (outputs, targets, inputs))
    try_judges(noting, plan.task, plan.loss, plan.recipe.metrics, *two)
    for key, name, error in found:
        yield key, name, partial(tell, error)


def _is_own(plan: Plan, kind: str, choice: Choice) -> bool:
    return not plan.parts.part(kind, choice.name).built_in


def _refuse_another_reading(plan: Plan, loaded: Loaded) -> None:
    """Read a dataset again if that is quick; raise UserError unless its examples are the same."""
    if loaded.seconds > _SHORT:
        return
    notes = list(plan.data.notes)
    again = plan.load(loaded.preprocessing)
    plan.data.notes[:] = notes
    if again.fingerprint != loaded.fingerprint:
        how, why = "read twice, its examples differ", "it may draw without a seed"
        fix = "draw from torch.Generator().manual_seed(0), or with a fixed seed elsewhere"
        raise UserError(_said(plan.config.dataset.name, how, why), fix=fix)


def _refuse_another_model(plan: Plan, loaded: Loaded) -> None:
    """Build the model of a seed twice and run both; raise UserError unless they are the same."""
    name, seed = plan.config.architecture.name, plan.config.seeds[:1]
    one, other = (plan.model(seed) for _ in range(2))
    for (key, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        if not torch.equal(a, b):
            raise UserError(_said(name, f"built twice, its {key.removeprefix('copies.0.')} differs"))
    inputs = expanded(mapped(Tensor.clone, _some(loaded)[0]), 1)
    given = mapped(Tensor.clone, inputs)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        once, twice = (_outputs_in_training(model, inputs) for model in (one, other))
    if not _alike(given, inputs, 0.0):
        what = f"{name} changes its inputs in place, which other epochs and seeds see too"
        raise UserError(what, fix="let it begin with a layer that makes a new tensor, without inplace=True")
    if not _alike(once, twice, 0.0):
        raise UserError(_said(name, "run twice in training, its outputs differ"))
    _refuse_another_shape(name, one, inputs, once)
    if not _keeps_its_state(one, inputs):
        what = f"{name} keeps state outside of its parameters and buffers, such as a counter"
        fix = "register it by register_buffer, and change it in place"
        raise UserError(f"{what}: it would be lost at a resume, which would end in other weights", fix=fix)
    _refuse_hidden_layers(name, one)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        learns = any(own.requires_grad for own in leaves(_outputs_in_training(one, inputs)))
    if not learns and any(weight.requires_grad for weight in one.parameters()):
        what = f"the outputs of {name} have no gradient: its forward leaves PyTorch, by numpy or detach"
        raise UserError(what, fix="compute the outputs from the weights by functions of PyTorch")
    _refuse_mixing(name, one, inputs)
    if _sets_its_seed(plan):
        what = f"{name} sets the random seed itself, so that all seeds begin with the same weights"
        raise UserError(what, fix="leave that to dlrun, which sets the seed before it calls the function")


def _refuse_another_shape(name: str, model: Copies, inputs: Tree, trained: Tree) -> None:
    """Raise UserError unless outputs in training have the shapes of those in evaluation."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        evaluated = joined(model.eval()(inputs))
    one, other = (dict(named_leaves(tree, MAIN)) for tree in (trained, evaluated))
    for key in one.keys() | other.keys():
        here, there = (
            said_shapes({"": tree[key].shape[1:]}) if key in tree else "nothing" for tree in (one, other)
        )
        if here != there:
            what = f"{name} gives {here} as {key} in training, but {there} in evaluation"
            raise UserError(what, fix="let its forward give outputs of one shape, whatever self.training is")


def _refuse_hidden_layers(name: str, model: Copies) -> None:
    """Raise UserError if layers or weights stand in a list or dict, where PyTorch does not find them."""
    known = {id(own) for own in (*model.modules(), *model.parameters())}
    for module in model.modules():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            inside = value.values() if isinstance(value, dict) else value
            if any(isinstance(own, nn.Module | nn.Parameter) and id(own) not in known for own in inside):
                kind = "Dict" if isinstance(value, dict) else "List"
                what = f"{attribute} of {name} is a {type(value).__name__}: what it holds is never saved"
                raise UserError(what, fix=f"take nn.Module{kind} for layers, nn.Parameter{kind} for weights")


def _keeps_its_state(model: Copies, inputs: Tree) -> bool:
    """True if a model with the weights and buffers of before gives the same outputs in training again."""
    before = deepcopy(model.state_dict())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        once = _outputs_in_training(model, inputs)
        model.load_state_dict(before)
        return _alike(once, _outputs_in_training(model, inputs), 0.0)


def _refuse_mixing(name: str, model: Copies, inputs: Tree) -> None:
    """Raise UserError if in evaluation outputs are random, or those of an example depend on the others."""
    model.eval()
    examples = first_of(inputs).shape[1]
    cut = max(1, examples // 4)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        once, twice = (joined(model(inputs)) for _ in range(2))
        some = [slice(cut), slice(cut, None)] if cut < examples else [slice(None)]
        parts = [joined(model(at(inputs, (slice(None), one)))) for one in some]
    if not _alike(once, twice, 0.0):
        fix = "let it act in training alone, such as F.dropout(…, training=self.training)"
        raise UserError(f"{name} is random in evaluation: run twice, its outputs differ", fix=fix)
    whole = mapped(lambda *each: torch.cat(each, 1), *parts)
    if first_of(once).shape[1] != examples or not _alike(once, whole, _CLOSE):
        what = f"{name} mixes examples: the outputs of one depend on the others in its batch"
        raise UserError(what, fix="the first axis is that of examples (recurrent layers: batch_first=True)")


def _sets_its_seed(plan: Plan) -> bool:
    """True if building the model ends in the same random state, whatever the seed was before."""
    ends = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            plan.build()
            ends.append(torch.get_rng_state())
    return torch.equal(*ends)


def _refuse_another_step(plan: Plan) -> None:
    """Raise UserError if an optimizer does not repeat its steps, or keeps state that no checkpoint has.

    One that changes nothing is refused too. An exception in a step of weights as the model has is raised.
    """
    optimizer = plan.optimizer
    shapes = [(name, own.shape) for name, own in skeleton(plan.build).named_parameters()]
    if shapes and not optimizer.moves(shapes) and plan.config.optimizer.options.get("lr") != 0:
        fix = "change each weight in place: p.sub_(…) or p -= …, not p = p - …"
        raise UserError(f"a step of {optimizer.name} changes no weight", fix=fix)
    with suppress(LookupError, ValueError, RuntimeError, TypeError, AttributeError):  # of a made-up weight
        if not optimizer.is_repeatable():
            raise UserError(
                _said(optimizer.name, "the same steps, done again, differ", "it may draw random numbers")
            )
        if not optimizer.keeps_its_state():
            what = f"{optimizer.name} keeps state outside of self.state and param_groups"
            raise UserError(f"{what}: it would be lost at a resume, which would end in other weights")


def _outputs_in_training(model: Copies, inputs: Tree) -> Tree:
    model.begin(1)
    return joined(model(inputs))


def _refuse_another_change(augment: Augment, loaded: Loaded) -> None:
    """Change some examples twice by the same generator; raise UserError unless both results are the same."""
    inputs, targets = _some(loaded)
    given, augment = (mapped(Tensor.clone, inputs), mapped(Tensor.clone, targets)), augment.on(loaded)
    augment(*given, torch.Generator(first_of(inputs).device).manual_seed(1))
    if not all(map(partial(_alike, tolerance=0.0), given, (inputs, targets))):
        what = f"{augment.name} changes the examples that it is given, which other epochs and seeds see too"
        raise UserError(what, fix="return new tensors: inputs + noise, not inputs += noise")
    streams = [torch.Generator(first_of(inputs).device).manual_seed(1) for _ in range(2)]
    once, twice = (
        augment(mapped(Tensor.clone, inputs), mapped(Tensor.clone, targets), stream) for stream in streams
    )
    if not all(map(partial(_alike, tolerance=0.0), once, twice)):
        raise UserError(
            _said(
                augment.name,
                "called twice, it changes examples differently",
                "it may not use the generator given",
            )
        )


def _refuse_failing_task(plan: Plan, loaded: Loaded) -> None:
    """Report and predict some examples by a task; raise UserError for what is no report or no row.

    `dlrun eval` and `dlrun predict` would fail at it, after the training.
    """
    (_, outputs, targets), task = _some_outputs(plan, loaded), plan.task
    report: object = task.report(1)
    if not isinstance(report, Report):
        what = f"report() of {plan.data.task} gives {said_kind(report)} instead of a Report"
        raise UserError(what, fix="return one, such as super().report(copies)")
    if not plan.data.weighted:
        report.add(expanded(outputs, 1), expanded(targets, 1))
        report.figures()
    if task.image_name or task.continues:
        return
    row: object = task.row(main_outputs(outputs)[:1])
    if not isinstance(row, dict):
        what = f"row() of {plan.data.task} gives {said_kind(row)} instead of a dict"
        raise UserError(what, fix='return the entries of a row of dlrun predict, such as {"class": "a"}')


def _refuse_another_loss(plan: Plan, outputs: Tree, *judged: Tree) -> None:
    """Raise UserError if the loss does not repeat, or if the figure of an example depends on its batch."""
    name, loss = plan.loss.name, plan.recipe.loss
    if plan.loss.constant and (classes := len(plan.data.classes)):
        given: object = plan.loss.constant(torch.full((classes,), 1 / classes))
        if not isinstance(given, Tensor) or given.shape != (plan.task.outputs,):
            here = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else said_kind(given)
            raise UserError(f"constant() of {name} gives {here}, but it needs ({plan.task.outputs},)")
    if not _alike(loss(outputs, *judged), loss(outputs, *judged), 0.0):
        raise UserError(_said(name, "called twice, it gives other figures", "it may draw random numbers"))
    if not plan.loss.is_batchwise and not _is_of_each_example(loss, outputs, *judged):
        fix = (
            "give each example its own figure, or set batchwise = True in its file and give one for the batch"
        )
        raise UserError(f"{name} judges a batch as a whole: its figures depend on the batch size", fix=fix)


def _refuse_another_metric(plan: Plan, name: str, outputs: Tree, targets: Tree) -> None:
    """Raise UserError if a metric does not repeat, or if the mean of its figures depends on the batches."""
    metric = plan.recipe.metrics[name]
    once, twice = (torch.as_tensor(metric.measure(outputs, targets)) for _ in range(2))
    if not _alike(once, twice, 0.0):
        raise UserError(_said(name, "called twice, it gives other figures", "it may draw random numbers"))
    if not metric.whole and not _is_of_each_example(metric.measure, outputs, targets):
        fix = "set whole = True in its file, and give one figure for all outputs and targets of a split"
        raise UserError(f"{name} is no mean over examples: its figure depends on the batch size", fix=fix)


def _is_of_each_example(judge: Measure, outputs: Tree, *judged: Tree) -> bool:
    """True if a judge gives examples in two batches the figures that it gives them in one.

    Tried on the outputs of a model and on random ones, which differ more.
    """
    stream = torch.Generator().manual_seed(2)

    def random(some: Tensor) -> Tensor:
        return some.mean(0) + some.std() * torch.randn(some.shape, generator=stream).to(some)

    cut = max(1, len(first_of(outputs)) // 4)
    parts = slice(cut), slice(cut, None)
    with suppress(RuntimeError, ValueError):  # which a judge may raise for random outputs
        for some in (outputs, mapped(random, outputs)):
            together = judge(some, *judged)
            apart = torch.cat([judge(*(at(tree, part) for tree in (some, *judged))) for part in parts])
            if together.shape != apart.shape or not _alike(together, apart, _CLOSE):
                return False
    return True


def _alike(one: Tree, other: Tree, tolerance: float) -> bool:
    pairs = [
        (a.detach().double(), b.detach().double()) for a, b in zip(leaves(one), leaves(other), strict=True)
    ]
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
        for a, b in pairs
    )


@torch.no_grad()
def _some_outputs(plan: Plan, loaded: Loaded) -> tuple[Tree, Tree, Tree]:
    """Some examples: their inputs, outputs of the first seed's model before training, targets, (n, …)."""
    inputs, targets = _some(loaded)
    model = plan.model(plan.config.seeds[:1]).eval()
    return inputs, at(joined(model(expanded(inputs, 1))), 0), targets


def _some(loaded: Loaded) -> tuple[Tree, Tree]:
    """Some training examples, drawn at random: inputs (n, …) and targets (n, …)."""
    training = loaded["train"]
    order = torch.randperm(len(training), generator=generator("trial", 0, 0))[:_TRIED]
    return training.batch(order.to(training.device))


def _said(name: str, how: str, why: str = "it may draw random numbers from elsewhere than PyTorch") -> str:
    return f"{name} is not repeatable: {how}; {why}"
