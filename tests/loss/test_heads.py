"""Losses of more than an estimate: counts, standard deviations and quantiles, from training to prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import (
    STEPS,
    differences,
    go_on,
    interrupting,
    mostly_slow,
    of_seed,
    outcome,
    own_parts,
    planned,
    started,
    trained,
)
from torch import Tensor
from torch.distributions import Normal, Poisson

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.data.trees import MAIN
from dlrun.errors import Diverged
from dlrun.results.prediction import Predictions, predict_files
from dlrun.run_folders.run import Run

SCALED = '''
"""Two targets of very different sizes."""
import torch
from dlrun.data import Data, Examples


def scaled(root, *, log: bool = False):
    """Standardised by known numbers."""

    def read():
        x = torch.randn(60, 3, generator=torch.Generator().manual_seed(2))
        targets = torch.stack([5000 + 900 * x[:, 0], 0.3 + 0.02 * x[:, 1].abs()], 1)
        return {"train": Examples(x, targets), "test": Examples(x, targets)}

    scaling = ((5000.0, 0.3), (900.0, 0.02))
    transform = "log" if log else None
    return Data("regression", (3,), read, targets=2, target_names=("big", "small"), scaling=scaling,
                target_transform=transform)
'''
ESTIMATES = {"dataset": "scaled", "metrics": ["mae", "r2"]}


def parts(folder: Path) -> Parts:
    return own_parts(folder, {"dataset/scaled.py": SCALED})


def loss_of(folder: Path, loss: Any, outputs: Any, targets: Tensor, **more: Any) -> Tensor:
    return planned(parts(folder), loss=loss, **ESTIMATES | more).recipe.loss(outputs, targets)


def drawn(n: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Targets, estimates and deviations (n, 2) in the unit of the targets."""
    stream = torch.Generator().manual_seed(5)
    sd, mean = torch.tensor([900.0, 0.02]), torch.tensor([5000.0, 0.3])
    targets, means = (mean + sd * torch.randn(n, 2, generator=stream) for _ in range(2))
    return targets, means, sd * (0.1 + torch.rand(n, 2, generator=stream))


def test_a_gaussian_has_the_density_of_torchs_distribution(tmp_path: Path) -> None:
    """Of targets as they are scaled, although outputs are in the unit of the targets."""
    targets, means, deviations = drawn()
    found = loss_of(tmp_path, "gaussian_nll", {MAIN: means, "deviation": deviations}, targets)
    sd = torch.tensor([900.0, 0.02])
    wanted = -Normal(means / sd, deviations / sd).log_prob(targets / sd).mean(1)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_a_poisson_has_the_probability_of_torchs_distribution(tmp_path: Path) -> None:
    stream = torch.Generator().manual_seed(6)
    rates = 10 * torch.rand(30, 2, generator=stream)
    counts = torch.poisson(rates, generator=stream)
    found = loss_of(tmp_path, "poisson", rates, counts, dataset="line")
    torch.testing.assert_close(found, -Poisson(rates).log_prob(counts).mean(1))
    assert bool(loss_of(tmp_path, "poisson", rates[:2], -counts[:2] - 1, dataset="line").isnan().all())


LEVELS = [0.05, 0.5, 0.8]


def test_a_constant_is_best_where_numpy_has_the_quantile(tmp_path: Path) -> None:
    targets = torch.randn(999, 2, generator=torch.Generator().manual_seed(7)).exp()
    best = torch.tensor(np.quantile(targets.numpy(), LEVELS, axis=0))  # (levels, 2)
    loss = {"name": "quantile", "levels": LEVELS}

    def mean(quantiles: Tensor) -> float:
        names = ["quantile 0.05", MAIN, "quantile 0.8"]
        outputs = {name: own.expand(999, 2) for name, own in zip(names, quantiles, strict=True)}
        return float(loss_of(tmp_path, loss, outputs, targets, dataset="line").double().mean())

    for level in range(3):
        for target in range(2):
            for away in (-0.05, 0.05):
                moved = best.clone()
                moved[level, target] += away
                assert mean(best) < mean(moved)
    errors = targets - best[1]
    pinball = torch.maximum(0.5 * errors, -0.5 * errors).mean()
    alone = loss_of(tmp_path, {"name": "quantile", "levels": [0.5]}, best[1].float(), targets, dataset="line")
    assert float(alone.mean()) == pytest.approx(float(pinball), rel=1e-5)


LOSSES: dict[str, Any] = {
    "gaussian": "gaussian_nll",
    "quantiles": {"name": "quantile", "levels": LEVELS},
    "one quantile": {"name": "quantile", "levels": [0.9]},
}


@pytest.mark.parametrize("stacked", mostly_slow([False, True], False))
@pytest.mark.parametrize("loss", LOSSES)
def test_such_a_run_resumes_bit_for_bit_and_each_seed_is_as_alone(
    loss: str, stacked: bool, tmp_path: Path, save_always: None
) -> None:
    wanted = {"seeds": [3, 1], "batch_size": 20, "loss": LOSSES[loss], "stacked": stacked, **ESTIMATES}
    own = parts(tmp_path)
    unbroken = trained(planned(own, **wanted), tmp_path)
    run = started(planned(own, **wanted), tmp_path)
    go_on(run, wanted, own, view=interrupting(STEPS + 1))
    go_on(run, wanted, own)
    assert not differences(outcome(unbroken), outcome(run))
    if not stacked:
        alone = trained(planned(own, **wanted | {"seeds": [1]}), tmp_path)
        assert not differences(of_seed(unbroken, 1), of_seed(alone, 1))


@pytest.mark.parametrize("dataset", ["scaled", "line"])
@pytest.mark.parametrize("loss", [*LOSSES.values(), "mse"])
def test_weights_have_the_names_that_they_have_with_any_loss(loss: Any, dataset: str, tmp_path: Path) -> None:
    """So that patterns of names and the weights of another run fit."""
    plan = planned(parts(tmp_path), loss=loss, dataset=dataset, metrics=[])
    names = [name.removeprefix(plan.optimizer.groups.prefix) for name, _ in plan.build().named_parameters()]
    assert names == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_a_guess_has_the_deviation_of_its_errors_in_training(tmp_path: Path) -> None:
    """So has the constant one, which is beaten where a model knows more."""
    plan = planned(parts(tmp_path), loss="gaussian_nll", epochs=1, **ESTIMATES)
    found = trained(plan, tmp_path).summary()["baselines"]["test"]["constant"]
    targets = plan.load()["train"].targets.double()
    sd = torch.tensor([900.0, 0.02]).double()
    scaled = targets / sd
    wanted = -Normal(scaled.mean(0), scaled.std(0, correction=0)).log_prob(scaled).mean()
    assert found["loss"] == pytest.approx(float(wanted), rel=1e-4)
    assert found["mae"] == pytest.approx(float((targets - targets.mean(0)).abs().mean()), rel=1e-4)


@pytest.mark.parametrize("levels", [LEVELS, [0.8]])
def test_a_column_that_guesses_has_the_quantiles_of_its_errors_in_training(
    levels: list[float], tmp_path: Path
) -> None:
    loss = {"name": "quantile", "levels": levels}
    plan = planned(own_parts(tmp_path), dataset="days", loss=loss, metrics=["mae"], epochs=1)
    found = trained(plan, tmp_path).summary()["baselines"]["test"]
    loaded = plan.load()
    before, truth = (
        {split: of(loaded[split]).double().view(-1) for split in ("train", "test")}
        for of in (lambda own: own.aside["day before"], lambda own: own.targets)
    )
    for name, guess in (("day before", before), ("constant", dict.fromkeys(truth, truth["train"].mean()))):
        each = []
        for level in levels:
            errors = (truth["train"] - guess["train"]).numpy()
            away = float(np.quantile(errors, level, method="nearest"))
            rest = truth["test"] - guess["test"] - away
            each.append(torch.maximum(level * rest, (level - 1) * rest).mean())
        assert found[name]["loss"] == pytest.approx(float(torch.stack(each).mean()), rel=1e-3), name


# ------------------------------------------------------------------------ from a table to predictions


def table(path: Path, n: int = 800) -> tuple[Tensor, Tensor, Tensor]:
    """A table whose noise grows with x: a price, and a count; gives x, the price and its true deviation."""
    stream = torch.Generator().manual_seed(9)
    x = 3 * torch.rand(n, generator=stream)
    deviation = 2000 + 8000 * x
    price = 200_000 + 50_000 * x + deviation * torch.randn(n, generator=stream)
    count = torch.poisson((0.5 + 0.6 * x).exp(), generator=stream)
    lines = [f"{a:.4f},{b:.1f},{c:.0f}" for a, b, c in zip(x, price, count, strict=True)]
    path.write_text("\n".join(["x,price,count", *lines]))
    return x, price, deviation


Rows = list[dict[str, Any]]


def predicted(folder: Path, loss: Any, target: str = "price") -> tuple[Run, Rows]:
    path = folder / "table.csv"
    dataset = {"name": "csv", "path": str(path), "inputs": ["x"], "target": target, "task": "regression"}
    changes = {"dataset": dataset, "architecture": {"name": "mlp", "hidden": [16]}, "loss": loss}
    changes |= {"epochs": 40, "batch_size": 64, "metrics": ["mae"]}
    run = trained(planned(**changes), folder)
    return run, predict_files(run.last, [path], Parts(), Path("no-data")).rows()


def column(rows: Rows, name: str) -> Tensor:
    return torch.tensor([row[name] for row in rows])


def test_a_gaussian_learns_how_sure_it_can_be(tmp_path: Path) -> None:
    """Prices of 200,000 are scaled, and both outputs come in their unit."""
    x, _, deviation = table(tmp_path / "table.csv")
    run, rows = predicted(tmp_path, "gaussian_nll")
    found = column(rows, "price, deviation")
    assert float((found / deviation).log().abs().mean()) < 0.25
    assert float((column(rows, "price") - 200_000 - 50_000 * x).abs().mean()) < 4000
    assert run.rows()["valid_mae"][-1] < 15_000, "metrics judge the mean"


def test_quantiles_hold_their_shares_of_the_targets(tmp_path: Path) -> None:
    _, prices, _ = table(tmp_path / "table.csv")
    _, rows = predicted(tmp_path, "quantile")
    for name, share in (("price, quantile 0.1", 0.1), ("price", 0.5), ("price, quantile 0.9", 0.9)):
        below = float((prices < column(rows, name)).double().mean())
        assert abs(below - share) < 0.05, name


def test_counts_are_predicted_by_their_rates_and_never_scaled(tmp_path: Path) -> None:
    x, _, _ = table(tmp_path / "table.csv")
    run, rows = predicted(tmp_path, "poisson", "count")
    assert "scale_target: false" in run.config.read_text()
    rates = (0.5 + 0.6 * x).exp()
    assert float((column(rows, "count") / rates).log().abs().mean()) < 0.15
    baseline = run.summary()["baselines"]["train"]["mean"]["loss"]
    assert run.rows()["train_loss"][-1] < baseline


def test_a_target_below_0_is_no_count(tmp_path: Path) -> None:
    changes = {"dataset": "line", "loss": "poisson", "metrics": []}
    with pytest.raises(Diverged, match="the loss of seed 0 is nan"):
        trained(planned(own_parts(tmp_path), **changes), tmp_path)


def test_several_targets_have_a_deviation_each_and_seeds_their_mean_variance(tmp_path: Path) -> None:
    plan = planned(parts(tmp_path), loss="gaussian_nll", **ESTIMATES)
    outputs = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    further = {"deviation": torch.tensor([[[3.0, 1.0]], [[4.0, 1.0]]])}
    [row] = Predictions(plan, 1, "", ["a"], outputs, further=further).rows()
    assert row == {
        "input": "a",
        "big": 2.0,
        "small": 3.0,
        "big, deviation": pytest.approx(12.5**0.5),
        "small, deviation": 1.0,
    }


@pytest.mark.parametrize(
    ("loss", "more", "what"),
    [
        (
            {"name": "quantile", "levels": [0.5, 0.5]},
            {},
            "one or more shares, each of them once",
        ),
        ({"name": "quantile", "levels": []}, {}, "one or more shares, each of them once"),
        ("gaussian_nll", {"dataset": {"name": "scaled", "log": True}}, "gives a deviation of the log"),
        ("poisson", {}, "which cannot be scaled for it"),
        ("gaussian_nll", {"dataset": "line", "task": "reconstruction"}, "which reconstruction does not have"),
    ],
)
def test_what_such_a_loss_cannot_say_is_refused(
    loss: Any, more: dict[str, Any], what: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=what):
        planned(parts(tmp_path), loss=loss, **ESTIMATES | more)
