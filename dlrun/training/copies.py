"""Copies: the replicas of a model, one for each random seed. Axis 0 of every tensor is the seed.

`Apart` keeps one module per seed and runs them one after the other, each bit for bit as it would alone.
`Stacked` holds all seeds' weights in one tensor each and runs them together, which is faster where steps are
small. Each copy has its own gradient to clip, and its own random stream (streams.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from dlrun.blocks.tasks import Judge, Measure
from dlrun.data.trees import Figures, Tree, at, first_of, joined, mapped, of_copies, single
from dlrun.training import fast_paths
from dlrun.training.clipping import Mode, clip_alone, clip_stacked
from dlrun.training.closed_form import ClosedForm, DrawMask, Linear, closed_form
from dlrun.training.stacked_layers import chain, dropouts_of, layer_of, mask_name
from dlrun.training.streams import Streams

Numbers = Tensor | Sequence[Tensor]  # figures (copies, …), one tensor, or one for each copy


def as_tensor(figures: Numbers) -> Tensor:
    """Figures of all copies as one tensor; those of a single copy are not copied."""
    return single(joined(figures))


class WithLoss(nn.Module):
    """A model and a loss that has weights of its own, which are trained and saved with the model's."""

    def __init__(self, model: nn.Module, loss: nn.Module, finish: Judge) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self._finish = finish  # turns the loss into one of each example, in the unit of the target

    def measure(self, outputs: Tree, *judged: Tree) -> Tensor:
        """The loss of each example, as `Task.judge` gives it, of outputs, targets and perhaps inputs."""
        return self._finish(self.loss)(outputs, *judged)

    def forward(self, inputs: Tree) -> Tree:
        outputs: Tree = self.model(inputs)
        return outputs


class _Seeded(nn.Module):
    """Copies of a model, one for each seed; each draws its dropout from its own random stream."""

    seeds: list[int]
    streams: Streams
    _closed: list[ClosedForm | None]  # of each copy, or of all that are stacked

    def begin(self, epoch: int) -> None:
        """Enter training mode and set every copy's random stream to its start for the epoch."""
        if not self.training:
            self.train()
        self.streams.begin(epoch, self)

    def backward(self, losses: Sequence[Tensor], shares: Sequence[Tensor]) -> None:
        """Add to every weight its gradient, where `shares` are the gradients with regard to `losses`."""
        fast_paths.backward(losses, shares)
        for closed in filter(None, self._closed):
            closed.finish()


class Apart(_Seeded):
    """One module per seed, run one after the other: each copy is bit for bit what it would be alone.

    Works with any architecture. Takes inputs (copies, batch, …), returns outputs (copies, batch, …).
    """

    def __init__(self, build: Callable[[], nn.Module], seeds: Sequence[int]) -> None:
        copies = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.manual_seed(seed)
                copies.append(build())
        self._set(copies, seeds)

    @classmethod
    def of(cls, copies: Iterable[nn.Module], seeds: Sequence[int]) -> Apart:
        """The model of some copies that exist already, which it shares."""
        apart = cls.__new__(cls)
        apart._set(copies, seeds)
        return apart

    def _set(self, copies: Iterable[nn.Module], seeds: Sequence[int]) -> None:
        super().__init__()
        self.seeds = list(seeds)
        self.copies = nn.ModuleList(copies)
        self.train()  # every submodule, as at the start of each epoch
        self.streams = Streams(self.seeds)
        self._closed = [None] * len(self.seeds)

    def forward(self, inputs: Figures) -> list[Tree]:
        each = zip(self.copies, of_copies(inputs), strict=True)
        if not self.training:
            return [whole(copy(x)) for copy, x in each]
        outputs = list[Tree]()
        for index, (copy, x) in enumerate(each):
            closed = self._closed[index]
            self.streams.take_up(index)
            if closed and isinstance(x, Tensor) and closed.takes(x):
                outputs.append(closed(x))
            else:
                outputs.append(whole(copy(x)))
            self.streams.lay_down(index)
        return outputs

    def use_closed_form(self, *, reuses: bool) -> list[ClosedForm]:
        """Compute training steps in closed form from here on, where the layers have one; gives these forms.

        With `reuses` gradients are the same tensors in each step, which an optimizer then may not keep.
        """

        def linear(_: str, layer: nn.Linear) -> Linear:
            return Linear(layer.weight, layer.bias, reuses=reuses)

        def draw(_: str, dropout: nn.Module) -> DrawMask:
            return lambda inputs: dropout(torch.ones_like(inputs))

        self._closed = [closed_form(copy, linear, draw, axes=1) for copy in self.copies]
        return [each for each in self._closed if each]

    def again(self, index: int, loss: Measure, inputs: Tree, judged: Sequence[Tree]) -> Tensor:
        """The loss of each example of one copy, computed again with the random numbers of this step.

        `judged` is what the loss is given beside the outputs, (copies, batch, …) each.
        """
        copy, own = self.copies[index], at(inputs, index)
        self.streams.rewind(index)
        self.streams.take_up(index)
        outputs = whole(copy(own))
        self.streams.lay_down(index)
        measure = copy.measure if isinstance(copy, WithLoss) else loss
        return measure(outputs, *(at(tree, index) for tree in judged))

    def losses(self, loss: Measure, *figures: Figures) -> list[Tensor]:
        """The loss of each example, (copies, batch[, 2]), from outputs, targets and perhaps inputs.

        A loss that has weights is the copy's own.
        """
        return [
            (copy.measure if isinstance(copy, WithLoss) else loss)(*own)
            for copy, *own in zip(self.copies, *map(of_copies, figures), strict=True)
        ]

    def each(self, function: Callable[..., Tensor], *figures: Figures) -> list[Tensor]:
        """Apply `function` to the examples of each copy: (copies, batch, …) to (copies, batch, …).

        One copy at a time, so that each is computed exactly as it would be alone.
        """
        return [function(*own) for own in zip(*map(of_copies, figures), strict=True)]

    def sums(self, figures: Numbers) -> list[Tensor]:
        """Sum (copies, batch, …) over the examples to (copies, …), in float64 if the device has it.

        One copy at a time, so that the order of summation is that of the copy alone.
        """
        return [of_copy.sum(0, dtype=widest(of_copy.device)) for of_copy in figures]

    def clip(self, most: float, mode: Mode) -> None:
        """Clip the gradient of each copy."""
        for copy in self.copies:
            clip_alone(copy.parameters(), most, mode)

    def scale_gradients(self, factors: Tensor) -> None:
        """Multiply the gradient of each copy by one of the factors (copies,)."""
        for copy, factor in zip(self.copies, factors, strict=True):
            torch._foreach_mul_([p.grad for p in copy.parameters() if p.grad is not None], factor)

    def freeze(self, weights: Collection[str], norms: Collection[str], *, learns: bool) -> None:
        """Let weights learn or not, and layers take new running statistics or not, by names in a copy."""
        for copy in self.copies:
            of_copy = dict(copy.named_parameters())
            for name in weights:
                of_copy[name].requires_grad_(learns)
            for name in norms:
                copy.get_submodule(name).train(learns)

    def values(self) -> Iterator[Tensor]:
        """Yield every weight and buffer, in a fixed order."""
        for copy in self.copies:
            yield from copy.parameters()
            yield from copy.buffers()

    def compile(self) -> None:
        """Compile every copy with torch.compile at its first call; its parameters and their names stay."""
        for copy in self.copies:
            copy.compile()


class Stacked(_Seeded):
    """The copies of `apart` as one model: each weight is one tensor (copies, …) for all seeds.

    Many small kernels become one large one. The copies learn what they would learn apart, up to the order
    of sums; dropout is drawn from the same streams. `copies` remain complete modules, whose weights are views
    of the stacked ones. In an nn.Sequential, fully connected and elementwise layers run as one operation on
    all copies, which takes half the time of vmap; every other layer runs under torch.vmap.
    `dlrun.training.stacking` refuses models that cannot be stacked.
    """

    def __init__(self, apart: Apart) -> None:
        super().__init__()
        self.seeds, self.streams = apart.seeds, apart.streams
        self.copies = tuple(apart.copies)  # a tuple, so not registered: only the stacked parameters are
        weights, self._fixed = stack_module_state(list(self.copies))
        self._names = list(weights)
        self._weights = nn.ParameterList(
            nn.Parameter(weights[name].detach(), own.requires_grad)
            for name, own in self.copies[0].named_parameters()
        )
        for index, copy in enumerate(self.copies):
            for own, every in zip(copy.parameters(), self._weights, strict=True):
                own.data = every.data[index]
            for name, every in self._fixed.items():
                module, _, leaf = name.rpartition(".")
                copy.get_submodule(module)._buffers[leaf] = every[index]
        self.masks: dict[str, Tensor] | None = None  # of dropouts, drawn before; None: drawn in each step
        self._dropouts: dict[str, Tensor] | None = None  # name -> one example's input, in the order of use
        skeleton = deepcopy(self.copies[0]).to("meta")
        self._layers = [layer_of(name, module) for name, module in chain("", skeleton)]
        self._modes = (*self.copies, skeleton)  # the modules whose training flag `train` sets
        self._closed = [None]
        self._drawn: dict[str, Tensor] = {}  # the masks of the step, for the closed form

    def train(self, mode: bool = True) -> Stacked:
        for module in self._modes:
            module.train(mode)
        return super().train(mode)

    def forward(self, inputs: Tree) -> Tree:
        masks = self.draw_masks(inputs) if self.masks is None else self.masks
        closed = self._closed[0] if self.training else None
        if closed and isinstance(inputs, Tensor) and closed.takes(inputs):
            self._drawn = masks
            return closed(inputs)
        return whole(self._run(dict(self.named_weights()) | self._fixed | masks, inputs))

    def outputs_of(self, form: ClosedForm, inputs: Tensor) -> Tensor:
        """The outputs (copies, batch, …) of a training step by this form, of which autograd knows nothing."""
        self._drawn = self.draw_masks(inputs)
        return form.forward(inputs)

    def _run(self, state: dict[str, Tensor], outputs: Tree) -> Tree:
        for layer in self._layers:
            outputs = layer(state, outputs)
        return outputs

    def use_closed_form(self, *, reuses: bool) -> list[ClosedForm]:
        """Compute training steps in closed form from here on, if the layers have one; gives that form.

        With `reuses` gradients are the same tensors in each step, which an optimizer then may not keep.
        """
        weights = dict(self.named_weights())

        def linear(name: str, layer: nn.Linear) -> Linear:
            return Linear(weights[f"{name}weight"], weights.get(f"{name}bias"), reuses=reuses)

        def draw(name: str, dropout: nn.Module) -> DrawMask:
            return lambda inputs: self._drawn[mask_name(name)]

        self._closed = [closed_form(self.copies[0], linear, draw, axes=2)]
        return [each for each in self._closed if each]

    def losses(self, loss: Measure, *figures: Figures) -> Tensor:
        """The loss of each example, (copies, batch[, 2]), from outputs, targets and perhaps inputs."""
        return self.each(loss, *figures)

    def again(self, index: int, loss: Measure, inputs: Tree, judged: Sequence[Tree]) -> Tensor:
        """No copy is computed by itself here: a plan refuses optimizers that need it."""
        raise NotImplementedError

    def each(self, function: Callable[..., Tensor], *figures: Figures) -> Tensor:
        """Apply `function` to the examples of all copies as one batch; returns (copies, batch, …)."""
        trees = [joined(some) for some in figures]
        together = function(*(mapped(lambda some: some.flatten(0, 1), tree) for tree in trees))
        copies, batch = first_of(trees[0]).shape[:2]
        return together.view(copies, batch, *together.shape[1:])

    def sums(self, figures: Numbers) -> Tensor:
        """Sum (copies, batch, …) over the examples to (copies, …), in float64 if the device has it."""
        figures = as_tensor(figures)
        return figures.sum(1, dtype=widest(figures.device))

    def clip(self, most: float, mode: Mode) -> None:
        """Clip the gradient of each copy."""
        clip_stacked(self._weights, most, mode)

    def scale_gradients(self, factors: Tensor) -> None:
        """Multiply the gradient of each copy by one of the factors (copies,)."""
        for weight in self._weights:
            if weight.grad is not None:
                weight.grad.mul_(factors.view(-1, *[1] * (weight.dim() - 1)))

    def named_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the stacked weights (copies, …) by their names in a copy."""
        yield from zip(self._names, self._weights, strict=True)

    def values(self) -> Iterator[Tensor]:
        """Yield every stacked weight and buffer (copies, …), in a fixed order."""
        yield from self._weights
        yield from self._fixed.values()

    def freeze(self, weights: Collection[str], norms: Collection[str], *, learns: bool) -> None:
        """Let weights learn or not, and layers take new running statistics or not, by names in a copy."""
        for name, weight in self.named_weights():
            if name in weights:
                weight.requires_grad_(learns)
        for module in self._modes:
            for name in norms:
                module.get_submodule(name).train(learns)

    def compile(self) -> None:
        """Compile the stacked model with torch.compile at its first call; its parameters stay."""
        self._run = torch.compile(self._run)  # type: ignore[method-assign]

    @torch.no_grad()
    def draw_masks(self, inputs: Tree) -> dict[str, Tensor]:
        """The dropout masks of this step, (copies, batch, …), drawn as each copy draws them alone."""
        if not self.training:
            return {}
        if self._dropouts is None:
            used = dropouts_of(self.copies[0], at(inputs, (0, slice(1))))
            self._dropouts = {name: given[0] for name, given in used.items()}
        masks: dict[str, list[Tensor]] = {mask_name(name): [] for name in self._dropouts}
        batch = first_of(inputs).shape[1]
        for index, copy in enumerate(self.copies if masks else ()):
            self.streams.take_up(index)
            for (name, example), drawn in zip(self._dropouts.items(), masks.values(), strict=True):
                drawn.append(copy.get_submodule(name)(example.new_ones(batch, *example.shape)))
            self.streams.lay_down(index)
        return {name: torch.stack(of_copies) for name, of_copies in masks.items()}


Copies = Apart | Stacked


def some_of(model: Copies, indices: Sequence[int]) -> Copies:
    """The model of some of the copies, whose weights it shares, or takes over if they are stacked."""
    some = Apart.of([model.copies[index] for index in indices], [model.seeds[index] for index in indices])
    return Stacked(some) if isinstance(model, Stacked) else some


def whole_of(model: Copies, training: Copies) -> Copies:
    """The model of all copies as they stand, where `training` may have taken over some that are stacked."""
    is_parted = training is not model and isinstance(model, Stacked)
    return some_of(model, range(len(model.seeds))) if is_parted else model


def weights_of(model: Copies) -> list[dict[str, Any]]:
    """The state_dict of each copy, which shares the memory of the model."""
    return [copy.state_dict() for copy in model.copies]


def widest(device: torch.device) -> torch.dtype:
    """The floating-point type of highest precision that a device computes in."""
    return torch.float32 if device.type == "mps" else torch.float64


def whole(outputs: Tree) -> Tree:
    """Convert outputs of a mixed-precision forward pass to float32; leave others unchanged."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype.itemsize < 4 else outputs
    return mapped(lambda some: some.float() if some.dtype.itemsize < 4 else some, outputs)
