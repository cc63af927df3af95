"""A config made of functions and shapes: parts imported and checked against each other, nothing read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.components import Parts
from dlrun.config import Choice, Config
from dlrun.copies import Apart
from dlrun.data import Data, Loaded, Preprocessing
from dlrun.errors import UserError, listed
from dlrun.hardware import Hardware, choose_device, choose_threads
from dlrun.layers import Layers, layers_of
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
    better: dict[str, str]  # figure -> "higher" or "lower"

    def load(self, preprocessing: Preprocessing | None = None) -> Loaded:
        """The examples, on the device. Raises UserError where files are missing."""
        return Loaded(self.data, self.device, preprocessing)

    def hardware(self, loaded: Loaded) -> Hardware:
        """Where it computes; the number of threads may depend on the size of a full batch."""
        size = self.config.batch_size
        batch = len(loaded["train"]) if size == "full" else size
        threads = choose_threads(
            self.config.threads, self.layers.multiply_adds, batch * len(self.config.seeds)
        )
        config = self.config
        return Hardware(self.device, threads, config.precision, config.compile, config.gradient_clip)

    def model(self) -> Apart:
        """All copies with the weights they start from, on the device."""
        return Apart(self.build, self.config.seeds).to(self.device)

    def state(self, hardware: Hardware) -> State:
        """The state before the first epoch."""
        model = self.model()
        choice = self.config.optimizer
        optimizer = self.parts.find("optimizer", choice.name)(list(model.parameters()), **choice.options)
        return State(model, optimizer, hardware.scaler(len(model.seeds)))

    @property
    def varies(self) -> bool:
        """Whether the rate at a step depends on how long the run is planned to be."""
        return len({self.recipe.schedule(step / 97) for step in range(97)}) > 1

    @property
    def monitor(self) -> str:
        """The column that chooses best.pt: never silently one of the test set."""
        chosen = self.config.monitor
        return chosen or ("valid_loss" if self.recipe.evaluation_split == "valid" else "train_loss")

    def improves(self, column: str, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best`. Of equals the first is best; nan is never."""
        if value != value or best is None:
            return value == value
        higher = self.better[column.split("_", 1)[1]] == "higher"
        return value > best if higher else value < best

    def constant(self, targets: Tensor) -> Tensor:
        """The outputs (k,) of the best model that ignores its input, for training targets (n, …).

        For classes the logarithm of their shares, for figures their mean.
        """
        if self.data.task == "regression":
            return targets.mean(0)
        shares = torch.bincount(targets, minlength=len(self.data.classes)).float() / len(targets)
        logs = shares.clamp_min(1e-12).log()
        return logs if self.layers.output_shape != (1,) else (logs[1] - logs[0]).unsqueeze(0)


def make_plan(config: Config, parts: Parts, data_dir: Path) -> Plan:
    """The plan of a config. Raises ConfigError with every mistake that shows without any data."""
    mistakes: list[str] = []

    @contextmanager
    def noting(key: str) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            mistakes.append(config.mistake(key, f"{error.what}; {error.fix}" if error.fix else error.what))

    def part(kind: str, choice: Choice) -> Callable[..., Any]:
        return partial(parts.find(kind, choice.name), **choice.options)

    device, data, outputs, layers = torch.device("cpu"), None, 0, Layers()
    with noting("dataset"):
        data = part("dataset", config.dataset)(data_dir)
    if not isinstance(data, Data):
        raise config.refuse(mistakes or [config.mistake("dataset", "the function gave no Data")])
    for kind, choices in (("loss", [config.loss]), ("metrics", config.metrics), ("plots", config.plots)):
        for choice in choices:
            task = parts.part(kind, choice.name).constants.get("task", data.task)
            with noting(kind):
                if task != data.task:
                    raise UserError(
                        f"{choice.name} is for {task}, but {config.dataset.name} is a {data.task} task"
                    )

    loss_module = parts.module("loss", config.loss.name)
    loss = part("loss", config.loss)
    metrics = {choice.name: metric(parts, choice) for choice in config.metrics}
    with noting("loss"):
        outputs = getattr(loss_module, "outputs", _outputs)(data)
    build = partial(part("architecture", config.architecture), data.input_shape, outputs)
    if not mistakes:  # only what is for one task can be tried together
        with noting("loss"):
            _measure_two(config.loss.name, loss, data, outputs, most_axes=1)
        for name, one in metrics.items():
            with noting("metrics"):
                _measure_two(name, one.measure, data, outputs, most_axes=2)
        with noting("architecture"):
            layers = _fitting_layers(build, data, outputs, config.loss.name)
    with noting("device"):
        device = choose_device(config.device)
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
                raise UserError(f"{column} is never measured {listed(measured)}")
    if mistakes:
        raise config.refuse(mistakes)
    better = {"loss": "lower"} | {
        choice.name: parts.part("metrics", choice.name).constants.get("better", "higher")
        for choice in config.metrics
    }
    probabilities = None
    if data.task == "classification":
        probabilities = getattr(loss_module, "probabilities", _softmax)
    return Plan(config, parts, data, build, layers, recipe, device, probabilities, better)


def metric(parts: Parts, choice: Choice) -> Metric:
    """The metric of one choice: its function, and what makes a figure of the means."""
    module = parts.module("metrics", choice.name)
    measure = partial(parts.find("metrics", choice.name), **choice.options)
    return Metric(measure, module.finish) if hasattr(module, "finish") else Metric(measure)


def _outputs(data: Data) -> int:
    return len(data.classes) if data.task == "classification" else data.targets


def _softmax(outputs: Tensor) -> Tensor:
    return outputs.softmax(-1)


def _fitting_layers(build: Callable[[], nn.Module], data: Data, outputs: int, loss: str) -> Layers:
    """The layers of the model. Raises UserError where it does not get from such inputs to such outputs."""
    layers = layers_of(build, data.input_shape)
    if layers.output_shape != (outputs,):
        given = "×".join(map(str, layers.output_shape)) or "no axis of"
        raise UserError(f"it gives {given} outputs, but {loss} needs {outputs}")
    return layers


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
    """Raises UserError for options that do not go together."""
    try:
        make([torch.zeros(1, requires_grad=True)])
    except ValueError as error:
        raise UserError(str(error)) from error
