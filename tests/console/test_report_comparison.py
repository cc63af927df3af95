"""The report of several runs: its sentences on what is compared, its legends, its table of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import SGD, made, made_sweep, two_settings, with_rows
from reading_pages import ReadPage

from dlrun.console.comparison_report import labels_of
from dlrun.console.numbers import value_text
from dlrun.run_folders.run import Run
from dlrun.run_folders.setting_results import SettingResult

Report = Callable[..., ReadPage]
RUNS = "The runs, with their best and last figures"


def test_settings_without_the_figure_are_named_and_the_first_that_has_it(
    report: Report, runs_dir: Path
) -> None:
    lacking = made(runs_dir, {"optimizer": SGD}, final={"train_loss": [0.5]})
    first, other = two_settings(runs_dir)
    page = report(lacking.folder, first.folder, other.folder, "--metric", "train_accuracy")
    first_is = "others are compared with small-002, the first that has it"
    assert f"small-001 has no train_accuracy: {first_is}" in page.texts("li")
    assert any(text.startswith("The first setting that has train_accuracy, ") for text in page.texts("p"))
    page = report(first.folder, lacking.folder, other.folder, "--metric", "train_accuracy")
    assert "small-001 has no train_accuracy" in page.texts("li")
    assert any(text.startswith("The first setting, ") for text in page.texts("p"))


def test_it_says_of_which_epoch_the_figures_are(report: Report, runs_dir: Path) -> None:
    for run in two_settings(runs_dir):
        run.write_json("summary.json", run.summary() | {"seconds": 2.0})
    said = "Figures of the last epoch; mean ± standard deviation over seeds; differences seed by seed"
    assert any(text.startswith(said) for text in report("small").texts("p"))
    assert not [text for text in report("small", "--metric", "seconds").texts("p") if "epoch" in text]


def test_the_compared_figure_comes_first_in_the_table_of_runs(report: Report, runs_dir: Path) -> None:
    final = {"test_f1": [0.1], "test_auroc": [0.2], "test_ece": [0.3]}
    figures = {"valid_loss": {"mean": 0.4, "sd": None}, "test_f1": {"mean": 0.9, "sd": None}}
    best = {"epoch": 2, "epochs": {"0": 2}, "monitor": "valid_loss", "figures": {}}
    for lr in (0.1, 0.2):
        run = made(runs_dir, {"optimizer": SGD | {"lr": lr}}, final=final)
        values = {name: own | {"values": [own["mean"]]} for name, own in figures.items()}
        last = {name: {"mean": values[0], "sd": None, "values": values} for name, values in final.items()}
        run.write_json("summary.json", run.summary() | {"best": best | {"figures": values}, "final": last})
    rows = report("small", "--metric", "test_f1").tables()[RUNS]
    assert rows[2][-2:] == ["valid_loss 0.4000 at 2", "test_f1 0.1000, test_ece 0.3000"]
    rows = report("small", "--metric", "best.test_f1").tables()[RUNS]
    assert rows[1][-2:] == ["test_f1 0.9000, valid_loss 0.4000 at 2", "test_auroc 0.2000, test_ece 0.3000"]


def test_losses_of_two_kinds_in_a_chart_are_said_under_it(report: Report, runs_dir: Path) -> None:
    for loss in ("cross_entropy", "focal"):
        final = {"train_accuracy": [0.5], "train_loss": [1.0]}
        run = made(runs_dir, {"loss": loss}, final=final, baselines={"train": {"prior": {"loss": 1.1}}})
        with_rows(run, ["1,0,2,0.1,1", "2,0,1,0.1,1"])
    page = report("small")
    said = "train_loss is another figure where loss, loss.gamma differ"
    assert page.texts("p").count(f"{said}.") == 1
    assert [(chart["title"], chart["note"]) for chart in page.charts()] == [
        ("train_accuracy", ""),
        ("train_loss", said),
    ]
    assert page.charts()[1]["levels"] == []  # it is the guess of one of the losses


def settings(*shown: dict[str, Any]) -> list[SettingResult]:
    return [
        SettingResult({}, [Run(Path(f"net-{at}"))], [f"net-{at}"], {0: 0.5}, shown=own)
        for at, own in enumerate(shown)
    ]


@pytest.mark.parametrize(
    ("shown", "labels"),
    [
        (({"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}), ["lr 0.1", "lr 0.2"]),
        (({"lr": 1, "seed": 7}, {"lr": 2, "seed": 7}), ["lr 1", "lr 2"]),
        (({"loss": "mse", "note": "x" * 59}, {"loss": "mae", "note": "y"}), ["loss mse", "loss mae"]),
        (({"note": "x" * 59}, {"note": "y"}), ["net-0", "net-1"]),
        (({"a.lr": 1, "b.lr": 1}, {"a.lr": 2, "b.lr": 3}), ["a.lr 1, b.lr 1", "a.lr 2, b.lr 3"]),
        (({},), ["net-0"]),
    ],
)
def test_a_legend_tells_settings_apart_in_few_words(shown: Any, labels: list[str]) -> None:
    assert labels_of(settings(*shown)) == labels


def test_a_sweep_has_the_baselines_of_its_data_and_the_values_that_won(
    report: Report, runs_dir: Path
) -> None:
    sweep = made_sweep(runs_dir, [{"epochs": 2}, {"epochs": 3}], [[0.5, 0.7], [0.8, 0.9]])
    baselines = {"train": {"class prior": {"accuracy": 0.375}}}
    for trial in sweep.trials:
        trial.run.write_json("summary.json", trial.run.summary() | {"baselines": baselines})
        with_rows(trial.run, ["1,0,0.5,0.1,1", "1,1,0.5,0.1,1"], "epoch,seed,train_accuracy,lr,seconds")
    page = report("small-sweep")
    assert page.charts()[0]["levels"] == [["class prior, train", 0.375]]
    said = "train_accuracy of baselines, which are guesses without a model: class prior 0.3750."
    assert said in page.texts("p")
    assert any(text.startswith("The best setting, epochs 3 (small-002): mlp") for text in page.texts("p"))
    other = sweep.trials[0].run
    other.write_json("summary.json", other.summary() | {"data": {"fingerprint": "def"}})
    page = report("small-sweep")
    assert page.charts()[0]["levels"] == [] and said not in page.texts("p")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e9, "1e+09"), (2.5e6, "2.5e+06"), (1234567890.5, "1234567890.5"), (0.1, "0.1"), (10**9, "1000000000")],
)
def test_large_values_are_written_without_their_zeros(value: float, text: str) -> None:
    assert value_text(value) == text


def test_folds_have_the_figures_of_all_their_predictions(report: Report, runs_dir: Path) -> None:
    with_folds = {"dataset": {"name": "spiral", "points": 20, "folds": 2, "fold": 0}}
    sweep = made_sweep(runs_dir, [with_folds], [[0.5]])
    fold = "The numbers of examples are those of fold 0, one of 2, which is the validation split here."
    page = report("small-sweep")
    assert fold in page.texts("p") and not [text for text in page.texts("p") if "out_of_fold" in text]
    (sweep.folder / "out_of_fold.csv").write_text("fold,input\n")
    said = "out_of_fold.csv in the folder of small-sweep-001 has each example as the models predict it"
    caption = "Figures out of fold, on all 1,234 examples together"
    page = report("small-sweep")  # of an earlier dlrun, which kept no figures
    assert f"{said} that were not trained on it." in page.texts("p") and caption not in page.tables()
    found = {"examples": 1234, "figures": {"accuracy": 0.75}, "epoch_chosen_by": "valid_loss"}
    (sweep.folder / "out_of_fold.json").write_text(json.dumps(found))
    page = report("small-sweep")
    assert page.tables()[caption] == [["figure", "mean"], ["accuracy", "0.7500"]]
    assert any(
        text.startswith("valid_loss of the same examples chose the epochs") for text in page.texts("p")
    )
