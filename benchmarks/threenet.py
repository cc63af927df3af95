"""One epoch of ThreeNet on MNIST: dlrun, the loop by hand, the usual way, and the tools used instead."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.agreement import agree, said
from benchmarks.digits import STAND_IN, digits
from benchmarks.measured import PEERS, counted, installed, machine, markdown, span
from benchmarks.processes import contestant, figures, in_turn, middle, present, ratios, rounds_of, train
from benchmarks.sections import Goal
from benchmarks.turns import by_turns

TITLE = "An epoch of ThreeNet on MNIST"
EPOCHS = 12  # the first is the warm-up
EPOCHS_OF_THE_NOTES = 3  # they take ten times as long
ONE_THREAD = ", one thread"  # behind the names of those that take turns with it
CONTESTANTS = {
    "dlrun": "dlrun",
    "careful": "careful loop",
    f"dlrun{ONE_THREAD}": "dlrun, one thread",
    f"careful{ONE_THREAD}": "careful loop, one thread",
    "careful, torch's threads": "careful loop, with as many threads as PyTorch chooses",
    "notes": "the notes' way: DataLoader, a transform for each image",
    "skorch": "skorch, batches gathered in memory",
    "lightning": "Lightning, batches gathered in memory",
    "keras": "Keras on PyTorch, arrays in memory",
    "skorch, default": "skorch, its default loaders of arrays in memory",
    "lightning, default": "Lightning, PyTorch's loader of a TensorDataset",
}
DEFAULT = {"skorch": "skorch, default", "lightning": "lightning, default"}  # Keras has only one way
PAIRS = 3  # extra rounds of dlrun and the careful loop for each full round: their ratio is closest to 1
WORDS = (
    "mnist_threenet",
    f"epochs={EPOCHS}",
    "evaluate_train_every=null",
    "monitor=train_loss",
    "plots=[]",
    "expect={}",
)
PRODUCTS = "products"  # not a contestant: it does not train
FLOOR = (
    "the section below shows the time of the matrix products alone, which all contestants share, beside that "
    "of a large product, and a profile of the rest. dlrun computes gradients with the bits of autograd. "
    "Tried and left out, as the last bits change and the step gains 1 to 3 %: "
    "updates that the product adds to the weights itself, normalisation in the first layer, the products of "
    "oneDNN. Tried and left out, as it takes a second core for 3 to 6 %: batches gathered by a thread of "
    "their own. Tried and slower: each batch divided between two threads of Python, which wait for each "
    "other's turn with the interpreter. Tried without a gain beyond the noise: batches normalised in pieces "
    "that fit the cache, memory in huge pages, inference mode, the products in another form."
)
COMPARED = (  # contestant, its name, the goal given dlrun's way of gathering, and with its own loaders
    ("skorch", "skorch", 1.25, 2.4),
    ("lightning", "Lightning", 1.6, 3.2),
    ("keras", "Keras", 2.7, 2.8),
)
GOALS = [
    Goal(
        "ThreeNet epoch: dlrun / careful loop",
        "≤",
        0.80,
        lambda m: ratios(m, "dlrun", "careful", "whole"),
        note=FLOOR,
    ),
    Goal(
        "ThreeNet epoch, one thread: dlrun / careful loop",
        "≤",
        0.80,
        lambda m: ratios(m, f"dlrun{ONE_THREAD}", f"careful{ONE_THREAD}", "whole"),
        note=FLOOR,
    ),
    Goal("ThreeNet epoch: the notes' way / dlrun", "≥", 12, lambda m: ratios(m, "notes", "dlrun", "whole")),
    *(
        Goal(
            f"ThreeNet epoch: {title}, batches gathered in memory / dlrun",
            "≥",
            gathered,
            lambda m, name=name: ratios(m, name, "dlrun", "whole"),  # type: ignore[misc]
            note=FLOOR,
        )
        for name, title, gathered, _ in COMPARED
    ),
    *(
        Goal(
            f"ThreeNet epoch: {title}, as its users write it / dlrun",
            "≥",
            usual,
            lambda m, name=name: ratios(m, DEFAULT.get(name, name), "dlrun", "whole"),  # type: ignore[misc]
            note=FLOOR,
        )
        for name, title, _, usual in COMPARED
    ),
]


def measure(rounds: int, threads: int | None = None) -> dict[str, Any]:
    with digits() as (folder, real):
        words = ["--data-dir", str(folder), *([f"threads={threads}"] if threads else [])]
        threads = int(train(*WORDS, *words)["threads"])  # its rule chooses them; and the files are read once
        of_all, by_turn = _of_all(folder, threads), _with_products(folder, threads)
        with_one = _with_products(folder, threads=1)
        closest = by_turn | {f"{name}{ONE_THREAD}": started for name, started in with_one.items()}
        for peer in filter(installed, PEERS):
            by_turn[peer] = [f"benchmarks.contestants.threenet_{peer}", *of_all]
            if peer in DEFAULT:
                by_turn[DEFAULT[peer]] = [*by_turn[peer], "--default-loaders"]
        alone = {
            "careful, torch's threads": partial(contestant, "threenet_careful", *of_all[:-2]),
            "notes": partial(contestant, "threenet_notes", *of_all, "--epochs", str(EPOCHS_OF_THE_NOTES)),
        }
        rounds_of_both = zip(by_turns(by_turn, EPOCHS, rounds), in_turn(alone, rounds), strict=True)
        found = [together | apart for together, apart in rounds_of_both]
        found += by_turns(closest, EPOCHS, PAIRS * rounds)
        profile = contestant("dlrun_profiled", *of_all)["shares"]
    for each in found:
        agree({name: figures for name, figures in each.items() if not name.startswith(PRODUCTS)})
    return {"machine": machine(), "real": real, "threads": threads, "rounds": found, "profile": profile}


def _of_all(folder: Path, threads: int) -> list[str]:
    """The arguments of every contestant but dlrun."""
    return ["--data", str(folder), "--epochs", str(EPOCHS), "--threads", str(threads)]


def _with_products(folder: Path, threads: int) -> dict[str, list[str]]:
    """The modules and arguments of dlrun, the careful loop and the products alone with so many threads."""
    of_all = _of_all(folder, threads)
    of_dlrun = [*WORDS, "--data-dir", str(folder), f"threads={threads}"]
    return {
        "dlrun": ["benchmarks.contestants.dlrun_by_turns", *of_dlrun],
        "careful": ["benchmarks.contestants.threenet_careful", *of_all],
        PRODUCTS: ["benchmarks.contestants.threenet_products", *of_all],
    }


def table(measured: dict[str, Any]) -> list[str]:
    there = present(measured, CONTESTANTS)
    rows = []
    for name, title in there.items():
        rounds = [found[name] for found in measured["rounds"] if name in found]
        losses = [found["losses"][EPOCHS_OF_THE_NOTES - 1] for found in rounds]
        accuracies = [found["test_accuracies"][EPOCHS_OF_THE_NOTES - 1] for found in rounds]
        whole = figures(measured, name, "whole")
        rows.append(
            [
                title,
                *(span(value) for value in (min(whole), middle(measured, name, "whole"), max(whole))),
                span(middle(measured, name, "training")) if _has_training(name) else "–",
                str(rounds[0]["threads"]),
                f"{min(losses):.4f} … {max(losses):.4f}",
                f"{min(accuracies):.4f} … {max(accuracies):.4f}",
            ]
        )
    return [
        "784-200-60-10, ReLU, cross entropy, SGD 1e-2, batch 256, float32. An epoch has 235 steps, their "
        "loss and accuracy, and loss and accuracy on the test set; for dlrun also rows, saves and its table "
        "in a pipe. dlrun, the careful loop, their products alone and the libraries take turns, an epoch "
        "each, in a random order; the others run by themselves. The time of a round is the median of its "
        f"epochs without the first; {rounds_of(measured)}, most of them of only dlrun and the careful loop, "
        "with one thread as well.",
        "",
        *([] if measured["real"] else [STAND_IN, ""]),
        *markdown(
            (
                "contestant",
                "epoch, minimum",
                "median",
                "maximum",
                "of which training",
                "threads",
                f"training loss, epoch {EPOCHS_OF_THE_NOTES}",
                "test accuracy",
            ),
            rows,
        ),
        "",
        " ".join(_of_products(measured, behind) for behind in ("", ONE_THREAD)),
        "",
        "The time of dlrun by PyTorch's profiler, whose overhead counts as all else: "
        + "; ".join(
            f"{kind} {share:.0%}"
            for kind, share in sorted(measured["profile"].items(), key=lambda item: -item[1])
        )
        + ".",
        "",
        "The images come in an order of each one's own. " + said(),
    ]


def _has_training(name: str) -> bool:
    """True of those that measure the training part of an epoch as dlrun does."""
    return name.removesuffix(ONE_THREAD) in ("dlrun", "careful", "notes")


def _of_products(measured: dict[str, Any], behind: str) -> str:
    """The sentence on the matrix products alone, of the contestants with `behind` behind their names."""
    name, careful = f"{PRODUCTS}{behind}", f"careful{behind}"
    rounds = [found[name] for found in measured["rounds"] if name in found]
    rate = median(own["multiply_adds"] / own["whole"] for own in rounds) / 1e9
    square = rounds[0]["square"]
    rate_of_square = median(own["square_rate"] for own in rounds) / 1e9
    return (
        f"With {counted(rounds[0]['threads'], 'thread')} the matrix products of an epoch and its evaluation "
        f"alone take {span(middle(measured, name, 'whole'))}, "
        f"{median(ratios(measured, name, careful, 'whole')):.2f} of the careful loop's time: {rate:.0f} "
        f"billion multiply-adds a second, where a product of two {square} × {square} matrices does "
        f"{rate_of_square:.0f}."
    )
