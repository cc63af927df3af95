"""Pictures of many settings."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import made, with_rows
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dlrun.drawing.over_values import is_better_log, scattered
from dlrun.drawing.sweep_pictures import MOST_LINES, curves_figure, settings_figure
from dlrun.run_folders.comparison import Comparison, compare_runs
from dlrun.run_folders.records import chosen_records
from dlrun.run_folders.run import Run
from dlrun.run_folders.setting_results import SettingResult

RATES = [1e-4, 1e-3, 1e-2, 1e-1]


def swept(
    axes: dict[str, list[Any]], n: int = 3, metric: str = "test_accuracy", low: float = 0.8
) -> Comparison:
    """Every combination of values with made-up figures, from `low` to a little less than `low` + 0.1."""
    chance = random.Random(0)
    groups = []
    for values in product(*axes.values()):
        shown = dict(zip(axes, values, strict=True))
        figures = {seed: low + 0.09 * chance.random() for seed in range(n)}
        groups.append(SettingResult(shown, [Run(Path("run-001"))], ["run-001"], figures, shown=shown))
    return Comparison(metric, metric.endswith("accuracy"), groups, True, 1, [])


def drawn(found: Comparison) -> Figure:
    figure = settings_figure(found, "a-sweep-001")
    assert figure is not None
    FigureCanvasAgg(figure).draw()  # which lays it out
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def title(figure: Figure) -> str:
    return figure.get_suptitle()


def test_over_one_numeric_key_there_is_a_line_with_a_band() -> None:
    found = swept({"optimizer.lr": RATES})
    axes = drawn(found).axes[0]
    line = axes.lines[0]
    assert line.get_xydata().tolist() == [[g.shown["optimizer.lr"], g.mean] for g in found.groups]  # type: ignore[union-attr]
    assert (axes.get_xscale(), len(axes.collections)) == ("log", 1)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.0001", "0.001", "0.01", "0.1"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimizer.lr", "test accuracy")


def test_there_is_a_line_for_each_value_of_another_key() -> None:
    names = ["identity", "sigmoid", "tanh", "relu"]
    figure = drawn(swept({"architecture.hidden": [[10], [50], [200]], "architecture.activation": names}))
    assert [line.get_label() for line in figure.axes[0].lines] == names
    assert figure.axes[0].lines[0].get_xdata().tolist() == [10, 50, 200]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "is_log"),
    [
        ([1e-4, 1e-3, 1e-2], True),
        ([10, 20, 50, 100, 200], True),
        ([1e-3, 1e-1], True),
        ([1, 2, 3, 4, 5], False),
        ([0.0, 0.1, 0.2, 0.3], False),
        ([-1, 0, 1], False),
        ([0.1, 0.2], False),
    ],
)
def test_an_axis_is_logarithmic_where_its_values_are(values: list[float], is_log: bool) -> None:
    assert (drawn(swept({"dataset.noise": values})).axes[0].get_xscale() == "log") is is_log


def test_zero_among_values_that_ask_for_a_logarithm_has_a_place_and_no_scale_is_claimed() -> None:
    axes = drawn(swept({"optimizer.weight_decay": [0, 1e-5, 1e-4, 1e-3]})).axes[0]
    assert axes.get_xlabel() == "optimizer.weight_decay (not to scale)"
    assert axes.lines[0].get_xdata().tolist() == [0, 1, 2, 3]  # type: ignore[union-attr]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1e-05", "0.0001", "0.001"]


def test_over_two_keys_there_is_a_heat_map_that_marks_what_is_missing() -> None:
    found = swept({"optimizer.lr": RATES, "dataset.noise": [0.1, 0.2, 0.3]})
    missing = found.groups.pop(0)
    found.groups[4].diverged.append("run-001")
    found.groups[4].values.clear()
    figure = drawn(found)
    cells = np.array(texts(figure)).reshape(3, 4)
    means = np.asarray(figure.axes[0].images[0].get_array().filled(np.nan))  # type: ignore[union-attr]
    assert missing.shown == {"optimizer.lr": 1e-4, "dataset.noise": 0.1}
    assert (cells[0, 0], cells[2, 1]) == ("–", "diverged")
    assert np.argwhere(np.isnan(means)).tolist() == [[0, 0], [2, 1]]
    assert cells[0, 1].startswith(f"{found.groups[2].mean:.4f}\n± ")
    assert figure.axes[1].get_ylabel() == "test accuracy\n(dark is better)"
    assert "10 settings" in title(figure) and "1 diverged" in title(figure)


def test_two_keys_that_are_no_numbers_make_a_heat_map_too() -> None:
    figure = drawn(swept({"optimizer": ["adam", "sgd"], "architecture.activation": ["relu", "tanh"]}))
    assert len(figure.axes[0].images) == 1
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["adam", "sgd"]


@pytest.mark.parametrize(
    "names", [["adam", "sgd"], [f"a rather long name {n}" for n in range(3)], [str(10**n) for n in range(12)]]
)
def test_names_below_a_heat_map_stand_apart_or_slanted(names: list[str]) -> None:
    axes = drawn(swept({"optimizer": names, "loss": ["a", "b"]})).axes[0]
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    are_apart = all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert are_apart or {label.get_rotation() for label in axes.get_xticklabels()} == {35.0}


def test_drawn_at_random_over_two_numbers_there_is_a_point_for_each() -> None:
    found = swept({"optimizer.lr": [0.1 * 1.3**n for n in range(30)]})
    for number, group in enumerate(found.groups):
        group.shown["architecture.hidden"] = [7 * number % 30 + 1]
    figure = drawn(found)
    assert len(figure.axes[0].collections[0].get_offsets()) == 30  # type: ignore[arg-type]


def test_bars_begin_at_zero_or_there_are_none() -> None:
    close = drawn(swept({"loss": ["a", "b", "c"]}, low=0.8)).axes[0]
    assert not close.patches
    assert close.get_xlabel() == "test accuracy (higher is better)"
    assert close.get_xlim()[0] > 0.5
    found = swept({"loss": ["a", "b", "c"]}, low=0.0)
    apart = drawn(found).axes[0]
    assert len(apart.patches) == 3
    assert apart.get_xlim()[0] == 0
    best = max(found.groups, key=lambda group: group.mean)
    assert [tick.get_text() for tick in apart.get_yticklabels()][-1] == best.shown["loss"], "the best on top"
    for patch in apart.patches:
        assert patch.get_x() == 0  # type: ignore[attr-defined]


def test_more_keys_are_upright_axes_with_a_line_for_each_setting() -> None:
    axes = {"optimizer.lr": RATES, "dataset.noise": [0.1, 0.2], "loss": ["a", "b"]}
    figure = drawn(swept(axes))
    through = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 4]  # type: ignore[arg-type]
    assert len(through) == 16
    for column in range(3):
        pieces = {tuple(line.get_ydata())[column : column + 2] for line in through}  # type: ignore[arg-type]
        assert len(pieces) == 16, "none hides another"
    heads = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert heads == ["lr", "noise", "loss", "test accuracy\n(dark is better)"]


def test_the_title_names_the_best_by_the_direction_of_the_metric() -> None:
    for metric, best in (("test_accuracy", max), ("test_loss", min)):
        found = swept({"optimizer.lr": RATES}, metric=metric)
        mean = best(group.mean for group in found.groups)
        rate = next(group.shown["optimizer.lr"] for group in found.groups if group.mean == mean)
        assert title(drawn(found)).startswith(f"Best {metric.replace('_', ' ')} 0.")
        assert f": lr {rate:g}\n" in title(drawn(found))
        assert "mean ± sd of 3 seeds" in title(drawn(found))
    assert "one seed each" in title(drawn(swept({"optimizer.lr": RATES}, n=1)))


def test_the_title_names_the_column_that_chose_the_epoch_in_words() -> None:
    found = replace(swept({"optimizer.lr": RATES}, metric="best.test_accuracy"), monitor="valid_loss")
    assert title(drawn(found)).replace("\n", " · ").endswith("epoch of best validation loss")


def test_words_of_ones_own_are_never_taken_for_maths() -> None:
    figure = drawn(swept({"optimizer.lr": RATES, "dataset.path": ["$a_b$", "c"]}, low=0.8))
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [each.get_text() for each in legend.get_texts()] == [r"\$a_b\$", "c"]
    assert r"\\" not in title(figure)


def test_the_best_setting_is_one_that_diverged_from_none_of_its_seeds() -> None:
    found = swept({"optimizer.lr": RATES})
    best = max(found.groups, key=lambda group: group.mean)
    second = sorted(found.groups, key=lambda group: group.mean)[-2]
    assert f"lr {best.shown['optimizer.lr']:g}" in title(drawn(found))
    best.diverged.append("run-001")
    assert f"lr {second.shown['optimizer.lr']:g}" in title(drawn(found))
    assert "1 from some of their seeds" in title(drawn(found))


def test_a_setting_that_diverged_is_marked_on_the_axis() -> None:
    found = swept({"optimizer.lr": RATES})
    found.groups[3].values.clear()
    found.groups[3].diverged.append("run-001")
    figure = drawn(found)
    assert texts(figure) == ["diverged"]
    assert figure.axes[0].lines[-1].get_xdata().tolist() == [0.1]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "values",
    [
        {"loss": [f"/a/path of $many_words$/{n}/" + "x" * 90 for n in range(12)]},
        {"optimizer.lr": [10.0**-n for n in range(11)], "architecture.hidden": [[2**n] for n in range(11)]},
        {"optimizer.lr": RATES, "architecture.activation": [f"_{n}$" for n in range(10)]},
        {"dataset.noise": [n / 40 for n in range(40)]},
        {"a": [None, True, [1, 2]], "b": ["x\n\x1b[2J", {"c": 1}], "c": [float("inf"), 1]},
    ],
    ids=["long names", "many cells", "many lines", "many values", "odd values"],
)
def test_whatever_the_values_are_the_picture_holds_all_of_its_words(
    values: dict[str, list[Any]],
) -> None:
    figure = drawn(swept(values))
    axes = figure.axes[0]
    shown = []
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = zip(axis.get_ticklabels(), axis.get_majorticklocs(), strict=True)
        shown += [label for label, place in ticks if min(limits) <= place <= max(limits)]
    box = figure.bbox.padded(2)
    for each in (figure._suptitle, axes.xaxis.label, *shown):  # type: ignore[attr-defined]
        extent = each.get_window_extent()
        assert box.x0 <= extent.x0 and extent.x1 <= box.x1, each
        assert box.y0 <= extent.y0 and extent.y1 <= box.y1, each


def test_of_one_setting_there_is_no_picture() -> None:
    assert settings_figure(swept({"optimizer.lr": [0.1]}), "a") is None


# --------------------------------------------------------------------------- curves


def curves(*found: Run, metric: str) -> Figure | None:
    return curves_figure(compare_runs(chosen_records(found), metric))


def test_curves_are_the_means_over_seeds_wherever_they_were_trained(tmp_path: Path) -> None:
    final = {"train_loss": [2.0]}
    first = with_rows(made(tmp_path, final=final), ["1,0,4.0,1,1", "2,0,2.0,1,1"])
    second = with_rows(made(tmp_path, {"seeds": [1]}, final=final), ["1,1,6.0,1,1", "2,1,2.0,1,1"])
    other = with_rows(made(tmp_path, {"gradient_clip": 1.0}, final=final), ["1,0,9.0,1,1", "2,0,8.0,1,1"])
    figure = curves(first, second, other, metric="train_loss")
    assert figure is not None
    lines = figure.axes[0].lines
    assert [line.get_ydata().tolist() for line in lines] == [[5.0, 2.0], [9.0, 8.0]]  # type: ignore[union-attr]
    assert str(lines[1].get_label()).startswith("gradient_clip 1: 2")
    assert len(figure.axes[0].collections) == 1, "one seed has no band"


def test_what_was_measured_at_the_end_alone_is_a_point(tmp_path: Path) -> None:
    run = with_rows(made(tmp_path, final={"test_loss": [3.0]}), ["1,0,4.0,1,1", "2,0,2.0,1,1"])
    figure = curves(run, metric="test_loss")
    assert figure is not None
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[2.0, 3.0]]  # type: ignore[union-attr]


def test_the_time_of_a_run_has_no_curve_and_nothing_measured_none(tmp_path: Path) -> None:
    run = made(tmp_path, seconds=3.0, best={"figures": {"train_loss": {"values": [1.0]}}})
    assert curves(run, metric="seconds") is None
    assert curves(run, metric="best.train_loss") is None


def test_lines_of_a_sweep_differ_without_their_colours(tmp_path: Path) -> None:
    found = [
        with_rows(made(tmp_path, {"epochs": n}, final={"train_loss": [float(n)]}), [f"1,0,{n}.0,1,1"])
        for n in range(1, 11)
    ]
    axes = curves(*found, metric="train_loss").axes[0]  # type: ignore[union-attr]
    looks = {(line.get_linestyle(), line.get_marker()) for line in axes.lines}
    assert len(looks) == 10
    lines = drawn(swept({"optimizer.lr": RATES, "activation": ["relu", "tanh", "gelu"]})).axes[0].lines
    looks = {(line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == 3


def test_settings_that_look_alike_are_told_apart_by_the_folders_of_their_runs(tmp_path: Path) -> None:
    found = []
    for folder, rate in (("a", 0.1234561), ("b", 0.1234562)):
        changes = {"optimizer": {"name": "adam", "lr": rate}}
        run = made(tmp_path / folder, changes, final={"train_loss": [1.0]})
        found.append(with_rows(run, ["1,0,1.0,1,1"]))
    assert found[0].name == found[1].name
    figure = curves(*found, metric="train_loss")
    assert figure is not None
    labels = [str(line.get_label()) for line in figure.axes[0].lines]
    assert labels == [f"lr 0.1235 ({folder}/{found[0].name}): 1" for folder in "ab"]


@pytest.mark.parametrize(
    ("other", "lines", "rows"), [({"batch_size": [8, 16]}, 4, 0), ({"activation": ["relu", "tanh"]}, 0, 4)]
)
def test_no_setting_hides_one_whose_values_look_alike(
    other: dict[str, list[Any]], lines: int, rows: int
) -> None:
    paths = [f"data/{'x' * 12}{n}/{'y' * 20}.csv" for n in (1, 2)]
    axes = drawn(swept({"dataset.path": paths} | other)).axes[0]
    through_all = [line for line in axes.lines if list(line.get_xdata()) == [0, 1, 2]]  # type: ignore[arg-type]
    assert not axes.images
    assert (len(through_all), len(axes.get_yticks())) == (lines, rows)


def test_of_many_settings_the_best_are_drawn(tmp_path: Path) -> None:
    found = [
        with_rows(made(tmp_path, {"epochs": n}, final={"train_loss": [float(n)]}), [f"1,0,{n}.0,1,1"])
        for n in range(1, 13)
    ]
    figure = curves(*found, metric="train_loss")
    assert figure is not None
    assert len(figure.axes[0].lines) == MOST_LINES
    assert figure.axes[0].lines[0].get_ydata().tolist() == [1.0]  # type: ignore[union-attr]
    assert "Training loss of 10 settings, the best of 12" in title(figure)
    assert figure.axes[0].get_ylabel() == "training loss"


def test_values_drawn_evenly_have_an_even_axis_and_those_drawn_by_factors_a_logarithmic_one() -> None:
    chance = random.Random(5)
    even = sorted(chance.uniform(0.001, 0.5) for _ in range(200))
    factors = sorted(10 ** chance.uniform(-4, -1) for _ in range(200))
    assert not is_better_log(even)
    assert is_better_log(factors)


def test_the_best_of_what_was_drawn_is_ringed_and_few_values_are_the_ticks() -> None:
    found = swept({"optimizer.lr": RATES, "batch_size": [16, 64]})
    found.groups[:] = found.groups[:3]
    axes = scattered(found, found.groups, ["optimizer.lr", "batch_size"]).axes[0]
    best = max(found.groups, key=lambda group: group.mean)
    ring = axes.collections[1].get_offsets()
    assert np.asarray(ring).tolist() == [[best.shown["optimizer.lr"], best.shown["batch_size"]]]
    assert [text.get_text() for text in axes.texts] == ["best"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["16", "64"]


def test_losses_that_fall_far_have_a_logarithmic_axis_and_many_lines_no_bands(tmp_path: Path) -> None:
    found = []
    for index in range(6):
        changes = {"batch_size": 8 + index, "seeds": [0, 1]}
        rows = [f"{e},{s},{10.0 / 10**e},0,0" for e in (1, 2, 3) for s in (0, 1)]
        found.append(with_rows(made(tmp_path, changes, final={"train_loss": [0.01, 0.01]}), rows))
    of_all, of_two = curves(*found, metric="train_loss"), curves(*found[:2], metric="train_loss")
    assert of_all is not None and of_two is not None
    assert of_all.axes[0].get_yscale() == "log"
    assert (len(of_all.axes[0].collections), len(of_two.axes[0].collections)) == (0, 2)
