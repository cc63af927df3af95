"""Device, threads, precision and compilation: where the arithmetic runs, never what it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal

import torch
from torch import Tensor

from dlrun.errors import RunFailed
from dlrun.system import machine
from dlrun.training import fast_paths
from dlrun.training.copies import Copies, Figures
from dlrun.training.devices import describe_machine, versions
from dlrun.training.graphs import Replayed, Update
from dlrun.training.loss_scales import LossScales

# The work of a step that keeps one thread busy long enough to be worth waking another one, and what a number
# that a layer gives costs beside its sums, forward and backward: both in multiply-adds.
WORK_PER_THREAD = 25_000_000
WORK_PER_NUMBER = 100
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Hardware:
    """Where a run computes, and how one update is made there."""

    device: torch.device
    threads: int
    precision: str = "float32"
    compile: bool = False
    gradient_clip: float | None = None
    graph: bool | Literal["auto"] = "auto"
    warn: Callable[[str], None] = lambda text: None

    @property
    def has_graphs(self) -> bool:
        """Whether the device can repeat what was recorded on it."""
        return self.device.type == "cuda"

    def use(self) -> None:
        """Set what PyTorch keeps for the whole process: threads, and on CUDA repeatable kernels."""
        torch.set_num_threads(self.threads)
        fast_paths.keep_freed_memory()
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # streams and graphs are made on the current one
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark = False

    def environment(self) -> dict[str, str]:
        """What has to be the same for results to be the same bit for bit."""
        return describe_machine(self.device) | versions() | {"threads": str(self.threads)}

    def prepare(self, model: Copies) -> Copies:
        """The same model, compiled where asked for. Its weights stay where they are and keep their names."""
        if self.compile:
            model.compile()
        return model

    def repeated(
        self,
        update: Update,
        model: Copies,
        optimizer: torch.optim.Optimizer,
        streams: Sequence[torch.Generator],
    ) -> Update:
        """`update`, or on CUDA the same recorded as a graph, where the config and the step allow it.

        There the learning rates become tensors where the optimizer takes them as such.
        """
        if not self.has_graphs:
            return update
        takes_tensors = all(group.get("fused") or group.get("capturable") for group in optimizer.param_groups)
        # The first steps are not recorded, of which PyTorch would warn.
        optimizer._warned_capturable_if_run_uncaptured = True
        # The rate is a tensor without a graph too, so that both give the same bits.
        for group in optimizer.param_groups if takes_tensors else ():
            group.setdefault("initial_lr", float(group["lr"]))
            group["lr"] = torch.tensor(float(group["lr"]), device=self.device)
        if self.graph is not False:
            if takes_tensors and self.precision != "float16":
                return Replayed(update, model.streams.hold, streams, self._no_graph)
            takes_number = f"{type(optimizer).__name__} takes its learning rate as a number"
            self._no_graph("float16 looks at each gradient" if takes_tensors else takes_number)
        return update

    def _no_graph(self, reason: str) -> None:
        if self.graph is True:
            raise RunFailed(f"the step cannot be one graph: {reason}", fix="set graph: auto")
        self.warn(f"steps run one kernel at a time, not as one graph: {reason}")

    def autocast(self) -> AbstractContextManager[Any]:
        """What the forward pass runs under."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, _PRECISIONS[self.precision])

    def scaler(self, copies: int) -> LossScales | None:
        """Loss scaling, which float16 needs so that small gradients are not lost."""
        return LossScales(copies) if self.precision == "float16" else None

    def step(
        self,
        losses: Figures,
        model: Copies,
        optimizer: torch.optim.Optimizer,
        scaler: LossScales | None,
        not_finite: Tensor | None = None,
    ) -> None:
        """One update of all copies, each by the gradient of the mean of its own `losses` (copies, batch).

        Where `not_finite` () is 1 on the device, optimizers that are fused leave the weights alone.
        """
        for group in optimizer.param_groups:  # a tenth of what optimizer.zero_grad() takes
            for parameter in group["params"]:
                parameter.grad = None
        # The gradient of a mean with regard to each of its n losses is 1/n: no mean needs to be taken.
        if isinstance(losses, Tensor):
            fast_paths.backward([losses], [torch.full_like(losses, 1 / losses.shape[1])])
        else:
            factors = scaler.factors if scaler else repeat(1.0)
            shares = [torch.full_like(own, factor / len(own)) for own, factor in zip(losses, factors)]  # noqa: B905
            fast_paths.backward(losses, shares)
        if scaler is not None:
            scaler.unscale(model)
        if self.gradient_clip is not None:
            model.clip(self.gradient_clip)
        if not_finite is not None and optimizer.defaults.get("fused"):
            optimizer.found_inf, optimizer.grad_scale = not_finite, None  # type: ignore[attr-defined]
        fast_paths.step(optimizer)


def choose_threads(threads: int | str, multiply_adds: int, numbers: int, batch: int) -> int:
    """The number of CPU threads: `threads`, or for "auto" by a fixed rule.

    A step over `batch` examples costs three times the forward pass's `multiply_adds` for each, and
    WORK_PER_NUMBER more for each of the `numbers` that its layers give: activations and their gradients are
    written, read and passed through functions, which takes small layers longer than their sums. One thread
    for every WORK_PER_THREAD of that, never more than the machine has cores. A rule rather than a
    measurement, because the number of threads changes the last bits; `python -m benchmarks threads` says
    how far it is from the best.
    """
    if isinstance(threads, int):
        return threads
    work = (3 * multiply_adds + WORK_PER_NUMBER * numbers) * batch
    return max(1, min(machine.cores(), work // WORK_PER_THREAD))
