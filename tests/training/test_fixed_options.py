"""An option of a dataset that a trained model has settled is refused at evaluation, never passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import planned, trained

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint, open_given

Dlrun = Callable[..., Any]
ROWS = [f"{'red' if n % 3 else 'blue'},{n % 7},{'' if n % 9 == 4 else n * 0.3:}," for n in range(60)]


def written(path: Path, end: str = "5") -> Path:
    path.write_text("\n".join(["colour,a,b,y", *(f"{row}{n % 5}.{end}" for n, row in enumerate(ROWS))]))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    dataset = {"name": "csv", "path": str(written(tmp_path / "t.csv")), "target": "y"}
    return trained(planned(dataset=dataset, loss="mse", metrics=["mae"]), tmp_path / "runs")


@pytest.mark.parametrize(
    "change",
    [
        "standardise=false", "scale=robust", "scale_target=false", "target_transform=log", "missing=fill",
        "missing={b: 3}", "inputs=[a]", "ignore=[b]", "categorical=[]", "max_categories=1", "dates=[a]",
        "split=random", "split_rule=drawn", "stratify=colour", "group=colour", "date=[a]", "seed=3",
        "test_fraction=0.5",
    ],
)  # fmt: skip
def test_an_option_of_a_table_that_would_do_nothing_is_refused(run: Run, change: str, tmp_path: Path) -> None:
    option = change.split("=")[0]
    for opened in (open_checkpoint, lambda *given: open_given(*given, tmp_path / "t.csv")):
        with pytest.raises(UserError, match=rf"dataset\.{option} cannot be changed") as refused:
            opened(run.best, run, [f"dataset.{change}"], Parts(), tmp_path)
        assert (refused.value.exit_code, "path" in refused.value.fix) == (2, True)


def test_an_option_with_an_effect_may_change(run: Run, tmp_path: Path) -> None:
    other = written(tmp_path / "other.csv", end="25")

    def judged(*overrides: str) -> tuple[int, list[str]]:
        model, saved = open_given(run.best, run, overrides, Parts(), tmp_path, other)
        found = evaluate_run(model, saved, run.best, model.given)
        return found["examples"], [*found["baselines"]]

    assert judged() == (60, ["mean"])
    assert judged("dataset.missing=drop")[0] == 53
    assert judged("dataset.baselines={old: a}")[1][0] == "old"
    with pytest.raises(UserError, match="cells are missing"):
        judged("dataset.missing=refuse")
    model, _ = open_checkpoint(run.best, run, ["dataset.unit=m", "dataset.seed=0"], Parts(), tmp_path)
    assert model.data.unit == "m", "a value that is the run's own is no change"


def test_commands_that_open_a_run_say_so(run: Run, dlrun: Dlrun) -> None:
    for command in (("eval", run.folder), ("plot", run.folder, "curves")):
        done = dlrun(*command, "dataset.scale=robust")
        assert done.code == 2 and "dataset.scale cannot be changed" in done.err
    resumed = dlrun("resume", run.folder, "dataset.scale=robust")
    assert resumed.code == 2 and "dataset.scale" in resumed.err


def test_the_pixels_of_images_are_normalised_as_in_training(tmp_path: Path) -> None:
    dataset = {"name": "shapes", "images": 12, "test_images": 4, "size": 8}
    unet = {"name": "unet", "channels": 2, "depth": 2}
    run = trained(planned(dataset=dataset, architecture=unet), tmp_path)
    with pytest.raises(UserError, match=r"dataset\.normalise cannot be changed"):
        open_checkpoint(run.best, run, ["dataset.normalise=unit"], Parts(), tmp_path)
    model, _ = open_checkpoint(run.best, run, ["dataset.noise=0.9"], Parts(), tmp_path)
    assert len(model.loaded["test"]) == 4


def test_a_dataset_of_the_users_may_have_any_option_changed(tmp_path: Path) -> None:
    (tmp_path / "parts" / "dataset").mkdir(parents=True)
    file = Path(Parts().part("dataset", "spiral").path).read_text().replace("spiral", "own")
    (tmp_path / "parts/dataset/own.py").write_text(file.replace("at_evaluation =", "others ="))
    parts = Parts(tmp_path / "parts")
    run = trained(planned(parts, dataset={"name": "own", "points": 20, "seed": 1}), tmp_path)
    with pytest.raises(UserError, match="other data or other splits"):
        open_checkpoint(run.best, run, ["dataset.seed=2"], parts, tmp_path)
