"""The device that a config names, its memory, and what machine this is."""

from __future__ import annotations

import os
import platform

import torch

from dlrun.errors import UserError
from dlrun.system import machine


def choose_device(name: str) -> torch.device:
    """The device that a config or `--device` names. Raises UserError if the machine does not have it."""
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if _count(kind)), "cpu")
    kind, _, index = name.partition(":")
    count = _count(kind)
    if not count:
        raise UserError(f"there is no {kind} device here", fix="use device=cpu or device=auto")
    if index and int(index) >= count:
        raise UserError(f"there is no {name} here (there are: {count} of them, from {kind}:0)")
    return torch.device(f"{kind}:{index or 0}" if kind == "cuda" else kind)


def dealt_cards(device: str) -> list[str]:
    """The GPUs among which runs with such a `device` are dealt, as CUDA_VISIBLE_DEVICES names them.

    A process that is given one sees it alone, as cuda:0. Runs on the CPU have none, and those of another one
    that their config names, such as cuda:1, stay there.
    """
    if device not in ("auto", "cuda", "cuda:0"):
        return []
    count = _count("cuda")
    named = [each for word in os.environ.get(machine.CARDS, "").split(",") if (each := word.strip())]
    return named[:count] or [str(number) for number in range(count)]


def device_memory(device: torch.device) -> int:
    """The bytes of memory of the device; for the CPU at most the limit of the container."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return machine.memory()


def lack_of_memory(what: str, wanted: int, device: torch.device, for_what: str) -> str:
    """A message that `what` needs more bytes `for_what` than the device has; "" if it has enough."""
    there = device_memory(device)
    if wanted <= there:
        return ""
    said = f"{what} {_gib(wanted)} GiB {for_what}; {device} has {_gib(there)}"
    limit = machine.limit_of_memory() if device.type != "cuda" else ""
    return f"{said}, the limit of this container ({limit})" if limit else said


def describe_machine(device: torch.device) -> dict[str, str]:
    """The system, the processor, its instructions and the GPU, for summary.json."""
    words = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": machine.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    if device.type == "cuda":
        words["gpu"] = torch.cuda.get_device_name(device)
    if device.type == "mps":
        words["gpu"] = "Apple"
    return words


def versions() -> dict[str, str]:
    """The versions that results depend on."""
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


def _gib(size: int) -> str:
    """Bytes in GiB as text, with one decimal below 10 GiB."""
    return f"{size / 2**30:,.0f}" if size >= 10 * 2**30 else f"{size / 2**30:.1f}"


def _count(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return int(torch.backends.mps.is_available()) if kind == "mps" else 1
