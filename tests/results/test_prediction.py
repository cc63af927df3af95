"""`dlrun predict` prepares new inputs as the training data were, and gives the model's outputs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_runs import lines_of_points, own_parts, planned, trained

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.results.prediction import PredictedPieces, Predictions, predict_files
from dlrun.run_folders.run import Run
from dlrun.training.opening import open_checkpoint
from dlrun.training.trained import Trained

DAYS = """\
date,week,before,temperature
2016-01-01,Fri,45,46
2016-01-02,Sat,46,44
2016-01-03,Sun,44,41
2016-01-04,Mon,41,40
2016-01-05,Tues,40,44
2016-01-06,Fri,44,51
2016-01-07,Sat,51,45
2016-01-08,Sun,45,48
2016-01-09,Mon,48,50
2016-01-10,Tues,50,52
"""
NEW_DAYS = "week,before,date\nTues,47,2016-02-01\nFri,44,2016-02-02\n"


def opened(run: Run, parts: Parts, folder: Path) -> Trained:
    return open_checkpoint(run.best, run, [], parts, folder)[0]


def table_of(inputs: torch.Tensor, header: str) -> str:
    return "\n".join([header, *(",".join(map(repr, row)) for row in inputs.tolist())]) + "\n"


def days_run(tmp_path: Path, write: Callable[[str, str], Path], **options: Any) -> Run:
    path = write("days.csv", DAYS)
    dataset = {"name": "csv", "path": str(path), "target": "temperature", "categorical": ["week"]}
    dataset |= {"date": ["date"], "unit": "°F", **options}
    return trained(planned(dataset=dataset, loss="mse", metrics=["mae"], seeds=[0, 1]), tmp_path)


def test_points_are_given_the_probabilities_that_evaluation_gives(
    tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run = trained(planned(seeds=[0, 1]), tmp_path)
    model = opened(run, Parts(), tmp_path)
    points = model.loaded["test"].raw()
    rows = predict_files(run.best, [write("points.csv", table_of(points, "a,b"))], Parts(), tmp_path).rows()
    expected = model.probabilities(points).mean(0)
    assert [row["input"] for row in rows][:2] == ["row 2", "row 3"]
    for row, shares in zip(rows, expected.tolist(), strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(shares, abs=1e-6)
        best = max(row["probabilities"], key=row["probabilities"].__getitem__)
        assert (row["class"], row["probability"]) == (best, row["probabilities"][best])
    agreeing = (model.probabilities(points).argmax(-1) == expected.argmax(-1)).sum(0)
    assert [row["seeds_agreeing"] for row in rows] == agreeing.tolist()


def test_images_are_read_from_files_and_folders_by_name(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, dataset="dots", architecture={"name": "mlp", "flatten": True}), tmp_path)
    model = opened(run, parts, tmp_path)
    pixels = model.loaded["test"].raw()
    folder = tmp_path / "pictures" / "deeper"
    folder.mkdir(parents=True)
    for index, image in enumerate(pixels[:3]):
        Image.fromarray(image[0].numpy()).save(folder / f"{index}.png")
    (folder / "notes.txt").write_text("no image")
    files = [folder.parent, folder / "1.png"]
    rows = predict_files(run.best, files, parts, tmp_path).rows()
    assert [Path(row["input"]).name for row in rows] == ["0.png", "1.png", "2.png", "1.png"]
    expected = model.probabilities(pixels[[0, 1, 2, 1]])[0].tolist()
    for row, shares in zip(rows, expected, strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(shares, abs=1e-6)


@pytest.mark.parametrize("scale_target", [False, True])
def test_rows_of_a_table_are_foretold_in_the_targets_unit_without_the_training_file(
    tmp_path: Path, write: Callable[[str, str], Path], scale_target: bool
) -> None:
    run = days_run(tmp_path, write, scale_target=scale_target)
    model = opened(run, Parts(), tmp_path)
    train, _ = model.outputs("train")
    (tmp_path / "days.csv").unlink()
    again = write("again.csv", "\n".join(line.rsplit(",", 1)[0] for line in DAYS.splitlines()[:4]) + "\n")
    rows = predict_files(run.best, [again], Parts(), tmp_path).rows()
    assert [row["input"] for row in rows] == ["2016-01-01", "2016-01-02", "2016-01-03"]
    assert [row["temperature"] for row in rows] == pytest.approx(train[:, :3, 0].mean(0).tolist(), rel=1e-5)
    assert rows[0]["sd"] == pytest.approx(float(train[:, 0, 0].std()), rel=1e-3)


def test_what_is_printed_is_a_table_csv_or_json(
    dlrun: Callable[..., Any], tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run = days_run(tmp_path, write)
    new = write("new.csv", NEW_DAYS)
    told = json.loads(dlrun("predict", run.folder, new, "--json").out)
    assert (told["run"], told["unit"], len(told["predictions"])) == (run.name, "°F", 2)
    lines = list(csv.DictReader(StringIO(dlrun("predict", run.folder, new, "--csv").out)))
    # the digits of float32
    exact = [row["temperature"] for row in told["predictions"]]
    assert [float(line["temperature"]) for line in lines] == pytest.approx(exact, rel=6e-8)
    shown = dlrun("predict", run.folder, new).out
    assert "temperature, °F" in shown and "2016-02-01" in shown
    both = dlrun("predict", run.folder, new, "--csv", "--json")
    assert (both.code, both.out) == (2, "")


def test_rows_of_several_files_are_told_apart(tmp_path: Path, write: Callable[[str, str], Path]) -> None:
    run = trained(planned(), tmp_path)
    files = [write(name, "a,b\n1,2\n") for name in ("one.csv", "two.csv")]
    rows = predict_files(run.best, files, Parts(), tmp_path).rows()
    assert [row["input"] for row in rows] == ["one.csv: row 2", "two.csv: row 2"]


def test_a_note_on_one_of_several_files_names_it(
    dlrun: Callable[..., Any], tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run = days_run(tmp_path, write)
    far, usual = write("far.csv", NEW_DAYS.replace("44", "4e9")), write("usual.csv", NEW_DAYS)
    alone, both = (dlrun("predict", run.folder, *files, "--csv") for files in ([far], [usual, far]))
    assert alone.err.startswith("warning: 1 row lies far outside the training rows: before in row 3")
    assert both.err == alone.err.replace("warning: ", "warning: far.csv: ")


def test_files_may_be_named_by_a_pattern(
    dlrun: Callable[..., Any], tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run = days_run(tmp_path, write)
    files = [write(f"{name}.new.csv", NEW_DAYS.replace("47", str(47 + n))) for n, name in enumerate("ba")]
    one_by_one = dlrun("predict", run.folder, *sorted(files), "--csv")
    by_pattern = dlrun("predict", run.folder, tmp_path / "*.new.csv", "--csv")
    assert by_pattern == one_by_one and by_pattern.out.count("a.new.csv: ") == 2
    written = write("[c].csv", NEW_DAYS)
    assert dlrun("predict", run.folder, written, "--csv").code == 0, "the name of a file is no pattern"
    none = dlrun("predict", run.folder, "*.tsv")
    assert none.code == 2 and "no file matches " in none.err


def test_what_a_new_file_lacks_is_said_with_what_can_be_done(
    dlrun: Callable[..., Any], tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    holed = write("holed.csv", "week,before,date\nTues,,2016-02-01\nFri,44,2016-02-02\n")
    for missing in ("refuse", "drop"):
        run = days_run(tmp_path, write, missing=missing)
        done = dlrun("predict", run.folder, holed, "--json")
        rows = json.loads(done.out)["predictions"]
        assert (done.code, [row["input"] for row in rows]) == (1, ["2016-02-01", "2016-02-02"])
        assert [row.get("problem", "") for row in rows] == ["before: there is no value", ""]
        assert "1 of 2 inputs cannot be predicted" in done.err
    filling = days_run(tmp_path, write)
    done = dlrun("predict", filling.folder, holed, "--json")
    assert (done.code, len(json.loads(done.out)["predictions"])) == (0, 2)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t"])
def test_a_name_cannot_become_a_formula(
    dlrun: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, dataset="dots", architecture={"name": "mlp", "flatten": True}), tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "new" / f"{sign}1+1.png")
    (tmp_path / f"{sign}new").symlink_to(tmp_path / "new")
    told = dlrun("predict", "--csv", "--parts", tmp_path / "parts", "--", run.folder, f"{sign}new")
    [line] = csv.reader(told.out.splitlines()[1:])
    assert line[0][0] == "'" and line[0][1] in (sign, "\ufffd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n1\n", "its rows have 1 cells, but the model takes 2 figures"),
        ("a,b\n", "the file has a header but no rows"),
        ("0.1,0.2\n1,2\n", "the first row holds numbers, but must name the columns"),
    ],
)
def test_rows_that_the_model_does_not_take_are_refused(
    tmp_path: Path, write: Callable[[str, str], Path], text: str, message: str
) -> None:
    run = trained(planned(), tmp_path)
    with pytest.raises(UserError, match=message):
        predict_files(run.best, [write("points.csv", text)], Parts(), tmp_path)


def test_files_that_are_not_there_or_no_images_are_named(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, dataset="dots", architecture={"name": "mlp", "flatten": True}), tmp_path)
    with pytest.raises(UserError, match=r"there is no file .*none\.png"):
        predict_files(run.best, [tmp_path / "none.png"], parts, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there are no images in this folder"):
        predict_files(run.best, [tmp_path / "empty"], parts, tmp_path)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match="cannot be read") as refused:
        predict_files(run.best, [tmp_path / "text.png"], parts, tmp_path)
    assert refused.value.where.endswith("text.png")


def test_outputs_that_are_no_estimates_of_each_step_are_a_row_for_each_input(tmp_path: Path) -> None:
    series = {"name": "hourly_demand", "days": 20, "window": 7, "horizon": 2}
    plan = planned(
        dataset=series | {"season": None, "scale_target": False},
        task="reconstruction",
        architecture={"name": "mlp", "hidden": [3], "flatten": True},
        loss="mse",
        metrics=[],
    )
    outputs = torch.arange(14.0).view(1, 2, 7)
    rows = Predictions(plan, 1, "", ["1 step", "2 steps", "1 step", "2 steps"], outputs).rows()
    assert [row["input"] for row in rows] == ["input 1", "input 2"]


# ------------------------------------------------------------------------ inputs without a prediction


def by_input(text: str) -> dict[str, dict[str, str]]:
    """The lines of CSV by the name of their input, in their order."""
    return {line["input"]: line for line in csv.DictReader(StringIO(text))}


def points_run(tmp_path: Path, write: Callable[[str, str], Path], **options: Any) -> tuple[Run, Parts]:
    parts = own_parts(tmp_path)
    data = write("points.txt", "\n".join(lines_of_points(40)))
    return trained(planned(parts, dataset={"name": "points", "path": str(data)} | options), tmp_path), parts


def test_each_row_of_a_file_has_a_line_with_its_prediction_or_its_problem(
    dlrun: Callable[..., Any], tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run = trained(planned(), tmp_path)
    new = write("new.csv", "a,b\n,1\n1,2\n3,x\n4,5\n")
    whole = write("whole.csv", "a,b\n1,2\n4,5\n")
    done = dlrun("predict", run.folder, new, "--csv")
    assert done.code == 1 and "2 of 4 inputs cannot be predicted: column a: there is no value" in done.err
    lines = by_input(done.out)
    assert [line["problem"] for line in lines.values()] == [
        "column a: there is no value",
        "",
        "column b: 'x' is not a number",
        "",
    ]
    blank = [value for key, value in lines["row 4"].items() if key not in ("input", "problem")]
    assert blank == [""] * 5
    sound = dlrun("predict", run.folder, whole, "--csv")
    assert (sound.code, sound.err) == (0, "")
    assert [{**line, "input": ""} for line in lines.values() if not line["problem"]] == [
        {**line, "input": ""} for line in by_input(sound.out).values()
    ]
    shown = dlrun("predict", run.folder, new)
    assert shown.code == 1 and "column b: 'x' is not a number" in shown.out
    told = json.loads(dlrun("predict", run.folder, new, "--json").out)["predictions"]
    assert [("class" in row, "problem" in row) for row in told] == [
        (False, True),
        (True, False),
        (False, True),
        (True, False),
    ]


def test_a_file_of_problems_alone_is_told_row_by_row(
    dlrun: Callable[..., Any], tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run = trained(planned(), tmp_path)
    new = write("new.csv", "a,b\n,1\n1,x\n")
    done = dlrun("predict", run.folder, new, "--csv")
    assert (done.code, done.out.splitlines()[0], len(done.out.splitlines())) == (1, "input,problem", 3)
    assert "there is no value" in dlrun("predict", run.folder, new).out


def test_pieces_of_a_file_are_predicted_as_they_are_read(
    tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run, parts = points_run(tmp_path, write)
    new = write("new.txt", "? 1\n1 2\n3 4\n? ?\n? 1\n? 2\n5 6")  # pieces of three, one without a point
    predicted = predict_files(run.best, [new], parts, tmp_path)
    assert isinstance(predicted, PredictedPieces)
    rows = predicted.each_row()
    assert next(rows) == {"input": "line 1", "problem": "? is no number"}
    assert [next(rows)["input"] for _ in range(6)] == [f"line {n}" for n in range(2, 8)]
    whole = write("whole.txt", "1 2\n3 4\n5 6")
    found = [row["probability"] for row in predict_files(run.best, [whole], parts, tmp_path).rows()]
    again = predict_files(run.best, [new], parts, tmp_path).rows()
    assert [row["probability"] for row in again if "problem" not in row] == pytest.approx(found, rel=1e-6)


def test_a_file_without_inputs_is_refused(tmp_path: Path, write: Callable[[str, str], Path]) -> None:
    run, parts = points_run(tmp_path, write)
    with pytest.raises(UserError, match=r"there is no input in .*empty\.txt"):
        predict_files(run.best, [write("empty.txt", "")], parts, tmp_path)


def test_the_columns_of_a_file_are_carried_beside_the_predictions(
    dlrun: Callable[..., Any], tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run, parts = points_run(tmp_path, write)
    new = write("new.txt", "1.50 2\n? 4\n5 6\n7 8")
    words = ("predict", run.folder, new, "--parts", parts.folder, "--columns")
    lines = by_input(dlrun(*words, "--csv").out)
    assert [line["x (given)"] for line in lines.values()] == ["1.50", "?", "5", "7"]
    told = json.loads(dlrun(*words, "--json").out)["predictions"]
    assert told[0]["columns"] == {"x": "1.50"} and told[1]["columns"] == {"x": "?"}
    assert "1.50" in dlrun(*words).out
    assert "x (given)" not in dlrun(*words[:-1], "--csv").out


def test_a_damaged_image_costs_one_row(dlrun: Callable[..., Any], tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, dataset="dots", architecture={"name": "mlp", "flatten": True}), tmp_path)
    (tmp_path / "new").mkdir()
    for name in "abc":
        Image.new("L", (8, 8), 50).save(tmp_path / "new" / f"{name}.png")
    (tmp_path / "new" / "b.png").write_bytes((tmp_path / "new" / "a.png").read_bytes()[:40])
    done = dlrun("predict", run.folder, tmp_path / "new", "--csv", "--parts", parts.folder)
    problems = [bool(line["problem"]) for line in by_input(done.out).values()]
    assert (done.code, problems) == (1, [False, True, False])
    each = sorted((tmp_path / "new").iterdir())  # as a shell names them
    again = dlrun("predict", run.folder, *each, "--csv", "--parts", parts.folder)
    assert (again.code, again.out) == (1, done.out)


def test_what_was_to_be_skipped_does_not_fail(
    dlrun: Callable[..., Any], tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    run, parts = points_run(tmp_path, write, unreadable="skip")
    done = dlrun("predict", run.folder, write("new.txt", "1 2\n? 4"), "--parts", parts.folder)
    assert (done.code, "? is no number" in done.out, "1 of 2 inputs" in done.err) == (0, True, True)
