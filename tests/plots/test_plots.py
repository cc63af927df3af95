"""Every picture shows the figures that were measured."""

from __future__ import annotations

import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.dates import num2date
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from small_runs import mostly_slow, own_parts, planned, trained

from dlrun.blocks.places import IGNORED
from dlrun.config.keys import Choice
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.drawing.dates import date_axis
from dlrun.drawing.fonts import Picture
from dlrun.drawing.image_grids import Captioned, as_pictures, gallery
from dlrun.drawing.lines import axis_label
from dlrun.drawing.style import TITLE, Predicted, class_colours, headline, mean_and_spread, put_title, shown
from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.system.randomness import derived_seed
from dlrun.training.opening import open_checkpoint
from dlrun.training.plot_files import draw_plots
from dlrun.training.suitability import suitable_plots
from dlrun.training.trained import Trained

LINEAR = {"name": "linear", "flatten": True}
CNN = {"name": "cnn", "channels": [3, 5], "kernel_size": 3, "padding": 1}
DAYS: dict[str, Any] = {"dataset": "days", "loss": "mse", "metrics": ["mae"]}
PIXELS: dict[str, Any] = {
    "dataset": {"name": "shapes", "images": 6, "test_images": 9, "size": 16},
    "architecture": {"name": "unet", "channels": 2, "depth": 1},
}
GIVEN_BACK: dict[str, Any] = {
    "task": "reconstruction",
    "dataset": "dots",
    "architecture": {"name": "autoencoder", "hidden": [4], "code": 2},
    "loss": "mse",
    "metrics": [],
}

DEMAND: dict[str, Any] = {
    "dataset": {"name": "hourly_demand", "days": 20, "window": 24, "horizon": 6, "season": 24},
    "architecture": {"name": "mlp", "hidden": [8], "flatten": True},
    "loss": "mse",
    "metrics": ["mae"],
}


def untrained(parts: Parts | None = None, **changes: Any) -> Trained:
    """A model with the weights it starts from, with its data."""
    plan = planned(parts, **changes)
    loaded = plan.load()
    return Trained(plan, loaded, plan.hardware(loaded), plan.model(), 0)


def opened(run: Run, parts: Parts | None = None) -> Trained:
    return open_checkpoint(run.last, run, [], parts or Parts(), Path("no-data"))[0]


def drawn(trained: Trained, name: str, **options: Any) -> Any:
    """The picture that a plot gives with some options, the others as they are by default."""
    plot = trained.plan.parts.part("plots", name)
    defaults = {option.name: option.default for option in plot.options.values()}
    return trained.plan.parts.find("plots", name)(trained, **defaults | options)


def words(figure: Figure) -> str:
    """All that is written in a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def pictures_in(figure: Figure) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def line_of(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    """The x and y of the line of one name."""
    [line] = [line for line in axes.lines if line.get_label() == label]
    return list(map(float, line.get_xdata(orig=False))), list(map(float, line.get_ydata()))  # type: ignore[arg-type]


# ------------------------------------------------------------------------ chosen without asking


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"calibration", "confusion_matrix", "curves", "decision_regions"}),
        (
            {"dataset": "mnist", "architecture": "softmax_scratch", "loss": "cross_entropy_scratch"},
            {"calibration", "confusion_matrix", "curves", "mistakes", "predictions", "weights"},
        ),
        (
            {"dataset": "mnist", "architecture": "cnn"},
            {
                "calibration",
                "confusion_matrix",
                "curves",
                "feature_maps",
                "filters",
                "mistakes",
                "predictions",
            },
        ),
        (DAYS, {"curves", "over_dates", "residuals"}),
        (DEMAND, {"curves", "forecasts", "over_dates", "residuals"}),
        (PIXELS, {"curves", "feature_maps", "filters", "masks"}),
        (GIVEN_BACK, {"curves", "reconstructions"}),
    ],
    ids=[
        "points",
        "softmax regression",
        "convolutions",
        "a regression",
        "a series",
        "pixels",
        "a reconstruction",
    ],
)
def test_what_is_drawn_unasked_suits_the_data_and_the_model(
    changes: dict[str, Any], names: set[str], tmp_path: Path
) -> None:
    plan = planned(own_parts(tmp_path), **changes | {"plots": ["auto"]})
    assert {choice.name for choice in plan.plots} == names


def test_a_picture_over_dates_is_drawn_unasked_only_where_there_are_dates(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    rows: dict[str, Any] = {"dataset": "line", "loss": "mse", "metrics": [], "epochs": 1}
    run = trained(planned(parts, **rows, plots=["auto"]), tmp_path)
    assert {path.stem for path in run.plots.glob("*.png")} == {"curves", "residuals"}
    for changes, named in ((rows, ["over_dates"]), (DAYS, [])):
        plan = planned(parts, **changes | {"plots": ["auto", *named]})
        pictures = plan.pictures(plan.load()["train"].aside)
        assert {choice.name for choice in pictures} == {"curves", "over_dates", "residuals"}
    figure = drawn(untrained(parts, **rows), "over_dates")
    assert "test rows in the order of their true values; no dates" in words(figure)


def test_a_picture_of_the_data_is_drawn_unasked_only_of_augmentations() -> None:
    parts = Parts()
    of_data = {
        name for name in parts.names("plots") if parts.part("plots", name).constants.get("of") == "data"
    }
    assert of_data == {"augmented", "distributions", "image_grid", "points", "series"}
    drawn_unasked = {name for name in of_data if parts.part("plots", name).constants.get("automatic")}
    assert drawn_unasked == {"augmented"}


# ------------------------------------------------------------------------ augmentations


def test_augmented_images_stand_beside_the_originals_with_their_classes(tmp_path: Path) -> None:
    always = {"name": "flip", "probability": 1.0}
    small = {"dataset": "dots", "architecture": LINEAR}
    run = untrained(own_parts(tmp_path), **small, augmentations=[always, {"name": "mixup", "alpha": 5.0}])
    figure = drawn(run, "augmented", rows=3, draws=2, seed=1)
    pictures, chosen = pictures_in(figure), torch.randperm(40, generator=torch.Generator().manual_seed(1))[:3]
    assert len(pictures) == 9
    raw, targets = run.loaded["train"].raw(chosen), run.loaded["train"].targets[chosen]
    for own, shown_one in zip(raw, pictures, strict=False):
        assert np.allclose(shown_one[..., 0], own[0] / 255, atol=1e-6)
    names = run.data.classes
    captions = [text.get_text() for text in figure.findobj(Text) if text.get_text().startswith(names)]
    assert captions[:3] == [names[target] for target in targets]
    inputs, shares = run.loaded["train"].batch(chosen)[0], F.one_hot(targets, 3).float()
    mixup = run.plan.parts.find("augmentations", "mixup")
    for epoch in (1, 2):
        stream = torch.Generator().manual_seed(derived_seed("augmentation", 0, epoch))
        torch.rand(3, generator=stream)  # of the flip
        mixed, soft = mixup(inputs.flip(3), shares, stream, alpha=5.0)  # type: ignore[union-attr]
        expected = run.loaded.preprocessing.undone(mixed)[:, 0] / 255
        for row in range(3):
            assert np.allclose(pictures[3 * epoch + row][..., 0], expected[row], atol=1e-5)
            blend = {name: s for name, s in zip(names, soft[row].tolist(), strict=True) if s > 0.005}
            there = [f"{name}: {100 * share:.0f} %" for name, share in blend.items()]
            assert {*captions[3 * epoch + row].split("\n")} == ({*there} if len(there) > 1 else {*blend})
    assert not np.allclose(pictures[3:6], pictures[6:9]), "each epoch draws its own"


def test_classes_of_pixels_lie_over_the_images_where_they_were_moved() -> None:
    options = {"rotation": 20.0, "shift": 0.3, "scale": [1.0, 1.0], "shear": 0.0}
    run = untrained(**PIXELS, augmentations=[{"name": "affine", **options}])
    of_classes = torch.tensor([to_rgb(colour) for colour in class_colours(run.data.classes)])
    stream = torch.Generator().manual_seed(derived_seed("augmentation", 0, 1))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    inputs, masks = run.loaded["train"].batch(order)
    moved, classes = run.plan.parts.find("augmentations", "affine")(inputs, masks, stream, **options)
    assert bool((classes == IGNORED).any()), "what comes from outside has no class"
    pictures = pictures_in(drawn(run, "augmented", rows=6, draws=1))
    for place, (images, own) in enumerate(((inputs, masks), (moved, classes))):
        plain = (run.loaded.preprocessing.undone(images) / 255).clamp(0, 1).movedim(1, -1)
        covered = 0.6 * plain + 0.4 * of_classes[own.clamp_min(0)]
        expected = torch.where((own == IGNORED).unsqueeze(-1), plain, covered)
        assert np.allclose(np.stack(pictures[6 * place : 6 * place + 6]), expected, atol=1e-5)


def test_augmented_images_are_drawn_unasked_only_with_augmentations(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    small = {"dataset": "dots", "architecture": LINEAR, "plots": ["auto"]}
    for changes, there in ((["flip"], True), ([], False)):
        plan = planned(parts, **small, augmentations=changes)
        assert ("augmented" in {choice.name for choice in plan.plots}) is there
    with pytest.raises(ConfigError, match="augmented shows the augmentations of a config"):
        planned(parts, **small | {"plots": ["augmented"]})
    noisy = planned(parts, plots=["auto"], augmentations=["noise"])
    assert "augmented" not in {choice.name for choice in noisy.plots}, "inputs are no images"


# ------------------------------------------------------------------------ curves


def straight(axes: Axes) -> list[float]:
    """The heights of the lines across the axes: the baselines."""
    return [float(line.get_ydata()[0]) for line in axes.lines if list(line.get_xdata()) == [0, 1]]  # type: ignore[index,arg-type]


def test_a_baseline_is_a_line_at_its_height(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, dataset="uneven", epochs=2), tmp_path), parts)
    run.rows |= {"train_accuracy": [0.4, 0.7], "test_accuracy": [0.5, 0.7]}
    run.rows |= {"train_loss": [1.3, 0.9], "test_loss": [1.2, 1.0]}
    loss, accuracy = drawn(run, "curves").axes
    reached = run.baselines("test")["class prior"]
    assert reached["accuracy"] == 0.6
    assert straight(accuracy) == [0.6]
    assert straight(loss) == [reached["loss"]]
    assert "class prior: 0.6" in words(accuracy)
    assert accuracy.get_ylim()[0] < 0.6 < accuracy.get_ylim()[1]


def test_a_baseline_far_off_is_words_and_leaves_the_axis_to_the_curves(tmp_path: Path) -> None:
    run = opened(trained(planned(epochs=60, optimizer={"name": "adam", "lr": 0.1}, seeds=[0, 1]), tmp_path))
    rising = [0.9 + epoch / 1000 for epoch in run.rows["epoch"]]
    run.rows |= {"train_accuracy": rising, "test_accuracy": rising}
    _, accuracy = drawn(run, "curves").axes
    assert not straight(accuracy)
    assert "class prior: 0.3333, below" in words(accuracy)
    low, high = accuracy.get_ylim()
    assert 0.88 < low < 0.901 < 0.96 < high < 0.98


def test_every_baseline_is_named_even_where_lines_lie_together(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, **DAYS), tmp_path), parts)
    for axes in drawn(run, "curves").axes:
        assert {"mean", "day before"} == {
            name for name in ("mean", "day before") if f"{name}: " in words(axes)
        }


def test_loss_and_metrics_may_share_a_chart_with_an_axis_of_ones_own(tmp_path: Path) -> None:
    run = opened(trained(planned(), tmp_path))
    figure = drawn(run, "curves", panels="one", limits=[0.3, 0.9])
    [axes] = figure.axes
    assert axes.get_ylim() == (0.3, 0.9)
    for column in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        assert line_of(axes, column.replace("_", " ")) == ([1, 2, 3], run.rows[column])
    with pytest.raises(UserError, match="limits"):
        drawn(run, "curves", limits=[0.9, 0.3])


def test_what_lies_beyond_limits_is_said_above_the_chart(tmp_path: Path) -> None:
    run = opened(trained(planned(), tmp_path))
    run.rows |= {"train_loss": [1.2, 0.6, 0.25], "test_loss": [0.8, 0.6, 0.4]}
    run.rows |= {"train_accuracy": [0.5, 0.6, 0.7], "test_accuracy": [0.5, 0.8, 0.97]}
    [axes] = drawn(run, "curves", panels="one", limits=[0.3, 0.9]).axes
    assert axes.get_title("left").replace("\n", " ") == (
        "beyond this axis: train loss to 0.25 and 1.2; test accuracy to 0.97; class prior, loss: 1.099 nats"
    )
    [axes] = drawn(run, "curves", panels="one", limits=[0.2, 1.3]).axes
    assert axes.get_title("left") == ""


def test_the_label_of_a_baseline_keeps_off_the_curves(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, dataset="uneven", epochs=20), tmp_path), parts)
    falling = [0.77 - 0.01 * epoch for epoch in run.rows["epoch"]]  # through the class prior, 0.6
    run.rows |= {"train_accuracy": falling, "test_accuracy": falling}
    figure = drawn(run, "curves")
    FigureCanvasAgg(figure).draw()
    _, axes = figure.axes
    [label] = [text for text in axes.texts if text.get_text().startswith("class prior")]
    box = label.get_window_extent().transformed(axes.transData.inverted())
    epochs, values = line_of(axes, "test")
    at = np.linspace(1, 20, 500)
    inside = [box.contains(x, y) for x, y in zip(at, np.interp(at, epochs, values), strict=True)]
    assert not any(inside)


def test_the_label_of_a_baseline_stands_beside_the_line_of_the_best_epoch(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, dataset="uneven", epochs=20), tmp_path), parts)
    run.rows |= {"train_loss": [3 - 0.1 * epoch for epoch in run.rows["epoch"]]}  # least at the last epoch
    run.run.write_json("summary.json", run.run.summary() | {"best": None})  # type: ignore[union-attr]
    run.rows |= {"train_accuracy": [0.5] * 20, "test_accuracy": [0.65] * 20}
    figure = drawn(run, "curves")
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[1]
    [best] = [line for line in axes.lines if str(line.get_label()).startswith("best epoch")]
    [label] = [text for text in axes.texts if text.get_text().startswith("class prior")]
    assert label.get_window_extent().x1 < best.get_window_extent().x0


def test_a_baseline_that_curves_run_along_is_labelled_on_their_other_side(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, dataset="uneven", epochs=20), tmp_path), parts)
    first_far = [0.4, 0.5, *[0.595] * 18]  # then just below the class prior, 0.6
    run.rows |= {"train_accuracy": first_far, "test_accuracy": first_far}
    figure = drawn(run, "curves")
    FigureCanvasAgg(figure).draw()
    _, axes = figure.axes
    [label] = [text for text in axes.texts if text.get_text().startswith("class prior")]
    box = label.get_window_extent().transformed(axes.transData.inverted())
    assert box.y0 > 0.6


def test_a_long_title_has_more_lines_not_smaller_letters(tmp_path: Path) -> None:
    data = of_data(own_parts(tmp_path), **DAYS | {"name": "x" * 30})
    figure = Picture(figsize=(6.4, 4), layout="constrained")
    title = put_title(figure, headline(data, "Much", *(f"fact number {n}" for n in range(9))))
    first, *others = title.get_text().split("\n")
    assert first == "Much" and len(others) == 3 and title.get_fontsize() == TITLE
    assert " · ".join(others) == headline(data, "", *(f"fact number {n}" for n in range(9))).strip()


def test_curves_show_their_beginning(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, **DAYS | {"metrics": ["mae", "r2"]}, epochs=40), tmp_path), parts)
    falling = [2 + 60 / 2**epoch for epoch in run.rows["epoch"]]
    for split in ("train", "test"):
        run.rows |= {f"{split}_loss": falling, f"{split}_mae": falling}
        run.rows[f"{split}_r2"] = [1 - figure for figure in falling]
    loss, mae, r2 = drawn(run, "curves").axes
    for axes, first in ((loss, falling[0]), (mae, falling[0]), (r2, 1 - falling[0])):
        assert axes.get_ylim()[0] < first < axes.get_ylim()[1]
    assert [axes.get_yscale() for axes in (loss, mae, r2)] == ["log", "log", "linear"]
    assert [axes.get_ylabel() for axes in (loss, mae, r2)] == ["loss (K²)", "MAE (K)", "R²"]
    [inset] = r2.child_axes
    assert inset.get_title("left") == "from epoch 5 on"
    low, high = inset.get_ylim()
    assert low < 1 - falling[4] < -1 < high < 0, "the rest of it can be read"
    [inset] = drawn(run, "curves", log=False).axes[0].child_axes
    assert 2 < inset.get_ylim()[1] < 5


def test_losses_close_together_have_an_inset_with_the_baselines_there(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, dataset="uneven", epochs=40), tmp_path), parts)
    without = run.baselines("test")["class prior"]["loss"]
    falling = [without * (0.99 + 0.1 / 2 ** (epoch - 1) + epoch / 2000) for epoch in run.rows["epoch"]]
    run.rows |= {"train_loss": falling, "test_loss": falling}
    loss = drawn(run, "curves").axes[0]
    assert loss.get_yscale() == "linear"
    [inset] = loss.child_axes
    assert straight(inset) == [without]
    assert inset.get_ylim()[0] < without < inset.get_ylim()[1]


@pytest.mark.parametrize("level", [0.35, 0.42, 0.47, 0.55])
def test_an_inset_and_its_title_keep_off_the_curves(level: float, tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, dataset="uneven", epochs=40), tmp_path), parts)
    peak = [0.3, 0.6, *(level + epoch / 5000 for epoch in run.rows["epoch"][2:])]
    run.rows |= {"train_accuracy": peak, "test_accuracy": peak}
    figure = drawn(run, "curves")
    FigureCanvasAgg(figure).draw()
    _, axes = figure.axes
    [inset] = axes.child_axes
    box = inset.get_tightbbox().transformed(axes.transData.inverted())
    epochs, values = line_of(axes, "test")
    at = np.linspace(1, 40, 500)
    inside = [box.contains(x, y) for x, y in zip(at, np.interp(at, epochs, values), strict=True)]
    assert not any(inside)


def test_errors_that_fall_over_a_decade_have_a_logarithmic_axis(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, **DAYS | {"metrics": ["mae"]}, epochs=30), tmp_path), parts)
    for decades, scales in ((0.9, ["linear", "linear"]), (1.1, ["linear", "log"]), (2.1, ["log", "log"])):
        falling = [10 ** (-decades * epoch / 29) for epoch in range(30)]  # the same share at each epoch
        for split in ("train", "test"):
            run.rows |= {f"{split}_loss": falling, f"{split}_mae": falling}
        assert [axes.get_yscale() for axes in drawn(run, "curves").axes] == scales


@pytest.mark.parametrize(
    ("figure", "label"),
    [
        ("loss", "loss (nats)"),
        ("f1", "F1"),
        ("auroc", "AUROC"),
        ("log_loss", "log loss (nats)"),
        ("matthews", "Matthews correlation"),
        ("top5", "top-5 accuracy (fraction)"),
        ("accuracy", "accuracy (fraction)"),
    ],
)
def test_an_axis_names_its_figure_as_texts_do(figure: str, label: str) -> None:
    assert axis_label(untrained(), figure) == label


@pytest.mark.parametrize("scaled", [True, False])
def test_the_loss_of_a_scaled_target_has_no_unit(tmp_path: Path, scaled: bool) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,y\n" + "".join(f"{n % 9},{n % 9 + n % 2}\n" for n in range(60)))
    table = {"name": "csv", "path": str(path), "target": "y", "unit": "€", "scale_target": scaled}
    run = trained(planned(dataset=table, loss="mse", metrics=["mae", "medae"], epochs=1), tmp_path / "runs")
    loss, mae, medae = drawn(opened(run), "curves").axes
    assert loss.get_ylabel() == ("loss" if scaled else "loss (€²)")
    assert mae.get_ylabel() == "MAE (€)" and medae.get_ylabel() == "MedAE (€)"


def test_curves_need_no_model(tmp_path: Path) -> None:
    run = opened(trained(planned(), tmp_path))
    run.model.forward = None  # type: ignore[assignment,method-assign]
    drawn(run, "curves")


@pytest.mark.parametrize(
    ("fraction", "changes", "said", "column"),
    [
        (0.0, {}, " at epoch 3 (best by training loss)", "training loss"),
        (0.2, {}, " at epoch 3 (best)", "validation loss"),
        (0.2, {"monitor": "train_accuracy"}, "(best by training accuracy)", "training accuracy"),
    ],
)
def test_an_epoch_that_is_best_on_training_alone_says_so(
    fraction: float, changes: dict[str, Any], said: str, column: str, tmp_path: Path
) -> None:
    dataset = {"name": "spiral", "points": 20, "valid_fraction": fraction}
    run = opened(trained(planned(dataset=dataset, **changes), tmp_path))
    figure = drawn(run, "curves")
    assert said in figure.get_suptitle() and "· spiral (synthetic) ·" in figure.get_suptitle()
    assert f"best epoch by {column}" in [each.get_text() for each in figure.axes[0].get_legend().get_texts()]


# ------------------------------------------------------------------------ several runs


def test_several_runs_are_lines_of_what_each_measured(tmp_path: Path) -> None:
    older = trained(planned(epochs=2), tmp_path)
    newer = trained(planned(epochs=5, seeds=[0, 1]), tmp_path)
    own = opened(trained(planned(name="other"), tmp_path))
    [axes] = drawn(own, "several_runs", runs=["small", str(older.folder)]).axes
    lines = {line.get_label().split(":")[0]: list(line.get_ydata()) for line in axes.lines}  # type: ignore[union-attr,arg-type]
    assert list(lines) == ["other-001", newer.name, older.name], "of an open number the newest"
    assert lines[older.name] == older.rows()["test_accuracy"]
    again = drawn(opened(newer), "several_runs", runs=["small"]).axes[0]
    assert [line.get_label().split(":")[0] for line in again.lines] == [newer.name, older.name], (
        "no run twice"
    )  # type: ignore[union-attr]
    both = newer.rows()["test_accuracy"]
    assert lines[newer.name] == pytest.approx([fmean(both[i : i + 2]) for i in range(0, 10, 2)])


@pytest.mark.parametrize(
    ("options", "said"),
    [({"runs": ["nobody"]}, "no run nobody"), ({"runs": [], "column": "valid_loss"}, "no valid_loss")],
)
def test_a_run_or_a_column_that_is_not_there_is_named(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    run = opened(trained(planned(), tmp_path))
    with pytest.raises(UserError, match=said):
        drawn(run, "several_runs", **options)


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    first, second = (trained(planned(epochs=1), tmp_path / name) for name in ("monday", "tuesday"))
    axes = drawn(opened(first), "several_runs", runs=[str(second.folder)]).axes[0]
    labels = [str(line.get_label()).split(":")[0] for line in axes.lines]
    assert first.name == second.name
    assert labels == [f"monday/{first.name}", f"tuesday/{first.name}"]


# ------------------------------------------------------------------------ regressions


def test_predictions_stand_over_their_dates_beside_the_truth(tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = opened(trained(planned(parts, **DAYS, seeds=[0, 1], epochs=20), tmp_path), parts)
    outputs, targets = run.outputs("test")
    [axes] = (figure := drawn(run, "over_dates")).axes
    dates, truth = line_of(axes, "test: true")
    first = datetime.datetime(2017, 7, 14, tzinfo=datetime.UTC) + datetime.timedelta(days=60)
    assert [num2date(date) for date in dates] == [first + datetime.timedelta(days=day) for day in range(20)]
    assert truth == targets[:, 0].tolist()
    assert line_of(axes, "test: predicted")[1] == pytest.approx(outputs.mean(0)[:, 0].tolist())
    assert len(line_of(axes, "train: true")[0]) == 60
    missed = float((outputs - targets).abs().mean())
    without = run.baselines("test")
    assert without["day before"]["mae"] < without["mean"]["mae"]
    title = figure.get_suptitle()
    assert title.startswith(f"Test MAE {missed:.1f}")
    assert f"{without['day before']['mae']:.4g} K (day before)" in title


def test_each_series_of_a_table_is_a_line_of_its_own(tmp_path: Path) -> None:
    lines = [
        f"2020-{1 + n // 28:02}-{1 + n % 28:02},{s},{n * (9 if s == 'b' else 1)}"
        for n in range(90)
        for s in "ab"
    ]
    (path := tmp_path / "shops.csv").write_text("\n".join(["day,shop,sold", *lines]) + "\n")
    table = {
        "name": "csv",
        "path": str(path),
        "target": "sold",
        "date": ["day"],
        "lags": [1],
        "series": "shop",
    }
    run = untrained(dataset=table | {"read": "strict", "categorical": ["shop"]}, loss="mse", metrics=["mae"])
    figure = drawn(run, "over_dates", split="train")
    (dates, truth), (same, other) = (line_of(axes, "true") for axes in figure.axes)
    assert dates == sorted(dates) == same and [9 * value for value in truth] == other
    outputs, targets = run.outputs("train")
    of_b = run.loaded["train"].raw()[:, run.data.features.index("shop=b")] == 1
    missed = float((outputs[0, of_b, 0] - targets[of_b, 0]).abs().mean())
    first, second = (axes.get_title("left") for axes in figure.axes)
    assert first.startswith("a: MAE") and second.startswith(f"b: MAE {missed:.4g};")
    figure = drawn(run, "over_dates", most=20, split="test")
    assert [len(axes.lines[0].get_xdata()) for axes in figure.axes] == [10, 10]
    figure = drawn(run, "series")
    assert [axes.get_title("left") for axes in figure.axes] == ["a", "b"]
    a, b = (axes.lines[0].get_ydata().tolist() for axes in figure.axes)  # type: ignore[union-attr]
    assert a == list(range(1, 90)) and b == [9.0 * sold for sold in a]
    assert "178 rows of 2 series" in figure.get_suptitle() and "own scale" in figure.get_suptitle()
    assert "sold (" not in words(figure) and "sold lag 1" not in words(figure)


def test_of_many_series_the_first_are_shown_and_counted(tmp_path: Path) -> None:
    lines = [f"2020-01-{n:02},{shop},{n + shop}" for n in range(1, 29) for shop in range(1, 9)]
    (path := tmp_path / "shops.csv").write_text("\n".join(["day,shop,sold", *lines]) + "\n")
    table = {
        "name": "csv",
        "path": str(path),
        "target": "sold",
        "date": ["day"],
        "series": "shop",
        "lags": [1],
    }
    run = untrained(dataset=table | {"read": "strict", "categorical": []}, loss="mse", metrics=["mae"])
    for name in ("series", "over_dates"):
        figure = drawn(run, name)
        assert len(figure.axes) == 6 and "the first 6 " in figure.get_suptitle()


def test_series_of_another_file_are_called_as_they_are_there(tmp_path: Path) -> None:
    def written(name: str, shops: str) -> Path:
        lines = [f"2020-01-{n:02},{shop},{n}" for n in range(1, 29) for shop in shops]
        (path := tmp_path / name).write_text("\n".join(["day,shop,sold", *lines]) + "\n")
        return path

    table = {
        "name": "csv",
        "target": "sold",
        "date": ["day"],
        "series": "shop",
        "lags": [1],
        "read": "strict",
    }
    known = planned(
        dataset=table | {"path": str(written("own.csv", "ab")), "categorical": ["shop"]},
        loss="mse",
        metrics=[],
    )
    known.load()
    assert known.data.read_labelled is not None and known.data.name_of_series is not None
    other = known.data.read_labelled(written("other.csv", "cb"))
    numbers = other.aside["series"].unique().tolist()
    assert [known.data.name_of_series(number) for number in numbers] == ["c", "b"]
    assert [known.data.name_of_series(number) for number in (0, 1)] == ["a", "b"]


def test_dates_of_a_random_split_are_points_in_their_order(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), **DAYS | {"dataset": {"name": "days", "mixed": True}})
    [axes] = drawn(run, "over_dates").axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["test: true"].get_linestyle() == lines["test: predicted"].get_linestyle() == "None"
    assert lines["train: true"].get_linestyle() == "-"
    dates, _ = line_of(axes, "test: true")
    assert dates == sorted(dates)
    assert len(drawn(run, "over_dates", most=7).axes[0].lines[0].get_xdata()) == 7


def test_what_days_lack_is_that_of_the_first_and_later_ones_say_where_it_changes() -> None:
    axes = Picture().subplots()
    first = np.datetime64("2023-12-22")
    axes.plot(first + np.arange(11), range(11))
    date_axis(axes)
    axes.figure.draw_without_rendering()
    days = [label.get_text() for label in axes.get_xticklabels()]
    assert days[0].isdigit() and days[-1] == "Jan"
    assert axes.xaxis.get_offset_text().get_text() == "2023-Dec"


def test_without_dates_predictions_stand_in_the_order_of_the_truth(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), dataset="line", loss="mse", metrics=[])
    figure = drawn(run, "over_dates")
    outputs, targets = run.outputs("test")
    for number, axes in enumerate(figure.axes):
        truth, order = targets[:, number].sort()
        assert line_of(axes, "true")[1] == truth.tolist()
        assert line_of(axes, "predicted")[1] == outputs[0, order, number].tolist()


def test_residuals_are_the_truth_less_predictions(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), **DAYS)
    figure = drawn(run, "residuals")
    outputs, targets = run.outputs("test")
    missed = (targets - outputs[0])[:, 0].double()
    points = figure.axes[0].collections[0].get_offsets()
    assert sorted(points[:, 1].tolist()) == pytest.approx(missed.sort().values.tolist())
    mean, sd = missed.mean(), missed.std(correction=0)
    assert f"mean {mean:.4g} K, sd {sd:.4g} K" in figure.get_suptitle()
    assert sum(bar.get_width() for bar in figure.axes[1].patches[:-1]) == len(missed)


def test_targets_with_names_have_their_own_figures(tmp_path: Path) -> None:
    rows = [f"{n % 13},{n * 7 % 40},{1000 * (n % 13) + n * 7 % 40}" for n in range(40)]
    (tmp_path / "both.csv").write_text("\n".join(["x,height,price", *rows]))
    dataset = {"name": "csv", "path": str(tmp_path / "both.csv"), "target": ["height", "price"]}
    run = untrained(dataset=dataset, loss="mse", metrics=[])
    chosen = run.chosen("auto")
    outputs, targets = run.outputs(chosen)
    over, apart, every = (drawn(run, name) for name in ("over_dates", "residuals", "distributions"))
    means = run.loaded["train"].targets.mean(0)
    for number, name in enumerate(("height", "price")):
        axes = over.axes[number]
        missed, without = ((each - targets)[..., number].abs().mean() for each in (outputs, means))
        assert axes.get_ylabel() == name
        assert axes.get_title("left") == f"MAE {missed:.4g}; without a model {without:.4g} (mean)"
        assert apart.axes[2 * number].get_xlabel() == f"prediction of {name}"
    for figure in (over, apart):
        assert "of 2 targets" in figure.get_suptitle() and "MAE" not in figure.get_suptitle()
    assert [axes.get_title("left") for axes in every.axes[1:3]] == ["height", "price"]


# ------------------------------------------------------------------------ series


def written_series(folder: Path, rows: list[int]) -> dict[str, Any]:
    """A dataset of the numbers of some rows, those that are missing left empty."""
    path = folder / "series.csv"
    lines = [str(row % 9 + row / 10) if row in rows else "" for row in range(max(rows) + 1)]
    path.write_text("\n".join(["load,always", *(f"{line},1" for line in lines)]))
    return {"name": "windows", "path": str(path), "target": "load", "window": 4, "gaps": "split"}


def test_forecasts_are_drawn_where_they_were_made_beside_the_truth() -> None:
    run = untrained(**DEMAND, seeds=[0, 1])
    outputs, targets = run.outputs("test")
    figure = drawn(run, "forecasts", most=30)
    upper, lower = figure.axes
    dates, truth = line_of(upper, "true")
    last = datetime.datetime(2022, 1, 20, 23, tzinfo=datetime.UTC)
    hours = [last - datetime.timedelta(hours=29 - number) for number in range(30)]
    assert [num2date(date).replace(tzinfo=datetime.UTC) for date in dates] == hours
    # of the last 30 hours the first ends a window of each of the six steps ahead
    assert truth == pytest.approx([*targets[-25:, 0].tolist(), *targets[-1, 1:].tolist()])
    lines = [line for line in upper.lines if line.get_label() != "true"]
    assert [line.get_label() for line in lines].count("forecasts of 6 steps") == 1
    for back, line in enumerate(lines):
        example = len(targets) - 1 - 6 * back
        assert list(line.get_ydata()) == pytest.approx(outputs.mean(0)[example].tolist(), rel=1e-5)
        assert list(line.get_xdata(orig=False)) == dates[30 - 6 * (back + 1) : 30 - 6 * back]
    assert len(lines) == 5 and len(upper.collections) == 5, "each with a band over the seeds"
    missed = (outputs.double() - targets).abs().mean((0, 1))
    steps, said = line_of(lower, "model")
    assert steps == [1, 2, 3, 4, 5, 6] and said == pytest.approx(missed.tolist())
    for name in ("last value", "season before"):
        guess = run.loaded["test"].aside[name]
        [line] = [line for line in lower.lines if str(line.get_label()).startswith(f"{name}: ")]
        by_hand = (guess.double() - targets).abs().mean(0)
        assert list(line.get_ydata()) == pytest.approx(by_hand.tolist(), rel=1e-5)
        assert f"{name}: {float(by_hand.mean()):.4g} MW" in words(figure)
    assert "the last 30 of 96 steps" in figure.get_suptitle()


def test_forecasts_of_one_step_are_a_line_that_breaks_at_gaps(tmp_path: Path) -> None:
    rows = [row for row in range(100) if row not in (88, 89)]
    run = untrained(**DEMAND | {"dataset": written_series(tmp_path, rows)})
    [axes] = drawn(run, "forecasts").axes
    outputs, targets = run.outputs("test")
    for label, values in (("true", targets), ("forecasts of 1 step", outputs[0])):
        places, line = line_of(axes, label)
        shown_ones = {int(place): value for place, value in zip(places, line, strict=True) if value == value}
        assert list(shown_ones) == [*range(78, 88), *range(94, 100)]
        assert list(shown_ones.values()) == pytest.approx(values[:, 0].tolist(), rel=1e-6)
        assert np.isnan(line).sum() == 1, "nothing is drawn between"
    assert axes.get_xlabel() == "step of the series"


@pytest.mark.parametrize("changes", [{}, DAYS, {"dataset": "line", "loss": "mse", "metrics": []}])
def test_forecasts_are_refused_for_other_data_before_anything_trains(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(own_parts(tmp_path), **changes | {"plots": ["forecasts"]})
    assert "forecasts is for" in refused.value.mistakes[0].what


def test_every_target_of_a_series_stands_over_its_own_date() -> None:
    run = untrained(**DEMAND)
    figure = drawn(run, "over_dates", most=20)
    _, targets = run.outputs("test")
    ends = [line_of(axes, "true")[0][-1] for axes in figure.axes]
    assert [round(24 * (end - ends[0])) for end in ends] == [0, 2, 3, 5]
    for axes, number in zip(figure.axes, (0, 2, 3, 5), strict=True):
        assert line_of(axes, "true")[1] == pytest.approx(targets[-20:, number].tolist())
        assert axes.get_title(loc="right") == f"{number + 1} step{'s' * (number > 0)} ahead"


def test_a_series_is_shown_with_the_last_row_of_each_window() -> None:
    run = untrained(**DEMAND)
    figure = drawn(run, "series")
    assert figure.axes[1].get_title(loc="left") == "demand (last value)", "they are the same, and shown once"
    inputs = torch.cat([run.loaded[name].raw()[:, -1, 0] for name in ("train", "test")])
    assert figure.axes[1].lines[0].get_ydata().tolist() == pytest.approx(inputs.tolist())


# ------------------------------------------------------------------------ calibration


def test_the_calibration_error_is_that_worked_out_by_hand() -> None:
    from dlrun.plots.calibration import binned, calibration_error

    sure = torch.tensor([0.95, 0.93, 0.65, 0.75, 0.7])
    targets = torch.tensor([0, 1, 0, 0, 0])  # the second is wrong
    found = Predicted(torch.zeros(1, 5, dtype=torch.long), sure.unsqueeze(0), targets)
    counts, summed, right = binned(found, 4)
    assert counts.tolist() == [[0, 0, 3, 2]], "0.75 is in the bin up to 0.75"
    assert right.tolist() == [[0, 0, 3, 1]]
    by_hand = (3 * abs(1 - 0.7) + 2 * abs(1 / 2 - 0.94)) / 5
    assert calibration_error(counts, summed, right) == [pytest.approx(by_hand)]


def test_calibration_says_the_mean_error_over_seeds() -> None:
    run = untrained(seeds=[0, 1, 2])
    outputs, targets = run.outputs("test")
    errors = []
    for copy in outputs.double().softmax(-1):
        sure, said = copy.max(1)
        places = np.digitize(sure.numpy(), np.linspace(0, 1, 16), right=True)
        gaps = [
            abs(float((said == targets).double()[places == place].mean() - sure[places == place].mean()))
            * float((places == place).mean())
            for place in np.unique(places)
        ]
        errors.append(sum(gaps))
    figure = drawn(run, "calibration")
    assert f"Expected calibration error {mean_and_spread(errors)} (test" in figure.get_suptitle()
    assert "mean ± sd of 3 seeds" in figure.get_suptitle()
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == pytest.approx(len(targets))


# ------------------------------------------------------------------------ images


def test_the_mistakes_shown_are_the_surest(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), dataset="dots", architecture=LINEAR)
    outputs, targets = run.outputs("test")
    shares = outputs[0].softmax(-1).tolist()
    said = [max(range(3), key=row.__getitem__) for row in shares]
    wrong = [index for index in range(20) if said[index] != targets[index]]
    wrong.sort(key=lambda index: -shares[index][said[index]])
    figure = drawn(run, "mistakes", rows=1, columns=4)
    assert f"Most confident errors: 4 of {len(wrong)} among 20" in figure.get_suptitle()
    raw = run.loaded["test"].raw(torch.tensor(wrong[:4])).squeeze(1).numpy() / 255
    for picture, image in zip(pictures_in(figure), raw, strict=True):
        np.testing.assert_allclose(picture, np.stack([image] * 3, -1), atol=1e-6)
    captions = [text.get_text().split("\n") for text in figure.axes[0].texts[1:]]
    names = run.data.classes
    assert captions == [
        [f"{names[targets[index]]} / {names[said[index]]}", f"{shares[index][said[index]]:.3f}"]
        for index in wrong[:4]
    ]


def test_mistakes_have_the_names_of_their_files(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), dataset={"name": "dots", "named": True}, architecture=LINEAR)
    figure = drawn(run, "mistakes", rows=1, columns=4)
    outputs, targets = run.outputs("test")
    shares = outputs[0].softmax(-1)
    wrong = [index for index in range(20) if shares[index].argmax() != targets[index]]
    wrong.sort(key=lambda index: -float(shares[index].max()))
    files = [text.get_text() for text in figure.axes[0].texts if ".png" in text.get_text()]
    assert files == [f"image {index}.png" for index in wrong[:4]]


def test_where_nothing_is_wrong_it_says_so(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), dataset="dots", architecture=LINEAR)
    _, targets = run.outputs("test")
    right = F.one_hot(targets, 3).float() * torch.linspace(1, 9, 20).unsqueeze(1)
    run._outputs["test"] = right.unsqueeze(0), targets
    figure = drawn(run, "mistakes", rows=1, columns=3)
    assert "No error among 20 test images" in figure.get_suptitle()
    least = [text.get_text().split("\n")[-1] for text in figure.axes[0].texts[1:]]
    assert least == [f"{share:.3f}" for share in right[:3].softmax(1).max(1).values.tolist()]


def test_a_probability_is_never_rounded_up_to_1() -> None:
    from dlrun.drawing.style import probability

    shares = [0.99949, 0.9996, 1.0, 0.5]
    assert [probability(torch.tensor(share)) for share in shares] == ["0.999", ">0.999", ">0.999", "0.500"]


def test_predictions_mark_what_is_wrong_among_images_drawn_at_random(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), dataset="dots", architecture=LINEAR)
    outputs, targets = run.outputs("test")
    figure = drawn(run, "predictions", rows=5, columns=4)
    right = int((outputs[0].argmax(1) == targets).sum())
    assert f"20 drawn at random: {right} right" in words(figure)
    assert words(figure).count("✗") == 20 - right
    other = drawn(run, "predictions", rows=1, columns=4, seed=1)
    assert words(other) != words(drawn(run, "predictions", rows=1, columns=4))


def test_a_name_that_fits_above_its_image_is_not_cut() -> None:
    names = ["T-shirt/top", "Ankle boot"]
    right = Captioned(torch.zeros(2, 2, 3), names[0], names[0])
    wrong = Captioned(torch.zeros(2, 2, 3), names[0], names[1], marked=True)
    figure = gallery("Clothes", [("", [right, wrong])], 8, names)
    captions = [text for text in figure.findobj(Text) if "\n" in text.get_text()]  # type: ignore[attr-defined]
    assert [text.get_text() for text in captions] == ["T-shirt/top\nT-shirt/top", "T-shirt/top\n✗ Ankle boot"]  # type: ignore[attr-defined]
    first, second = (text.get_window_extent() for text in captions)
    assert first.x1 < second.x0


@pytest.mark.parametrize("architecture", [LINEAR, {"name": "softmax_scratch"}])
def test_a_template_is_what_the_model_multiplies_an_image_with(
    architecture: dict[str, Any], tmp_path: Path
) -> None:
    from dlrun.plots.weights import templates

    run = untrained(own_parts(tmp_path), dataset="dots", architecture=architecture)
    found = templates(run.model.copies[0], (1, 8, 8))
    assert found.shape == (3, 1, 8, 8)
    image = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        by_model = run.model.copies[0](image) - run.model.copies[0](torch.zeros(1, 1, 8, 8))
    torch.testing.assert_close((found * image).sum((1, 2, 3)), by_model[0], atol=1e-5, rtol=1e-4)
    *pictures, _ = pictures_in(drawn(run, "weights"))
    assert len(pictures) == 3
    for template, picture in zip(found.squeeze(1), pictures, strict=True):
        red, _, blue = np.moveaxis(picture, -1, 0)
        np.testing.assert_array_equal(
            (red > blue)[template.abs() > 0.05], (template > 0)[template.abs() > 0.05]
        )


def test_filters_are_the_kernels_of_the_first_convolution(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), dataset="dots", architecture=CNN)
    *pictures, _ = pictures_in(figure := drawn(run, "filters"))
    kernels = run.model.copies[0][0].weight.detach().squeeze(1)  # type: ignore[index,operator,union-attr]
    assert "3 kernels of 3×3" in figure.get_suptitle()
    for kernel, picture in zip(kernels, pictures, strict=True):
        red, _, blue = np.moveaxis(picture, -1, 0)
        np.testing.assert_array_equal((red > blue)[kernel.abs() > 0.02], (kernel > 0)[kernel.abs() > 0.02])


def test_feature_maps_are_what_each_convolution_gives(tmp_path: Path) -> None:
    from dlrun.drawing.convolutions import convolutions_of
    from dlrun.plots.feature_maps import maps_of

    run = untrained(own_parts(tmp_path), dataset="dots", architecture=CNN)
    first, second = maps_of(run, "test", 4, convolutions_of(run, "feature_maps"))
    layers: Any = run.model.copies[0]
    inputs, _ = run.loaded["test"].batch(torch.tensor([4]))
    with torch.no_grad():
        by_hand = F.conv2d(inputs, layers[0].weight, layers[0].bias, padding=1)
        pooled = F.max_pool2d(by_hand.relu(), 2)
        after = F.conv2d(pooled, layers[3].weight, layers[3].bias, padding=1)
    torch.testing.assert_close(first, by_hand[0])
    torch.testing.assert_close(second, after[0])
    figure = drawn(run, "feature_maps", image=4, most=2, layers=1)
    assert len(pictures_in(figure)) == 1 + 2 + 1, "the image, two maps, what the colours mean"
    assert "1 of 2 convolutions" in figure.get_suptitle()
    assert "Convolution 1: 3 maps of 8×8, the first 2" in words(figure)
    with pytest.raises(UserError, match="no image 20 among the 20 of test"):
        drawn(run, "feature_maps", image=20)


def test_signed_colours_are_white_at_0_and_full_at_the_ends() -> None:
    from dlrun.drawing.image_grids import as_signed

    values = torch.tensor([-2.0, 0.0, 2.0]).view(1, 1, 3)
    negative, zero, positive = as_signed(values, 2.0)[0].tolist()
    assert negative[2] > negative[0] and positive[0] > positive[2]
    assert min(zero) > 0.95
    coloured = as_signed(values.view(3, 1, 1), 2.0)
    assert coloured.tolist() == [[[0.0, 0.5, 1.0]]]


# ------------------------------------------------------------------------ images as outputs


def test_masks_show_the_true_and_the_predicted_class_of_each_pixel() -> None:
    run = untrained(**PIXELS | {"seeds": [4, 0]})
    figure = drawn(run, "masks", rows=3, seed=1)
    outputs, targets = run.outputs("test")
    said = outputs[0].argmax(1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))[:3].tolist()
    colours = np.array([to_rgb(name) for name in ("#dddddd", "#0072B2", "#D55E00", "#009E73")])
    each = pictures_in(figure)
    for row, index in enumerate(order):
        image, true, predicted, wrong = each[4 * row : 4 * row + 4]
        raw = run.loaded["test"].raw(torch.tensor([index]))[0, 0].numpy() / 255
        np.testing.assert_allclose(image, np.stack([raw] * 3, -1), atol=1e-6)
        np.testing.assert_allclose(true, colours[targets[index]], atol=1e-6)
        np.testing.assert_allclose(predicted, colours[said[index]], atol=1e-6)
        black = (wrong < 0.2).all(-1)
        np.testing.assert_array_equal(black, (said[index] != targets[index]).numpy())
        assert f"{100 * black.mean():.1f} %" in words(figure)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == list(run.data.classes)
    assert "epoch 0 · seed 4" in figure.get_suptitle()


MANY = '''
"""Pixels of thirteen classes, some of which do not count."""
import torch
from dlrun.data.examples import Data, Examples


def many(root):
    """Random grey images; class k has 14 - k pixels in each, and the others do not count."""
    targets = torch.arange(13).repeat_interleave(14 - torch.arange(13))
    targets = torch.nn.functional.pad(targets, (0, 121 - len(targets)), value=-100).view(1, 11, 11)
    images = torch.rand(4, 1, 11, 11, generator=torch.Generator().manual_seed(0))
    split = Examples(images, targets.repeat(4, 1, 1))
    names = tuple(f"class {k}" for k in range(13))
    return Data("pixels", (1, 11, 11), lambda: {"train": split, "test": split}, names, places=(11, 11))
'''


def test_pixels_that_do_not_count_are_white_and_rare_classes_share_a_colour(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"dataset/many.py": MANY})
    run = untrained(parts, **PIXELS | {"dataset": "many"})
    targets = run.loaded["test"].targets
    by_heart = F.one_hot(targets.clamp_min(0), 13).movedim(-1, 1).float()
    run.outputs_at = lambda inputs: by_heart[: len(inputs)].unsqueeze(0)  # type: ignore[method-assign]
    figure = drawn(run, "masks", rows=1)
    _, true, _, wrong = pictures_in(figure)
    ignored = (targets[0] == -100).numpy()
    assert (true[ignored] == 1).all() and not (true[~ignored] == 1).all(-1).any()
    assert not (wrong < 0.2).all(-1).any(), "what does not count is not wrong"
    assert len(np.unique(true[~ignored], axis=0)) == 10
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [*(f"class {k}" for k in range(9)), "4 other classes", "does not count"]
    assert "wrong: 0.0 %" in words(figure)


def test_a_reconstruction_stands_below_its_image_on_the_scale_of_pixels(tmp_path: Path) -> None:
    run = untrained(own_parts(tmp_path), **GIVEN_BACK)
    figure = drawn(run, "reconstructions", rows=1, columns=5, seed=2)
    raw = run.loaded["test"].raw().float()
    every = run.loaded["train"].raw().double()
    mean, sd = float(every.mean()), float(every.std(correction=0))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))[:5]
    prepared = (raw[order] - mean) / sd
    with torch.no_grad():
        outputs = run.model.copies[0](prepared)
    each = pictures_in(figure)
    for place, index in enumerate(order.tolist()):
        image, below = each[2 * place : 2 * place + 2]
        np.testing.assert_allclose(image[..., 0], raw[index, 0] / 255, atol=1e-6)
        restored = (outputs[place, 0] * sd + mean) / 255
        np.testing.assert_allclose(below[..., 1], restored.clamp(0, 1), atol=1e-5)
    losses = (outputs - prepared).square().mean((1, 2, 3)).tolist()
    captions = [float(text.get_text()) for text in figure.axes[0].texts]
    assert captions == pytest.approx(losses, rel=0.01)


def test_a_picture_has_the_scale_of_another_and_no_more() -> None:
    pixels = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    beyond = torch.tensor([[[[-30.0, 127.5, 300.0]]]])
    assert as_pictures(beyond, like=pixels)[0, 0, :, 0].tolist() == [0.0, 0.5, 1.0]
    assert as_pictures(beyond, like=torch.tensor([-30.0, 30.0]))[0, 0, :, 0].tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"plots": ["masks"]}, "masks is for pixels"),
        ({"plots": ["reconstructions"]}, "reconstructions is for reconstruction"),
        (
            {
                "task": "reconstruction",
                "architecture": {"name": "autoencoder", "hidden": [4], "code": 1},
                "loss": "mse",
                "metrics": [],
                "plots": ["reconstructions"],
            },
            "reconstructions is for inputs of images",
        ),
    ],
)
def test_a_picture_that_does_not_suit_the_task_is_refused_before_training(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(**changes)
    [mistake] = refused.value.mistakes
    assert said in str(mistake)


# ------------------------------------------------------------------------ the animation


def test_the_animation_has_a_frame_for_each_epoch_kept_and_rests_at_the_end(tmp_path: Path) -> None:
    plan = planned(epochs=4, plots=["decision_animation"])
    run = trained(plan, tmp_path)
    drawn_then = run.plots / "decision_animation.gif"
    assert drawn_then.is_file()
    choice = Choice("decision_animation", {"split": "train", "margin": 0.1, "seconds": 2.0})
    [again] = draw_plots(opened(run), [(choice, tmp_path / "again.png")], pytest.fail)
    assert again == tmp_path / "again.gif", "from what the run folder holds"
    with Image.open(again) as moving:
        durations = []
        for frame in range(moving.n_frames):  # type: ignore[attr-defined]
            moving.seek(frame)
            durations.append(moving.info["duration"])
    assert len(durations) == 5, "epochs 0 to 4"
    assert durations[:4] == [400] * 4
    assert durations[-1] >= 2000


def test_a_frame_says_its_epoch_and_how_right_the_model_was_then(tmp_path: Path) -> None:
    run = opened(trained(planned(epochs=2, plots=["decision_animation"]), tmp_path))
    moving = drawn(run, "decision_animation")
    said = []
    for frame in range(3):
        moving._draw_frame(frame)
        said.append(moving._fig.get_suptitle().split("\n")[0])
    moving._draw_was_started = True
    for moment, text in zip(run.moments(), said, strict=True):
        outputs, targets = moment.outputs("train")
        right = float((outputs[0].argmax(1) == targets).double().mean())
        assert text == f"Epoch {moment.epoch}: train accuracy {right:.4g}"


def test_without_weights_the_animation_says_what_to_do(tmp_path: Path) -> None:
    run = opened(trained(planned(), tmp_path))
    with pytest.raises(UserError, match=r"train it anew with plots: \[decision_animation\]"):
        drawn(run, "decision_animation")


# ------------------------------------------------------------------------ the data


def of_data(parts: Parts | None = None, **changes: Any) -> Trained:
    """A dataset with no model."""
    plan = planned(parts, **changes)
    loaded = plan.load()
    return Trained(plan, loaded, plan.hardware(loaded), None, 0)  # type: ignore[arg-type]


def test_points_stand_where_they_are_in_the_colour_of_their_class(tmp_path: Path) -> None:
    data = of_data(own_parts(tmp_path), dataset="uneven")
    axes = drawn(data, "points").axes[0]
    inputs, targets = data.loaded["train"].raw(), data.loaded["train"].targets
    for number, points in enumerate(axes.collections):
        found = sorted(map(tuple, np.asarray(points.get_offsets()).tolist()))
        assert found == sorted(map(tuple, inputs[targets == number].double().tolist()))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list("abcd")


def test_a_row_of_images_is_of_one_class_and_says_how_many_there_are(tmp_path: Path) -> None:
    data = of_data(own_parts(tmp_path), dataset="dots", architecture=LINEAR)
    figure = drawn(data, "image_grid", columns=5)
    counts = torch.bincount(data.loaded["train"].targets).tolist()
    assert [text.get_text().split("\n") for text in figure.axes[0].texts] == [
        [name, str(count)] for name, count in zip(data.data.classes, counts, strict=True)
    ]
    for place, picture in enumerate(pictures_in(figure)):
        assert picture[..., 0].mean(1).argmax() == 2 * (place // 5), "the bright row of its class"


def test_a_histogram_counts_every_figure_and_names_what_is_constant_or_missing(tmp_path: Path) -> None:
    data = of_data(own_parts(tmp_path), **DAYS)
    inputs = data.loaded["train"].inputs  # type: ignore[attr-defined]
    inputs[3, 0] = float("nan")
    figure = drawn(data, "distributions")
    before, weekday, always, target = figure.axes[:4]
    assert [axes.get_title("left") for axes in figure.axes[:4]] == [
        "before",
        "weekday",
        "always",
        "warmth (K)",
    ]
    assert "1 missing" in words(before)
    assert sum(bar.get_height() for bar in before.patches) == 59
    assert [bar.get_height() for bar in weekday.patches] == torch.bincount(inputs[:, 1].long()).tolist()
    assert "always 4" in words(always)
    assert len(target.patches) == 100
    assert sum(bar.get_height() for bar in target.patches) == 60


def test_features_beyond_the_first_few_are_counted(tmp_path: Path) -> None:
    data = of_data(own_parts(tmp_path), **DAYS)
    figure = drawn(data, "distributions", most=1)
    assert "the first 1 features" in figure.get_suptitle()
    assert [axes.get_title("left") for axes in figure.axes if axes.get_visible()] == ["before", "warmth (K)"]


def test_the_categories_of_a_column_are_counted_in_one_panel(tmp_path: Path) -> None:
    rows = [f"{'abbcd'[n % 5]},{n % 2},{n},{n % 5}" for n in range(70)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["letter,on,x,y", *rows, "e,1,70,0"]) + "\n", encoding="utf-8")
    table = {"name": "csv", "path": str(path), "target": "y", "test_fraction": 0, "valid_fraction": 0}
    data = of_data(Parts(), **DAYS | {"dataset": table})
    figure = drawn(data, "distributions")
    panels = {axes.get_title("left"): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels)[:3] == ["letter", "on", "x"]
    assert "columns" in figure.get_suptitle()
    counts = [14, 28, 14, 14, 1]  # e, of a single row, is other
    assert [bar.get_height() for bar in panels["letter"].patches] == counts
    assert [tick.get_text() for tick in panels["letter"].get_xticklabels()] == ["a", "b", "c", "d", "other"]


def test_years_and_dates_are_marked_by_whole_years(tmp_path: Path) -> None:
    days = [datetime.date(2010, 1, 1) + datetime.timedelta(days=3 * n) for n in range(240)]
    rows = [
        f"{day.year},{day.year + day.timetuple().tm_yday / 366:.3f},{day},{n}" for n, day in enumerate(days)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["year,moment,day,y", *rows]) + "\n", encoding="utf-8")
    table = {"name": "csv", "path": str(path), "target": "y", "test_fraction": 0, "valid_fraction": 0}
    figure = drawn(of_data(Parts(), **DAYS | {"dataset": table}), "distributions")
    panels = {axes.get_title("left"): axes for axes in figure.axes if axes.get_visible()}
    for name in ("year", "moment", "day"):
        low, high = panels[name].get_xlim()
        ticks = zip(panels[name].get_xticks(), panels[name].get_xticklabels(), strict=True)
        marks = [tick.get_text() for place, tick in ticks if low <= place <= high]
        assert marks == (["2010", "2011"] if name == "year" else ["2010", "2011", "2012"][: len(marks)]), name
    day = panels["day"].patches
    assert sum(bar.get_height() for bar in day) == 240
    assert num2date(day[0].get_x()).date() == days[0]


def test_a_series_has_the_target_and_what_is_on_its_scale(tmp_path: Path) -> None:
    data = of_data(own_parts(tmp_path), **DAYS | {"dataset": {"name": "days", "mixed": True}})
    figure = drawn(data, "series")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in panels] == ["warmth (K)", "before (day before)"]
    warmth, before = ([float(y) for y in axes.lines[0].get_ydata()] for axes in panels)
    assert warmth[:-1] == before[1:], "all splits together, in the order of the dates"
    assert len(panels[0].lines[1].get_ydata()) == len(data.loaded["test"])


def test_without_dates_there_is_no_series(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no dates"):
        drawn(of_data(own_parts(tmp_path), dataset="line", loss="mse", metrics=[]), "series")


# ------------------------------------------------------------------------ names


HOSTILE = '''
"""Images whose classes have names that nobody should give."""
import torch
from dlrun.data.examples import Data, Examples

NAMES = (r"$\\bad$", "_x", "y" * 5000, "tab\\tand\\nnewline", "100 %", "^_{}")


def hostile(root):
    """Coloured images of 6×4 pixels."""

    def read():
        stream = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (40, 3, 6, 4), generator=stream, dtype=torch.uint8)
        examples = Examples(pixels, torch.arange(40) % len(NAMES))
        return {"train": examples, "test": examples}

    return Data("classification", (3, 6, 4), read, classes=NAMES)
'''


def test_a_name_is_one_short_line_and_never_maths() -> None:
    assert shown("y" * 5000) == "y" * 19 + "…"
    assert shown("tab\tand\nnewline") == "tab and newline"
    assert shown(r"$\bad$") == r"\$\bad\$"
    assert not shown("_x").startswith("_"), "a legend would leave it out"


@pytest.mark.usefixtures("all_dots")
@pytest.mark.parametrize("architecture", mostly_slow([CNN, LINEAR], CNN), ids=["cnn", "linear"])
def test_no_name_breaks_a_picture_or_its_width(architecture: dict[str, Any], tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"dataset/hostile.py": HOSTILE})
    run = opened(trained(planned(parts, dataset="hostile", architecture=architecture), tmp_path), parts)
    choices = suitable_plots(
        parts, run.data, run.plan.task, run.plan.layers, "automatic", True, is_augmented=False
    )
    choices.append(Choice("image_grid", {"split": "train", "columns": 4, "most": 9, "seed": 0}))
    for choice in choices:
        [path] = draw_plots(run, [(choice, tmp_path / f"{choice.name}.png")], pytest.fail)
        assert path is not None
        with Image.open(path) as picture:
            assert picture.width == 1280, choice.name
            assert picture.height < 2400
