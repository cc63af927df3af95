"""A command of dlrun without one of its fast paths: `dlrun_without backward train spiral_relu …`."""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from typing import Any

import torch

from dlrun.console.commands.app import main
from dlrun.system import switches


def plain_step(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()


def nothing() -> None: ...


def loops_own_step(
    update: Any, batches: Any, augment: Any, meter: Any, optimizers: Any, hardware: Any
) -> Any:
    return hardware.repeated(update, meter.model, optimizers, augment.streams)


def without(name: str) -> None:
    """Put PyTorch's own way in the place of a fast path, before anything of dlrun has taken it."""
    if name == "compiler":
        importlib.import_module("torch._dynamo")  # as PyTorch does at the first optimizer
    plain: dict[str, Any] = {
        "backward": torch.autograd.backward,
        "step": plain_step,
        "keep_freed_memory": nothing,
        "without_compiler": nullcontext,
    }
    from dlrun.training import fast_paths, loop
    from dlrun.training.hardware import Hardware

    if name in plain:
        setattr(fast_paths, name, plain[name])
    elif name == "quick_step":
        loop.quickest_step = loops_own_step
    elif name == "closed_form":
        Hardware.suits_closed_form = False  # type: ignore[assignment, method-assign]


left_out = sys.argv.pop(1)
if left_out == "all":
    switches.has_fast_paths = lambda: False
elif left_out != "none":
    without(left_out)
main()
