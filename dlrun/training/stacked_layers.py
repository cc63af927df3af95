"""Layers of stacked copies: each as one operation on the weights of all copies, or under vmap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dlrun.data.trees import Tree
from dlrun.errors import UserError

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_ELEMENTWISE = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.Identity,
)
Layer = Callable[[dict[str, Tensor], Any], Any]  # weights of all copies, inputs -> outputs


def chain(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of nested nn.Sequentials by name; of any other model the model itself."""
    if type(module) is nn.Sequential:
        for own, child in module._modules.items():  # named_children() skips a module used twice
            assert child is not None
            yield from chain(f"{name}{own}.", child)
    else:
        yield name, module


def layer_of(name: str, module: nn.Module) -> Layer:
    """A function that runs one layer for all copies, with the weights whose names begin with `name`."""
    if type(module) in _ELEMENTWISE:
        return lambda state, inputs: module(inputs)
    if is_flatten(module):
        return lambda state, inputs: inputs.flatten(2)
    if type(module) is nn.Linear:
        return partial(_linear, f"{name}weight", f"{name}bias")
    if isinstance(module, DROPOUTS):
        mask = mask_name(name)
        return lambda state, inputs: inputs * state[mask] if module.training else inputs
    return _by_vmap(name, module)


def is_flatten(module: nn.Module) -> bool:
    """True of the layer that makes a vector of each example."""
    return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)


def _linear(weight: str, bias: str, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """A fully connected layer on inputs (copies, batch, …, features), as one batched product."""
    rows, weights, added = inputs.flatten(1, -2), state[weight].transpose(1, 2), state.get(bias)
    outputs = torch.bmm(rows, weights) if added is None else torch.baddbmm(added.unsqueeze(1), rows, weights)
    return outputs if inputs.dim() == 3 else outputs.view(*inputs.shape[:-1], outputs.shape[-1])


def _by_vmap(name: str, module: nn.Module) -> Layer:
    """A function that runs any other layer under vmap; its dropouts are replaced by masks in place."""
    for inner, child in list(module.named_modules()):
        if isinstance(child, DROPOUTS):
            module.set_submodule(inner, _Masked())

    def run(state: dict[str, Tensor], inputs: Tree) -> Tree:
        output: Tree = functional_call(module, state, (inputs,))
        return output

    for_all: Callable[..., Tree] = torch.vmap(run, randomness="error")

    def layer(state: dict[str, Tensor], inputs: Tree) -> Tree:
        own = {key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}
        return for_all(own, inputs)

    return layer


def layers_by_vmap(copy: nn.Module) -> list[nn.Module]:
    """The layers with weights that `Stacked` runs under vmap."""
    at_once = (*_ELEMENTWISE, nn.Linear, nn.Flatten, *DROPOUTS)
    layers = [module for _, module in chain("", copy) if type(module) not in at_once]
    return [module for module in layers if next(module.parameters(), None) is not None]


def mask_name(dropout: str) -> str:
    """The key of a dropout's mask among the weights."""
    return f"{dropout.rstrip('.')}.mask".lstrip(".")


class _Masked(nn.Module):
    """Dropout by a mask that was drawn beforehand."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", None)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.mask if self.training else inputs


def dropouts_of(copy: nn.Module, inputs: Tree) -> dict[str, Tensor]:
    """The dropouts of a model in the order of use: name -> its input when the model is given `inputs`.

    Raises UserError if one of them is used twice.
    """
    if not any(isinstance(module, DROPOUTS) for module in copy.modules()):
        return {}
    copy = deepcopy(copy).eval()  # the copy itself may count its calls
    used: dict[str, Tensor] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            if name in used:
                raise UserError(f"the dropout {name} is used twice in a step, which cannot be stacked")
            used[name] = given[0]

        return note

    for name, module in copy.named_modules():
        if isinstance(module, DROPOUTS):
            module.register_forward_pre_hook(noting(name))
    copy(inputs)
    return used
