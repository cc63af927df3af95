"""Data beside those of training are judged whole, and no example that was trained on passes for a new one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import lines_of_points, own_parts, planned, trained, tree

from dlrun.config.registry import Parts
from dlrun.data.hash_split import text_keys
from dlrun.errors import CheckpointRefused, UserError
from dlrun.run_folders.run import Run
from dlrun.training.checkpoint import load_checkpoint, save_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint, open_given
from dlrun.training.trained import Trained

Dlrun = Callable[..., Any]
LINES = lines_of_points(40)


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def made(tmp_path: Path, **changes: Any) -> tuple[Run, Parts, Path]:
    """A run on 30 of 40 points, its parts, and the file of its data."""
    parts = own_parts(tmp_path)
    data = written(tmp_path / "points.txt", LINES)
    keys = {"dataset": {"name": "points", "path": str(data)}, "epochs": 5} | changes
    return trained(planned(parts, **keys), tmp_path), parts, data


def judged(run: Run, parts: Parts, path: Path, *overrides: str) -> dict[str, Any]:
    """The report on all examples of a file."""
    model, saved = open_given(run.best, run, overrides, parts, Path("no-data"), path)
    return evaluate_run(model, saved, run.best, model.given or "")


def evaluated(run: Run, parts: Parts, *overrides: str, split: str = "test") -> tuple[Trained, dict[str, Any]]:
    model, saved = open_checkpoint(run.best, run, overrides, parts, Path("no-data"))
    return model, evaluate_run(model, saved, run.best, split)


def accuracy(model: Trained, split: str, chosen: torch.Tensor) -> float:
    """The accuracy of the first copy on some examples of a split, by hand."""
    outputs, targets = model.outputs(split)
    return float((outputs[0].argmax(1) == targets)[chosen].double().mean())


# ------------------------------------------------------------------------ other data


def test_every_example_of_other_data_is_judged_and_those_trained_on_are_counted(tmp_path: Path) -> None:
    run, parts, _ = made(tmp_path)
    new = lines_of_points(20, seed=1)
    mixed = written(tmp_path / "mixed.txt", [*new[:12], *LINES[:8], LINES[35]])
    found = judged(run, parts, mixed)
    model, _ = open_given(run.best, run, [], parts, Path("no-data"), mixed)
    is_new = torch.tensor([line not in LINES[:30] for line in [*new[:12], *LINES[:8], LINES[35]]])
    assert (found["examples"], found["seen"], found["unseen"]["examples"]) == (21, 8, 13)
    assert found["metrics"]["accuracy"] == accuracy(model, "mixed.txt", torch.ones(21, dtype=torch.bool))
    assert found["unseen"]["metrics"]["accuracy"] == accuracy(model, "mixed.txt", is_new)
    assert found["unseen"]["loss"] != found["loss"]
    assert sum(map(sum, found["confusion"]["0"])) == 21


def test_a_single_example_can_be_judged(tmp_path: Path) -> None:
    run, parts, _ = made(tmp_path)
    found = judged(run, parts, written(tmp_path / "one.txt", lines_of_points(1, seed=2)))
    assert (found["examples"], found["seen"], found["unseen"]["examples"]) == (1, 0, 1)
    assert found["metrics"]["accuracy"] in (0.0, 1.0)


def test_where_all_were_trained_on_there_is_no_figure_without_them(tmp_path: Path, dlrun: Dlrun) -> None:
    run, parts, _ = made(tmp_path)
    old = written(tmp_path / "old.txt", LINES[:9])
    assert (judged(run, parts, old)["seen"], judged(run, parts, old)["unseen"]) == (9, None)
    done = dlrun("eval", run.folder, "--on", old, "--parts", parts.folder)
    assert done.code == 0 and "all 9 examples were trained on" in done.out


def test_the_training_data_are_needed_for_baselines_alone(tmp_path: Path, dlrun: Dlrun) -> None:
    run, parts, data = made(tmp_path)
    new = written(tmp_path / "new.txt", lines_of_points(20, seed=1))
    before = judged(run, parts, new)
    train = [line[-1] for line in LINES[:30]]
    most = max("ab", key=train.count)
    expected = sum(line[-1] == most for line in lines_of_points(20, seed=1)) / 20
    assert before["baselines"]["class prior"]["accuracy"] == pytest.approx(expected)
    data.unlink()
    after = judged(run, parts, new)
    assert {**before, "baselines": {}, "no_baselines": after["no_baselines"]} == after
    assert "points.txt" in after["no_baselines"]
    shown = dlrun("eval", run.folder, "--on", new, "--parts", parts.folder)
    assert (shown.code, "no baseline learns from the training data" in shown.out) == (0, True)


def test_changed_training_data_teach_no_baseline(tmp_path: Path) -> None:
    run, parts, data = made(tmp_path)
    new = written(tmp_path / "new.txt", lines_of_points(20, seed=1))
    written(data, [*LINES, *lines_of_points(9, seed=4)])
    found = judged(run, parts, new)
    assert (found["baselines"], found["no_baselines"]) == ({}, "the training data have changed since")


def test_a_limit_of_training_leaves_out_nothing_of_other_data(tmp_path: Path) -> None:
    run, parts, _ = made(tmp_path, limit=0.5)
    found = judged(run, parts, written(tmp_path / "old.txt", LINES[:30]))
    assert (found["examples"], found["seen"]) == (30, 15), "it was trained on half of 30"
    with pytest.raises(UserError, match="every example"):
        judged(run, parts, tmp_path / "old.txt", "limit=3")


def test_other_data_have_a_report_of_their_own(tmp_path: Path, dlrun: Dlrun) -> None:
    run, parts, _ = made(tmp_path)
    new = written(tmp_path / "new points.txt", [*lines_of_points(20, seed=1), *LINES[:5]])
    mine = ("--parts", parts.folder)
    assert dlrun("eval", run.folder, *mine).code == 0
    before = tree(run.folder)
    done = dlrun("eval", run.folder, "--on", new, *mine)
    assert done.code == 0
    assert "25 examples of new points.txt" in done.out
    assert "5 of them were trained on" in done.out and "without them, 20" in done.out
    after = tree(run.folder)
    assert after.keys() - before.keys() == {
        "eval/on_new_points.json",
        "eval/on_new_points_confusion_matrix.png",
    }
    assert {name: after[name] for name in before} == before
    kept = json.loads((run.folder / "eval" / "on_new_points.json").read_text())
    told = json.loads(dlrun("eval", run.folder, "--on", new, "--json", *mine).out)
    assert kept == told
    assert (told["on"], told["split"], told["seen"]) == (str(new), None, 5)


@pytest.mark.parametrize("name", ["test", "train"])
def test_a_file_with_the_name_of_a_split_is_still_a_file(tmp_path: Path, name: str) -> None:
    run, parts, _ = made(tmp_path)
    found = judged(run, parts, written(tmp_path / name, LINES[25:40]))
    assert (found["examples"], found["seen"]) == (15, 5)
    assert found["baselines"]["class prior"]["loss"] > 0


def test_several_seeds_are_judged_together(tmp_path: Path, dlrun: Dlrun) -> None:
    run, parts, _ = made(tmp_path, seeds=[0, 3])
    new = written(tmp_path / "new.txt", [*lines_of_points(20, seed=1), *LINES[:5]])
    found = judged(run, parts, new)
    assert found["unseen"]["per_seed"].keys() == found["per_seed"].keys() == {"0", "3"}
    assert found["unseen"]["loss"] == pytest.approx(
        sum(each["loss"] for each in found["unseen"]["per_seed"].values()) / 2
    )
    assert "±" in dlrun("eval", run.folder, "--on", new, "--parts", parts.folder).out


def test_what_cannot_be_judged_is_said_with_the_command_that_predicts(tmp_path: Path, dlrun: Dlrun) -> None:
    run, parts, _ = made(tmp_path)
    mine = ("--parts", parts.folder)
    bare = written(tmp_path / "bare.txt", [line[:-2] for line in LINES])
    done = dlrun("eval", run.folder, "--on", bare, *mine)
    assert (done.code, "line 1 has no class" in done.err, "dlrun predict" in done.err) == (2, True, True)
    gone = dlrun("eval", run.folder, "--on", tmp_path / "gone.txt", *mine)
    assert (gone.code, "there is no file or folder" in gone.err) == (2, True)
    both = dlrun("eval", run.folder, "--on", bare, "--split", "test", *mine)
    assert (both.code, "--split" in both.err) == (2, True)


def test_a_dataset_that_reads_no_other_data_says_so(tmp_path: Path, dlrun: Dlrun) -> None:
    run = trained(planned(), tmp_path)
    done = dlrun("eval", run.folder, "--on", written(tmp_path / "new.txt", LINES))
    assert (done.code, "spiral reads no files with targets" in done.err) == (2, True)


# ------------------------------------------------------------------------ other data, as an override


@pytest.mark.parametrize("split", ["test", "train"])
@pytest.mark.parametrize("override", ["path", "test_fraction"])
def test_other_data_or_other_splits_are_refused_with_the_remedy(
    tmp_path: Path, split: str, override: str
) -> None:
    run, parts, _ = made(tmp_path)
    value = written(tmp_path / "other.txt", lines_of_points(40, seed=9)) if override == "path" else 0.5
    with pytest.raises(UserError, match=f"dataset.{override}") as refused:
        evaluated(run, parts, f"dataset.{override}={value}", split=split)
    assert (refused.value.exit_code, "--on" in refused.value.fix) == (2, True)


def test_other_data_that_cannot_be_split_are_refused_with_the_remedy_too(tmp_path: Path) -> None:
    run, parts, _ = made(tmp_path)
    one = written(tmp_path / "one.txt", lines_of_points(1, seed=9))
    with pytest.raises(UserError, match="the test split is empty") as refused:
        evaluated(run, parts, f"dataset.path={one}")
    assert "--on" in refused.value.fix


def test_the_splits_of_a_dataset_that_reads_no_files_are_those_of_training(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    with pytest.raises(UserError, match=r"dataset\.valid_fraction"):
        evaluated(run, Parts(), "dataset.valid_fraction=0.3", split="valid")
    assert evaluated(run, Parts(), "dataset.noise=0.5")[1]["same_data"] is False


def test_a_moved_copy_is_the_same_data(tmp_path: Path) -> None:
    run, parts, data = made(tmp_path)
    moved = data.rename(tmp_path / "moved.txt")
    _, found = evaluated(run, parts, f"dataset.path={moved}")
    assert found["same_data"] and found["recorded"]["loss"]["difference"] == 0


# ------------------------------------------------------------------------ the run's own data


def test_a_checkpoint_keeps_what_was_trained_on(tmp_path: Path) -> None:
    run, _, _ = made(tmp_path, limit=0.5)
    kept = load_checkpoint(run.best).data["trained_on"]
    assert kept.dtype == torch.int64 and torch.equal(kept, kept.sort().values)
    assert len(kept) == 15 and torch.isin(kept, text_keys(LINES[:30])).all()
    assert "trained_on" not in load_checkpoint(trained(planned(), tmp_path).best).data


def test_examples_of_the_test_split_that_were_trained_on_are_said(tmp_path: Path, dlrun: Dlrun) -> None:
    parts = own_parts(tmp_path)
    data = written(tmp_path / "points.txt", [*LINES[:36], *LINES[:4]])  # the last 4 of 10 stand in train too
    run = trained(planned(parts, dataset={"name": "points", "path": str(data)}), tmp_path)
    model, found = evaluated(run, parts)
    assert found["recorded"]["loss"]["difference"] == 0 and found["examples"] == 10
    assert (found["seen"], found["unseen"]["examples"], found["left_out"]) == (4, 6, 0)
    assert found["unseen"]["metrics"]["accuracy"] == accuracy(model, "test", torch.arange(10) < 6)
    done = dlrun("eval", run.folder, "--parts", parts.folder)
    assert "4 of them were trained on" in done.out and "without them, 6" in done.out
    assert evaluated(run, parts, split="train")[1].get("seen") is None
    drawn = dlrun("plot", run.folder, "confusion_matrix", "--parts", parts.folder)
    assert (drawn.code, "4 of 10 test examples were trained on" in drawn.err) == (0, True)


def test_of_grown_data_what_was_trained_on_is_left_out(tmp_path: Path, dlrun: Dlrun) -> None:
    run, parts, data = made(tmp_path)
    written(data, [*lines_of_points(8, seed=3), *LINES])  # train is the first 36, test the last 12
    model, found = evaluated(run, parts)
    assert not found["same_data"]
    assert (found["examples"], found["left_out"], found["seen"]) == (10, 2, 0)
    assert len(model.loaded["test"]) == 10, "pictures leave them out too"
    assert [model.data.name_of(int(n)) for n in model.loaded["test"].origin] == [  # type: ignore[misc,union-attr]
        f"line {n}" for n in range(39, 49)
    ]
    assert torch.equal(model.loaded["test"].raw(), model.loaded["test"].raw_tree(torch.arange(10)))
    _, train = evaluated(run, parts, split="train")
    assert (train["examples"], train["left_out"]) == (28, 8), "of train what was trained on stays"
    done = dlrun("eval", run.folder, "--parts", parts.folder)
    assert done.code == 0 and "2 test examples that were trained on are left out" in done.out


def test_a_split_that_was_mostly_trained_on_is_refused(tmp_path: Path, dlrun: Dlrun) -> None:
    run, parts, data = made(tmp_path)
    written(data, [*lines_of_points(40, seed=3), *LINES])  # test is the last 20, of which 10 were test
    assert evaluated(run, parts)[1]["left_out"] == 10, "half is not most"
    written(data, [*lines_of_points(44, seed=3), *LINES])
    with pytest.raises(UserError, match="11 of the 21 test examples were trained on"):
        evaluated(run, parts)
    drawn = dlrun("plot", run.folder, "confusion_matrix", "--parts", parts.folder)
    assert (drawn.code, "11 of the 21 test examples" in drawn.err) == (1, True)


def test_an_older_checkpoint_does_not_know_what_was_trained_on(tmp_path: Path, dlrun: Dlrun) -> None:
    run, parts, data = made(tmp_path)
    saved = load_checkpoint(run.best)
    del saved.data["trained_on"]
    save_checkpoint(run.best, saved)
    found = evaluated(run, parts)[1]
    assert found["recorded"]["loss"]["difference"] == 0 and found["seen"] is None
    other = written(tmp_path / "other.txt", LINES)
    assert (judged(run, parts, other)["seen"], judged(run, parts, other)["unseen"]) == (None, None)
    done = dlrun("eval", run.folder, "--on", other, "--parts", parts.folder)
    assert "it is not known how many of them were trained on" in done.out
    written(data, [*lines_of_points(8, seed=3), *LINES])
    assert evaluated(run, parts)[1]["left_out"] == 0


@pytest.mark.parametrize(
    "forged",
    [
        torch.zeros(3),
        torch.zeros(2, 2, dtype=torch.int64),
        [1, 2],
        "all",
        torch.tensor(5),
        torch.zeros(3, dtype=torch.int64).unsqueeze(0)[:, :0],
    ],
)
def test_a_forged_list_of_what_was_trained_on_is_refused(tmp_path: Path, forged: object) -> None:
    run, parts, data = made(tmp_path, epochs=1)
    saved = load_checkpoint(run.best)
    save_checkpoint(run.best, replace(saved, data=saved.data | {"trained_on": forged}))
    for opened in (lambda: judged(run, parts, data), lambda: evaluated(run, parts)):
        with pytest.raises(CheckpointRefused, match="trained on"):
            opened()
