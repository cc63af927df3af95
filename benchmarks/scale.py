"""Benchmark of time and memory over the number of examples and of parameters.

Each figure is of a process of its own, which trains as a user does. docs/scale.png is drawn at the end,
in another process, so that the one whose children are measured stays small.
"""

from __future__ import annotations

import json
import subprocess
import sys
from math import isqrt
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measured import PROJECT, machine, markdown, size, span
from benchmarks.processes import train

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Growing with examples and parameters"
PICTURE = PROJECT / "docs" / "scale.png"
ARMS = 5  # of the spiral: a number of examples is five times that of points on an arm
BATCH = 256
EPOCHS = 4
WIDTH = 100  # of the hidden layer where examples are counted
EXAMPLES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FOR_PARAMETERS = 3_000  # examples where parameters are counted
PARAMETERS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
# One thread, so that what grows is the work alone; no picture, for those take memory of their own.
ALWAYS = (
    f"dataset.classes={ARMS}",
    f"batch_size={BATCH}",
    f"epochs={EPOCHS}",
    f"evaluate_every={EPOCHS}",
    "device=cpu",
    "threads=1",
    "plots=[]",
    "expect={}",
)
KINDS = ("examples", "parameters")


def measure(rounds: int) -> dict[str, Any]:
    """Seconds of a training epoch and peak bytes of the process for each size, a list over the rounds."""
    of_examples = {
        str(number): [f"dataset.points={number // ARMS}", f"architecture.hidden=[{WIDTH}]"]
        for number in EXAMPLES
    }
    of_parameters = {
        str(parameters(width)): [
            f"dataset.points={FOR_PARAMETERS // ARMS}",
            f"architecture.hidden=[{width},{width}]",
        ]
        for width in map(width_for, PARAMETERS)
    }
    asked = {
        "empty": {"0": ["dataset.points=1", "architecture.hidden=[1]"]},
        "examples": of_examples,
        "parameters": of_parameters,
    }
    measured: dict[str, Any] = {
        kind: {number: {"seconds": [], "peak": []} for number in runs} for kind, runs in asked.items()
    }
    for _ in range(rounds):
        for kind, runs in asked.items():
            for number, overrides in runs.items():
                found = train("spiral_relu", *ALWAYS, *overrides, "--quiet")
                measured[kind][number]["seconds"].append(median(found["row_seconds"][1:]))  # warm
                measured[kind][number]["peak"].append(found["peak"])
    measured["machine"] = machine()
    drawing = [sys.executable, "-m", "benchmarks.scale"]
    subprocess.run(drawing, cwd=PROJECT, input=json.dumps(measured), text=True, check=True)
    return measured


def parameters(width: int) -> int:
    """The weights and biases from 2 inputs through two hidden layers of one width to the arms."""
    return (2 + 1) * width + (width + 1) * width + (width + 1) * ARMS


def width_for(number: int) -> int:
    """The width with which there are about so many parameters."""
    return isqrt(number) - (ARMS + 4) // 2


def table(measured: dict[str, Any]) -> list[str]:
    """The time and memory of each size, in total and per example or per parameter and step."""
    steps = -(-FOR_PARAMETERS // BATCH)
    return [
        f"Spirals, batches of {BATCH}, one thread. Time is that of a training epoch, memory the peak of the",
        "whole process over that of a run of five points in the smallest net, "
        f"which is {size(empty(measured))};",
        f"such runs differ by up to {size(noise(measured))}. Growth is linear if the columns `for each` stay",
        "constant, once the sizes outweigh the fixed cost of a step.",
        "",
        f"Examples, with {ARMS} arms and {WIDTH} hidden units:",
        "",
        *rows(measured, "examples", 1, "example"),
        "",
        f"Parameters, of two hidden layers of one width, with {FOR_PARAMETERS:,} examples, which are {steps} "
        "steps:",
        "",
        *rows(measured, "parameters", steps, "parameter and step"),
        "",
        "![Time of an epoch and memory over the number of examples and of parameters](scale.png)",
    ]


def rows(measured: dict[str, Any], kind: str, steps: int, one: str) -> list[str]:
    """The table of one kind."""
    lines = []
    headings = (kind, "time of an epoch", f"for each {one}", "memory", f"for each {one.split()[0]}")
    for number, seconds, peak in points(measured, kind):
        memory = [size(peak), f"{peak / number:.0f} bytes"]
        if peak <= noise(measured):
            memory = [f"< {size(noise(measured))}", "–"]
        lines.append([f"{number:,}", span(seconds), nanoseconds(seconds / number / steps), *memory])
    return list(markdown(headings, lines))


def nanoseconds(seconds: float) -> str:
    """Seconds as `1,234 ns` or `1.23 ns`."""
    return f"{seconds * 1e9:,.0f} ns" if seconds >= 1e-7 else f"{seconds * 1e9:.3g} ns"


def points(measured: dict[str, Any], kind: str) -> list[tuple[int, float, float]]:
    """For each number, in order: the median seconds of an epoch, and the median peak over an empty run's."""
    found = sorted((int(number), lists) for number, lists in measured[kind].items())
    return [
        (number, median(lists["seconds"]), median(lists["peak"]) - empty(measured)) for number, lists in found
    ]


def empty(measured: dict[str, Any]) -> float:
    """The peak of a run of next to nothing, in bytes."""
    return float(median(measured["empty"]["0"]["peak"]))


def noise(measured: dict[str, Any]) -> float:
    """The bytes by which the peaks of such runs differ, and at least a page."""
    peaks = measured["empty"]["0"]["peak"]
    return float(max(4096, max(peaks) - min(peaks)))


def drawn(measured: dict[str, Any]) -> Figure:
    """Time and memory, side by side, over the number of examples and of parameters."""
    from matplotlib.figure import Figure

    from dlrun.drawing.style import put_title

    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    time, memory = figure.subplots(1, 2)
    curves = {kind: points(measured, kind) for kind in KINDS}
    seen = {
        kind: [(number, peak / 1e6) for number, _, peak in curve if peak > noise(measured)]
        for kind, curve in curves.items()
    }
    seconds = {kind: [(number, taken) for number, taken, _ in curve] for kind, curve in curves.items()}
    panel(time, seconds, "Time of an epoch (s)")
    panel(memory, seen, "Peak memory beyond an empty run's (MB)")
    facts = f"spirals · batches of {BATCH} · one thread · dashed: in proportion to the number"
    put_title(figure, f"What more examples and more parameters take\n{facts}")
    return figure


def panel(axes: Axes, curves: dict[str, list[tuple[int, float]]], what: str) -> None:
    """One quantity over the numbers, with the straight line of proportionality through each last point."""
    from dlrun.drawing.style import BLUE, GREY, INK, RED, TEXT, tidy

    tidy(axes)
    for (kind, curve), colour in zip(curves.items(), (BLUE, RED), strict=True):
        numbers, values = zip(*curve, strict=True)
        axes.loglog(numbers, values, "o-", color=colour, markersize=4.5, linewidth=1.8, label=kind)
        ends = (EXAMPLES[0] / 2, numbers[-1])
        straight = [values[-1] * number / numbers[-1] for number in ends]
        axes.loglog(ends, straight, "--", color=colour, alpha=0.45, linewidth=1.0, zorder=1)
    least = min(value for curve in curves.values() for _, value in curve)
    axes.set_ylim(bottom=least / 2)
    axes.set_xlim(left=EXAMPLES[0] / 1.5)
    axes.grid(visible=False, which="minor")
    axes.tick_params(which="minor", length=0)
    axes.set_title(what, loc="left", fontsize=TEXT, color=INK)
    axes.set_xlabel("Number of examples or parameters", fontsize=TEXT, color=GREY)
    axes.legend(frameon=False, fontsize=TEXT, loc="upper left", borderaxespad=0.2)


if __name__ == "__main__":
    drawn(json.load(sys.stdin)).savefig(PICTURE, dpi=120)
