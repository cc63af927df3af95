"""The importance of a column is what the model loses when its cells are shuffled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.colors import to_rgba
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance
from small_runs import planned
from test_plots import drawn, words

from dlrun.data.loaded import Chosen
from dlrun.drawing.style import PALE
from dlrun.errors import UserError
from dlrun.plots.importance import columns_of, importances, permutation
from dlrun.training.loop import evaluate
from dlrun.training.trained import Trained

ROWS = 60
STREAM = torch.Generator().manual_seed(3)
NUMBERS = torch.randn(ROWS, 3, generator=STREAM)
KINDS = torch.randint(0, 3, (ROWS,), generator=STREAM).tolist()
DAYS = torch.randint(1, 28, (ROWS,), generator=STREAM).tolist()
FEATURES = [
    *("a", "b", "kind=x", "kind=y", "kind=z", "day", "sin(year of day)", "cos(year of day)"),
    *("always", "b is missing"),
]
COLUMNS = ["a", "b", "kind", "day", "always"]


def table(path: Path) -> Path:
    """Numbers, some of them missing, categories, dates and a constant; the target is mostly the number a."""
    lines = ["a,b,kind,day,always,y"]
    for row, (a, b, noise) in enumerate(NUMBERS.tolist()):
        y = 3 * a + KINDS[row] + 0.1 * noise
        cells = [f"{a:.4f}", "" if row % 5 == 0 else f"{b:.4f}", "xyz"[KINDS[row]]]
        lines.append(
            ",".join([*cells, f"{2020 + row % 4}-{1 + row % 12:02}-{DAYS[row]:02}", "4", f"{y:.4f}"])
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def untrained(path: Path, **changes: Any) -> Trained:
    """A model with the weights it starts from, on a table."""
    dataset = {"name": "csv", "path": str(path), "target": "y", "test_fraction": 0.5}
    kinds = {"categorical": ["kind"], "dates": ["day"], "missing": "auto", "task": "regression"}
    changes = {"dataset": dataset | kinds, "loss": "mse", "metrics": ["mae", "r2"], "seeds": [0, 1]} | changes
    plan = planned(**changes)
    loaded = plan.load()
    return Trained(plan, loaded, plan.hardware(loaded), plan.model(), 0)


class AsEstimator(BaseEstimator):  # type: ignore[misc]
    """The first copy of a model as scikit-learn knows one."""

    def __init__(self, model: Trained) -> None:
        self.model = model

    def fit(self, inputs: Any, targets: Any) -> AsEstimator:
        return self

    def predict(self, inputs: Any) -> Any:
        return self.model.outputs_at(torch.from_numpy(inputs))[0, :, 0].numpy()


def test_importances_are_those_of_scikit_learn(tmp_path: Path) -> None:
    path, repeats = table(tmp_path / "table.csv"), 60
    dataset = {"name": "csv", "path": str(path), "target": "y", "inputs": ["a", "b"], "missing": "fill"}
    model = untrained(path, dataset=dataset)
    split = model.loaded["test"]
    theirs = permutation_importance(
        AsEstimator(model),
        split.raw().numpy(),
        split.targets[:, 0].numpy(),
        scoring="neg_mean_absolute_error",
        n_repeats=repeats,
        random_state=0,
    )
    ours = importances(model, split, torch.arange(len(split)), "mae", repeats, 0)
    for place, name in enumerate("ab"):
        mean, sd = theirs.importances_mean[place], theirs.importances_std[place]
        assert float(ours[name][0].mean()) == pytest.approx(mean, abs=5 * sd * (2 / repeats) ** 0.5 + 1e-6)
        assert float(ours[name][0].std()) == pytest.approx(sd, rel=0.3, abs=1e-6)


def test_all_inputs_that_are_made_from_a_column_are_shuffled_together(tmp_path: Path) -> None:
    model = untrained(table(tmp_path / "table.csv"))
    split, some = model.loaded["test"], torch.arange(len(model.loaded["test"])).flip(0)[:20]
    assert list(model.data.features) == FEATURES
    assert list(columns_of(model)) == COLUMNS
    assert [len(places) for places in columns_of(model).values()] == [1, 2, 3, 3, 1]
    found = importances(model, split, some, "mae", 2, 7)
    raw, targets = split.raw()[some], split.targets[some, 0]

    def error(inputs: torch.Tensor) -> torch.Tensor:
        return (model.outputs_at(inputs)[..., 0] - targets).abs().double().mean(1)

    for name, places in columns_of(model).items():
        for repeat in range(2):
            shuffled = raw.clone()
            shuffled[:, places] = raw[permutation(20, name, 7, repeat)][:, places]
            expected = error(shuffled) - error(raw)
            assert torch.allclose(found[name][:, repeat], expected, atol=1e-6), name
    assert bool((found["always"] == 0).all())
    assert bool((found["a"] != 0).all())


def test_a_figure_of_which_higher_ones_are_better_loses_what_it_falls(tmp_path: Path) -> None:
    model = untrained(table(tmp_path / "table.csv"))
    split = model.loaded["test"]
    every = torch.arange(len(split))
    by_r2, by_loss = (importances(model, split, every, figure, 2, 0) for figure in ("r2", "loss"))
    whole = evaluate(model.model, Chosen(split, every), model.plan.recipe, model.hardware)
    spread = split.targets.double().var(correction=0) / model.data.scaling[1] ** 2  # type: ignore[index,operator]
    assert whole["r2"] == pytest.approx([1 - loss / float(spread) for loss in whole["loss"]], abs=1e-5)
    for name in COLUMNS:
        assert torch.allclose(by_r2[name], by_loss[name] / spread, atol=1e-5)


def test_a_seed_has_the_importances_that_it_has_alone(tmp_path: Path) -> None:
    path = table(tmp_path / "table.csv")
    both, alone = untrained(path), untrained(path, seeds=[1])
    ones, others = (
        importances(model, model.loaded["test"], torch.arange(15), "mae", 3, 0) for model in (both, alone)
    )
    for name in COLUMNS:
        assert torch.equal(ones[name][1:], others[name])


def test_columns_without_effect_are_pale_and_correlated_ones_are_named(tmp_path: Path) -> None:
    path = table(tmp_path / "table.csv")
    lines = path.read_text().splitlines()
    twice = [f"{line},{line.split(',')[0]}" for line in lines[1:]]
    path.write_text("\n".join([f"{lines[0]},again", *twice]) + "\n")
    model = untrained(path, architecture="linear")
    for copy in model.model.copies:
        for weight in copy.parameters():
            weight.data.zero_()[..., :1] = 1.0  # of the column a
    figure = drawn(model, "importance", split="test", by="mae")
    said = words(figure)
    assert "Permutation importance by test MAE: 6 columns" in said
    assert "mean ± sd of 5 repeats × 2 seeds" in said
    assert "a and again (|r| 1.00)" in said
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    bars = dict(zip(names, figure.axes[0].patches, strict=True))
    assert names == ["a", "b", "kind", "day", "always", "again"]
    of_a, *others = bars.values()
    assert of_a.get_width() > 0 and of_a.get_facecolor() != to_rgba(PALE)
    assert {(bar.get_width(), bar.get_facecolor()) for bar in others} == {(0.0, to_rgba(PALE))}
    few = drawn(model, "importance", split="test", most=2, examples=10)
    assert [label.get_text() for label in few.axes[0].get_yticklabels()] == ["a", "b"]
    assert f"n = 10 of {ROWS // 2}" in words(few) and "the 2 largest of 6 columns" in words(few)


def test_a_figure_that_the_run_does_not_measure_is_refused(tmp_path: Path) -> None:
    model = untrained(table(tmp_path / "table.csv"))
    with pytest.raises(UserError, match=r"measures no r3 \(there are: loss, mae, r2\)"):
        drawn(model, "importance", by="r3")
