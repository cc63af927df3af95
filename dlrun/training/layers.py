"""What a model is made of: each layer's output shape, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from dlrun.errors import UserError

LARGE = 10_000_000  # parameters, or figures that a layer gives for an example
LONG = 1000  # multiply-adds of an example with each of so many figures take no longer than PyTorch's import


@dataclass(frozen=True)
class Layer:
    """One layer: its name in the model, its kind, and what it makes of one example."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    formula: str = ""  # how a convolution or pooling gets from its input's size to its output's


@dataclass(frozen=True)
class Layers:
    """A model's layers in the order in which they run, and what they add up to."""

    layers: list[Layer] = field(default_factory=list)
    output_shape: tuple[int, ...] = ()
    parameters: int = 0
    multiply_adds: int = 0


class TooManyWeights(Exception):
    """A model has more weights than it may have."""


def built_within(build: Callable[[], nn.Module], tensors: int, numbers: int) -> nn.Module:
    """The model that `build` makes, of at most so many weights with so many numbers in all.

    Raises TooManyWeights at the first one beyond, so that a model which is none costs nothing to refuse.
    """

    def count(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        nonlocal tensors, numbers
        if weight is not None and not is_lazy(weight):
            tensors, numbers = tensors - 1, numbers - weight.numel()
        if tensors < 0 or numbers < 0:
            raise TooManyWeights

    hook = register_module_parameter_registration_hook(count)
    try:
        return build()
    finally:
        hook.remove()


def layers_of(build: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> Layers:
    """The layers of the model that `build` makes, for inputs of one shape.

    A large model is built and run without storage, so that its size costs nothing; a small one is run, which
    spares the import of what PyTorch tells shapes without storage by. Raises UserError where it does not
    take such inputs.
    """
    try:
        with torch.device("meta"):
            model = build().eval()
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:  # more than any tensor may hold
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(f"the model cannot be made: {reason}") from error
    # A layer may give as many channels as its weights have rows, each as large as an input's.
    channels = max((p.shape[0] for p in model.parameters() if p.dim()), default=1)
    figures = prod(input_shape[1:]) * max(channels, *input_shape[:1])
    parameters = sum(p.numel() for p in model.parameters())
    sums = parameters * prod(input_shape[1:])  # multiply-adds, at most, where no layer's outputs are larger
    small = max(parameters, figures, sums // LONG) <= LARGE and not _grows(model)
    if small:
        with torch.random.fork_rng(devices=[]):
            model = build().eval()
    inputs = torch.zeros(2, *input_shape, device="cpu" if small else "meta")
    found: list[Layer] = []
    counter = FlopCounterMode(display=False)
    before: dict[int, int] = {}

    def enter(module: nn.Module, _inputs: Any) -> None:
        before[id(module)] = counter.get_total_flops()

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                return
            found.append(
                Layer(
                    name,
                    type(module).__name__,
                    tuple(output.shape[1:]),
                    sum(p.numel() for p in module.parameters()),
                    (counter.get_total_flops() - before[id(module)]) // 4,  # 2 flops, 2 examples
                    _formula(module, inputs[0].shape, output.shape),
                )
            )

        return note

    for name, module in model.named_modules():
        if all(isinstance(child, nn.ParameterList | nn.ParameterDict) for child in module.children()):
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave(name or type(model).__name__))
    try:
        with counter, torch.no_grad():
            output = model(inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shape = "×".join(map(str, input_shape))
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(f"the model does not take inputs of shape {shape}: {reason}") from error
    return Layers(
        found,
        tuple(output.shape[1:]),
        sum(p.numel() for p in model.parameters()),
        counter.get_total_flops() // 4,
    )


def _grows(model: nn.Module) -> bool:
    """Whether a convolution pads images so far that what it gives is larger by more than a pixel."""
    return any(
        2 * padding > kernel_size
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and not isinstance(module.padding, str)
        for padding, kernel_size in zip(module.padding, module.kernel_size, strict=True)
    )


def _formula(module: nn.Module, before: torch.Size, after: torch.Size) -> str:
    """⌊(n + 2p - k)/s⌋ + 1 with a layer's figures, for each side that it changes by that rule."""
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) or isinstance(module.padding, str):
        return ""
    sides = []
    for axis in (0, 1):
        n, k, s, p = (
            size if isinstance(size, int) else size[axis]
            for size in (before[axis + 2], module.kernel_size, module.stride, module.padding)
        )
        sides.append(f"⌊({n} + 2·{p} - {k})/{s}⌋ + 1 = {after[axis + 2]}")
    return sides[0] if sides[0] == sides[1] else "; ".join(sides)
