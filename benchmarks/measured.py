"""Measurements: their JSON file, the description of the machine, and Markdown tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
PEERS = ("skorch", "lightning", "keras")


def read(path: Path) -> dict[str, Any]:
    """The measurements of a file, or an empty dict if there is none."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def keep(path: Path, measured: Mapping[str, Any], *, in_order: bool = False) -> None:
    """Replace a file by what was measured, as strict JSON; `in_order` sorts every mapping by its keys."""
    text = json.dumps(measured, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=in_order)
    written = path.with_suffix(".tmp")
    written.write_text(f"{text}\n", encoding="utf-8")
    written.replace(path)  # the old one or the new one, should it be cut off here


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, line by line."""
    yield f"| {' | '.join(headings)} |"
    yield "|---" * len(headings) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def span(seconds: float) -> str:
    """Seconds as `12 µs`, `3.4 ms`, `0.357 s`, `4.21 s` or `6.7 min`."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.3g} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def size(number: float) -> str:
    """Bytes as `14 KB`, `386 MB` or `1.6 GB`, in powers of 1,000."""
    for unit, letters in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if number >= unit:
            return f"{number / unit:.3g} {letters}"
    return f"{number:.0f} bytes"


def counted(number: int, what: str) -> str:
    """`1 round`, `5 rounds`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def machine() -> dict[str, Any]:
    """The machine and the versions that a measurement was made with, and the day.

    `cores` are those that this process may use, `memory` is that of the machine in bytes. PyTorch is asked
    in a process of its own, for whoever measures processes stays small.
    """
    asked = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json, torch; from dlrun.training import devices;"
            "device = devices.choose_device('cuda' if torch.cuda.is_available() else 'cpu');"
            "print(json.dumps(devices.describe_machine(device) | devices.versions()))",
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    words: dict[str, Any] = json.loads(asked.stdout)
    return words | {
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "peers": {name: found for name in PEERS if (found := installed(name))},
        "date": str(date.today()),
    }


def installed(name: str) -> str | None:
    """The version of an installed package; None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def computer(words: Mapping[str, str]) -> str:
    """The GPU, or without one the processor and its instructions."""
    return words.get("gpu") or f"{words['processor']} ({words['instructions']})"


def measured_on(machine: Mapping[str, Any]) -> str:
    """The machine of one section as a sentence."""
    peers = "".join(f", {name} {found}" for name, found in sorted(machine["peers"].items()))
    return (
        f"Measured on {computer(machine)}, {counted(machine['cores'], 'processor core')}, "
        f"{machine['memory'] / 2**30:.0f} GiB of memory, {machine['system']}, Python {machine['python']}, "
        f"torch {machine['torch']}{peers}, {machine['date']}."
    )
