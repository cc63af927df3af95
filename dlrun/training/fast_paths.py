"""Fast paths: shortcuts past parts of PyTorch and the C library that small models pay for and do not use.

They rely on internals of PyTorch. tests/training/test_fast_paths.py holds each against the pinned version,
bit for bit; if a newer version breaks one, `DLRUN_FAST_PATHS=0` turns all of them off, and the only loss is
time. docs/performance.md has what each of them gains, measured by `python -m benchmarks fast_paths`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from inspect import unwrap
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.optim import optimizer as optimizers

from dlrun.system import machine
from dlrun.system.switches import has_fast_paths
from dlrun.training.fused_updates import fused_update

_COMPILER = "torch._dynamo"


@contextmanager
def without_compiler() -> Iterator[None]:
    """Replace PyTorch's compiler by a stand-in, so that it is not imported in this context.

    PyTorch asks it to mark some of its own functions as not to be compiled. Any other use imports the real
    compiler.
    """
    if _COMPILER in sys.modules or not are_on():
        yield
        return
    stand_in = _StandIn(_COMPILER)
    sys.modules[_COMPILER] = stand_in
    torch._dynamo = stand_in
    try:
        yield
    finally:
        stand_in.leave()


class _StandIn(ModuleType):
    def disable(self, function: Any = None, *options: Any, **more: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__") == "torch._compile":  # PyTorch of its own functions
            return function
        return self.__getattr__("disable")(function, *options, **more)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        self.leave()
        import torch._dynamo

        return getattr(torch._dynamo, name)

    def leave(self) -> None:
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER], torch._dynamo


def backward(losses: Sequence[Tensor], shares: Sequence[Tensor]) -> None:
    """Add to every weight its gradient, where `shares` are the gradients with regard to `losses`.

    As `torch.autograd.backward`, which looks at the shapes again with the help of a computer algebra system.
    """
    if not are_on():
        torch.autograd.backward(losses, shares)
        return
    torch.autograd.graph._engine_run_backward(
        tuple(losses), tuple(shares), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def step(optimizer: torch.optim.Optimizer) -> None:
    """Do one step of an optimizer.

    The wrappers of PyTorch's optimizers, which take as long as a small step, are skipped if they have no
    hooks.
    """
    hooks = (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        optimizers._global_optimizer_pre_hooks,
        optimizers._global_optimizer_post_hooks,
    )
    if any(hooks) or "step" in vars(optimizer) or not are_on():
        optimizer.step()
        return
    kind = type(optimizer)
    if kind not in _steps:
        _steps[kind] = unwrap(kind.step) if kind.__module__.startswith("torch.optim") else kind.step
    with NoGradients():
        if not fused_update(optimizer):
            _steps[kind](optimizer)


_steps: dict[type, Callable[[torch.optim.Optimizer], Any]] = {}


class NoGradients:
    """A context without gradients, as `torch.no_grad()`, with a third of its calls of Python functions."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)

    def __exit__(self, *_: object) -> None:
        torch._C._set_grad_enabled(self._before)


def keep_freed_memory() -> None:
    """Keep freed memory for the next step, for which it would be requested again.

    Otherwise each step pays for system calls and page faults.
    """
    if are_on():
        machine.keep_freed_memory()


@cache
def are_on() -> bool:
    """Read once: a run has all of its steps in one way."""
    return has_fast_paths()
