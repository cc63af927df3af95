"""Runs in MLflow, read back by its own client from a database in a file."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_runs import made, with_rows
from small_runs import go_on, planned, trained

from dlrun.tracking.run_content import content_of
from dlrun.tracking.trackers import log_run, open_tracker

mlflow = pytest.importorskip("mlflow")

NAMES = {"": "small-001", "seed_0": "small-001 seed_0", "seed_1": "small-001 seed_1"}


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, which takes MLflow seconds to make."""
    pytest.importorskip("sqlalchemy")
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def client(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a new database, to which runs of this test are logged."""
    shutil.copyfile(database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)  # in which MLflow keeps files of runs
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return mlflow.MlflowClient()


def runs_of(client: Any, experiment: str = "dlrun") -> dict[str, Any]:
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return {run.info.run_name: run for run in found}


def curve(client: Any, run: Any, tag: str) -> dict[int, float]:
    history = client.get_metric_history(run.info.run_id, tag)
    assert len({each.step for each in history}) == len(history), f"{tag} has a step twice"
    return {each.step: each.value for each in history}


def test_a_run_of_several_seeds_has_a_child_for_each_and_the_means(tmp_path: Path, client: Any) -> None:
    run = trained(planned(seeds=[0, 1], plots=[{"name": "curves"}]), tmp_path)
    log_run(run, "mlflow")
    content, found = content_of(run), runs_of(client)
    assert sorted(found) == sorted(NAMES.values())
    parent = found["small-001"]
    for name, curves in content.curves.items():
        own = found[NAMES[name]]
        for tag in curves.rows[3]:
            wanted = {epoch: row[tag] for epoch, row in curves.rows.items() if tag in row}
            assert curve(client, own, tag) == pytest.approx(wanted)
        assert own.data.tags.get("mlflow.parentRunId") == (parent.info.run_id if name else None)
        assert own.info.status == "FINISHED"
    metrics = parent.data.metrics
    assert metrics["best/train/loss"] == content.curves[""].results["best/train/loss"]
    assert metrics["baseline/class prior/train/loss"] == pytest.approx(math.log(3))
    assert parent.data.params["optimizer.lr"] == "0.01"
    assert parent.data.params["seeds"] == "[0, 1]"
    assert parent.data.tags["torch"].startswith("2.")
    assert parent.data.tags["mlflow.note.content"] == content.results
    assert parent.info.start_time == int(content.started * 1000)
    assert parent.info.end_time == int(content.updated * 1000)
    files = [each.path for each in client.list_artifacts(parent.info.run_id)]
    assert files == ["config.yaml", "plots"]
    [plot] = client.list_artifacts(parent.info.run_id, "plots")
    assert plot.path == "plots/curves.png"


def test_a_run_that_is_logged_again_is_there_once_and_one_that_went_on_has_its_new_epochs(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sent, send = trained(planned(), tmp_path), [], mlflow.MlflowClient.log_batch

    def noted(self: Any, run_id: str, metrics: Any = (), **others: Any) -> None:
        sent.extend(metric.step for metric in metrics if metric.key == "train/loss")
        send(self, run_id, metrics=metrics, **others)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", noted)
    for steps in ([1, 2, 3], []):
        sent.clear()
        tracker, _ = log_run(run, "mlflow")
        assert sent == steps
        [own] = runs_of(client).values()
        assert curve(client, own, "train/loss") == dict(enumerate(run.rows()["train_loss"], 1))
        assert tracker.notes == []
    go_on(run, {"epochs": 5})
    sent.clear()
    tracker, _ = log_run(run, "mlflow")
    assert sent == [4, 5]
    [own] = runs_of(client).values()
    assert curve(client, own, "train/loss") == dict(enumerate(run.rows()["train_loss"], 1))
    assert own.data.params["epochs"] == "3"
    what = "MLflow changes no parameter: epochs is 3 there, and 5 in the run; its config.yaml is up to date"
    assert tracker.notes == [what]
    path = mlflow.artifacts.download_artifacts(run_id=own.info.run_id, artifact_path="config.yaml")
    assert Path(path).read_text() == run.config.read_text()


def test_figures_that_are_not_finite_and_runs_that_failed_are_there(tmp_path: Path, client: Any) -> None:
    run = made(tmp_path, {"seeds": [3]}, status="diverged")
    log_run(with_rows(run, ["1,3,nan,0.1,2", "2,3,inf,0.1,2", "3,3,0.5,0.1,2"]), "mlflow")
    [own] = runs_of(client).values()
    losses = curve(client, own, "train/loss")
    assert math.isnan(losses[1]) and losses[2] > 1e300 and losses[3] == 0.5
    assert own.info.status == "FAILED"


def test_a_run_that_goes_on_is_running_until_it_is_done(tmp_path: Path, client: Any) -> None:
    run = made(tmp_path, {"seeds": [3]}, status="running", host="of another machine")
    tracker = open_tracker("mlflow", content_of(run))
    for epochs, status in ((1, "running"), (2, "interrupted"), (3, "running"), (4, "finished")):
        run.write_json("summary.json", run.summary() | {"status": status})
        with_rows(run, [f"{epoch},3,0.5,0.1,2" for epoch in range(1, epochs + 1)])
        tracker.update(content_of(run))
        [own] = runs_of(client).values()
        shown = {"running": "RUNNING", "interrupted": "KILLED", "finished": "FINISHED"}[status]
        assert (own.info.status, len(curve(client, own, "train/loss"))) == (shown, epochs)


def test_the_experiment_is_the_one_that_mlflows_variables_name(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(planned(), tmp_path)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    log_run(run, "mlflow")
    assert [*runs_of(client, "theirs")] == ["small-001"]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", client.create_experiment("by its id"))
    log_run(run, "mlflow")
    assert [*runs_of(client, "by its id")] == ["small-001"]


def test_names_and_values_that_mlflow_does_not_take_are_written_otherwise(
    tmp_path: Path, client: Any
) -> None:
    baselines = {"train": {"mean of [a]": {"loss": 1.0}}}
    run = made(tmp_path, {"freeze": ["x" * 9000]}, baselines=baselines, warnings=["y" * 9000])
    log_run(with_rows(run, ["1,0,0.5,0.1,2"]), "mlflow")
    [own] = runs_of(client).values()
    assert own.data.metrics["baseline/mean of _a_/train/loss"] == 1
    assert own.data.params["freeze"].endswith("x…") and own.data.tags["warnings"].endswith("y…")


@pytest.mark.slow
def test_runs_are_logged_while_they_train(tmp_path: Path, client: Any) -> None:
    run = trained(planned(seeds=[0, 1], track=["mlflow"]), tmp_path)
    assert "warning" not in (run.folder / "log.txt").read_text()
    found = runs_of(client)
    for name, curves in content_of(run).curves.items():
        losses = {epoch: row["train/loss"] for epoch, row in curves.rows.items()}
        assert curve(client, found[NAMES[name]], "train/loss") == pytest.approx(losses)
