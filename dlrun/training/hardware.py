"""Hardware: device, CPU threads, mixed precision, compilation, and `step`, the backward pass and update.

It decides where arithmetic runs and in which precision. `step` runs backward and updates; the forward
pass is in loop.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dlrun.errors import RunFailed
from dlrun.system import machine
from dlrun.training import fast_paths
from dlrun.training.clipping import Mode, clip_alone
from dlrun.training.copies import Copies, Numbers
from dlrun.training.devices import describe_machine, versions
from dlrun.training.graphs import Replayed, Update
from dlrun.training.loss_scales import LossScales
from dlrun.training.micro_batches import WHOLE, Piece, shares_in_mean
from dlrun.training.optimizers import Optimizers
from dlrun.training.pieces import Found, Pieces
from dlrun.training.shared_norms import share_norms
from dlrun.training.world import World

# In multiply-adds: the work of a step that makes one more thread worth waking, and the cost of each number in
# a layer's output beside its products, forward and backward. On an idle machine half of that work gains a
# third by a second thread; beside other programs, for which threads have to wait at every step, it loses.
WORK_PER_THREAD = 50_000_000
WORK_PER_NUMBER = 100
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Hardware:
    """The device and arithmetic of a run, and how an optimizer step is made with them."""

    device: torch.device
    threads: int
    precision: str = "float32"
    compile: bool = False
    gradient_clip: float | None = None
    clip_mode: Mode = "norm"
    graph: bool | Literal["auto"] = "auto"
    warn: Callable[[str], None] = lambda text: None
    pieces: Pieces = field(default_factory=Pieces, compare=False)  # of examples that are evaluated
    world: World = field(default_factory=World, compare=False)

    @property
    def has_graphs(self) -> bool:
        """True if the device can replay recorded steps (CUDA graphs)."""
        return self.device.type == "cuda"

    def use(self) -> None:
        """Set PyTorch's process-wide state: CPU threads, and on CUDA deterministic kernels."""
        torch.set_num_threads(self.threads)
        fast_paths.keep_freed_memory()
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # streams and graphs are made on the current device
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark = False

    def environment(self) -> dict[str, str]:
        """Everything about the machine that has to be equal for results to be equal bit for bit."""
        several = {} if self.world.is_alone else {"processes": str(self.world.size)}
        return describe_machine(self.device) | versions() | {"threads": str(self.threads)} | several

    @property
    def alone(self) -> Hardware:
        """The same for what the first process does by itself, such as pictures."""
        return replace(self, world=World())

    def prepare(self, model: Copies) -> Copies:
        """The model of all processes, compiled if the config says so; its parameters and their names stay."""
        share_norms(model, self.world)
        if self.compile:
            model.compile()
        return model

    def repeated(
        self,
        update: Update,
        model: Copies,
        optimizers: Optimizers,
        streams: Sequence[torch.Generator],
    ) -> Update:
        """`update` itself, or on CUDA a graph of it, if the config and the step allow one.

        On CUDA the learning rates become tensors if the optimizer accepts tensors.
        """
        if not self.has_graphs:
            return update
        groups = optimizers.param_groups
        takes_tensors = all(group.get("fused") or group.get("capturable") for group in groups)
        # The first steps run without a graph; without this, PyTorch would warn about that.
        for optimizer in optimizers.each:
            optimizer._warned_capturable_if_run_uncaptured = True
        # The learning rate is a tensor even without a graph, so that both ways give the same bits.
        for group in groups if takes_tensors else ():
            group.setdefault("initial_lr", float(group["lr"]))
            group["lr"] = torch.tensor(float(group["lr"]), device=self.device)
        if self.graph is not False:
            if not self.world.is_alone:
                self._no_graph("several processes exchange gradients in it")
                return update
            if optimizers.takes_closure:
                self._no_graph("the optimizer computes the loss as often as it wants")
                return update
            if takes_tensors and self.precision != "float16":
                return Replayed(update, model.streams.hold, streams, self._no_graph)
            takes_number = f"{type(optimizers.each[0]).__name__} takes its learning rate as a number"
            self._no_graph("float16 loss scaling reads each gradient" if takes_tensors else takes_number)
        return update

    @property
    def suits_closed_form(self) -> bool:
        """True if gradients in closed form have the bits of autograd's, see dlrun.training.closed_form."""
        is_plain = self.precision in ("float32", "float64") and not self.compile
        return is_plain and self.device.type == "cpu" and fast_paths.are_on()

    def _no_graph(self, reason: str) -> None:
        if self.graph is True:
            raise RunFailed(f"the step cannot be one graph: {reason}", fix="set graph: auto")
        self.warn(f"steps run one kernel at a time, not as one graph: {reason}")

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass: autocast for mixed precision, nothing for float32 and float64."""
        if self.precision in ("float32", "float64"):
            return nullcontext()
        return torch.autocast(self.device.type, _PRECISIONS[self.precision])

    def in_pieces(self, examples: int, size: int, compute: Callable[[slice], Found]) -> Iterator[Found]:
        """Yield `compute` of each piece of so many examples, smaller ones if memory runs out (see Pieces).

        Of several processes each has its own of the pieces.
        """
        for own in self.world.pieces(examples, size):
            yield from self.pieces.each(own, size, compute, self.warn)

    def share_piece_size(self) -> None:
        """Take the size of pieces to which one of several processes came down, in all of them."""
        if not self.world.is_alone:
            self.pieces.take(self.world.gathered(self.pieces.most), self.warn)

    def scaler(self, copies: int) -> LossScales | None:
        """Loss scaling for float16, whose small gradients would become 0 without it; else None."""
        return LossScales(copies) if self.precision == "float16" else None

    def step(
        self,
        losses: Numbers,
        model: Copies,
        optimizers: Optimizers,
        scaler: LossScales | None,
        not_finite: Tensor | None = None,
        again: Callable[[int], Tensor] | None = None,
        piece: Piece = WHOLE,
    ) -> None:
        """One optimizer step of all copies, each along the gradient of its mean of `losses` (copies, batch).

        Losses with weights are (copies, batch, 2), w · loss and w: their mean is the weighted one. Backward
        pass, unscaling, gradient clipping, update. If `not_finite` () is 1 on the device, a fused optimizer
        leaves the weights unchanged. An optimizer that takes a closure computes the losses of a copy (batch,)
        `again` with other weights, as often as it wants. Of a batch in pieces the gradients of each `piece`
        are added up, and the update is made after the last one.
        """
        if optimizers.takes_closure:
            assert again is not None and not isinstance(losses, Tensor), "stacked copies have no closures"
            optimizers.step_by(
                [
                    self._closure(own, model.copies[index], partial(again, index))
                    for index, own in enumerate(losses)
                ]
            )
            return
        if piece.is_first:
            optimizers.clear_gradients()
        if isinstance(losses, Tensor):
            model.backward([losses], [piece.shares(losses, 1.0, axis=1)])
        else:
            factors = [scaler.factors[index] for index in scaler.active] if scaler else repeat(1.0)
            shares = [piece.shares(own, factor) for own, factor in zip(losses, factors)]  # noqa: B905
            model.backward(losses, shares)
        if not piece.is_last:
            return
        weights = piece.weight_so_far(len(losses)) if piece.weights else None
        if not self.world.is_alone:
            weights = self.world.add_up(
                [own for group in optimizers.param_groups for own in group["params"]], weights
            )
        if weights is not None:
            model.scale_gradients(1 / weights.clamp_min(torch.finfo(weights.dtype).tiny))
        if scaler is not None:
            scaler.unscale(model)
        if self.gradient_clip is not None:
            model.clip(self.gradient_clip, self.clip_mode)
        if not_finite is not None:
            optimizers.skip_if(not_finite)
        optimizers.step()

    def _closure(self, losses: Tensor, copy: nn.Module, again: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """The function that an optimizer calls for the loss of a copy and its gradient.

        The first call uses the `losses` (batch,) that the step has computed already.
        """
        computed: list[Tensor] = [losses]

        def closure() -> Tensor:
            for parameter in copy.parameters():
                parameter.grad = None
            if computed:
                own = computed.pop()
            else:
                with self.autocast():
                    own = again()
            shares = shares_in_mean(own, 1.0)
            fast_paths.backward([own], [shares])
            if self.gradient_clip is not None:
                clip_alone(copy.parameters(), self.gradient_clip, self.clip_mode)
            return (own.detach() * shares).sum()  # the mean

        return closure


def choose_threads(
    threads: int | str, multiply_adds: int, numbers: int, batch: int, cores: int | None = None
) -> int:
    """The number of CPU threads: `threads` itself, or for "auto" by a fixed rule.

    The work of a step is, for each of `batch` examples, three times the `multiply_adds` of the forward pass
    plus WORK_PER_NUMBER for each of the `numbers` in the layers' outputs: activations and their gradients
    are written, read and passed through functions, which takes small layers longer than their products. There
    is one thread for every WORK_PER_THREAD of that, and never more than `cores`, by default those of
    the machine. It is a rule, not a measurement at run time, because the number of threads changes the last
    bits of results; `python -m benchmarks threads` shows how far the rule is from the optimum.
    """
    if isinstance(threads, int):
        return threads
    work = (3 * multiply_adds + WORK_PER_NUMBER * numbers) * batch
    return max(1, min(cores or machine.cores(), work // WORK_PER_THREAD))
