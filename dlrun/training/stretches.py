"""Stretches of a run that was resumed elsewhere: the device, versions, machine and code of its epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlrun import __version__
from dlrun.run_folders.run import STRETCH
from dlrun.training.devices import describe_machine, versions
from dlrun.training.hardware import Hardware
from dlrun.training.plan import Plan

_Stretch = dict[str, Any]


def surroundings_of(plan: Plan, hardware: Hardware) -> dict[str, Any]:
    """The entries of summary.json for the device, threads, processes, machine, versions and code."""
    return {
        "device": str(hardware.device),
        "threads": hardware.threads,
        "processes": hardware.world.size,
        "precision": hardware.precision,
        "machine": describe_machine(hardware.device),
        "versions": {"dlrun": __version__, **versions()},
        "code": plan.parts.code,
    }


def stretches_with(before: Mapping[str, Any], epoch: int, here: Mapping[str, Any]) -> list[_Stretch]:
    """The stretches in the previous summary, and a new one after `epoch` if `here` differs from the last one.

    A stretch whose epochs are all later than `epoch` is dropped. For a summary of an older dlrun, which has
    no stretches, all epochs so far are one.
    """
    now = {key: here[key] for key in STRETCH}
    told = before.get("stretches")
    if not isinstance(told, list):
        told = [{"from_epoch": 1} | {key: before.get(key) for key in STRETCH}] if before else []
    kept = [each for each in told if isinstance(each, dict) and _first_epoch(each) <= epoch]
    if kept and {key: kept[-1].get(key) for key in STRETCH} == now:
        return kept
    return [*kept, {"from_epoch": epoch + 1} | now]


def _first_epoch(stretch: _Stretch) -> float:
    first = stretch.get("from_epoch")
    return first if isinstance(first, int) else float("inf")
