"""One run in two processes on two cores: beside one process, bare DistributedDataParallel, and Lightning."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

from benchmarks.digits import digits
from benchmarks.measured import counted, installed, machine, markdown, span
from benchmarks.processes import Figures, contestant, in_turn, train
from benchmarks.sections import Goal

TITLE = "One run in two processes"
TRAINED = {
    "mnist_cnn": ("limit=6400", "epochs=3", "evaluate_every=9"),
    "char_lm": ("dataset.count=1500", "epochs=3", "evaluate_every=9"),
    "mnist_threenet": (
        "epochs=4",
        "evaluate_every=9",
        "evaluate_train_every=null",
        "monitor=test_accuracy",
        "expect={}",
    ),
}
HALVES = {  # half of the examples in batches of half the size: what each of two processes computes
    "mnist_cnn": ("limit=3200", "batch_size=32"),
    "char_lm": ("dataset.count=750", "batch_size=32"),
}
NAMED = {
    "mnist_cnn": "`mnist_cnn`, 6,400 images",
    "char_lm": "`char_lm`, a transformer, 1,500 sentences",
    "mnist_threenet": "`mnist_threenet`",
}
MODELS = {"threenet": "ThreeNet, 128 examples each", "resnet18": "ResNet-18, 8 images of 64×64 each"}
STEPS = {"threenet": 200, "resnet18": 20}
OTHERS = {"ddp": "bare DistributedDataParallel", "lightning": "Lightning"}


def speed_ups(found: dict[str, Any], name: str) -> list[float]:
    """The epochs of one process over those of two, round by round."""
    return [each[f"{name} 1"]["epoch"] / each[f"{name} 2"]["epoch"] for each in found["rounds"]]


GOALS = [
    Goal(
        f"{config} in two processes: one / two",
        "≥",
        1.6,
        partial(speed_ups, name=config),
        note="each process waits for the other at every step. A profile of mnist_cnn has 26 to 28 % of a "
        "process's time in the all-reduce of its 29,000 gradients. The bare call takes 0.7 ms in the median "
        "between processes that do nothing else, and 1.9 ms if both compute for 10 ms before",
    )
    for config in HALVES
]


def measure(rounds: int) -> dict[str, Any]:
    with digits() as (folder, real):
        contestants = {
            f"{name} {processes}": partial(_trained, name, processes, str(folder))
            for name in TRAINED
            for processes in (1, 2)
        }
        contestants |= {f"{name} apart": partial(_apart, name, str(folder)) for name in HALVES}
        of_all = ("--data", str(folder), "--epochs", "4", "--threads", "1")
        for other in [each for each in OTHERS if each != "lightning" or installed(each)]:
            contestants[other] = partial(contestant, f"threenet_{other}", *of_all, processes=2)
        for model, steps in STEPS.items():
            words = ("--model", model, "--steps", str(steps))
            contestants[model] = partial(contestant, "exchange_timed", *words, processes=2)
        found = list(in_turn(contestants, rounds))
    load = round(os.getloadavg()[1], 1)
    return {"machine": machine(), "real": real, "load": load, "rounds": found}


def _trained(name: str, processes: int, data: str, *more: str) -> Figures:
    """The seconds of an epoch's steps, the first epoch left out."""
    words = (*TRAINED[name], "threads=1", "plots=[]", f"processes={processes}", *more)
    done = train(f"configs/{name}.yaml", *words, "--data-dir", data)
    return {"epoch": median(done["row_seconds"][1:])}


def _apart(name: str, data: str) -> Figures:
    """The same for two runs at once, each of half of the examples, that know nothing of each other."""
    with ThreadPoolExecutor(2) as pool:
        found = [*pool.map(lambda _: _trained(name, 1, data, *HALVES[name]), range(2))]
    return {"epoch": max(each["epoch"] for each in found)}


def table(measured: dict[str, Any]) -> list[str]:
    every = measured["rounds"]

    def middle(name: str, figure: str) -> float:
        return median(each[name][figure] for each in every)

    rows = []
    for name, said in NAMED.items():
        found = speed_ups(measured, name)
        seconds = [span(middle(f"{name} {processes}", "epoch")) for processes in (1, 2)]
        most = [
            each[f"{name} 1"]["epoch"] / each[f"{name} apart"]["epoch"] for each in every if name in HALVES
        ]
        spread = f"{min(found):.2f} … {max(found):.2f}"
        rows.append([said, *seconds, spread, f"{median(found):.2f}", f"{median(most):.2f}" if most else ""])
    others = [
        [said, span(middle(other, "training")), f"{median(_beside(every, other)):.2f}"]
        for other, said in OTHERS.items()
        if other in every[0]
    ]
    exchanges = [
        [
            said,
            f"{every[0][model]['numbers']:,}",
            *(span(middle(model, way)) for way in ("alone", "gradients", "ddp", "all_reduce")),
        ]
        for model, said in MODELS.items()
    ]
    return [
        f"{counted(len(every), 'round')} in turn, one thread in each process, gloo. The machine was shared: "
        f"a load of {measured['load']:g}, while two processes need both cores. An epoch is that of training, "
        "without evaluation. Apart is the median of one process to two runs at once, each of half of the "
        "examples in batches of half the size, that never wait for each other: it is the most that these "
        "cores give.",
        "",
        *markdown(("an epoch of", "one process", "two", "one / two", "median", "apart"), rows),
        "",
        "ThreeNet in two processes by torchrun, an epoch of training, and its ratio to dlrun's:",
        "",
        *markdown(("what", "an epoch", "/ dlrun"), others),
        "",
        "A step in two processes: each alone, with dlrun's exchange of gradients, with "
        "DistributedDataParallel, and the bare all-reduce of as many numbers:",
        "",
        *markdown(("model", "numbers", "alone", "dlrun", "DDP", "all-reduce"), exchanges),
    ]


def _beside(every: list[dict[str, Any]], other: str) -> list[float]:
    return [each[other]["training"] / each["mnist_threenet 2"]["epoch"] for each in every]
