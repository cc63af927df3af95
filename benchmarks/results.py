"""docs/results.md: every experiment trained here, beside what was published.

    python -m benchmarks.results                       # all of them, then the table
    python -m benchmarks.results spiral_relu temps     # these again, then the table
    python -m benchmarks.results --table               # the table from what was measured before

What is measured is kept in docs/results.json, so that the table can be written again. Run folders go to
runs/results; real data are looked for where `dlrun` looks, in $DLRUN_DATA or data/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from benchmarks.measured import PROJECT, computer, keep, markdown, read

MEASURED = PROJECT / "docs" / "results.json"
TABLE = PROJECT / "docs" / "results.md"
RUNS = PROJECT / "runs" / "results"
OUTCOMES = {"not run": "was not run", "failed": "failed"}
HEADINGS = (
    "experiment",
    "published",
    "measured",
    "without a model",
    "claim",
    "met",
    "time published",
    "time measured",
)
INTRODUCTION = """\
Written by `python -m benchmarks.results`, which trains each config in `configs/` and reads its
`summary.json`. Figures are those of the last epoch, or of the best one if the column says `best`: mean ±
sample standard deviation over the seeds 0, 1 and 2, or the figure of the config's own seed. The time is
that of the training loop for one seed, on a machine that other programs may have used too. "Without a
model" is the figure of a baseline on the same split: the most frequent class, the mean of the training
targets, a column of the data that guesses the target, or earlier values of a series."""


@dataclass(frozen=True)
class Experiment:
    """One row of the table: a config, what was published of it, and the figures to set beside it."""

    name: str  # of the row; the config's own unless `config` says otherwise
    published: str
    figures: tuple[str, ...]
    seeds: int = 3
    published_time: str = ""
    note: str = ""
    config: str = ""
    overrides: tuple[str, ...] = ()
    needs: str = ""  # a file below the data folder, or cuda
    unit: str = ""  # of the target of a regression

    @property
    def words(self) -> list[str]:
        """The command line that trains it."""
        data = os.environ.get("DLRUN_DATA", "data")
        overrides = [word.replace("$DLRUN_DATA", data) for word in self.overrides]
        return [self.config or self.name, *overrides]


@dataclass(frozen=True)
class Picture:
    """A picture of docs/: a plot of the run of one row, which may need the runs of others beside it."""

    file: str
    row: str
    plot: str
    beside: tuple[str, ...] = ()


MADE_TEMPERATURES = "dataset.source=generated"
REAL_TEMPERATURES = "dataset.path=$DLRUN_DATA/temps.csv"
DEAD = (
    "With a ReLU on the output, a class whose output is negative for every example gets no gradient and "
    "never recovers: some seeds lose one or several classes, and with each a tenth of the accuracy. The "
    "claim is a bound that the worst seeds still reach; the result is the spread over seeds."
)
WINTER = (
    "The hold-out is the last fifth of the rows, late October to December: months that training has hardly "
    "seen, with a December colder than the averages of its dates. A network that takes the date as a number "
    "must extrapolate; the second row leaves it out, scales the target and decays the weights, as chosen on "
    "the fifth before the hold-out. The day before remains the better guess."
)
ORDER = (
    "The mean of the embeddings does not depend on the order of the words. Half of what is said is denied, "
    "and a mean cannot tell which half. A recurrent network reads the words in their order."
)
SIGMOIDS = (
    "One network and one rate, with two losses. Rate and batch size are those of the widest gap among the "
    "pairs that were tried; cross entropy was ahead in each."
)
RARE = (
    "The third arm has 50 points beside 1,000 on each other, and each of them counts as five in the loss. "
    "Without these weights F1 is lower, because most points of that arm are taken for another's."
)
TRANSFER = (
    "Two hundred sketches, 20 of each symbol: learnt from nothing in 20 epochs, and in 5 from the weights of "
    "symbols_filled, which has seen the same symbols in another look."
)
PICTURES = [
    Picture("spiral_linear.png", "spiral_linear", "decision_regions"),
    Picture("spiral_relu.png", "spiral_relu", "decision_regions"),
    Picture("temps.png", "temps", "over_dates"),
    Picture("mistakes.png", "mnist_softmax_scratch", "mistakes"),
    Picture("mnist_threenet.png", "mnist_threenet", "curves"),
    Picture("sigmoids.png", "mnist_sigmoid_ce", "several_runs", beside=("mnist_sigmoid_mse",)),
]
EXPERIMENTS = [
    Experiment("spiral_linear", "about 50 %", ("train_accuracy",)),
    Experiment("spiral_relu", "95 %", ("train_accuracy",)),
    Experiment("spiral_relu_wide", "loss lower and accuracy higher than with 100 units", ("train_accuracy",)),
    Experiment("spiral_relu_deep", "99.9 %", ("train_accuracy",)),
    Experiment("spiral_sigmoid", "clearly worse than ReLU", ("train_accuracy",)),
    Experiment("spiral_tanh", "–", ("train_accuracy",)),
    Experiment("spiral_rare", "–", ("train_accuracy", "train_f1"), note=RARE),
    Experiment(
        "spiral_logistic",
        "–",
        ("train_accuracy",),
        note="Logistic regression draws one straight line, and two spiral arms cannot be told apart by one.",
    ),
    Experiment(
        "fashion_softmax",
        "train loss < 0.5, both accuracies > 0.7",
        ("train_loss", "train_accuracy", "test_accuracy"),
    ),
    Experiment(
        "fashion_softmax_scratch",
        "train loss < 0.5, both accuracies > 0.7",
        ("train_loss", "train_accuracy", "test_accuracy"),
    ),
    Experiment("mnist_softmax", "–", ("train_loss", "train_accuracy", "test_accuracy")),
    Experiment("mnist_softmax_scratch", "–", ("train_loss", "train_accuracy", "test_accuracy")),
    Experiment(
        "mnist_threenet",
        "train 99.997 %, test 97.959 %",
        ("best.trainset_accuracy", "best.test_accuracy"),
        seeds=1,
        published_time="71.90 min, a GPU",
    ),
    Experiment("char_lm", "–", ("test_bits_per_character", "test_accuracy"), seeds=1),
    Experiment("char_rnn", "–", ("test_bits_per_character", "test_accuracy"), seeds=1),
    Experiment("forecast_demand", "–", ("train_mae", "test_mae"), unit="MW"),
    Experiment("reviews_bag", "–", ("test_accuracy",), note=ORDER),
    Experiment("reviews_gru", "–", ("test_accuracy",)),
    Experiment("temps_scratch", "–", ("train_loss", "test_mae"), overrides=(MADE_TEMPERATURES,), unit="°F"),
    Experiment("temps", "–", ("train_mae", "test_mae"), overrides=(MADE_TEMPERATURES,), unit="°F"),
    Experiment(
        "temps, features as they come",
        "converges more slowly",
        ("train_mae", "test_mae"),
        config="temps",
        overrides=(MADE_TEMPERATURES, "dataset.standardise=false", "expect={}"),
        unit="°F",
    ),
    Experiment(
        "temps_scratch, real file",
        "–",
        ("train_loss", "test_mae"),
        config="temps_scratch",
        overrides=(REAL_TEMPERATURES,),
        needs="temps.csv",
        unit="°F",
    ),
    Experiment(
        "temps, real file",
        "–",
        ("train_mae", "test_mae"),
        config="temps",
        overrides=(REAL_TEMPERATURES,),
        needs="temps.csv",
        note=WINTER,
        unit="°F",
    ),
    Experiment(
        "temps, real file, without the date as a number",
        "–",
        ("train_mae", "test_mae"),
        config="temps",
        overrides=(
            REAL_TEMPERATURES,
            "dataset.scale_target=true",
            "dataset.ignore=[year, month, day]",
            "dataset.date_cycles=[year]",
            "optimizer.weight_decay=1e-2",
            "expect={}",
        ),
        needs="temps.csv",
        note=WINTER,
        unit="°F",
    ),
    Experiment("mnist_scratch", "–", ("test_loss", "test_accuracy"), note=DEAD),
    Experiment("mnist_mlp", "–", ("test_loss", "test_accuracy"), note=DEAD),
    Experiment("mnist_mlp_leaky", "–", ("test_loss", "test_accuracy")),
    Experiment("mnist_mlp_dropout", "–", ("test_loss", "test_accuracy")),
    Experiment(
        "mnist_sigmoid_mse", "learns more slowly than with cross entropy", ("test_accuracy",), note=SIGMOIDS
    ),
    Experiment(
        "mnist_sigmoid_ce", "learns faster than with squared error", ("test_accuracy",), note=SIGMOIDS
    ),
    Experiment("mnist_cnn", "–", ("test_loss", "test_accuracy"), seeds=1),
    Experiment("mnist_cnn_mixup", "–", ("test_loss", "test_accuracy"), seeds=1),
    Experiment("symbols_filled", "–", ("test_loss", "test_accuracy"), seeds=1),
    Experiment("symbols_sketched", "–", ("test_loss", "test_accuracy"), seeds=5, note=TRANSFER),
    Experiment("symbols_finetuned", "–", ("test_loss", "test_accuracy"), seeds=5, note=TRANSFER),
    Experiment("mnist_vit", "–", ("test_loss", "test_accuracy"), seeds=1),
    Experiment("mnist_autoencoder", "–", ("test_rmse", "test_loss")),
    Experiment("segmentation_unet", "–", ("test_accuracy", "test_iou")),
    Experiment("fashion_cnn", "–", ("test_loss", "test_accuracy"), seeds=1),
    Experiment("cifar10_resnet", "–", ("test_loss", "test_accuracy"), seeds=1, needs="cuda"),
]


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for, then write the table."""
    parser = argparse.ArgumentParser(description="Train every experiment and write docs/results.md.")
    parser.add_argument("names", nargs="*", help="rows of the table (default: all)")
    parser.add_argument("--table", action="store_true", help="train nothing")
    asked = parser.parse_args(arguments)
    names = [experiment.name for experiment in EXPERIMENTS]
    if unknown := set(asked.names) - set(names):
        parser.error(f"there is no experiment {sorted(unknown)[0]!r} (there are: {', '.join(names)})")
    measured = read(MEASURED)
    for experiment in () if asked.table else EXPERIMENTS:
        if not asked.names or experiment.name in asked.names:
            measured[experiment.name] = measure(experiment)
            print(f"{experiment.name}: {measured_cell(experiment, measured[experiment.name])}", flush=True)
            keep(MEASURED, measured)
    for picture in PICTURES:
        if picture.row in measured and (not asked.names or picture.row in asked.names):
            draw(picture, measured)
    TABLE.write_text("\n".join(lines(measured)) + "\n")


def draw(picture: Picture, measured: dict[str, Any]) -> None:
    """Draw one picture of docs/ from the run of its row, if that is still there."""
    run = RUNS / measured[picture.row].get("run", "-")
    others = [str(RUNS / measured[row].get("run", "-")) for row in picture.beside if row in measured]
    if not all((Path(folder) / "config.yaml").exists() for folder in (run, *others)):
        return
    options = [f"{picture.plot}.runs={json.dumps(others)}"] if others else []
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dlrun", "plot", str(run), picture.plot, *options, "--out", folder]
        if subprocess.run(command, cwd=PROJECT, stdout=subprocess.DEVNULL).returncode:
            return  # it has said why
        drawn = Image.open(Path(folder) / f"{picture.plot}.png").convert("RGB")
    drawn.thumbnail((800, 1200))
    small = drawn.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(PROJECT / "docs" / picture.file, optimize=True)


def measure(experiment: Experiment) -> dict[str, Any]:
    """Train one experiment: its summary's figures, or why it was not run."""
    if reason := not_here(experiment):
        return {"not run": reason}
    seeds = ["--seeds", str(experiment.seeds)] if experiment.seeds > 1 else []
    command = [sys.executable, "-m", "dlrun", "train", *experiment.words, *seeds]
    command += ["--check", "--quiet", "--runs-dir", str(RUNS)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    folder = done.stdout.strip()
    if done.returncode not in (0, 5):
        reason = (done.stderr.strip().splitlines() or ["it failed"])[0].removeprefix("error: ")
        return {"not run" if done.returncode == 2 else "failed": reason}
    summary = json.loads((PROJECT / folder / "summary.json").read_text())
    best = summary["best"]["figures"] if summary["best"] else summary["final"]
    return {
        "run": Path(folder).name,
        "figures": {
            column: (best if column.startswith("best.") else summary["final"])[column.removeprefix("best.")]
            for column in experiment.figures
        },
        "expect": summary["expect"],
        "baselines": summary["baselines"],
        "seeds": len(summary["seeds"]),
        "epochs": summary["epochs"],
        "seconds": summary["seconds"],
        "device": summary["device"],
        "threads": summary["threads"],
        "machine": summary["machine"],
        "versions": summary["versions"],
        "date": str(date.today()),
    }


def not_here(experiment: Experiment) -> str:
    """The reason why an experiment cannot be run on this machine, or None."""
    if experiment.needs == "cuda":
        import torch

        return "" if torch.cuda.is_available() else "no GPU here"
    if experiment.needs:
        there = Path(os.environ.get("DLRUN_DATA", PROJECT / "data")) / experiment.needs
        return "" if there.exists() else f"{experiment.needs.split('/')[0]} is not here"
    return ""


def lines(measured: dict[str, Any]) -> Iterator[str]:
    """The table as Markdown."""
    yield "# Every experiment, published and measured"
    yield ""
    yield INTRODUCTION
    yield ""
    yield from markdown(HEADINGS, (cells(experiment, measured) for experiment in EXPERIMENTS))
    yield ""
    for note, mark in _marks().items():
        yield f"{mark} {note}"
        yield ""
    yield "![Accuracy over epochs with squared error and with cross entropy](sigmoids.png)"
    yield ""
    yield from regressions(measured)
    yield from machines(measured)


def cells(experiment: Experiment, measured: dict[str, Any]) -> list[str]:
    """One row of the table."""
    found = measured.get(experiment.name, {"not run": "not measured yet"})
    return [
        titled(experiment) + _marks().get(experiment.note, ""),
        experiment.published,
        measured_cell(experiment, found),
        baseline_cell(experiment, found),
        "<br>".join(f"{claim['column']} {claim['claim']}" for claim in found.get("expect", [])) or "–",
        met_cell(found),
        experiment.published_time or "–",
        duration(found["seconds"] / found["seeds"]) if "seconds" in found else "–",
    ]


def titled(experiment: Experiment) -> str:
    """The name of a row, the config's own in code letters."""
    config = experiment.config or experiment.name
    return f"`{config}`{experiment.name.removeprefix(config)}"


def measured_cell(experiment: Experiment, found: dict[str, Any]) -> str:
    """The figures of a row: `test_accuracy 0.9781 ± 0.0004`."""
    for outcome in ("not run", "failed"):
        if outcome in found:
            return f"{OUTCOMES[outcome]}: {found[outcome]}"
    seeds = f" ({found['seeds']} seeds)" if found["seeds"] > 1 else " (1 seed)"
    return (
        "<br>".join(f"{column} {figure(found['figures'][column])}" for column in experiment.figures) + seeds
    )


def baseline_cell(experiment: Experiment, found: dict[str, Any]) -> str:
    """The baseline without a model, for the last figure of a row."""
    column = experiment.figures[-1].removeprefix("best.")
    split, _, measured = column.partition("_")
    of_split = found.get("baselines", {}).get("train" if split == "trainset" else split, {})
    return "<br>".join(f"{name} {figures[measured]:.4g}" for name, figures in of_split.items()) or "–"


def met_cell(found: dict[str, Any]) -> str:
    """The cell "yes" if every claim was met, else the amounts by which claims were missed."""
    if "failed" in found:
        return "no"
    if not found.get("expect") or found["expect"][0]["met"] is None:
        return "–"
    missed = [claim for claim in found["expect"] if not claim["met"]]
    return "yes" if not missed else "no, by " + ", ".join(f"{claim['missed_by']:.4g}" for claim in missed)


def regressions(measured: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each model with a test error: does it beat the best baseline?"""
    for experiment in EXPERIMENTS:
        found = measured.get(experiment.name, {})
        if "test_mae" not in experiment.figures or "figures" not in found:
            continue
        mae = found["figures"]["test_mae"]["mean"]
        guesses = {name: figures["mae"] for name, figures in found["baselines"]["test"].items()}
        best = min(guesses, key=guesses.__getitem__)
        verdict, unit = "beats" if mae < guesses[best] else "does not beat", experiment.unit
        yield (
            f"- {titled(experiment)}: a mean absolute error of {mae:.2f} {unit} {verdict} the best guess "
            f"without a model, {best} ({guesses[best]:.2f} {unit})."
        )
    yield ""


def machines(measured: dict[str, Any]) -> Iterator[str]:
    """Yield the machines and versions of the measurements."""
    yield "Measured on:"
    yield ""
    seen: dict[str, list[str]] = {}
    for name, found in measured.items():
        if "machine" in found:
            machine, versions = found["machine"], found["versions"]
            where = f"{computer(machine)}, torch {versions['torch']}, Python {versions['python']}, "
            where += f"dlrun {versions['dlrun']}, "
            where += (
                f"{found['device']}, {found['threads']} thread{'s' * (found['threads'] > 1)}, {found['date']}"
            )
            seen.setdefault(where, []).append(name)
    for where, names in seen.items():
        yield f"- {where}: {', '.join(names)}"


def figure(of_seeds: dict[str, float | None]) -> str:
    """A mean, with its standard deviation where there are several seeds."""
    mean, sd = of_seeds["mean"], of_seeds["sd"]
    assert mean is not None
    form = ".5f" if 0.9995 <= mean < 1 else ".4f"  # all but right is not right
    return f"{mean:{form}}" if sd is None else f"{mean:{form}} ± {sd:{form}}"


def duration(seconds: float) -> str:
    """Seconds as `4.2 s` or `6.7 min`."""
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def _marks() -> dict[str, str]:
    """The notes below the table, each with its mark."""
    notes = dict.fromkeys(experiment.note for experiment in EXPERIMENTS if experiment.note)
    return {note: "¹²³⁴⁵⁶⁷⁸⁹"[index] for index, note in enumerate(notes)}


if __name__ == "__main__":
    main(sys.argv[1:])
