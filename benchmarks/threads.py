"""`threads: auto`, proved: what a training epoch of each shipped config costs on 1, 2, 4 … threads.

    python -m benchmarks.threads CONFIG ROUNDS THREADS …    # one config, as JSON

Each config is measured in a process of its own, in which training on each number of threads takes its turn
and goes on where it stopped. Only training is timed; nothing is evaluated, saved or drawn in between.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from benchmarks.measured import PROJECT, counted, machine, markdown, span
from benchmarks.sections import Goal
from dlrun.config.lookup import shipped_names
from dlrun.console.commands.app import WAITING

if TYPE_CHECKING:
    from dlrun.training.recipe import Row

TITLE = "`threads: auto` beside 1, 2, 4 … threads"
NEAR = 1.25  # how far auto may be from the best
TURN = 0.3  # seconds of training that a turn takes at least
STEPS = 200  # of an epoch that are taken, so that turns follow each other soon
OTHERS = 0.1  # processors that other programs may use while a config is measured
FILES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}  # below the data folder
FOR_A_GPU = ("cifar10_resnet",)
HEADINGS = ("config", "multiply-adds in a step", "auto chooses", "auto / best")


def measure(rounds: int) -> dict[str, Any]:
    """The seconds of a training epoch of each shipped config, on each number of threads in each round."""
    cores = len(os.sched_getaffinity(0))
    counts = [2**power for power in range(cores.bit_length())]
    configs = {}
    for name in shipped_names():
        configs[name] = of_config(name, rounds, counts)
        print(" | ".join(row(name, configs[name], counts)), flush=True)
    return {"machine": machine(), "threads": counts, "configs": configs}


def of_config(name: str, rounds: int, counts: Sequence[int]) -> dict[str, Any]:
    """The figures of one config, or why there are none."""
    if name in FOR_A_GPU:
        return {"not run": "it is for a GPU"}
    command = [sys.executable, "-m", "benchmarks.threads", name, str(rounds), *map(str, counts)]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        command, cwd=PROJECT, env=inherited | dict([WAITING]), stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(measured: dict[str, Any]) -> list[str]:
    """Every config with its times, and those where auto is too far from the best."""
    counts = measured["threads"]
    headings = [*HEADINGS[:3], *(counted(count, "thread") for count in counts), HEADINGS[3]]
    return [
        f"Time of a training epoch, median of the rounds; bold if auto is more than {NEAR - 1:.0%} from the",
        "best. `auto / best` is computed within a round, between the threads that auto chooses and those",
        "with the lowest median. A step is the forward and the backward pass of a batch.",
        "",
        *markdown(headings, (row(name, found, counts) for name, found in measured["configs"].items())),
        *disturbed(measured["configs"]),
    ]


def disturbed(configs: dict[str, Any]) -> list[str]:
    """A warning about doubtful figures: threads that wait for each other suffer most from other programs."""
    named = [f"`{name}`" for name, found in configs.items() if found.get("others", 0) > OTHERS]
    if not named:
        return []
    which = f"Other programs took more than {OTHERS:.0%} of a processor from {', '.join(named)}."
    return ["", which]


def row(name: str, found: dict[str, Any], counts: Sequence[int]) -> list[str]:
    """The line of one config."""
    if "not run" in found:
        return [f"`{name}`", f"not run: {found['not run']}", *["–"] * (len(counts) + 2)]
    times = [span(median(found["seconds"][str(count)])) for count in counts]
    ratio = median(ratios(found))
    shown = f"{ratio:.2f}" if ratio <= NEAR else f"**{ratio:.2f}**"
    return [f"`{name}`", f"{found['multiply_adds'] / 1e6:,.1f} M", str(found["auto"]), *times, shown]


def ratios(found: dict[str, Any]) -> list[float]:
    """The time on auto's number of threads over that on the best number, in each round."""
    seconds = found["seconds"]
    best = min(seconds, key=lambda count: median(seconds[count]))
    return [mine / least for mine, least in zip(seconds[str(found["auto"])], seconds[best], strict=True)]


def worst(measured: dict[str, Any]) -> list[float]:
    """The time of `auto` over that of the best number of threads: the worst config, median of rounds."""
    return [max(median(ratios(found)) for found in measured["configs"].values() if "not run" not in found)]


GOALS = [
    Goal(
        "`threads: auto` / the best number of threads, in the worst of all configs",
        "≤",
        NEAR,
        worst,
        note="the number of threads changes the last bits of results, so the rule counts the work of a step "
        "instead of measuring. The rows in bold would gain by a second thread here, where nothing else runs. "
        "Beside other programs their short steps would wait for it: see the section on that.",
    )
]


def in_turn(name: str, rounds: int, counts: Sequence[int]) -> dict[str, Any]:
    """Train one config on each number of threads, and on as many as auto chooses, in turn.

    The first turn of each is a warm-up.
    """
    import torch

    from dlrun.config.loading import load_config
    from dlrun.config.lookup import find_config
    from dlrun.config.registry import Parts
    from dlrun.training.loop import fit
    from dlrun.training.plan_making import make_plan

    data, parts = Path(os.environ.get("DLRUN_DATA", PROJECT / "data")), Parts()
    plan = make_plan(load_config(find_config(name), ["device=cpu"], parts), parts, data)
    files = FILES.get(plan.config.dataset.name, "")
    if not (data / files).exists() and files:
        return {"not run": f"{files} is not here"}
    examples = dict(plan.data.read())
    batch = min(len(examples["train"]), plan.config.batch_size if plan.config.batch_size != "full" else 10**9)
    steps = -(-len(examples["train"]) // batch)
    first = examples["train"].take(torch.arange(min(len(examples["train"]), STEPS * batch)))
    loaded = replace(plan, data=replace(plan.data, read=lambda: examples | {"train": first})).load()
    chosen = plan.hardware(loaded)
    recipe = replace(plan.recipe, epochs=10**9, evaluation_split=None, evaluate_train_every=None)
    trainings = {}
    for threads in sorted({*counts, chosen.threads}):
        hardware = replace(chosen, threads=threads)
        trainings[hardware] = fit(plan.state(hardware), loaded, recipe, hardware)
    seconds: dict[int, list[float]] = {hardware.threads: [] for hardware in trainings}
    started, before = perf_counter(), by_others()
    for number in range(1 + rounds):
        for hardware, rows in trainings.items():
            hardware.use()
            of_first_steps = turn(rows)
            if number:
                seconds[hardware.threads].append(of_first_steps * steps / min(steps, STEPS))
    return {
        "multiply_adds": 3 * plan.layers.multiply_adds * batch,  # the backward pass costs twice the forward
        "auto": chosen.threads,
        "seconds": seconds,
        "others": (by_others() - before) / (perf_counter() - started),
    }


def turn(rows: Iterator[Row]) -> float:
    """The mean seconds of the epochs in one turn."""
    seconds, epochs = 0.0, 0
    while seconds < TURN:
        seconds += next(rows)["seconds"][0]
        epochs += 1
    return seconds / epochs


def by_others() -> float:
    """The seconds that our processors have worked for other programs so far; 0 where nobody says."""
    try:
        lines = Path("/proc/stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    words = [line.split() for line in lines]
    # user, nice, system, idle, waiting for the disk, interrupts, soft interrupts, stolen
    worked = sum(int(found[index]) for found in words if found[0] in ours for index in (1, 2, 3, 6, 7, 8))
    return worked / os.sysconf("SC_CLK_TCK") - process_time()


if __name__ == "__main__":
    asked, in_rounds, *on = sys.argv[1:]
    print(json.dumps(in_turn(asked, int(in_rounds), [int(count) for count in on])))
