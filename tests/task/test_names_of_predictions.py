"""A target may have the name of an entry of predictions: each column of a report means one thing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import planned, trained

from dlrun.console.predictions import print_predictions, print_predictions_csv
from dlrun.results.prediction import with_problems
from dlrun.training.plan import Plan

NAMES = [
    "problem",
    "input",
    "columns",
    "probabilities",
    "shares",
    "continuation",
    "far_outside",
    "sd",
    "x (given)",
]
SEVERAL = [
    *([name, "y"] for name in (*NAMES, "loss", "true", "trained_on")),
    ["height", "true height"],
    ["loss", "predicted loss"],
    ["x (given)", "predicted x"],
    ["true", "prediction"],
]


def table(folder: Path, targets: Sequence[str]) -> Path:
    path = folder / "table.csv"
    rows = [[f"{n % 7}.5", *(f"{n * (place + 2)}" for place in range(len(targets)))] for n in range(30)]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["x", *targets], *rows])
    return path


def plan_for(folder: Path, targets: Sequence[str], **changes: Any) -> Plan:
    dataset = {"name": "csv", "path": str(table(folder, targets)), "target": targets}
    if len(targets) == 1:
        dataset["target"] = targets[0]
    return planned(dataset=dataset, loss="mse", metrics=[], **changes)


@pytest.mark.parametrize("targets", [*([name] for name in NAMES), *SEVERAL], ids=" and ".join)
def test_each_prediction_has_a_column_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], targets: list[str]
) -> None:
    task = plan_for(tmp_path, targets, seeds=[0, 1]).task
    figures = [7.25 + place for place in range(len(targets))]
    predicted = task.row(torch.tensor([figures, figures]))
    given = {"x": ["0.5", "0.5"]}
    rows = with_problems(["row 2", "row 3"], [predicted], {1: "it is damaged"}, given)
    assert [row.get("problem") for row in rows] == [None, "it is damaged"]
    assert rows[0]["input"] == "row 2" and rows[0]["columns"] == {"x": "0.5"}
    list(print_predictions_csv(rows, with_problems=True))
    heading, first, second = csv.reader(StringIO(capsys.readouterr().out))
    deviation = ["sd"] * (len(targets) == 1)
    assert heading[:2] == ["input", "x (given)"] and heading[2 + len(targets) :] == [*deviation, "problem"]
    assert len({*heading}) == len(heading)
    assert first == ["row 2", "0.5", *map(str, figures), *["0.0" for _ in deviation], ""]
    assert second == ["row 3", "0.5", *["" for _ in (*figures, *deviation)], "it is damaged"]
    list(print_predictions(rows, ""))
    assert all(str(figure) in capsys.readouterr().out for figure in figures[:1])


@pytest.mark.parametrize(
    "targets", [["problem"], ["true", "prediction"], ["height", "true height"]], ids=" and ".join
)
def test_the_command_line_tells_them_apart(
    tmp_path: Path, dlrun: Callable[..., Any], targets: list[str]
) -> None:
    run = trained(plan_for(tmp_path, targets), tmp_path)
    done = dlrun("predict", run.folder, tmp_path / "table.csv", "--csv", "--columns")
    assert done.code == 0
    heading = done.out.splitlines()[0].split(",")
    told = json.loads(dlrun("predict", run.folder, tmp_path / "table.csv", "--json").out)["predictions"]
    names = [name for name in told[0] if name != "input"]
    assert heading == ["input", "x (given)", *(f"{name} (given)" for name in targets), *names, "problem"]
    judged = list(csv.reader(StringIO(dlrun("eval", run.folder, "--csv").out)))
    truths = ["true"] if len(targets) == 1 else [f"true {name}" for name in targets]
    assert judged[0] == ["input", *truths, *names, "trained_on", "loss"]
    of_rows = {row["input"]: [row[name] for name in names] for row in told}
    places = [judged[0].index(name) for name in names]
    for row in judged[1:]:
        assert [float(row[place]) for place in places] == pytest.approx(of_rows[row[0]], rel=1e-5)
