"""Trees: inputs, targets and outputs, each a tensor or a dict of named tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun.errors import UserError

Tree = Tensor | dict[str, Tensor]  # every tensor has the same first axis
MAIN = "outputs"  # the name of the tensor, among several outputs, that predicts


def said_shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    """The shapes of named tensors in words: `1×28×28` of a single one, else `image 1×28×28, age 1`."""
    each = [f"{name} {'×'.join(map(str, shape)) or '1'}".strip() for name, shape in shapes.items()]
    return ", ".join(each)


def mapped(function: Callable[..., Tensor], *trees: Tree) -> Tree:
    """Apply a function to the tensors of the same name in some trees."""
    if isinstance(trees[0], Tensor):
        return function(*trees)
    named: Any = trees  # dicts with the same names
    return {name: function(*(tree[name] for tree in named)) for name in named[0]}


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in its order."""
    return [tree] if isinstance(tree, Tensor) else list(tree.values())


def named_leaves(tree: Tree, name: str) -> list[tuple[str, Tensor]]:
    """The tensors of a tree with their names; a single tensor has the `name` given."""
    return [(name, tree)] if isinstance(tree, Tensor) else list(tree.items())


def first_of(tree: Tree) -> Tensor:
    """One tensor of a tree, which has its first axis and its device."""
    return tree if isinstance(tree, Tensor) else next(iter(tree.values()))


def at(tree: Tree, index: object) -> Tree:
    """Index every tensor of a tree."""
    return tree[index] if isinstance(tree, Tensor) else {n: t[index] for n, t in tree.items()}  # type: ignore[index]


def single(tree: Tree, what: str = "the inputs") -> Tensor:
    """The only tensor of a tree. Raises UserError for a dict."""
    if isinstance(tree, Tensor):
        return tree
    raise UserError(f"{what} are several tensors ({', '.join(tree)}), not a single one")


def main_outputs(outputs: Tree) -> Tensor:
    """The outputs that predict: the tensor itself, or the entry `outputs` of a dict."""
    return outputs if isinstance(outputs, Tensor) else outputs[MAIN]


def expanded(tree: Tree, copies: int) -> Tree:
    """The same examples (n, …) for every copy, (copies, n, …), without taking more memory."""
    return mapped(lambda tensor: tensor.expand(copies, *tensor.shape), tree)


Figures = Tree | Sequence[Tree]  # (copies, …): one tree, or one for each copy


def of_copies(figures: Figures) -> Iterable[Tree]:
    """The trees (…) of each copy."""
    if isinstance(figures, dict):
        return [at(figures, index) for index in range(len(first_of(figures)))]
    return figures


def joined(figures: Figures) -> Tree:
    """The figures of all copies as one tree (copies, …); those of a single copy are not copied."""
    if isinstance(figures, Tensor | dict):
        return figures
    if len(figures) == 1:
        return mapped(lambda own: own.unsqueeze(0), figures[0])
    return mapped(lambda *each: torch.stack(each), *figures)
