"""Cross-validation: a run for each fold, and each example predicted by the models that did not see it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    median_absolute_error,
    r2_score,
)
from small_runs import own_parts, timeless, trained
from small_sweeps import only_sweep

from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_folder import Sweep, created_sweep, of_each_seed
from dlrun.sweeps.cross_validation import keep_out_of_fold, runs_of_folds
from dlrun.sweeps.grid import settings_of_folds
from dlrun.training.experiment import train_run
from dlrun.training.plan_making import make_plan
from dlrun.training.views import HiddenTraining

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]
CONFIG = """\
name: folds
dataset: {name: csv, path: PATH, target: TARGET}
architecture: {name: mlp, hidden: [8]}
loss: LOSS
optimizer: {name: adam, lr: 0.05}
epochs: 3
batch_size: 16
metrics: METRICS
threads: 1
plots: []
"""


MIXED = {
    "task/mixed.py": '''
from dlrun.blocks.tasks import Task

takes_data_of = "classification"


class Mixed(Task):
    """Outputs that a loss compares within its batch, of whatever class they are."""

    is_evaluated_shuffled = True


def mixed(data, loss):
    """Outputs whose batches are judged in a random order."""
    return Mixed(data, loss)
''',
    "loss/spread.py": '''
task = "mixed"
batchwise = True


def spread(outputs, targets):
    """Minus the spread of a batch, and that of its classes."""
    return -outputs.var() - targets.double().var()
''',
}


@pytest.fixture
def config(write: Write) -> Path:
    rows = (
        f"{n % 7 + n / 50},{'abc'[n % 3]},{'uv'[n % 7 < 3 + n % 2]},{3 * (n % 7) + n / 10}" for n in range(60)
    )
    path = write("rows.csv", "\n".join(["x,sky,kind,heat", *rows]))
    classes = CONFIG.replace("TARGET", "kind, ignore: [heat], task: classification")
    return write("folds.yaml", of_loss(classes.replace("PATH", str(path)), "cross_entropy", "[accuracy, f1]"))


def of_loss(text: str, loss: str, metrics: str) -> str:
    return text.replace("LOSS", loss).replace("METRICS", metrics)


def cross_validated(
    folder: Path, config: Path, folds: int, *words: str, apart: bool = False, parts: Parts | None = None
) -> Sweep:
    """A cross-validation that is trained in this process, with a run for each seed if `apart`."""
    parts = parts or Parts()
    with created_sweep(folder, "folds", jobs=1, device="cpu", metric="best.valid_accuracy") as sweep:
        for setting in settings_of_folds(config, words, folds, parts):
            for each in setting.configs:
                for one in of_each_seed(each) if apart else [each]:
                    run = sweep.add(setting.values, one).run
                    train_run(make_plan(one, parts, Path("no-data")), run, HiddenTraining())
    return sweep


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "out_of_fold.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def best(run: Run, column: str) -> list[float]:
    values: list[float] = run.summary()["best"]["figures"][column]["values"]
    return values


def test_a_run_is_trained_for_each_fold_as_it_would_be_alone_and_all_are_judged_together(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("train", config, "--folds", 3, "--seeds", 2)
    assert (done.code, done.err) == (0, "")
    sweep = only_sweep(runs_dir)
    assert [(trial.values, trial.seeds) for trial in sweep.trials] == [
        ({"dataset.fold": fold}, [0, 1]) for fold in range(3)
    ]
    dlrun(
        "train", config, "dataset.folds=3", "dataset.fold=1", "--seeds", 2, "--runs-dir", runs_dir / "alone"
    )
    assert timeless(sweep.trials[1].run.rows()) == timeless(Run(runs_dir / "alone" / "folds-001").rows())
    figures = [value for trial in sweep.trials for value in best(trial.run, "valid_accuracy")]
    assert f"{fmean(figures):.4f} ± {stdev(figures):.4f}" in done.out
    assert "mean ± standard deviation over folds and seeds" in done.out
    assert "out of fold, all 48 examples, mean ± sd over seeds: loss " in done.out
    assert f"out-of-fold predictions: {sweep.folder}/out_of_fold.csv" in done.out
    assert len(rows_of(sweep.folder)) == 48


def test_each_example_is_predicted_once_by_the_model_that_did_not_see_it(
    dlrun: Dlrun, config: Path, tmp_path: Path
) -> None:
    sweep = cross_validated(tmp_path, config, 3)
    found = keep_out_of_fold(sweep, Parts(), Path("no-data"))
    assert found is not None
    assert json.loads((sweep.folder / "out_of_fold.json").read_text()) == found.plain()
    rows = rows_of(sweep.folder)
    counts = [trial.run.summary()["data"]["examples"] for trial in sweep.trials]
    assert len({row["input"] for row in rows}) == len(rows) == sum(each["valid"] for each in counts) == 48
    lines = [int(row["input"].removeprefix("row ")) for row in rows]
    assert lines == sorted(lines)
    for fold, trial in enumerate(sweep.trials):
        judged = dlrun("eval", trial.run.folder, "--split", "valid", "--csv").out.splitlines()
        expected = {row["input"]: row for row in csv.DictReader(judged)}
        own = {row["input"]: row for row in rows if row["fold"] == str(fold)}
        assert own.keys() == expected.keys()
        for name, row in own.items():
            assert expected[name] | {"fold": str(fold)} == row | {"trained_on": "no"}
    true, predicted = [row["true"] for row in rows], [row["class"] for row in rows]
    shares = [[1 - each, each] for each in (float(row["probability of v"]) for row in rows)]
    assert {name: values for name, [values] in found.figures.items()} == {
        "loss": pytest.approx(log_loss(true, shares, labels=["u", "v"]), rel=1e-5),
        "accuracy": pytest.approx(accuracy_score(true, predicted)),
        "f1": pytest.approx(f1_score(true, predicted, average="macro")),
    }


def test_figures_of_a_regression_are_of_all_predictions_in_the_unit_of_the_target(
    config: Path, tmp_path: Path
) -> None:
    words = ["loss=mse", "dataset.task=regression", "dataset.target=heat", "dataset.ignore=[kind]"]
    sweep = cross_validated(tmp_path, config, 3, *words, "metrics=[mae,r2,medae]")
    found = keep_out_of_fold(sweep, Parts(), Path("no-data"))
    rows = rows_of(sweep.folder)
    true, predicted = ([float(row[key]) for row in rows] for key in ("true", "heat"))
    assert found is not None
    assert {
        name: values for name, [values] in found.figures.items()
    } == {  # no loss: each fold scales it otherwise
        "mae": pytest.approx(mean_absolute_error(true, predicted), rel=1e-4),
        "r2": pytest.approx(r2_score(true, predicted), rel=1e-4),
        "medae": pytest.approx(median_absolute_error(true, predicted), rel=1e-4),
    }


def test_examples_without_a_name_are_numbered_as_they_were_read(config: Path, tmp_path: Path) -> None:
    words = ["dataset=spiral", "dataset.points=10", "epochs=1"]
    sweep = cross_validated(tmp_path, config, 3, *words)
    keep_out_of_fold(sweep, Parts(), Path("no-data"))
    rows = rows_of(sweep.folder)
    assert [row["input"] for row in rows] == [f"example {number}" for number in range(1, 31)]
    assert [row["true"] for row in rows] == [f"arm {arm}" for arm in (1, 2, 3) for _ in range(10)]


def test_seeds_in_runs_of_their_own_give_the_same_predictions(config: Path, tmp_path: Path) -> None:
    sweeps = [cross_validated(tmp_path, config, 2, "seeds=[0,1]", apart=apart) for apart in (False, True)]
    assert [len(sweep.trials) for sweep in sweeps] == [2, 4]
    together, apart = (keep_out_of_fold(sweep, Parts(), Path("no-data")) for sweep in sweeps)
    assert together is not None and apart is not None
    assert together.figures == apart.figures
    assert rows_of(sweeps[0].folder) == rows_of(sweeps[1].folder)


def test_models_that_a_teacher_taught_are_judged_out_of_fold(config: Path, tmp_path: Path) -> None:
    words = ["dataset=spiral", "dataset.points=10", "epochs=1"]
    plan = make_plan(load_config(config, words), Parts(), Path("no-data"))
    teacher = trained(plan, tmp_path / "teacher")
    taught = f"loss={{name: kl, teacher: {teacher.folder}}}"
    sweep = cross_validated(tmp_path, config, 2, *words, taught)
    found = keep_out_of_fold(sweep, Parts(), Path("no-data"))
    assert found is not None and len(rows_of(sweep.folder)) == 30
    figures = [best(trial.run, "valid_loss")[0] for trial in sweep.trials]
    assert found.figures["loss"] == [pytest.approx(fmean(figures))]  # folds of 15 examples


def test_it_is_said_beside_the_table_that_a_teacher_knows_examples_of_the_folds(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["dataset=spiral", "dataset.points=10", "epochs=1"]
    assert dlrun("train", config, *words, "--name", "tt", "--seed", 0).code == 0
    taught = "loss={name: kl, teacher: tt}"
    done = dlrun("train", config, *words, taught, "--folds", 2, "--seeds", 1)
    assert done.code == 0 and "out of fold, all 30 examples" in done.out
    said = "warning: folds-001 and 1 more run: the teacher had other data, and may have been trained on"
    assert done.err.count(said) == done.err.count("the teacher had") == 1


def test_a_loss_of_whole_batches_is_of_those_that_the_runs_judged(config: Path, tmp_path: Path) -> None:
    """A split of a spiral is sorted by class, and the task asks for batches of a random order."""
    parts = own_parts(tmp_path, MIXED)
    words = ["task=mixed", "dataset=spiral", "dataset.points=10", "epochs=1", "batch_size=5", "loss=spread"]
    sweep = cross_validated(tmp_path, config, 2, *words, "metrics=[]", parts=parts)
    found = keep_out_of_fold(sweep, parts, Path("no-data"))
    figures = [best(trial.run, "valid_loss")[0] for trial in sweep.trials]
    assert found is not None and found.figures["loss"] == [pytest.approx(fmean(figures))]


def test_points_of_spaces_of_their_own_are_not_brought_together(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["dataset=spiral", "dataset.points=10", "task=embedding", "loss=triplet", "metrics=[recall_at_k]"]
    done = dlrun("train", config, "--folds", 2, *words, "epochs=1", "--seeds", 1)
    assert done.code == 0 and "mean ± standard deviation over folds" in done.out
    assert "no out-of-fold predictions: outputs of a task embedding are points of a space" in done.err
    assert not (only_sweep(runs_dir).folder / "out_of_fold.csv").exists()


def test_only_a_whole_cross_validation_of_one_setting_has_predictions_of_all_examples(
    config: Path, tmp_path: Path
) -> None:
    sweep = cross_validated(tmp_path, config, 2, "epochs=1")
    assert {*runs_of_folds(sweep)} == {0, 1}
    for trial in sweep.content["runs"]:
        trial["values"] = trial["values"] | {"optimizer.lr": 0.05}
    assert runs_of_folds(sweep) == {}
    for trial in sweep.content["runs"]:
        del trial["values"]["optimizer.lr"]
    run = sweep.trials[1].run
    run.write_json("summary.json", run.summary() | {"status": "interrupted"})
    assert runs_of_folds(sweep) == {}
    del sweep.content["runs"][1]
    assert runs_of_folds(sweep) == {}


def test_data_that_changed_since_are_not_predicted_out_of_fold(config: Path, tmp_path: Path) -> None:
    sweep = cross_validated(tmp_path, config, 2, "epochs=1")
    path = tmp_path / "rows.csv"
    path.write_text(path.read_text() + "\n5,a,u,3\n6,b,v,4\n")
    with pytest.raises(UserError, match=r"the data are not those that folds-001 was trained on"):
        keep_out_of_fold(sweep, Parts(), Path("no-data"))


def test_a_column_of_the_fold_that_chose_the_epoch_is_named(config: Path, tmp_path: Path) -> None:
    sweep = cross_validated(tmp_path, config, 2, "monitor=valid_loss", "optimizer.lr=0")
    found = keep_out_of_fold(sweep, Parts(), Path("no-data"))
    assert found is not None and found.chose == "valid_loss"
    once = cross_validated(tmp_path, config, 2, "monitor=valid_loss", "epochs=1")
    found = keep_out_of_fold(once, Parts(), Path("no-data"))
    assert found is not None and found.chose == ""
    last = cross_validated(tmp_path, config, 2, "monitor=train_loss", "optimizer.lr=0")
    found = keep_out_of_fold(last, Parts(), Path("no-data"))
    assert found is not None and found.chose == ""


def test_claims_are_judged_in_each_fold_if_the_config_itself_has_the_folds(
    config: Path, write: Write
) -> None:
    claim = "expect: {valid_accuracy: '>= 0'}\n"
    own = write("own.yaml", config.read_text().replace("{name: csv,", "{name: csv, folds: 2,") + claim)
    without = write("without.yaml", config.read_text() + claim)

    def judged(path: Path, folds: int, *words: str, check: bool = False) -> list[bool]:
        settings = settings_of_folds(path, words, folds, Parts(), check=check)
        return [not each.configs[0].not_judged for each in settings]

    assert judged(own, 2) == [True] * 2
    assert judged(own, 3) == judged(own, 3, "epochs=9") == [False] * 3
    assert judged(without, 2) == [False] * 2
    assert judged(without, 2, check=True) == [True] * 2


@pytest.mark.slow
def test_a_resumed_cross_validation_ends_with_the_predictions_of_the_unbroken_one(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    dlrun("train", config, "--folds", 3)
    sweep = only_sweep(runs_dir)
    text = (sweep.folder / "out_of_fold.csv").read_bytes()
    (sweep.folder / "out_of_fold.csv").unlink()
    run = sweep.trials[1].run
    for file in (run.folder / "summary.json", run.metrics, run.last, run.best):
        file.unlink()
    done = dlrun("sweep", "--resume", sweep.folder)
    assert done.code == 0 and "out of fold" in done.out
    assert (sweep.folder / "out_of_fold.csv").read_bytes() == text


@pytest.mark.slow
def test_folds_of_several_settings_are_ranked_by_their_means(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    dlrun("sweep", config, "dataset.folds=2", "dataset.fold=0,1", "optimizer.lr=0.01,0.1", "epochs=1")
    sweep = only_sweep(runs_dir)
    assert not (sweep.folder / "out_of_fold.csv").exists()
    table = (sweep.folder / "results.csv").read_text().splitlines()
    assert table[0].startswith("optimizer.lr,best.valid_accuracy,sd,n,") and len(table) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset.fold=1"], "--folds trains with each of 3 folds, and dataset.fold=1 says something else"),
        (["--stop-after", 1, "--watch"], "--folds trains several runs and takes no --stop-after and --watch"),
    ],
)
def test_what_is_for_one_fold_is_refused_for_all(
    words: list[Any], said: str, dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("train", config, "--folds", 3, *words)
    assert done.code == 2 and said in done.err
    assert not runs_dir.exists()
