"""Many runs as one table, and the command that prints it."""

from __future__ import annotations

import csv
import json
import math
import random
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from statistics import variance
from typing import Any

import pytest
from made_runs import SGD, Values, accuracies, fast, made, made_sweep, two_settings, with_rows
from small_runs import mostly_slow

from dlrun.console.numbers import of_setting
from dlrun.errors import UserError
from dlrun.run_folders import comparison as compare
from dlrun.run_folders.comparison import Comparison, compare_runs
from dlrun.run_folders.comparison_notes import telling
from dlrun.run_folders.differences import differences_between
from dlrun.run_folders.finding import find_runs
from dlrun.run_folders.records import chosen_records, read_record, runs_of
from dlrun.run_folders.run import Run
from dlrun.run_folders.setting_results import SettingResult
from dlrun.run_folders.sweep_finding import sweeps_in

Dlrun = Callable[..., Any]


def of(*found: Run, metric: str | None = None, ranked: bool = False) -> Comparison:
    return compare_runs(chosen_records(found), metric, ranked=ranked)


@pytest.fixture
def two(tmp_path: Path) -> list[Run]:
    return two_settings(tmp_path)


# --------------------------------------------------------------------------- settings


def test_runs_of_one_config_are_one_setting_however_their_seeds_were_trained(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    dlrun("train", tiny, "--seeds", 2, "--name", "together")
    for seed in (0, 1):
        dlrun("train", tiny, "--seed", seed, "--name", "alone", "threads=1")
    dlrun("train", tiny, "--seed", 2, "--name", "third")
    together, *alone = ([Run(runs_dir / name)] for name in ("together-001", "alone-001", "alone-002"))
    [one] = of(*together).groups
    [other] = of(*(run for runs in alone for run in runs)).groups
    assert one.values == other.values
    [both] = of(*together, Run(runs_dir / "third-001")).groups
    assert list(both.values) == [0, 1, 2]
    assert both.values.items() >= one.values.items()


def test_only_what_tells_settings_apart_is_shown(tmp_path: Path) -> None:
    adam, sgd = made(tmp_path), made(tmp_path, {"optimizer": SGD})
    noisy = made(
        tmp_path,
        {"dataset": {"name": "spiral", "points": 20, "noise": 0.5}},
        data={"fingerprint": "def"},
    )
    assert [group.shown for group in of(adam).groups] == [{}]
    assert [group.shown for group in of(adam, sgd).groups] == [{"optimizer": "adam"}, {"optimizer": "sgd"}]
    found = of(adam, noisy)
    assert [group.shown for group in found.groups] == [{"dataset.noise": 0.2}, {"dataset.noise": 0.5}]
    assert found.notes == []


def test_a_run_of_before_a_key_was_there_is_of_the_setting_that_has_its_default(
    dlrun: Dlrun, tiny: Path, runs_dir: Path
) -> None:
    for seed in (0, 1):
        dlrun("train", tiny, "--seed", seed, "--name", "run")
    dlrun("train", tiny, "freeze=['0.*']", "--name", "frozen")
    first, second = Run(runs_dir / "run-001"), Run(runs_dir / "run-002")
    kept = [
        line for line in first.config.read_text().splitlines() if not line.startswith(("freeze", "sampling"))
    ]
    first.config.write_text("\n".join(kept) + "\n")
    [group] = of(first, second).groups
    assert list(group.values) == [0, 1]
    assert len(of(first, Run(runs_dir / "frozen-001")).groups) == 2
    assert not [
        key for key in differences_between(*map(read_record, (first, second))).settings if key != "seeds"
    ]


def test_what_a_run_is_called_draws_and_expects_is_no_setting(tmp_path: Path) -> None:
    named = made(tmp_path, {"name": "b", "plots": ["curves"], "expect": {"train_loss": "< 9"}, "seeds": [1]})
    [group] = of(made(tmp_path), named).groups
    assert list(group.values) == [0, 1]


def test_other_data_under_the_same_config_is_said(tmp_path: Path) -> None:
    found = of(made(tmp_path), made(tmp_path, data={"fingerprint": "def"}))
    assert [group.shown for group in found.groups] == [{"data": "abc"}, {"data": "def"}]
    assert found.notes == ["not all were trained on the same data, though their configs name the same"]


def test_figures_of_different_losses_are_said_to_be_different(tmp_path: Path) -> None:
    final: dict[str, Values] = {"test_accuracy": [0.5], "test_loss": [0.5]}
    losses = ["cross_entropy", {"name": "cross_entropy", "class_weight": "balanced"}, "focal"]
    first, weighted, other = (made(tmp_path, {"loss": loss}, final=final) for loss in losses)
    rate = made(tmp_path, {"optimizer": {"name": "adam", "lr": 0.5}}, final=final)
    for runs, key in (
        ((first, weighted), "loss.class_weight differs"),
        ((first, other), "loss, loss.gamma differ"),
    ):
        [said] = of(*runs, metric="test_loss").notes
        assert said == f"test_loss is another figure where {key}; compare by a metric (--metric)"
        assert of(*runs, metric="test_accuracy").notes == []
    assert of(first, rate, metric="test_loss").notes == []


def test_other_examples_of_the_split_that_is_compared_are_said(tmp_path: Path) -> None:
    def run(points: int, fingerprint: str, test: int | None = 9, **more: Any) -> Run:
        examples = {"train": points} | ({} if test is None else {"test": test})
        data = {"fingerprint": fingerprint, "examples": examples} | more
        final: dict[str, Values] = {"test_accuracy": [0.5], "train_accuracy": [0.5]}
        return made(tmp_path, {"dataset": {"name": "spiral", "points": points}}, data=data, final=final)

    first, alike = (run(20 + n, f"a{n}", targets={"test": "1"}) for n in range(2))
    other, old = run(22, "a2", targets={"test": "2"}), run(23, "a3")
    fewer, silent, without = run(24, "a4", 8), run(25, "a5", targets={"valid": "1"}), run(26, "a6", None)
    said = "not all have the same test examples in the same order: differences are those of the examples too"
    unknown = "it is not recorded if all have the same test examples: some runs are of an earlier dlrun"
    for found, notes in (
        ((first, alike), []),
        ((first, other), [said]),
        ((first, fewer), [said]),
        ((first, old), [unknown]),
        ((first, silent), [unknown]),
        ((first, without), []),
        ((old, without), []),
    ):
        assert of(*found, metric="test_accuracy").notes == notes
        assert of(*found, metric="train_accuracy").notes == []


def test_runs_that_ignore_another_column_are_said_to_be_judged_on_other_examples(
    dlrun: Dlrun, tmp_path: Path, runs_dir: Path
) -> None:
    rows = [f"{n % 7},{n * n % 11},{n}" for n in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,y", *rows]))
    config = tmp_path / "table.yaml"
    dataset = f"{{name: csv, path: {tmp_path / 'table.csv'}, target: y}}"
    config.write_text(
        f"dataset: {dataset}\narchitecture: linear\nloss: mse\noptimizer: {{name: adam, lr: 0.1}}\n"
        "epochs: 1\nbatch_size: full\nmetrics: [mae]\nplots: []\n"
    )
    for words in ((), ("dataset.standardise=false",), ("dataset.ignore=[b]",)):
        assert dlrun("train", config, *words).code == 0
    said = "not all have the same valid examples in the same order"
    alike = dlrun("compare", "table-001", "table-002")
    assert (alike.code, alike.err) == (0, "")
    assert f"warning: {said}" in dlrun("compare", "table-001", "table-003").err
    assert said in " ".join(json.loads(dlrun("compare", "table*", "--json").out)["notes"])


def test_the_threads_that_dlrun_chose_are_a_setting_of_the_time_alone(tmp_path: Path) -> None:
    one = made(tmp_path, {"threads": 1}, seconds=1.0)
    two = made(tmp_path, {"threads": 2, "seeds": [1]}, seconds=2.0)
    assert len(of(one, two).groups) == 1
    assert [g.shown for g in of(one, two, metric="seconds").groups] == [{"threads": 1}, {"threads": 2}]


def test_a_seed_that_was_trained_twice_counts_once_and_is_named(tmp_path: Path) -> None:
    found = of(
        accuracies(tmp_path, {}, 0.5, 0.6), accuracies(tmp_path, {}, 0.5, 0.6), accuracies(tmp_path, {}, 0.9)
    )
    [group] = found.groups
    assert group.values == {0: 0.5, 1: 0.6}
    [note] = found.notes
    assert "seeds 0, 1 of small-002, seed 0 of small-003, where the figure was another" in note


def test_what_is_not_finished_or_unreadable_is_left_out_by_name(tmp_path: Path) -> None:
    made(tmp_path, status="paused")
    made(tmp_path, status="failed")
    broken = made(tmp_path)
    broken.config.write_text("a: [")
    whole = made(tmp_path)
    found = of(*runs_of(find_runs("small", tmp_path)))
    assert [group.runs for group in found.groups] == [[whole]]
    assert found.notes == [
        "left out, as their configs cannot be read: small-003",
        "left out, as they are not finished: small-001 (paused), small-002 (failed)",
    ]


def test_a_setting_that_diverged_is_shown_and_one_without_the_figure_too(tmp_path: Path) -> None:
    measured = accuracies(tmp_path, {}, 0.5, 0.6)
    diverged = made(tmp_path, {"optimizer": SGD}, status="diverged", final={"train_accuracy": [0.1]})
    silent = made(tmp_path, {"optimizer": {"name": "adam", "lr": 1.0}}, final={"train_loss": [0.1]})
    found = of(silent, diverged, measured, metric="train_accuracy")
    assert [len(group.values) for group in found.groups] == [2, 0, 0]
    assert [group.diverged for group in found.groups] == [[], [], ["small-002"]]
    assert [found.verdict(group) for group in found.groups] == ["", "not measured", ""]


def test_a_seed_whose_figure_is_not_finite_is_none_of_the_setting(tmp_path: Path) -> None:
    [group] = of(accuracies(tmp_path, {}, 0.5, None, 0.7)).groups
    assert group.values == {0: 0.5, 2: 0.7}


def test_runs_of_several_versions_are_said_to_be(tmp_path: Path) -> None:
    other = made(tmp_path, {"seeds": [1]}, versions={"dlrun": "1", "torch": "3"})
    assert of(made(tmp_path), other).notes == ["not all were trained with the same torch: 2, 3"]
    assert of(made(tmp_path, {"seeds": [4]}), made(tmp_path, {"seeds": [5]}, versions="odd")).notes == []


# --------------------------------------------------------------------------- what is known


def test_a_difference_is_said_with_its_interval_in_points(two: list[Run]) -> None:
    found = of(*two)
    first, second = found.groups
    assert (found.verdict(first), found.verdict(second)) == ("", "better by 1.20 ± 0.32 points (n = 5)")
    assert of(*two[::-1]).verdict(first) == ""
    assert of(*two[::-1]).verdict(of(*two[::-1]).groups[1]) == "worse by 1.20 ± 0.32 points (n = 5)"
    assert "seed by seed" in found.meaning


def test_less_of_a_loss_is_better(tmp_path: Path) -> None:
    high, low = (
        made(tmp_path, fast(lr), final={"train_loss": [loss + seed for seed in range(5)]})
        for lr, loss in ((0.1, 9.0), (0.2, 3.0))
    )
    low.write_json("summary.json", low.summary() | {"final": {"train_loss": {"values": [3, 4.1, 5, 6, 7.2]}}})
    found = of(high, low)
    assert found.verdict(found.groups[1]).startswith("better by 5.94 ± 0.1")
    assert "points" not in found.verdict(found.groups[1])


def test_what_chance_explains_is_not_distinguishable_and_one_seed_cannot_tell(tmp_path: Path) -> None:
    first = accuracies(tmp_path, {}, 0.5, 0.6, 0.7)
    noise = accuracies(tmp_path, {"optimizer": SGD}, 0.6, 0.55, 0.75)
    alone = accuracies(tmp_path, {"epochs": 9}, 0.9)
    same = accuracies(tmp_path, {"epochs": 8}, 0.5, 0.6, 0.7)
    found = of(first, noise, alone, same)
    assert [found.verdict(group) for group in found.groups] == [
        "",
        "not distinguishable (n = 3)",
        "one seed cannot tell (n = 1)",
        "the same (n = 3)",
    ]
    assert "wider as 3 comparisons" in found.meaning


def test_settings_that_share_no_seeds_are_compared_by_their_means(tmp_path: Path) -> None:
    first = made(tmp_path, {"seeds": [0, 1, 2]}, final={"train_accuracy": [0.5, 0.51, 0.52]})
    changes = {"seeds": [7, 8, 9], "optimizer": SGD}
    found = of(first, made(tmp_path, changes, final={"train_accuracy": [0.7, 0.71, 0.72]}))
    assert found.verdict(found.groups[1]) == "better by 20.0 ± 2.3 points (n = 3)"
    assert "between means" in found.meaning


def test_of_ranked_settings_each_is_held_against_the_best_as_all_pairs_might_have_been(
    tmp_path: Path,
) -> None:
    found = of(
        *(accuracies(tmp_path, fast(lr), lr, lr + 0.1, lr + 0.15) for lr in (0.2, 0.4, 0.1, 0.3)),
        ranked=True,
    )
    assert [group.shown["optimizer.lr"] for group in found.groups] == [0.4, 0.3, 0.2, 0.1]
    assert (found.comparisons, found.groups[0].beside) == (6, None)
    assert of(*(run for group in found.groups for run in group.runs)).comparisons == 3


def test_the_best_is_never_chosen_by_the_test_set_unless_that_is_asked_for(tmp_path: Path) -> None:
    final: dict[str, Values] = {f"{split}_accuracy": [0.5] for split in ("train", "test")}
    run = made(tmp_path, final=final)
    assert of(run).metric == "test_accuracy"
    assert of(run, ranked=True).metric == "train_accuracy"
    assert of(run, ranked=True, metric="test_accuracy").metric == "test_accuracy"
    valid = made(tmp_path, final=final | {"valid_loss": [1.0], "valid_accuracy": [0.5]})
    assert of(valid).metric == of(valid, ranked=True).metric == "valid_accuracy"


def test_a_ranking_by_training_figures_is_said_with_the_remedy(tmp_path: Path) -> None:
    valid = {"valid_loss": [1.0], "valid_accuracy": [0.5]}
    runs = [made(tmp_path, {"optimizer": SGD}), made(tmp_path)]
    both = [
        made(tmp_path, each, final={"train_accuracy": [0.5], **valid}) for each in ({"optimizer": SGD}, {})
    ]
    said = "train_accuracy ranks by the training examples, and may choose what learns them by heart"
    assert of(*runs, ranked=True).notes == [f"{said}; set dataset.valid_fraction in new runs"]
    found = of(*both, ranked=True, metric="train_accuracy").notes
    assert found == [f"{said}; take --metric valid_accuracy"]
    for fine in (of(*runs), of(*both, ranked=True), of(runs[0], ranked=True)):
        assert fine.notes == []


def test_of_an_unknown_metric_it_is_said_which_way_it_is_taken(tmp_path: Path) -> None:
    found = of(made(tmp_path, final={"train_mine": [0.5]}), metric="train_mine")
    assert (found.higher_is_better, len(found.notes)) == (False, 1)
    assert "train_mine" in found.notes[0]


def test_a_metric_that_nobody_measured_is_refused_with_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'train_acuracy'; did you mean 'train_accuracy'"):
        of(made(tmp_path), metric="train_acuracy")
    with pytest.raises(UserError, match=r"no finished run to compare: small-002 \(paused\)"):
        of(made(tmp_path, status="paused"), metric="train_accuracy")


# --------------------------------------------------------------------------- the command


def test_the_table_has_a_row_for_each_setting(dlrun: Dlrun, two: list[Run], tmp_path: Path) -> None:
    done = dlrun("compare", "small", "--runs-dir", tmp_path)
    assert (done.code, done.err) == (0, "")
    head, _, first, second, *_ = (line for line in done.out.splitlines() if line.strip())
    assert head.split() == ["optimizer.lr", "train_accuracy", "seeds", "beside", "the", "first", "run"]
    assert first.split() == ["0.1", "0.9200", "±", "0.0158", "5", "small-001"]
    assert second.split()[:5] == ["0.2", "0.9320", "±", "0.0149", "5"]
    assert " better by 1.20 ± 0.32 points (n = 5) " in second and second.endswith(" small-002 ")


def test_a_setting_alone_is_shown_with_its_runs(dlrun: Dlrun, tmp_path: Path) -> None:
    made(tmp_path, {"seeds": [0]})
    made(tmp_path, {"seeds": [1]})
    done = dlrun("compare", "small", "--runs-dir", tmp_path)
    assert "small-001, small-002" in done.out
    assert "beside" not in done.out


def test_what_has_no_room_in_a_row_stands_below_whole(
    dlrun: Dlrun, two: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies(
        tmp_path, {"optimizer": SGD, "architecture": {"name": "mlp", "hidden": [8, 8, 8, 8]}}, 0.1, 0.2
    )
    monkeypatch.setenv("COLUMNS", "70")
    lines = dlrun("compare", "small", "--runs-dir", tmp_path).out.splitlines()
    assert max(len(line) for line in lines if "seed by seed" not in line) <= 70
    assert not [line for line in lines if "…" in line]
    told = " ".join(" ".join(lines).split())
    assert "3 architecture.hidden [8, 8, 8, 8], optimizer sgd" in told
    assert "better by 1.20 ±" in told


def test_runs_are_shortened_to_their_numbers_before_they_are_left_out(
    dlrun: Dlrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rate in (0.1, 0.2):
        for seed in range(4):
            made(tmp_path, {"optimizer": {"name": "adam", "lr": rate}, "seeds": [seed]})
    ask = ("compare", "small", "--runs-dir", tmp_path)
    for width, runs in ((120, ["small-001–004", "small-005–008"]), (66, ["001–004", "005–008"]), (52, [])):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = [line.split() for line in dlrun(*ask).out.splitlines()]
        rows = [words for words in lines if words[:1] in (["0.1"], ["0.2"])]
        assert [words[-1] for words in rows] == runs, width
    assert ["2", "optimizer.lr", "0.2,", "small-005–008"] in lines
    cells = dlrun(*ask, "--csv").out.splitlines()
    assert cells[0].split(",")[-1] == "run"
    assert cells[1].split(",")[-1] == "small-001 small-002 small-003 small-004"


@pytest.mark.parametrize("n", mostly_slow([3, 4, 5], 3))
@pytest.mark.parametrize("values", [(0.9, 0.95), (55 / 60, 56 / 60, 56 / 60, 57 / 60)], ids=["two", "steps"])
def test_the_best_of_many_alike_is_rarely_called_better(n: int, values: tuple[float, ...]) -> None:
    """Figures in steps, of which a few seeds often have the same."""
    chance, claimed = random.Random(4), 0
    for _ in range(200):
        groups = [
            SettingResult({}, values={seed: chance.choice(values) for seed in range(n)}) for _ in range(12)
        ]
        groups.sort(key=lambda group: -group.mean)
        compare._compare(groups, ranked=True)
        claimed += any(group.beside and group.beside.is_known for group in groups)
    assert claimed / 200 < 0.08


def test_figures_that_no_seed_changes_are_apart_where_others_show_how_fine_they_are() -> None:
    groups = [SettingResult({}, values=dict.fromkeys(range(5), each / 100)) for each in range(99, 59, -4)]
    compare._compare(groups, ranked=True)
    assert all(group.beside and group.beside.is_known for group in groups[6:])  # six steps and more
    assert not (groups[1].beside and groups[1].beside.is_known)
    assert groups[9].beside is not None
    assert groups[9].beside.margin > 0


def test_a_setting_that_diverged_from_some_seeds_is_never_the_best(tmp_path: Path) -> None:
    lucky = accuracies(tmp_path, fast(0.1), 0.99, 0.98)
    made(tmp_path, fast(0.1) | {"seeds": [8]}, status="diverged", final={})
    worst, good = accuracies(tmp_path, fast(0.2), 0.5, 0.6), accuracies(tmp_path, fast(0.3), 0.9, 0.95)
    every = runs_of(find_runs("*", tmp_path))
    ranked = of(*every, metric="train_accuracy", ranked=True)
    assert [group.runs[0] for group in ranked.groups] == [good, worst, lucky]


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_setting_of_which_seeds_are_missing_is_never_the_best(status: str, tmp_path: Path) -> None:
    lucky, good = accuracies(tmp_path, fast(0.1), 0.99), accuracies(tmp_path, fast(0.3), 0.9, 0.95)
    made(tmp_path, fast(0.1) | {"seeds": [1]}, status=status)
    made(tmp_path, fast(0.7) | {"seeds": [1]}, status=status)
    ranked = of(*runs_of(find_runs("*", tmp_path)), metric="train_accuracy", ranked=True)
    assert [group.runs for group in ranked.groups] == [[good], [lucky]]
    again = accuracies(tmp_path, fast(0.1) | {"seeds": [1]}, 0.98)
    again.write_config(again.config.read_text().replace("seeds: [0]", "seeds: [1]"))
    again.write_json("summary.json", again.summary() | {"seeds": [1]})
    ranked = of(*runs_of(find_runs("*", tmp_path)), metric="train_accuracy", ranked=True)
    assert [group.runs for group in ranked.groups] == [[lucky, again], [good]]  # that run is another's now


def test_any_two_of_the_ranked_settings_might_have_been_compared() -> None:
    figures = [0.9, 0.8, 0.7, 0.6]
    groups = [SettingResult({}, values={seed: each + seed / 1e3 for seed in range(3)}) for each in figures]
    counts = []
    for ranked in (True, False):
        assert compare._compare(groups, ranked=ranked) == (6 if ranked else 3)
        counts.append([group.beside.comparisons for group in groups[1:] if group.beside])
    assert (max(counts[0]), max(counts[1])) == (6, 3)
    many = [SettingResult({}, values={0: 0.9 - each / 1e3, 1: 0.8}) for each in range(201)]
    compare._compare(many, ranked=True)
    assert many[7].beside is not None
    assert many[7].beside.comparisons == 201 * 200 // 2


def test_seeds_trained_as_one_model_are_of_the_same_setting_and_it_is_said(tmp_path: Path) -> None:
    alone = accuracies(tmp_path, {}, 0.5)
    together = made(
        tmp_path, {"seeds": [1, 2], "stacked": True}, final={"train_accuracy": [0.6, 0.7]}, code="another"
    )
    alone.write_json("summary.json", alone.summary() | {"code": "one"})
    found = of(alone, together)
    [group] = found.groups
    assert group.values == {0: 0.5, 1: 0.6, 2: 0.7}
    assert found.notes == [
        "not all were trained with the same code of dlrun and of your parts",
        "the seeds of some were trained as one model, which changes the last bits",
    ]


def test_json_is_one_strict_object(dlrun: Dlrun, tmp_path: Path) -> None:
    accuracies(tmp_path, {}, 0.5, 0.6)
    accuracies(tmp_path, {"gradient_clip": 2.0}, 0.5)
    diverged = made(tmp_path, {"optimizer": SGD}, status="diverged", final={})
    done = dlrun("compare", "small", "--json", "--runs-dir", tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads(done.out, parse_constant=refuse)
    first, second, third = found["settings"]
    assert (found["metric"], found["better"], found["beside"]) == ("train_accuracy", "higher", "first")
    assert (first["mean"], first["n"], first["values"]) == (0.55, 2, {"0": 0.5, "1": 0.6})
    assert first["runs"] == [str(tmp_path / "small-001")]
    assert (second["sd"], second["margin"], second["verdict"]) == (None, None, "one seed cannot tell (n = 1)")
    assert (third["mean"], third["diverged"]) == (None, [diverged.name])


def test_csv_reads_back(dlrun: Dlrun, two: list[Run], tmp_path: Path) -> None:
    made(tmp_path, {"optimizer": SGD, "gradient_clip": 1.0}, final={"train_accuracy": [0.5]})
    done = dlrun("compare", "small", "--csv", "--runs-dir", tmp_path)
    rows = list(csv.DictReader(StringIO(done.out)))
    assert [row["optimizer.lr"] for row in rows] == ["0.1", "0.2", "0.01"]
    assert [row["gradient_clip"] for row in rows] == ["null", "null", "1.0"]
    assert math.isclose(float(rows[1]["difference"]), 0.012)
    assert [row["margin"] for row in (rows[0], rows[2])] == ["", ""]
    assert [row["n"] for row in rows] == ["5", "5", "1"]
    assert dlrun("compare", "small", "--csv", "--json", "--runs-dir", tmp_path).code == 2


def test_with_a_condition_alone_all_runs_are_meant(dlrun: Dlrun, two: list[Run], tmp_path: Path) -> None:
    done = dlrun("compare", "--where", "optimizer.lr > 0.15", "--json", "--runs-dir", tmp_path)
    assert [setting["runs"] for setting in json.loads(done.out)["settings"]] == [[str(two[1].folder)]]
    none = dlrun("compare", "small", "--where", "optimizer.lr > 15", "--runs-dir", tmp_path)
    assert (none.code, none.err.splitlines()[0]) == (2, "error: none of 2 runs fulfils this condition")
    unnamed = dlrun("compare", "--runs-dir", tmp_path)
    assert (unnamed.code, "name the runs to compare" in unnamed.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "begins"), [("a.png", b"\x89PNG"), ("new/a.PDF", b"%PDF"), ("a.svg", b"<?xml")]
)
def test_curves_are_drawn_into_a_file(
    name: str, begins: bytes, dlrun: Dlrun, two: list[Run], tmp_path: Path
) -> None:
    for run in two:
        with_rows(run, [f"{epoch},{seed},{epoch},1,1" for epoch in (1, 2) for seed in range(5)])
    done = dlrun("compare", "small", "-o", tmp_path / name, "--runs-dir", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_what_cannot_be_drawn_is_refused(dlrun: Dlrun, two: list[Run], tmp_path: Path) -> None:
    words = ("compare", "small", "--runs-dir", tmp_path, "-o")
    refused = dlrun(*words, tmp_path / "a.txt")
    assert (refused.code, ".png, .pdf, .svg" in refused.err) == (2, True)
    for said in two:
        said.write_json("summary.json", said.summary() | {"seconds": 2.0})
    refused = dlrun(*words, tmp_path / "a.png", "--metric", "seconds")
    assert (refused.code, "seconds has no curves" in refused.err) == (2, True)
    (tmp_path / "file").touch()
    refused = dlrun(*words, tmp_path / "file" / "a.png")
    assert (refused.code, "is not a folder" in refused.err) == (1, True)
    assert not (tmp_path / "a.png").exists()


HOSTILE = "evil\x1b[2J\nname, [bold]x[/bold]" + "y" * 200


def test_what_stands_in_someones_files_is_shown_in_one_line_and_steers_nothing(
    dlrun: Dlrun, tmp_path: Path
) -> None:
    for number, loss in enumerate((HOSTILE, "cross_entropy")):
        run = made(tmp_path)
        run.config.write_text(json.dumps({"name": HOSTILE, "loss": loss, "lr": number, HOSTILE: number}))
        run.write_json(
            "summary.json",
            {
                "status": "finished",
                "seeds": [0, "x", None] if number else [0, 0],
                "final": {HOSTILE: {"values": [1.0]}, "train_loss": {"values": [1, None, "a"]}, "a": 3},
                "best": [],
                "epochs": HOSTILE,
                "seconds": math.nan,
                "data": HOSTILE,
                "started": HOSTILE,
                "versions": {"torch": [HOSTILE]},
            },
        )
    with_rows(made(tmp_path), ["1,a,b,c,d"])
    runs_dir = ("--runs-dir", tmp_path)
    for words in (
        ("compare", "*", *runs_dir),
        ("compare", "*", "--metric", HOSTILE, *runs_dir),
        ("compare", "*", "--csv", *runs_dir),
        ("compare", "*", "--where", HOSTILE, *runs_dir),
        ("compare", HOSTILE, *runs_dir),
        ("compare", "*", "-o", tmp_path / "a.png", *runs_dir),
        ("runs", *runs_dir),
        ("runs", "--columns", "loss,started,name", *runs_dir),
        ("runs", "--sort", "loss", *runs_dir),
        ("runs", "--where", "lr == 1", *runs_dir),
        ("diff", "small-001", "small-002", *runs_dir),
        ("diff", "small-001", "small-003", *runs_dir),
        ("reproduce", "small-001", *runs_dir),
        ("rm", "small-001", *runs_dir),
    ):
        done = dlrun(*words)
        assert "Traceback" not in done.err
        assert "dlrun --debug" not in done.err
        assert "\x1b" not in done.out + done.err
        if "--csv" in words:  # where a line may end in a cell that is quoted
            assert len(list(csv.reader(StringIO(done.out)))) == 4
        else:
            assert not [line for line in (done.out + done.err).splitlines() if line.startswith("name,")]


def test_a_value_in_a_row_is_in_one_line_too(dlrun: Dlrun, tmp_path: Path) -> None:
    for loss in ("x\x1b[2J\nname, [bold]y[/bold]", "z"):
        run = made(tmp_path)
        run.config.write_text(json.dumps({"loss": loss}))
    out = dlrun("compare", "small", "--runs-dir", tmp_path).out
    assert "x\N{REPLACEMENT CHARACTER}[2J name, [bold]y[/bold]" in out
    assert "\x1b" not in out


def test_of_a_sweep_each_is_beside_the_best_and_named_by_what_was_set(dlrun: Dlrun, runs_dir: Path) -> None:
    values = [{"optimizer": each} for each in ("adam", "sgd")]
    made_sweep(
        runs_dir,
        [
            {"optimizer": {"name": "sgd", "lr": 0.1}},
            {"optimizer": {"name": "adam", "lr": 0.2, "weight_decay": 0.1}},
        ],
        [[0.5, 0.6], [0.9, 0.95]],
    )
    [sweep] = sweeps_in(runs_dir)
    for entry, value in zip(sweep.content["runs"], values[::-1], strict=True):
        entry["values"] = value
    sweep.write()
    found = json.loads(dlrun("compare", "last", "--json").out)
    assert found["beside"] == "best"
    assert [each["settings"] for each in found["settings"]] == values
    assert found["notes"][0] == "these keys differ too: optimizer.lr, optimizer.weight_decay"
    first = json.loads(dlrun("compare", "last", "--json", "--beside", "first").out)
    assert [each["settings"] for each in first["settings"]] == values[::-1]
    one = json.loads(dlrun("compare", f"{sweep.name}/small-001", "--json").out)
    assert (one["beside"], one["settings"][0]["settings"]) == ("first", {})


def test_large_figures_are_written_as_a_person_would() -> None:
    assert [of_setting(*each) for each in ((18223.4, 1829.0), (146600.2, 0.5858), (3421.0, None))] == [
        "18,223 ± 1,829",
        "146,600.20 ± 0.59",
        "3,421.0",
    ]
    assert of_setting(0.5, 0.01) == "0.5000 ± 0.0100"


def test_an_option_that_only_some_settings_state_is_told_unless_it_is_of_their_part() -> None:
    mlp = {"architecture.name": "mlp", "architecture.hidden": [8]}
    assert telling([mlp, mlp | {"architecture.weights": "first-001"}], []) == [
        {},
        {"architecture.weights": "first-001"},
    ]
    linear = {"architecture.name": "linear"}
    told = telling([mlp, linear], [])
    assert told == [{"architecture.name": "mlp"}, {"architecture.name": "linear"}]


# --------------------------------------------------------------------------- folds


def of_folds(parent: Path, lr: float, *accuracies: float, folds: int = 5, first: int = 0) -> list[Run]:
    """A run for each fold, with a figure of its own and the counts of examples that the test needs."""
    return [
        made(
            parent,
            {"dataset": {"name": "spiral", "folds": folds, "fold": fold}} | fast(lr) | {"seeds": [0]},
            final={"valid_accuracy": [accuracy]},
            data={
                "fingerprint": f"of fold {fold}",
                "examples": {"train": 96, "valid": 24},
                "targets": {"valid": f"of fold {fold}"},
            },
        )
        for fold, accuracy in enumerate(accuracies, first)
    ]


ONE, OTHER = (0.80, 0.82, 0.79, 0.85, 0.81), (0.83, 0.86, 0.80, 0.88, 0.85)


def test_folds_are_one_setting_and_are_compared_in_pairs(tmp_path: Path, dlrun: Dlrun) -> None:
    found = of(*of_folds(tmp_path, 0.1, *ONE), *of_folds(tmp_path, 0.2, *OTHER))
    first, second = found.groups
    assert list(first.values) == [(fold, 0) for fold in range(5)]
    assert [group.shown for group in found.groups] == [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}]
    assert second.beside is not None and second.beside.n == 5 and second.beside.is_paired
    pairs = [b - a for a, b in zip(ONE, OTHER, strict=True)]
    assert second.beside.error == pytest.approx(math.sqrt((1 / 5 + 24 / 96) * variance(pairs)))
    assert found.notes == []
    assert "mean ± standard deviation over folds; differences fold by fold" in found.meaning
    assert "(Nadeau and Bengio 2003)" in found.meaning
    assert found.verdict(second) == "better by 3.0 ± 2.3 points (n = 5)"
    printed = dlrun("compare", "small*", "--runs-dir", tmp_path).out
    assert re.search(r"lr\s+valid_accuracy\s+folds", printed)
    values = json.loads(dlrun("compare", "small*", "--runs-dir", tmp_path, "--json").out)["settings"][0][
        "values"
    ]
    assert list(values) == [f"fold {fold}, seed 0" for fold in range(5)]


def test_settings_of_other_folds_are_shown_but_not_compared(tmp_path: Path) -> None:
    runs = [*of_folds(tmp_path, 0.1, *ONE), *of_folds(tmp_path, 0.1, 0.7, 0.8, 0.9, folds=3)]
    alone = made(tmp_path, fast(0.1) | {"seeds": [0, 1]}, final={"valid_accuracy": [0.7, 0.8]})
    found = of(*runs, alone)
    assert [found.verdict(group) for group in found.groups] == ["", *["not compared: of other folds"] * 2]
    assert any("those of other ones are not compared" in note for note in found.notes)
    apart = of(*of_folds(tmp_path / "a", 0.1, 0.7, 0.8), *of_folds(tmp_path / "a", 0.2, 0.7, 0.8, first=2))
    assert apart.verdict(apart.groups[1]) == "not compared: of other folds"


def test_a_fold_that_was_trained_on_other_data_is_noted(tmp_path: Path) -> None:
    runs, again = of_folds(tmp_path, 0.1, *ONE), of_folds(tmp_path, 0.2, *OTHER)
    summary = again[2].summary()
    summary["data"]["targets"]["valid"] = "others"
    again[2].write_json("summary.json", summary)
    assert any("not all have the same valid examples" in note for note in of(*runs, *again).notes)


def test_the_same_fold_and_seed_twice_counts_once(tmp_path: Path) -> None:
    runs = [*of_folds(tmp_path, 0.1, *ONE), *of_folds(tmp_path, 0.1, 0.5)]
    found = of(*runs)
    assert found.groups[0].values[0, 0] == 0.80
    assert any("fold 0, seed 0 of small-006, where the figure was another" in note for note in found.notes)
