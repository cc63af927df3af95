"""The state that PyTorch shares in a process, kept as a program of the user's has set it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give back threads, random state, default type and deterministic kernels as they were found.

    Within, gradients can be computed and floats are float32, whatever the caller has set.
    """
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fills: Any = torch.utils.deterministic
    fill = fills.fill_uninitialized_memory
    drawn, numpy = random.getstate(), sys.modules.get("numpy")
    drawn_by_numpy = numpy.random.get_state() if numpy else None
    cards = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    default = torch.get_default_dtype()
    card = torch.cuda.current_device() if torch.cuda.is_initialized() else None
    try:
        torch.set_default_dtype(torch.float32)
        with torch.random.fork_rng(cards), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(default)
        torch.use_deterministic_algorithms(is_deterministic, warn_only=warns_only)
        torch.backends.cudnn.benchmark, fills.fill_uninitialized_memory = benchmark, fill
        random.setstate(drawn)
        if numpy:
            numpy.random.set_state(drawn_by_numpy)
        if card is not None:
            torch.cuda.set_device(card)
