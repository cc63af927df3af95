"""A model that is worse than a guess without one says so once, with what can be done about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import Listening, only_run, own_parts, planned, trained

from dlrun.config.registry import Parts
from dlrun.training.beside_baselines import Shortfall, shortfalls
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint

Dlrun = Callable[..., Any]
HOUSES = "rooms,price\n" + "".join(f"{1 + n % 7},{200_000 + 9_000 * (n % 7) + 17 * n}\n" for n in range(50))
PRICES = """\
dataset: {name: csv, path: houses.csv, target: price, scale_target: false, valid_fraction: 0}
architecture: linear
loss: mse
optimizer: {name: adam, lr: 1e-3}
epochs: 3
batch_size: 16
metrics: [mae, r2]
plots: []
"""


def told(dlrun: Dlrun, write: Callable[[str, str], Path], *words: str) -> list[str]:
    """The lines on baselines in the output of a run on houses."""
    write("houses.csv", HOUSES)
    done = dlrun("train", write("prices.yaml", PRICES), *words)
    assert done.code == 0, done.err
    return [line for line in (done.out + done.err).splitlines() if "is worse than" in line]


@pytest.mark.parametrize(
    ("figure", "value", "guessed", "is_worse"),
    [
        ("loss", 1.2, 1.1, True),
        ("loss", 1.0, 1.1, False),
        ("loss", 1.1 + 1e-6, 1.1, False),
        ("accuracy", 0.4, 0.5, True),
        ("accuracy", 0.5, 0.5, False),
        ("mae", 3.0, 2.0, True),
        ("r2", -3.6, -0.01, True),
        ("brier", 0.7, 0.6, True),
        ("ece", 0.3, 0.0, False),  # shares of classes are calibrated
        ("r2", 0.1, -0.01, False),
        ("mae", float("nan"), 2.0, False),
        ("mae", None, 2.0, False),
    ],
)
def test_a_figure_is_worse_on_the_side_where_its_metric_says_so(
    figure: str, value: float | None, guessed: float, is_worse: bool
) -> None:
    found = shortfalls("test", {figure: value}, {"mean": {figure: guessed}}, Parts())
    assert bool(found) == is_worse
    if value is not None and is_worse:
        assert found == [Shortfall("test", figure, value, "mean", guessed)]


def test_a_target_that_is_far_from_0_is_to_be_scaled(
    dlrun: Dlrun, write: Callable[[str, str], Path], runs_dir: Path
) -> None:
    [line] = told(dlrun, write)
    run = only_run(runs_dir)
    r2 = run.summary()["best"]["figures"]["test_r2"]["mean"]
    assert line.startswith(f"warning: test_r2 {r2:.4g} is worse than the baseline 'mean' (-0.")
    assert line.endswith(": set dataset.scale_target: true, train longer or try another optimizer.lr")
    assert run.summary()["warnings"] == [line.removeprefix("warning: ")]
    assert line in (run.folder / "log.txt").read_text()


def test_a_model_that_is_better_than_the_mean_has_no_such_warning(
    dlrun: Dlrun, write: Callable[[str, str], Path], runs_dir: Path
) -> None:
    words = ("dataset.scale_target=true", "epochs=60", "optimizer.lr=0.05")
    assert told(dlrun, write, *words) == []
    assert only_run(runs_dir).summary()["warnings"] == []


def test_a_scaled_target_is_not_to_be_scaled_again(dlrun: Dlrun, write: Callable[[str, str], Path]) -> None:
    [line] = told(dlrun, write, "dataset.scale_target=true", "optimizer.lr=50")
    assert "scale_target" not in line and "optimizer.lr" in line


def test_a_loss_that_no_longer_falls_is_not_trained_longer(
    dlrun: Dlrun, write: Callable[[str, str], Path]
) -> None:
    [line] = told(dlrun, write, "epochs=12", "optimizer.lr=1e-6")
    assert "longer" not in line
    [line] = told(dlrun, write, "epochs=12", "optimizer.lr=2000")
    assert "train longer (the training loss still falls)" in line


def told_of_noise(dlrun: Dlrun, write: Callable[[str, str], Path], *words: str) -> str:
    """The line on baselines of a run on numbers that tell nothing of the target."""
    noise = torch.randn(60, 6, generator=torch.Generator().manual_seed(0)).tolist()
    write("houses.csv", "a,b,c,d,e,price\n" + "\n".join(",".join(map(str, row)) for row in noise) + "\n")
    usual = ("dataset.scale_target=true", "dataset.valid_fraction=0.1", "batch_size=64")
    done = dlrun("train", write("prices.yaml", PRICES), *usual, *words)
    [line] = [line for line in (done.out + done.err).splitlines() if "is worse than" in line]
    return line


def test_a_model_that_learns_by_heart_is_not_trained_longer(
    dlrun: Dlrun, write: Callable[[str, str], Path]
) -> None:
    model = ("architecture={name: mlp, hidden: [64]}", "optimizer={name: adam, lr: 0.02}")
    line = told_of_noise(dlrun, write, *model, "epochs=60")  # over which the training loss falls to the last
    assert "longer" not in line and "the validation loss rises again" in line


def test_a_model_whose_training_loss_rises_too_is_not_too_large(
    dlrun: Dlrun, write: Callable[[str, str], Path]
) -> None:
    line = told_of_noise(dlrun, write, "optimizer={name: sgd, lr: 1.5}", "epochs=12")
    assert line.endswith(": try another optimizer.lr")


def test_what_is_learnt_in_training_alone_is_said_to_carry_over_to_nothing(
    dlrun: Dlrun, write: Callable[[str, str], Path]
) -> None:
    """Noise, of which a model learns some: it is not told to train longer or to scale the target."""
    chance = torch.rand(60, 9, generator=torch.Generator().manual_seed(0)).tolist()
    table = [",".join("abcdefghy"), *(",".join(f"{number:.3f}" for number in row) for row in chance)]
    write("noise.csv", "\n".join(table))
    config = PRICES.replace("houses.csv, target: price", "noise.csv, target: y").replace(
        "epochs: 3", "epochs: 60"
    )
    words = ("dataset.scale_target=true", "architecture={name: mlp, hidden: [64]}", "optimizer.lr=0.03")
    done = dlrun("train", write("noise.yaml", config), *words)
    [line] = [line for line in (done.out + done.err).splitlines() if "is worse than" in line]
    assert "which it beats in training (" in line and "does not carry over" in line
    assert "longer" not in line and "scale_target" not in line
    again = dlrun("eval", "last")
    assert "which it beats in training (" in again.out + again.err


def test_quiet_prints_the_folder_alone(
    dlrun: Dlrun, write: Callable[[str, str], Path], runs_dir: Path
) -> None:
    write("houses.csv", HOUSES)
    done = dlrun("train", write("prices.yaml", PRICES), "--quiet")
    assert (done.code, done.out, done.err) == (0, f"{only_run(runs_dir).folder}\n", "")


def test_eval_warns_as_training_does(dlrun: Dlrun, write: Callable[[str, str], Path]) -> None:
    [line] = told(dlrun, write)
    shown = dlrun("eval", "last")
    assert shown.code == 0 and line in shown.out
    assert json.loads(dlrun("eval", "last", "--json").out)["warnings"] == [line.removeprefix("warning: ")]
    of_train = json.loads(dlrun("eval", "last", "--json", "--split", "train").out)["warnings"]
    assert of_train[0].startswith("train_r2")


def test_a_guess_of_the_datasets_own_counts_too(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    view = Listening()
    run = trained(planned(parts, dataset="days", loss="mse", metrics=[], epochs=30), tmp_path, view=view)
    [warning] = [each for each in view.warnings if "is worse than" in each]
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    report = evaluate_run(model, saved, run.best, "test")
    assert report["loss"] > report["baselines"]["day before"]["loss"]
    assert "the baseline 'day before' (" in warning
    assert report["warnings"] == [warning]


def test_a_paused_run_is_not_judged_yet(tmp_path: Path) -> None:
    view = Listening()
    parts = own_parts(tmp_path)
    trained(planned(parts, dataset="days", loss="mse", metrics=[]), tmp_path, view=view, stop_after=1)
    assert not [each for each in view.warnings if "is worse than" in each]


# ------------------------------------------------------------------------ without a validation split


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patience": 2}, "best.pt and patience go by train_loss; set dataset.valid_fraction"),
        ({"schedule": "plateau"}, "best.pt and plateau go by train_loss; set dataset.valid_fraction"),
        ({"patience": 2, "monitor": "train_loss"}, ""),
        ({"patience": 2, "dataset": {"name": "spiral", "points": 20, "valid_fraction": 0.2}}, ""),
        ({}, ""),
    ],
)
def test_a_choice_by_training_figures_that_nobody_made_is_said(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    view = Listening()
    run = trained(planned(**changes), tmp_path, view=view)
    lines = [each for each in view.warnings if "no validation split" in each]
    assert lines == ([f"there is no validation split: {said}"] if said else [])
    assert all(line in (run.folder / "log.txt").read_text() for line in lines)


def test_a_sweep_that_is_ranked_by_training_figures_says_so(dlrun: Dlrun, tiny: Path) -> None:
    sweep = ("sweep", tiny, "optimizer.lr=0.1,0.01", "--dry-run")
    assert "there is no validation split: the ranking goes by" in dlrun(*sweep).out
    assert "validation" not in dlrun(*sweep, "dataset.valid_fraction=0.3").out
    assert "validation" not in dlrun(*sweep, "--metric", "train_loss").out
