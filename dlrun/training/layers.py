"""The layers of a model: output shape, parameters and multiply-adds of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from dlrun.data.examples import Shape
from dlrun.data.trees import MAIN, Tree, leaves, named_leaves, said_shapes
from dlrun.errors import UserError, shortened

LARGE = 10_000_000  # parameters, or numbers in a layer's output for one example
LONG = 1000  # multiply-adds per such number that take less time than importing torch's shape inference


@dataclass(frozen=True)
class Layer:
    """One layer: its name in the model, its class, and for one example its output shape and cost."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    formula: str = ""  # of a convolution or pooling: its output size computed from its input size


@dataclass(frozen=True)
class Layers:
    """A model's layers in the order in which they run, and their totals."""

    layers: list[Layer] = field(default_factory=list)
    output_shape: Shape = ()
    parameters: int = 0
    multiply_adds: int = 0
    output_shapes: dict[str, Shape] = field(default_factory=dict)  # of several outputs, by their names

    def made_up_outputs(self, n: int) -> Tree:
        """Outputs (n, …) of zeros, as the model would give them."""
        if self.output_shapes:
            return {name: torch.zeros(n, *shape) for name, shape in self.output_shapes.items()}
        return torch.zeros(n, *self.output_shape)


class TooManyWeights(Exception):
    """A model has more weights than the checkpoint that it is built for."""


def built_within(build: Callable[[], nn.Module], tensors: int, numbers: int) -> nn.Module:
    """The model that `build` makes, limited to `tensors` weights with `numbers` numbers in total.

    Raises TooManyWeights at the first weight beyond, so that refusing a huge model takes no memory.
    """

    def count(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        nonlocal tensors, numbers
        if weight is not None and not is_lazy(weight):  # it is made later, by an example
            tensors, numbers = tensors - 1, numbers - weight.numel()
        if tensors < 0 or numbers < 0:
            raise TooManyWeights

    hook = register_module_parameter_registration_hook(count)
    try:
        return build()
    finally:
        hook.remove()


def skeleton(build: Callable[[], nn.Module]) -> nn.Module:
    """The model that `build` makes, on torch's "meta" device, which has shapes and no memory.

    A model that reads values of its tensors while it is made, by `.item()` for example, is made on the CPU
    first.
    """
    try:
        with torch.device("meta"):
            model: object = build()
        if not isinstance(model, nn.Module):
            raise UserError(f"it gives {shortened(repr(model))} instead of an nn.Module")
        return model
    except RuntimeError as error:
        if "meta" not in str(error):
            raise
    with torch.random.fork_rng(devices=[]):
        return build().to("meta")


MadeUp = Callable[[int, str], Tree]  # a number of examples, a device -> inputs (n, …)


def layers_of(build: Callable[[], nn.Module], inputs: Shape | MadeUp) -> Layers:
    """The layers of the model that `build` makes, for inputs of a shape without the batch, or as made up.

    A large model is built and run on torch's "meta" device, which takes no memory. A small one is run on the
    CPU, which saves importing torch's shape inference. Raises UserError if it does not take such inputs.
    """
    made_up = inputs if callable(inputs) else partial(_zeros, inputs)
    try:
        model = skeleton(build).eval()
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:  # sizes beyond any tensor's
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(f"the model cannot be made: {reason}") from error
    weights = list(model.parameters())
    if not weights:
        raise UserError(
            "the model has no parameters: layers in a plain list are not found, take nn.ModuleList"
        )
    if not any(weight.requires_grad for weight in weights):
        raise UserError("no parameter of the model wants a gradient, so it cannot learn")
    # A layer's output may have as many channels as its weights have rows, each as large as an input's.
    channels = max((p.shape[0] for p in model.parameters() if p.dim()), default=1)
    examples = leaves(made_up(1, "meta"))
    places = max(map(_places, examples))
    figures = places * max(channels, *(size for some in examples for size in some.shape[1:2]))
    parameters = sum(p.numel() for p in model.parameters())
    sums = parameters * places  # multiply-adds at most, unless an output is larger
    small = max(parameters, figures, sums // LONG) <= LARGE and not _grows(model)
    return _run(build, model, made_up, small=small)


def _places(example: Tensor) -> int:
    """The places of an input (1, …) at which a layer may compute: pixels, or the steps of a sequence."""
    is_sequence = example.dim() == 3 or not example.is_floating_point()
    return example.shape[1] if is_sequence else prod(example.shape[2:])


def _zeros(shape: Shape, n: int, device: str) -> Tensor:
    return torch.zeros(n, *shape, device=device)


def _run(build: Callable[[], nn.Module], model: nn.Module, made_up: MadeUp, *, small: bool) -> Layers:
    """The layers of a model by running it: on the CPU if it is small, else its skeleton."""
    if small:
        with torch.random.fork_rng(devices=[]):
            model = build().eval()
    inputs = made_up(2, "cpu" if small else "meta")
    found: list[Layer] = []
    counter = FlopCounterMode(display=False)
    before: dict[int, tuple[int, int]] = {}  # id of a module that runs -> flops and rows before it

    def enter(module: nn.Module, _inputs: Any) -> None:
        before[id(module)] = counter.get_total_flops(), len(found)

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            flops, rows = before[id(module)]
            inner = found[rows:]  # a module is a layer if no layer ran inside it, or for its own weights
            weights = list(_own_weights(module) if inner else module.parameters())
            result = _first_tensor(output)
            if result is None or (inner and not weights):
                return
            multiply_adds = (counter.get_total_flops() - flops) // 4  # 2 flops, 2 examples
            found.append(
                Layer(
                    name,
                    type(module).__name__,
                    tuple(result.shape[1:]),
                    sum(p.numel() for p in weights),
                    multiply_adds - sum(layer.multiply_adds for layer in inner),
                    _formula(module, inputs[0].shape, result.shape)
                    if inputs and isinstance(inputs[0], Tensor)
                    else "",
                )
            )

        return note

    for name, module in model.named_modules():
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave(name or type(model).__name__))
    try:
        with counter, torch.no_grad(), _countable():
            output = model(inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if not small and "meta" in str(error):  # its forward reads values
            return _run(build, model, made_up, small=True)
        shape = said_shapes({name: some.shape[1:] for name, some in named_leaves(inputs, "")})
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        fix = "token ids: Data(input_dtype=torch.int64)" if "indices" in reason else ""
        raise UserError(f"the model does not take inputs of shape {shape}: {reason}", fix=fix) from error
    shapes = _output_shapes(output)
    return Layers(
        found,
        shapes.get("", shapes.get(MAIN, ())),
        sum(p.numel() for p in model.parameters()),
        counter.get_total_flops() // 4,
        {} if "" in shapes else shapes,
    )


def _output_shapes(output: Any) -> dict[str, Shape]:
    """The shape of each output of one example by its name, "" for a single one."""
    if isinstance(output, Tensor):
        return {"": tuple(output.shape[1:])}
    if not isinstance(output, dict) or not all(isinstance(own, Tensor) for own in output.values()):
        what = f"the model gives a {type(output).__name__} instead of a tensor of outputs"
        raise UserError(
            what, fix=f'of several outputs give a dict of tensors; "{MAIN}" is the one that predicts'
        )
    return {name: tuple(own.shape[1:]) for name, own in output.items()}


def _own_weights(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the weights that a module holds itself, not in the layers inside it."""
    yield from module.parameters(recurse=False)
    for child in module.children():
        if isinstance(child, nn.ParameterList | nn.ParameterDict):
            yield from child.parameters()


def _first_tensor(output: Any) -> Tensor | None:
    """The output itself, or the first tensor in a tuple, list or dict, such as a recurrent layer gives."""
    if isinstance(output, Tensor):
        return output
    parts = (
        output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    )
    return next((found for part in parts if (found := _first_tensor(part)) is not None), None)


@contextmanager
def _countable() -> Iterator[None]:
    """Run attention and recurrent layers as products that FlopCounterMode counts, not as one fused kernel."""
    mha, mkldnn = torch.backends.mha, torch.backends.mkldnn
    before = mha.get_fastpath_enabled(), mkldnn.enabled
    mha.set_fastpath_enabled(False)
    mkldnn.enabled = False  # type: ignore[assignment]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(before[0])
        mkldnn.enabled = before[1]


def _grows(model: nn.Module) -> bool:
    """True if a convolution pads images so far that its output is larger than its input by over a pixel."""
    return any(
        2 * padding > kernel_size
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and not isinstance(module.padding, str)
        for padding, kernel_size in zip(module.padding, module.kernel_size, strict=True)
    )


def _formula(module: nn.Module, before: torch.Size, after: torch.Size) -> str:
    """The formula ⌊(n + 2p - k)/s⌋ + 1 with a convolution's or pooling's numbers; "" for other layers."""
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
