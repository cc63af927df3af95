"""The coverage of predicted quantiles is counted as by hand, and marked where it misses its promise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from small_runs import own_parts, planned, trained
from torch import Tensor

from dlrun.blocks.coverage import Coverage
from dlrun.config.mistakes import ConfigError
from dlrun.data.trees import MAIN
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint

STREAM = torch.Generator().manual_seed(8)
LEVELS = [0.05, 0.2, 0.5, 0.9]


def made_up(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=STREAM)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_shares_and_widths_of_quantiles_are_those_counted_by_hand(weighted: bool, tmp_path: Path) -> None:
    copies, n, d = 3, 40, 2
    names = ["quantile 0.05", "quantile 0.2", MAIN, "quantile 0.9"]
    outputs = {name: made_up(copies, n, d) + place for place, name in enumerate(names)}
    targets = 2 * made_up(n, d) + 1.5
    weights = torch.randint(0, 4, (n,), generator=STREAM).float() if weighted else None
    loss = {"name": "quantile", "levels": LEVELS}
    report = planned(own_parts(tmp_path), dataset="line", loss=loss, metrics=[]).task.report(copies)
    for some in torch.arange(n).split(15):
        own = [] if weights is None else [weights[some].expand(copies, -1)]
        batch = {name: each[:, some] for name, each in outputs.items()}
        report.add(batch, targets[some].expand(copies, -1, -1), *own)
    sections = report.sections([0, 1, 2])
    assert [*sections["per_target"]] == [*sections["intervals"]]

    counts = np.ones(n) if weights is None else weights.numpy()
    for place, found in enumerate(sections["intervals"].values()):
        y = targets[:, place].numpy()
        q = [outputs[name][..., place].numpy() for name in names]
        below = [np.average((y <= each).mean(0), weights=counts) for each in q]
        assert [own["level"] for own in found["below"]] == LEVELS
        assert [own["share"] for own in found["below"]] == pytest.approx(below)
        for own, (low, high), levels in zip(
            found["between"], [(q[0], q[3]), (q[1], q[2])], [[0.05, 0.9], [0.2, 0.5]], strict=True
        ):
            inside = ((low <= y) & (y <= high)).mean(0)
            assert own["levels"] == levels
            assert own["promised"] == pytest.approx(levels[1] - levels[0])
            assert own["covered"] == pytest.approx(np.average(inside, weights=counts))
            widths = np.maximum(high - low, 0).mean(0)
            assert own["mean_width"] == pytest.approx(np.average(widths, weights=counts), rel=1e-5)


def test_a_gaussian_promises_the_shares_within_one_and_two_deviations(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path), dataset="line", loss="gaussian_nll", metrics=[])
    mean, deviation = made_up(1, 500, 2), made_up(1, 500, 2).abs() + 0.1
    report = plan.task.report(1)
    targets = mean + deviation * made_up(1, 500, 2)
    report.add({MAIN: mean, "deviation": deviation}, targets)
    for place, found in enumerate(report.sections([0])["intervals"].values()):
        for own, away in zip(found["between"], (2, 1), strict=True):
            assert own["levels"] == pytest.approx([norm.cdf(-away), norm.cdf(away)])
            inside = (targets - mean)[0, :, place].abs() <= away * deviation[0, :, place]
            assert own["covered"] == pytest.approx(float(inside.float().mean()))
            assert own["mean_width"] == pytest.approx(
                2 * away * float(deviation[..., place].mean()), rel=1e-5
            )
            assert own["promised"] == pytest.approx({1: 0.683, 2: 0.954}[away], abs=1e-3)
    assert report.warnings() == []


def covered(inside: int, of: int, weight: float = 1.0, targets: int = 1) -> Coverage:
    """A report of targets 0, so many of which lie between the quantiles 0.1 and 0.9."""
    report = Coverage(["price", "rent"][:targets], lambda outputs: {0.1: outputs - 1, 0.9: outputs + 1})  # type: ignore[operator]
    numbers = torch.arange(of).view(1, of, 1)
    away = torch.where(numbers % 2 == 0, 5.0, -5.0)  # as many below as above
    outputs = torch.where(numbers < inside, 0.0, away).expand(1, of, targets)
    report.add(outputs, torch.zeros(1, of, targets), torch.full((1, of), weight))
    return report


def test_a_target_that_is_equal_to_a_quantile_lies_below_it_and_inside() -> None:
    report = Coverage(["count"], lambda outputs: {0.2: outputs, 0.8: outputs + 2})  # type: ignore[operator]
    report.add(torch.zeros(1, 4, 1), torch.tensor([-1.0, 0.0, 2.0, 3.0]).view(1, 4, 1))
    [found] = report.sections([0])["intervals"].values()
    assert found["between"][0]["covered"] == 0.5
    assert [own["share"] for own in found["below"]] == [0.5, 0.75]


BOUNDS = '''
"""Absolute errors, with quantiles that are stated as LEVELS."""
task = "regression"


def bounds(outputs, targets):
    """The mean absolute error."""
    return (outputs - targets).abs().mean(1)


def quantiles(outputs):
    return LEVELS
'''


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ("{0.0: outputs - 1, 0.9: outputs}", "the level 0.0, but levels are above 0 and below 1"),
        ("{0.1: outputs - 1, 1: outputs}", "the level 1, but levels are above 0 and below 1"),
        ("{90: outputs}", "the level 90, but levels are above 0 and below 1"),
        ("{'low': outputs}", "the level 'low', but levels are"),
        ("{0.9: outputs[:, 0]}", r"shape \(2,\) for the level 0.9, but the targets have shape \(2, 2\)"),
        ("[outputs]", "a list, no quantiles by their levels"),
        ("{}", "no quantiles by their levels"),
    ],
)
def test_quantiles_that_could_not_be_judged_are_refused_before_training(
    levels: str, said: str, tmp_path: Path
) -> None:
    own = own_parts(tmp_path, {"loss/bounds.py": BOUNDS.replace("return LEVELS", f"return {levels}")})
    with pytest.raises(ConfigError, match=rf"quantiles\(\) of bounds gives .*{said}"):
        planned(own, dataset="line", loss="bounds", metrics=[])


@pytest.mark.parametrize("weight", [1.0, 7.0])
def test_a_share_is_marked_beyond_what_chance_makes_of_so_many(weight: float) -> None:
    """Of 100 examples the standard error of 80 % is 4 points, however much each example weighs.

    The three shares of one target may be 3.3 of them away, the six of two targets 3.5.
    """
    for inside in (67, 69, 80, 91, 93):
        assert covered(inside, 100, weight).warnings() == []
    [low], [high] = covered(66, 100, weight).warnings(), covered(94, 100, weight).warnings()
    assert "below" not in low, "17 of 100, and 3.3 standard errors of 10 % are 10 points"
    said = "lie between the quantiles 0.1 and 0.9, not 80.0 %: they miss it by more than 3.3 standard errors"
    assert low == f"66.0 % of the targets (price) {said} of 4.0 points"
    assert high.startswith("94.0 % of the targets (price) ")
    assert covered(66, 100, weight, targets=2).warnings() == []
    [low] = covered(65, 100, weight, targets=2).warnings()
    assert "more than 3.5 standard errors" in low
    assert 2 * norm.sf(3) == pytest.approx(0.0027, rel=1e-4)


def test_a_single_quantile_has_the_share_below_it_and_no_interval(tmp_path: Path) -> None:
    loss = {"name": "quantile", "levels": [0.9]}
    report = planned(own_parts(tmp_path), dataset="line", loss=loss, metrics=[]).task.report(1)
    report.add(torch.zeros(1, 50, 2), torch.linspace(-1, 1, 50).view(1, 50, 1).expand(1, 50, 2))
    for found in report.sections([0])["intervals"].values():
        assert found == {"between": [], "below": [{"level": 0.9, "share": 0.5}]}
    [warning] = report.warnings()
    assert warning.startswith("50.0 % of") and "lie below the quantile 0.9, not 90.0 %" in warning
    assert warning.endswith("; so does 1 of the other shares")


def test_a_run_is_judged_by_the_quantiles_in_the_unit_of_its_target(tmp_path: Path) -> None:
    """Although it learns scaled logarithms."""
    own = own_parts(tmp_path)
    (tmp_path / "table.csv").write_text(
        "x,price\n" + "\n".join(f"{n % 17},{900 + 50 * (n % 17) + 37 * (n % 5)}" for n in range(200))
    )
    dataset = {
        "name": "csv",
        "path": str(tmp_path / "table.csv"),
        "target": "price",
        "target_transform": "log",
    }
    changes = {"dataset": dataset, "loss": "quantile", "metrics": ["mae"], "seeds": [0, 1], "epochs": 4}
    run = trained(planned(own, **changes), tmp_path)
    model, saved = open_checkpoint(run.best, run, [], own, Path("no-data"))
    [found] = evaluate_run(model, saved, run.best, "test")["intervals"].values()
    split = model.loaded["test"]
    with torch.no_grad():
        each = [copy(split.batch(torch.arange(len(split)))[0]) for copy in model.model.copies]
    for level, name in ((0.1, "quantile 0.1"), (0.5, MAIN), (0.9, "quantile 0.9")):
        share = sum(float((split.targets <= own[name]).float().mean()) for own in each) / 2
        assert {own["level"]: own["share"] for own in found["below"]}[level] == pytest.approx(share)
    width = sum(float((own["quantile 0.9"] - own["quantile 0.1"]).clamp_min(0).mean()) for own in each) / 2
    assert found["between"][0]["mean_width"] == pytest.approx(width, rel=1e-5)


def test_eval_shows_intervals_and_marks_those_that_miss(
    tmp_path: Path, dlrun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("x,price\n" + "\n".join(f"{n % 17},{3 * (n % 17)}" for n in range(300)))
    Path("small.yaml").write_text(
        """\
name: small
dataset: {name: csv, path: table.csv, target: price}
architecture: linear
loss: quantile
optimizer: {name: sgd, lr: 1e-9}
epochs: 1
batch_size: 64
device: cpu
plots: []
"""
    )
    assert dlrun("train", "small.yaml").code == 0
    found = json.loads(dlrun("eval", "last", "--json").out)
    [share] = [own["covered"] for own in found["intervals"]["price"]["between"]]
    said = dlrun("eval", "last").out
    assert "0.1 to 0.9" in said and f"{100 * share:.1f} %" in said and "mean width" in said
    shares = {own["level"]: own["share"] for own in found["intervals"]["price"]["below"]}
    assert abs(shares[0.5] - 0.5) > 3 * (0.5 * 0.5 / found["examples"]) ** 0.5
    [warning] = [line for line in found["warnings"] if "standard errors" in line]
    assert "(price) lie below the quantile 0.5, not 50.0 %" in warning and "warning: " in said
