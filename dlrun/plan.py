"""A config made of functions and shapes: parts imported and checked against each other, nothing read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from inspect import signature
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlrun import bare
from dlrun.config.keys import AUTO, Choice, Config
from dlrun.config.registry import Part, Parts
from dlrun.copies import Apart, Copies, Stacked, as_tensor
from dlrun.data.examples import EVALUATION_BATCH, Data, Preprocessing
from dlrun.data.loaded import Loaded
from dlrun.errors import UserError, listed
from dlrun.hardware import Hardware, choose_device, choose_threads, memory
from dlrun.layers import Layers, built_within, layers_of
from dlrun.stacking import refuse_stacking, refuse_what_differs
from dlrun.system.progress import Progress, no_progress
from dlrun.system.randomness import generator
from dlrun.trainer import Metric, Recipe, State


@dataclass(frozen=True)
class Plan:
    """What a config means. Nothing is downloaded, read, made or trained yet."""

    config: Config
    parts: Parts
    data: Data
    build: Callable[[], nn.Module]
    layers: Layers
    recipe: Recipe
    device: torch.device
    probabilities: Callable[[Tensor], Tensor] | None  # outputs (…, k) -> (…, classes); None: a regression
    constant: Callable[[Tensor], Tensor]  # training targets (n, …) -> the outputs (k,) of the best constant
    better: dict[str, str]  # figure -> "higher" or "lower"
    plots: list[Choice]  # the pictures to draw, those that suit by themselves among them

    def load(self, preprocessing: Preprocessing | None = None, watching: Progress = no_progress) -> Loaded:
        """The examples, on the device. Raises UserError where files are missing."""
        return Loaded(self.data, self.device, preprocessing, watching)

    def hardware(self, loaded: Loaded | None = None) -> Hardware:
        """Where it computes; the number of threads may depend on the size of a full batch."""
        config, threads = self.config, self.threads(len(loaded["train"]) if loaded else EVALUATION_BATCH)
        return Hardware(
            self.device, threads, config.precision, config.compile, config.gradient_clip, config.graph
        )

    def threads(self, examples: int) -> int:
        """The number of CPU threads with so many examples to train on."""
        config = self.config
        batch = examples if config.batch_size == "full" else config.batch_size
        # Apart, by the work of one copy: each trains with the bits that it has alone.
        batch *= len(config.seeds) if config.is_stacked else 1
        numbers = sum(prod(layer.output_shape) for layer in self.layers.layers)
        return choose_threads(config.threads, self.layers.multiply_adds, numbers, batch)

    def model(self, seeds: Sequence[int] | None = None) -> Copies:
        """The copies of all (or some) seeds with the weights they start from, on the device."""
        apart = Apart(self.build, self.config.seeds if seeds is None else seeds).to(self.device)
        return Stacked(apart) if self.config.stacked and len(apart.seeds) > 1 else apart

    def state(self, hardware: Hardware) -> State:
        """The state before the first epoch."""
        model = self.model()
        return State(model, self.optimizer(model), hardware.scaler(len(model.seeds)))

    @bare.without_compiler()
    def optimizer(self, model: Copies) -> torch.optim.Optimizer:
        """What updates the weights of a model."""
        choice = self.config.optimizer
        optimizer: torch.optim.Optimizer = self.parts.find("optimizer", choice.name)(
            list(model.parameters()), **choice.options
        )
        return optimizer

    def try_on(self, loaded: Loaded) -> None:
        """Raises ConfigError for what shows only when the model is made: it does not fit the memory, it
        has no batch to normalise over, its seeds are no longer themselves when stacked, or the loss takes
        something for probabilities that are none.
        """
        wanted = 3 * 4 * self.layers.parameters * len(self.config.seeds)  # weights, gradients, momentum
        there = memory(self.device)
        if wanted > there:
            what = (
                f"{self.layers.parameters:,} parameters for each seed need {wanted / 2**30:,.0f} GiB to train"
            )
            what += f"; {self.device} has {there / 2**30:,.0f}"
            raise self.config.refuse([self.config.mistake("architecture", what)])
        if what := _lonely_example(self.build, self.data.input_shape, loaded, self.config.batch_size):
            raise self.config.refuse([self.config.mistake("batch_size", what)])
        if self.config.is_stacked:
            try:
                self._refuse_stacking(loaded)
            except UserError as error:
                raise self.config.refuse([self.config.mistake("stacked", error.what)]) from error
        if self.probabilities is None or self.probabilities is _softmax:
            return
        inputs, _ = loaded["train"].batch(torch.arange(min(8, len(loaded["train"])), device=self.device))
        with torch.no_grad():
            outputs = as_tensor(self.model(self.config.seeds[:1]).eval()(inputs.unsqueeze(0)))
            sums = self.probabilities(outputs).sum(-1)
        worst = float(sums.flatten()[(sums - 1).abs().argmax()])
        if abs(worst - 1) > 1e-3:
            what = (
                f"{self.config.loss.name} takes outputs whose probabilities sum to {worst:.3g} instead of 1"
            )
            fix = "end the architecture with what it needs (nll: output_activation: log_softmax)"
            raise self.config.refuse([self.config.mistake("loss", f"{what}; {fix}")])

    def _refuse_stacking(self, loaded: Loaded) -> None:
        """Raises UserError where two seeds trained as one model are not what they are apart."""
        training = loaded["train"]
        order = torch.randperm(len(training), generator=generator("stacking", 0, 0))
        some = order.repeat(-(-64 // len(order)))[:64].view(2, 32).to(self.device)
        inputs, _ = training.batch(some[:, :4])
        targets = training.targets[some]
        judges = {self.config.loss.name: self.recipe.loss}
        judges |= {name: metric.measure for name, metric in self.recipe.metrics.items()}
        refuse_what_differs(self.build, self.optimizer, judges, inputs.cpu(), targets.cpu())

    @property
    def rate_depends_on_length(self) -> bool:
        """Whether the rate at a step depends on how long the run is planned to be."""
        return len({self.recipe.schedule(step / 1000) for step in range(1000)}) > 1

    @property
    def monitor(self) -> str:
        """The column that chooses best.pt: never silently one of the test set."""
        chosen = self.config.monitor
        return chosen or ("valid_loss" if self.recipe.evaluation_split == "valid" else "train_loss")

    @property
    def monitor_every(self) -> int:
        """Epochs between measurements of the monitored column."""
        split = self.monitor.split("_", 1)[0]
        if split == "trainset":
            return self.config.evaluate_train_every or 1
        return 1 if split == "train" else self.config.evaluate_every

    def improves(self, column: str, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best`. Of equals the first is best; nan is never."""
        if value != value or best is None:
            return value == value
        higher = self.better[column.split("_", 1)[1]] == "higher"
        return value > best if higher else value < best


@bare.without_compiler()
def make_plan(
    config: Config,
    parts: Parts,
    data_dir: Path,
    known: Mapping[str, Any] | None = None,
    most_weights: tuple[int, int] | None = None,
) -> Plan:
    """The plan of a config. Raises ConfigError with every mistake that shows without any data.

    `known` is what a checkpoint remembers of its dataset; `most_weights` is how many weights, with how many
    numbers in all, a model may have that is to fit it: one that has more raises TooManyWeights.
    """
    mistakes: list[str] = []

    @contextmanager
    def noting(key: str) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            where = f" ({error.where})" if error.where else ""
            fix = f"; {error.fix}" if error.fix else ""
            mistakes.append(config.mistake(key, f"{error.what}{where}{fix}"))

    def part(kind: str, choice: Choice) -> Callable[..., Any]:
        return partial(parts.find(kind, choice.name), **choice.options)

    device, data, outputs, layers = torch.device("cpu"), None, 0, Layers()
    with noting("dataset"):
        takes_known = "known" in parts.part("dataset", config.dataset.name).takes
        data = part("dataset", config.dataset)(data_dir, *([known] if takes_known else []))
    if not isinstance(data, Data):
        raise config.refuse(mistakes or [config.mistake("dataset", "the function gave no Data")])
    for kind, choices in (("loss", [config.loss]), ("metrics", config.metrics)):
        for choice in choices:
            with noting(kind):
                refuse_unsuited(parts.part(kind, choice.name), data, config.dataset.name)

    loss_module = parts.module("loss", config.loss.name)
    loss = part("loss", config.loss)
    constant = partial(_constant, data, getattr(loss_module, "constant", torch.log))
    if data.scaling:
        loss = partial(_scaled, loss, *data.scaling)
    metrics = {choice.name: metric(parts, choice) for choice in config.metrics}
    if not mistakes:
        with noting("loss"):
            outputs = getattr(loss_module, "outputs", _outputs)(data)
    build = partial(part("architecture", config.architecture), data.input_shape, outputs)
    if data.scaling:
        build = partial(_in_own_unit, build, *data.scaling)
    if most_weights:
        build = partial(built_within, build, *most_weights)
    if not mistakes:  # only what is for one task can be tried together
        with noting("loss"):
            _measure_two(config.loss.name, loss, data, outputs, most_axes=1)
        for name, one in metrics.items():
            with noting("metrics"):
                _measure_two(name, one.measure, data, outputs, most_axes=2)
        with noting("architecture"):
            layers = _fitting_layers(build, data, outputs, config.loss.name)
    plots = []
    for choice in config.plots:
        if choice.name == AUTO:
            named = {other.name for other in config.plots}
            automatic = suitable_plots(parts, data, layers, "automatic", True)
            plots += [one for one in automatic if one.name not in named]
            continue
        with noting("plots"):
            refuse_unsuited(parts.part("plots", choice.name), data, config.dataset.name, layers)
            plots.append(choice)
    with noting("device"):
        device = choose_device(config.device)
    with noting("graph"):
        if config.graph is True and device.type != "cuda":
            raise UserError(f"only a CUDA device repeats graphs, not {device}; set graph: auto")
    for choice in config.augmentations:
        with noting("augmentations"):
            _try_augmentation(choice.name, part("augmentations", choice), data.input_shape)
    if config.is_stacked and not mistakes:
        with noting("stacked"), torch.device("meta"):
            refuse_stacking(build(), config.precision)
    with noting("optimizer"):
        _try_optimizer(part("optimizer", config.optimizer))

    recipe = Recipe(
        epochs=config.epochs,
        batch_size=config.batch_size,
        loss=loss,
        metrics=metrics,
        augmentations=[part("augmentations", choice) for choice in config.augmentations],
        schedule=part("schedule", config.schedule),
        evaluation_split=data.evaluation_split,
        evaluate_every=config.evaluate_every,
        evaluate_train_every=config.evaluate_train_every,
    )
    measured = recipe.columns()
    wanted = {"monitor": config.monitor} if config.monitor else {}
    wanted |= {
        f"expect.{claim}": claim.removeprefix("best.") for claim in config.expect if claim != "seconds"
    }
    for key, column in wanted.items():
        with noting(key):
            if column not in measured:
                fix = "set evaluate_train_every" if column.startswith("trainset_") else ""
                raise UserError(f"{column} is never measured {listed(measured)}", fix=fix)
    if mistakes:
        raise config.refuse(mistakes)
    better = {"loss": "lower"} | {
        choice.name: parts.part("metrics", choice.name).constants.get("better", "higher")
        for choice in config.metrics
    }
    probabilities = None
    if data.task == "classification":
        probabilities = getattr(loss_module, "probabilities", _softmax)
    plan = Plan(config, parts, data, build, layers, recipe, device, probabilities, constant, better, plots)
    with noting("patience"):
        if config.patience and plan.monitor_every > config.epochs:
            raise UserError(
                f"{plan.monitor} is first measured after epoch {plan.monitor_every}, of {config.epochs}"
            )
    if mistakes:
        raise config.refuse(mistakes)
    return plan


def metric(parts: Parts, choice: Choice) -> Metric:
    """The metric of one choice: its function, and what makes a figure of the means."""
    module = parts.module("metrics", choice.name)
    measure = partial(parts.find("metrics", choice.name), **choice.options)
    return Metric(measure, module.finish) if hasattr(module, "finish") else Metric(measure)


def _outputs(data: Data) -> int:
    return len(data.classes) if data.task == "classification" else data.targets


def _softmax(outputs: Tensor) -> Tensor:
    return outputs.softmax(-1)


def suitable_plots(parts: Parts, data: Data, layers: Layers, constant: str, value: object) -> list[Choice]:
    """The plots that suit the data and the model, of those whose file says `constant = value`."""
    chosen = []
    for name in parts.names("plots"):
        part = parts.part("plots", name)
        if part.constants.get(constant) == value:
            with suppress(UserError):
                refuse_unsuited(part, data, "", layers)
                chosen.append(Choice(name, part.defaults))
    return chosen


def refuse_unsuited(part: Part, data: Data, dataset: str, layers: Layers | None = None) -> None:
    """Raises UserError where what a part says it is for is not this dataset, or not a model of these layers.

    A part says so by the constants `task`, `inputs` and `model` of its file.
    """
    task, inputs = part.constants.get("task", data.task), part.constants.get("inputs")
    if task != data.task:
        raise UserError(f"{part.name} is for {task}, but {dataset} is a {data.task} task")
    fitting = {
        "plane": data.input_shape == (2,),
        "images": len(data.input_shape) == 3,
        "vectors": len(data.input_shape) == 1,
    }
    if not fitting.get(inputs or "", True):
        wanted = {"plane": "two numbers"}.get(inputs or "", inputs)
        shape = "×".join(map(str, data.input_shape))
        raise UserError(f"{part.name} is for inputs of {wanted}, but those of {dataset} are {shape}")
    model = part.constants.get("model")
    if layers is None or model is None:
        return
    weights = prod(data.input_shape) * prod(layers.output_shape)
    made = {
        "convolution": any(layer.kind == "Conv2d" for layer in layers.layers),
        "one layer": 0 <= layers.parameters - weights <= prod(layers.output_shape),  # a bias, maybe
    }
    if not made[model]:
        wanted = {"convolution": "a convolution", "one layer": "no layer but one that is fully connected"}
        raise UserError(f"{part.name} is for a model with {wanted[model]}")


class _InOwnUnit(nn.Module):
    """Outputs in the target's own unit: `mean` + `sd` times what comes in."""

    def __init__(self, mean: float, sd: float) -> None:
        super().__init__()
        self.mean, self.sd = mean, sd

    def forward(self, outputs: Tensor) -> Tensor:
        return self.mean + self.sd * outputs


def _in_own_unit(build: Callable[[], nn.Module], mean: float, sd: float) -> nn.Module:
    return nn.Sequential(build(), _InOwnUnit(mean, sd))


def _scaled(loss: Callable[..., Tensor], mean: float, sd: float, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of outputs and targets as multiples of the targets' deviation."""
    return loss((outputs - mean) / sd, (targets - mean) / sd)


def _constant(data: Data, of_shares: Callable[[Tensor], Tensor], targets: Tensor) -> Tensor:
    """The outputs (k,) of the best model that ignores its input, for training targets (n, …).

    For figures their mean, for classes what the loss says of their shares.
    """
    if data.task == "regression":
        return targets.mean(0)
    shares = torch.bincount(targets, minlength=len(data.classes)).float() / len(targets)
    return of_shares(shares.clamp_min(1e-12))


def _fitting_layers(build: Callable[[], nn.Module], data: Data, outputs: int, loss: str) -> Layers:
    """The layers of the model. Raises UserError where it does not get from such inputs to such outputs."""
    layers = layers_of(build, data.input_shape)
    if layers.output_shape != (outputs,):
        given = "×".join(map(str, layers.output_shape)) or "no axis of"
        raise UserError(f"it gives {given} outputs, but {loss} needs {outputs}")
    return layers


def _lonely_example(
    build: Callable[[], nn.Module], shape: tuple[int, ...], loaded: Loaded, batch_size: int | Literal["full"]
) -> str:
    """What is wrong where a batch is a single example and the model normalises over the batch, else ""."""
    examples = len(loaded["train"])
    size = examples if batch_size == "full" else min(batch_size, examples)
    if examples % size != 1 and size > 1:
        return ""
    with torch.device("meta"):
        model, one = build().train(), torch.empty(1, *shape)
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return ""
    try:
        model(one)
    except ValueError:  # more than one value per channel is wanted
        better = next((more for more in range(max(size, 2), examples + 1) if examples % more != 1), None)
        which = "every batch" if size == 1 else f"the last batch of {examples:,} examples"
        remedy = f"; take another batch_size, such as {better}" if better else ""
        return f"{which} is a single one, over which batch normalisation has no variance{remedy}"
    return ""


def _try_augmentation(
    name: str, augment: Callable[[Tensor, torch.Generator], Tensor], shape: tuple[int, ...]
) -> None:
    """Raises UserError where it does not give inputs such as it took."""
    inputs = torch.zeros(2, *shape)
    try:
        given = augment(inputs, torch.Generator())
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        size = "×".join(map(str, shape))
        reason = f": {str(error)[:150]}" if type(error) is ValueError else ""  # torch's say nothing to a user
        raise UserError(f"{name} does not take inputs of {size}{reason}") from error
    if given.shape != inputs.shape or given.dtype != inputs.dtype:
        raise UserError(f"{name} changes the shape or the type of its inputs")


def _measure_two(
    name: str, measure: Callable[..., Tensor], data: Data, outputs: int, *, most_axes: int
) -> None:
    """Measure two examples. Raises UserError unless each has a figure, or a row of them, of its own."""
    some = torch.zeros(2, outputs)
    targets = (
        torch.zeros(2, dtype=torch.long) if data.task == "classification" else torch.zeros(2, data.targets)
    )
    try:
        figures = measure(some, targets)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:150]
        raise UserError(f"{name} does not fit outputs of {outputs} and such targets: {reason}") from error
    if figures.shape[:1] != (2,) or figures.dim() > most_axes:
        raise UserError(
            f"{name} gives shape {tuple(figures.shape)} for 2 examples; each needs a figure of its own"
        )


def _try_optimizer(make: Callable[..., torch.optim.Optimizer]) -> None:
    """Raises UserError for options that do not go together, and where a step is no single update."""
    try:
        optimizer = make([torch.zeros(1, requires_grad=True)])
    except ValueError as error:
        raise UserError(str(error)) from error
    if any(option.default is option.empty for option in signature(optimizer.step).parameters.values()):
        raise UserError(
            f"{type(optimizer).__name__} asks for the loss again within a step, which has one here"
        )
