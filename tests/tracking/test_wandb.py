"""Runs in Weights & Biases, offline, read back from the file that `wandb sync` uploads."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import made, with_rows
from small_runs import go_on, planned, trained

from dlrun.tracking.run_content import content_of
from dlrun.tracking.trackers import log_run

wandb = pytest.importorskip("wandb")

BLOCK = 32768  # bytes of the file, which is a log of LevelDB


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file."""
    from wandb.proto.wandb_internal_pb2 import Record

    raw, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(raw):
        if (left := BLOCK - at % BLOCK) < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", raw[at + 4 : at + 7])
        whole += raw[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""


class Written:
    """One run as it was written."""

    def __init__(self, folder: Path) -> None:
        [path] = folder.glob("*.wandb")
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        for record in records(path):
            if record.HasField("run"):
                self.id, self.name = record.run.run_id, record.run.display_name
                self.project, self.group = record.run.project, record.run.run_group
                self.config |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
            elif record.HasField("config"):
                self.config |= {each.key: json.loads(each.value_json) for each in record.config.update}
            elif record.HasField("history"):
                items = record.history.item
                self.rows.append({"/".join(e.nested_key) or e.key: json.loads(e.value_json) for e in items})
            elif record.HasField("summary"):
                for each in record.summary.update:
                    self.summary["/".join(each.nested_key) or each.key] = json.loads(each.value_json)

    def curve(self, tag: str) -> dict[int, float]:
        return {row["epoch"]: row[tag] for row in self.rows if tag in row}


def written(tmp_path: Path) -> list[Written]:
    return [Written(folder) for folder in sorted((tmp_path / "wandb").glob("offline-run-*"))]


def test_each_of_several_seeds_is_a_run_of_a_group(tmp_path: Path) -> None:
    run = trained(planned(seeds=[0, 1], plots=[{"name": "curves"}]), tmp_path)
    log_run(run, "wandb")
    content, found = content_of(run), {each.name: each for each in written(tmp_path)}
    assert sorted(found) == ["small-001 seed_0", "small-001 seed_1"]
    for name in ("seed_0", "seed_1"):
        own, curves = found[f"small-001 {name}"], content.curves[name]
        for tag in curves.rows[3]:
            wanted = {epoch: row[tag] for epoch, row in curves.rows.items() if tag in row}
            assert own.curve(tag) == wanted
        assert own.id == f"{content.id}-{name}"
        assert (own.project, own.group) == ("dlrun", "small-001")
        assert own.config["optimizer"]["lr"] == 0.01 and own.config["optimizer"]["name"] == "adam"
        assert own.summary["best/train/loss"] == curves.results["best/train/loss"]
        assert own.summary["about/torch"].startswith("2.")
        assert own.curve("plots/curves/_type") == {3: "image-file"}


def test_a_run_that_is_logged_again_is_there_once_and_one_that_went_on_has_its_new_epochs(
    tmp_path: Path,
) -> None:
    run = trained(planned(), tmp_path)
    for _ in range(2):
        log_run(run, "wandb")
        [own] = written(tmp_path)
        assert own.curve("train/loss") == dict(enumerate(run.rows()["train_loss"], 1))
    go_on(run, {"epochs": 5})
    log_run(run, "wandb")
    [after] = written(tmp_path)
    assert (after.id, after.config["epochs"]) == (own.id, 5)
    assert after.curve("train/loss") == dict(enumerate(run.rows()["train_loss"], 1))


def test_figures_that_are_not_finite_are_there(tmp_path: Path) -> None:
    run = made(tmp_path, {"seeds": [3]})
    log_run(with_rows(run, ["1,3,nan,0.1,2", "2,3,inf,0.1,2", "3,3,0.5,0.1,2"]), "wandb")
    [own] = written(tmp_path)
    losses = {epoch: float(value) for epoch, value in own.curve("train/loss").items()}
    assert math.isnan(losses[1]) and losses[2] == math.inf and losses[3] == 0.5


def test_the_project_is_the_one_that_its_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    log_run(trained(planned(), tmp_path), "wandb")
    assert written(tmp_path)[0].project == "theirs"


def test_a_run_on_the_server_gets_what_it_has_not_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server says by the summary of a run what it has; here a summary stands for it."""
    run = trained(planned(evaluate_every=3), tmp_path)
    init, there = (
        wandb.init,
        {"epoch": 3, "train/loss": 1.0, "train/accuracy": 1.0, "lr": 1.0, "seconds": 1.0},
    )

    def resumed(**options: Any) -> Any:
        opened = init(**options)
        opened.summary.update(there)
        return opened

    monkeypatch.setattr(wandb, "init", resumed)
    log_run(run, "wandb")
    [own] = written(tmp_path)
    assert own.curve("train/loss") == {} and own.curve("test/loss").keys() == {3}
    go_on(run, {"epochs": 5, "evaluate_every": 3})
    log_run(run, "wandb")
    assert written(tmp_path)[0].curve("train/loss").keys() == {4, 5}


@pytest.mark.slow
def test_runs_are_logged_while_they_train(tmp_path: Path) -> None:
    run = trained(planned(seeds=[0, 1], track=["wandb"]), tmp_path)
    assert "warning" not in (run.folder / "log.txt").read_text()
    assert [own.curve("train/loss").keys() for own in written(tmp_path)] == [{1, 2, 3}] * 2
