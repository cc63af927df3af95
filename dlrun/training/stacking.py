"""Stacking checks: find out before a run begins if its seeds can train as one model (`stacked: true`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dlrun.blocks.tasks import Measure
from dlrun.data.trees import Tree, first_of, joined, leaves, mapped
from dlrun.errors import UserError
from dlrun.training import fast_paths
from dlrun.training.copies import Apart, Copies, Stacked, WithLoss
from dlrun.training.optimizers import Optimizers
from dlrun.training.stacked_layers import DROPOUTS, layers_by_vmap

# Relative tolerances, as a share of the largest figure: of gradients, whose sums are taken in another order,
# and of weights after an optimizer step on equal gradients.
TOLERANCES = {torch.float64: (1e-6, 1e-12), torch.float32: (1e-3, 1e-5)}
FIGURES = 1e-4  # relative tolerance of losses and metrics in float32
FAINT = 1e-6  # gradients below this share of the largest one may be rounding errors


def refuse_stacking(copy: nn.Module, precision: str) -> None:
    """Raise UserError if the model has layers that cannot run for several seeds at once."""
    if precision == "float16":
        raise UserError("float16 scales the loss of each seed apart; take bfloat16")
    if precision == "bfloat16" and (by_vmap := layers_by_vmap(copy)):
        name = type(by_vmap[0]).__name__
        raise UserError(f"{precision} does not reach {name}, which is run by vmap; take float32")
    if isinstance(copy, WithLoss):
        raise UserError("a loss with weights of its own cannot be stacked")
    modules = list(copy.named_modules(remove_duplicate=False))
    names = [name for name, _ in copy.named_parameters(remove_duplicate=False)]
    recurrent = next((module for _, module in modules if isinstance(module, nn.RNNBase)), None)
    if recurrent is not None:
        raise UserError(f"a recurrent layer ({type(recurrent).__name__}) cannot be stacked")
    if len(names) > len(list(copy.parameters())):
        raise UserError("weights that two layers share cannot be stacked")
    dropouts = [module for _, module in modules if isinstance(module, DROPOUTS)]
    if len(dropouts) > len(set(dropouts)):
        raise UserError("a dropout that is used in two places cannot be stacked; make two of them")


def refuse_what_differs(
    build: Callable[[], nn.Module],
    optimizers: Callable[[Copies], Optimizers],
    judges: Mapping[str, Measure],
    inputs: Tree,
    targets: Tree,
    with_inputs: Collection[str] = (),
) -> None:
    """Train two seeds apart and stacked for a step; raise UserError if they come out differently.

    `judges` are the loss and the metrics by name, some of which take inputs beside outputs and targets.
    `inputs` (2, batch, …) and `targets` (2, several batches, …) are real examples; there are more targets,
    because a judge that treats its batch as a whole is found out only by batches that differ. Tried in
    float64, so that rounding is no difference, and in float32 for a model that takes nothing else. A model
    that fails apart too is not refused here.
    """
    for dtype, (close, same) in TOLERANCES.items():
        given = mapped(partial(_as_type, dtype), inputs)
        apart, alike = (Apart(build, (0, 1)).to(dtype) for _ in range(2))
        try:
            alone = _tried(apart, given)
        except Exception:  # a user's model may raise anything
            continue
        with _saying("the model cannot be run for several seeds at once"):
            stacked = Stacked(alike)
            together = _tried(stacked, given)
        largest = max((float(gradient.abs().max()) for gradient in alone.gradients), default=0.0)
        if not _alike(alone.gradients, together.gradients, close, FAINT * largest):
            raise UserError("as one model two seeds learn differently than apart: a layer treats them as one")
        if not _alike(leaves(alone.evaluated), leaves(together.evaluated), close):
            raise UserError(
                "as one model two seeds are evaluated differently than apart: the state of a layer "
                "has to be a registered buffer, changed in place"
            )
        times = first_of(targets).shape[1] // first_of(inputs).shape[1]
        outputs = mapped(lambda some, n=times: torch.cat([some.float()] * n, 1), alone.outputs)
        for name, judge in judges.items():
            figures = [outputs, targets]
            if name in with_inputs:
                figures.append(mapped(lambda some, n=times: torch.cat([some] * n, 1), inputs))
            _refuse_judge(name, judge, apart, stacked, figures)
        _refuse_optimizer(optimizers, apart, stacked, alone.gradients, same)
        return


def _as_type(dtype: torch.dtype, some: Tensor) -> Tensor:
    return some.to(dtype) if some.is_floating_point() else some


def _refuse_judge(
    name: str,
    judge: Measure,
    apart: Apart,
    stacked: Stacked,
    figures: Sequence[Tree],
) -> None:
    """Raise UserError if a loss or metric gives other figures for stacked examples (2, n, …) than apart."""
    with _saying(f"{name} cannot take the examples of several seeds at once"):
        together = stacked.each(judge, *figures)
    if not _alike(leaves(joined(apart.each(judge, *figures))), [together], FIGURES):
        raise UserError(f"{name} looks at its batch as a whole, and treats two seeds as one")


def _refuse_optimizer(
    optimizers: Callable[[Copies], Optimizers],
    apart: Apart,
    stacked: Stacked,
    gradients: Sequence[Tensor],
    tolerance: float,
) -> None:
    """Raise UserError if an optimizer updates stacked weights otherwise than those of each seed alone."""
    learnt = _stepped(apart, optimizers(apart), gradients)
    of_both = optimizers(stacked)
    name = type(of_both.each[0]).__name__
    with _saying(f"{name} cannot update several seeds at once"):
        together = _stepped(stacked, of_both, gradients)
    if not _alike(learnt, together, tolerance):
        raise UserError(f"{name} looks at a weight as a whole, and treats two seeds as one")


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Turn any exception of a user's code inside the block into a UserError that begins with `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if "random operation" in reason:  # from vmap's own message
            reason = "it draws random numbers by a function, the same for all of them; take nn.Dropout"
        raise UserError(f"{what}: {reason[:150]}") from error


@dataclass(frozen=True)
class _Tried:
    outputs: Tree  # (2, batch, …), in training mode
    gradients: list[Tensor]  # (2, …) of each trainable weight
    evaluated: Tree  # outputs after that, in evaluation mode


def _tried(model: Copies, inputs: Tree) -> _Tried:
    """Run a training step without its update, then an evaluation, and return the results."""
    model.begin(1)
    outputs = joined(model(inputs))
    wanting = [some for some in leaves(outputs) if some.requires_grad]
    if wanting:
        fast_paths.backward(wanting, [some.detach() for some in wanting])
    gradients = [
        _whole([torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in every])
        for every in _weights(model)
    ]
    model.eval()
    with torch.no_grad():
        return _Tried(mapped(Tensor.detach, outputs), gradients, joined(model(inputs)))


def _stepped(model: Copies, optimizers: Optimizers, gradients: Sequence[Tensor]) -> list[Tensor]:
    """The weights (2, …) after three steps; the gradients of one seed are a thousand times longer."""
    for length in (1.0, -0.5, 0.25):  # an odd number, so that steps of a fixed length do not cancel
        for every, gradient in zip(_weights(model), gradients, strict=True):
            lengths = length * torch.tensor([1.0, 1000.0]).view(2, *[1] * (gradient.dim() - 1))
            steep = (gradient * lengths).to(gradient.dtype)
            for weight, own in zip(every, [steep] if len(every) == 1 else steep.unbind(), strict=True):
                weight.grad = own
        optimizers.step()
    return [_whole([weight.detach() for weight in every]) for every in _weights(model)]


def _weights(model: Copies) -> list[list[nn.Parameter]]:
    """Each trainable weight as a list: the stacked tensor alone, or the tensor of each copy."""
    if isinstance(model, Stacked):
        return [[weight] for weight in model.parameters() if weight.requires_grad]
    of_copies = zip(*(copy.parameters() for copy in model.copies), strict=True)
    return [list(every) for every in of_copies if every[0].requires_grad]


def _whole(every: Sequence[Tensor]) -> Tensor:
    """Join the tensors of one weight, as `_weights` lists them, to (2, …)."""
    return every[0] if len(every) == 1 else torch.stack(list(every))


def _alike(ours: Sequence[Tensor], theirs: Sequence[Tensor], tolerance: float, least: float = 0.0) -> bool:
    """True if tensors are equal within `tolerance` times the largest figure of each, or times `least`."""
    for own, theirs_of_it in zip(ours, theirs, strict=True):
        one, other = own.double(), theirs_of_it.double()
        if one.shape != other.shape:
            return False
        room = tolerance * max(float(one.abs().max()), least) if one.numel() else 0.0
        if not torch.allclose(one, other, rtol=0.0, atol=room, equal_nan=True):
            return False
    return True
