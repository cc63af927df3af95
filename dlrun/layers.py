"""What a model is made of: each layer's output shape, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dlrun.errors import UserError

LARGE = 10_000_000  # parameters, or figures that a layer gives for an example


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


def layers_of(build: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> Layers:
    """The layers of the model that `build` makes, for inputs of one shape.

    A large model is built and run without storage, so that its size costs nothing; a small one is run, which
    spares the import of what PyTorch tells shapes without storage by. Raises UserError where it does not
    take such inputs.
    """
    with torch.device("meta"):
        model = build().eval()
    # A layer may give as many channels as its weights have rows, each as large as an input's.
    channels = max((p.shape[0] for p in model.parameters() if p.dim()), default=1)
    figures = prod(input_shape[1:]) * max(channels, *input_shape[:1])
    small = sum(p.numel() for p in model.parameters()) <= LARGE and figures <= LARGE
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
