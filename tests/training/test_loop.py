"""The loop: what it learns, what it measures, when it stops, and how little stands around it."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SMALL, differences, own_parts, planned, run_through, weights
from torch import Tensor
from typer.testing import CliRunner

import dlrun
from dlrun.config.dumping import dump_config
from dlrun.config.loading import config_from_plain
from dlrun.data.trees import single
from dlrun.training.augmentation import Augmentation
from dlrun.training.loop import evaluate, fit, predictions, set_rate
from dlrun.training.plan import Plan
from dlrun.training.state import State

NOISE = [{"name": "noise", "sd": 0.3}]
DROPOUT = {"name": "mlp", "hidden": [8], "dropout": 0.4}


def test_training_lowers_the_loss() -> None:
    _, rows = run_through(planned(epochs=60, optimizer={"name": "adam", "lr": 0.05}))
    assert rows[-1]["train_loss"][0] < 0.6 * rows[0]["train_loss"][0]
    assert rows[-1]["test_accuracy"][0] > rows[0]["test_accuracy"][0]


def by_hand(plan: Plan, split: str) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the first copy over a whole split, in float64, not batched."""
    loaded = plan.load()
    model = plan.model().copies[0].double().eval()
    inputs, targets = loaded[split].batch(torch.arange(len(loaded[split])))
    return model(inputs.double()).detach(), targets.double() if targets.is_floating_point() else targets


@pytest.mark.parametrize("size", [7, 16, 59, 60, "full"])
def test_the_loss_and_accuracy_of_an_epoch_are_exact_means_over_a_short_last_batch(size: int | str) -> None:
    # A rate of 0 keeps the weights as they are, so that every batch is measured with the same ones.
    plan = planned(batch_size=size, epochs=1, optimizer={"name": "sgd", "lr": 0.0})
    _, [row] = run_through(plan)
    for split in ("train", "test"):
        outputs, targets = by_hand(plan, split)
        picked = outputs.log_softmax(1)[torch.arange(len(targets)), targets]
        assert row[f"{split}_loss"][0] == pytest.approx(-float(picked.mean()), rel=1e-6)
        assert row[f"{split}_accuracy"][0] == float((outputs.argmax(1) == targets).sum()) / len(targets)


def test_metrics_that_are_finished_are_finished_over_the_whole_split(tmp_path: Path) -> None:
    plan = planned(
        own_parts(tmp_path),
        dataset="line",
        loss="mse",
        batch_size=7,
        epochs=1,
        metrics=["rmse", "r2", "mae"],
        optimizer={"name": "sgd", "lr": 0.0},
    )
    _, [row] = run_through(plan)
    for split in ("train", "test"):
        outputs, targets = by_hand(plan, split)
        error = outputs - targets
        explained = 1 - error.square().mean(0) / targets.var(0, correction=0)
        assert row[f"{split}_loss"][0] == pytest.approx(float(error.square().mean()), rel=1e-5)
        assert row[f"{split}_rmse"][0] == pytest.approx(math.sqrt(error.square().mean()), rel=1e-5)
        assert row[f"{split}_r2"][0] == pytest.approx(float(explained.mean()), rel=1e-5)
        assert row[f"{split}_mae"][0] == pytest.approx(float(error.abs().mean()), rel=1e-5)


def test_the_evaluation_split_is_measured_in_more_than_one_batch() -> None:
    plan = planned(epochs=1, optimizer={"name": "sgd", "lr": 0.0})
    _, [whole] = run_through(plan)
    _, [in_sevens] = run_through(replace(plan, recipe=replace(plan.recipe, evaluation_batch=7)))
    assert in_sevens["test_loss"] == pytest.approx(whole["test_loss"], rel=1e-6)
    assert in_sevens["test_accuracy"] == whole["test_accuracy"]


def test_a_rate_that_an_optimizer_keeps_as_a_tensor_follows_the_schedule_too() -> None:
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=torch.tensor(0.5))
    for multiplier in (0.5, 0.5, 1.0):
        assert set_rate(optimizer.param_groups, multiplier) == 0.5 * multiplier
        assert optimizer.param_groups[0]["lr"].item() == 0.5 * multiplier


def test_the_schedule_sets_the_rate_from_the_progress_of_the_run() -> None:
    cosine = {"name": "cosine", "warmup": 0.25, "final": 0.1}
    plan = planned(schedule=cosine, epochs=4, batch_size=16, optimizer={"name": "sgd", "lr": 0.5})
    rates: list[float] = []
    state: State

    def noting(batches: Any) -> Any:
        for batch in batches:
            yield batch
            rates.append(state.optimizers.param_groups[0]["lr"])

    loaded = plan.load()
    hardware = plan.hardware(loaded)
    state = plan.state(hardware)
    rows = list(fit(state, loaded, plan.recipe, hardware, noting))
    steps = 4 * 4  # 60 points in batches of 16
    assert rates == [0.5 * plan.recipe.schedule.function((step + 0.5) / steps) for step in range(steps)]
    assert [row["lr"][0] for row in rows] == rates[3::4]
    assert len(set(rates)) > 10


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 1.0}, {"name": "sgd_scratch", "lr": 1.0}])
def test_each_copy_has_its_own_gradient_clipped(optimizer: dict[str, Any]) -> None:
    changes = {"epochs": 1, "batch_size": "full", "optimizer": optimizer, "seeds": [0, 1, 2]}
    limit = 0.05

    def updates(**more: Any) -> list[dict[str, Tensor]]:
        plan = planned(**changes, **more)
        before = weights(plan.state(plan.hardware(plan.load())))
        after = weights(run_through(plan)[0])
        return [{n: a[n] - b[n] for n in a} for a, b in zip(before, after, strict=True)]

    def length(update: dict[str, Tensor]) -> float:
        return math.sqrt(sum(float(step.double().square().sum()) for step in update.values()))

    free, clipped = updates(), updates(gradient_clip=limit)
    for one, other in zip(free, clipped, strict=True):
        assert length(one) > limit
        assert length(other) == pytest.approx(limit, rel=1e-3)
        for name in one:
            torch.testing.assert_close(other[name], one[name] * limit / length(one), rtol=1e-2, atol=1e-6)
    for one, other in zip(free, updates(gradient_clip=1000.0), strict=True):
        assert not differences(one, other)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_learns_and_keeps_float32_weights(precision: str) -> None:
    changes: dict[str, Any] = {"epochs": 20, "optimizer": {"name": "adam", "lr": 0.05}}
    full, full_rows = run_through(planned(**changes))
    state, rows = run_through(planned(precision=precision, **changes))
    assert all(p.dtype == torch.float32 for p in state.model.parameters())
    assert rows[-1]["train_loss"][0] < 0.9 * rows[0]["train_loss"][0]
    assert rows[0]["train_loss"][0] == pytest.approx(full_rows[0]["train_loss"][0], rel=0.02)
    assert differences(weights(state), weights(full)), "nothing was computed in low precision"


def test_evaluation_switches_dropout_off_and_draws_nothing() -> None:
    plan = planned(architecture=DROPOUT)
    loaded = plan.load()
    hardware = plan.hardware(loaded)
    model = plan.model()
    model.begin(1)
    before = torch.get_rng_state()
    first = evaluate(model, loaded["test"], plan.recipe, hardware)
    assert first == evaluate(model, loaded["test"], plan.recipe, hardware)
    assert torch.equal(before, torch.get_rng_state())
    [(outputs, _)] = predictions(model, loaded["test"], hardware, 1024)
    by_hand = model.copies[0].eval()(loaded["test"].inputs)
    assert torch.equal(outputs[0], by_hand)


def test_training_figures_over_the_whole_set_come_from_the_weights_as_they_stand() -> None:
    plan = planned(evaluate_train_every=1, epochs=2)
    state, rows = run_through(plan)
    loaded = plan.load()
    again = evaluate(state.model, loaded["train"], plan.recipe, plan.hardware(loaded))
    assert rows[-1]["trainset_loss"] == again["loss"]
    assert rows[-1]["trainset_loss"] != rows[-1]["train_loss"]


def test_augmentation_differs_by_epoch_and_copy_and_can_be_repeated() -> None:
    plan = planned(augmentations=NOISE)
    inputs = torch.zeros(2, 5, 2)

    def at(seeds: list[int], epoch: int) -> Augmentation:
        change = Augmentation(plan.recipe.augmentations, seeds, torch.device("cpu"), epochs=1)
        change.begin(epoch)
        return change

    def changed(change: Augmentation, inputs: Tensor = inputs) -> Tensor:
        given, targets = change(inputs, torch.zeros(len(inputs), 5))
        assert torch.equal(single(targets), torch.zeros(len(inputs), 5))
        return single(given)

    drawn = changed(at([4, 5], 1))
    assert torch.equal(drawn, changed(at([4, 5], 1)))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, changed(at([4, 5], 2)))
    assert torch.equal(drawn[1:], changed(at([5], 1), inputs[1:])), "a copy is its seed"
    change = at([4, 5], 1)
    assert torch.equal(changed(change), drawn)
    assert not torch.equal(changed(change), drawn), "each batch is drawn anew"
    change.begin(1)
    assert torch.equal(changed(change), drawn), "each epoch from its own start"


def test_augmentation_reaches_training_and_never_evaluation() -> None:
    still = {"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.0}}
    _, [plain] = run_through(planned(**still))
    _, [noisy] = run_through(planned(augmentations=NOISE, **still))
    assert noisy["train_loss"] != plain["train_loss"]
    assert noisy["test_loss"] == plain["test_loss"]


def test_metrics_beside_the_loss_change_nothing_about_training() -> None:
    with_them, _ = run_through(planned(epochs=3, metrics=["accuracy", "top5"]))
    without, _ = run_through(planned(epochs=3, metrics=[]))
    assert not differences(weights(with_them), weights(without))


def test_the_loop_reads_on_one_screen() -> None:
    assert len(inspect.getsource(fit).splitlines()) <= 45


SPY = '''
"""A linear layer that looks at who called it."""
import sys
from torch import nn

CHAINS = []


def spy(shape, outputs):
    """One layer."""
    return Spy(shape[0], outputs)


class Spy(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        if self.training and x.device.type == "cpu":
            frame, chain = sys._getframe(1), []
            while frame is not None:
                chain.append((frame.f_code.co_filename, frame.f_code.co_name))
                frame = frame.f_back
            CHAINS.append(chain)
        return self.layer(x)
'''


def test_at_most_five_frames_stand_between_the_command_and_forward(tmp_path: Path) -> None:
    from dlrun.console.commands.app import app

    parts = own_parts(tmp_path, {"architecture/spy.py": SPY})
    config = tmp_path / "spied.yaml"
    plain = SMALL | {"architecture": "spy", "name": "spied", "augmentations": NOISE}
    config.write_text(dump_config(config_from_plain(plain, "spied.yaml", parts=parts)))
    words = ["train", str(config), "--runs-dir", str(tmp_path), "--parts", str(tmp_path / "parts")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    package = str(Path(dlrun.__file__).parent)
    every = parts.module("architecture", "spy").CHAINS
    chains = [chain for chain in every if any(name == "fit" for _, name in chain)]  # not the trials before
    assert len(chains) == SMALL["epochs"] * 4  # type: ignore[operator]
    for chain in chains:
        ours = [name for file, name in chain if file.startswith(package)]
        assert "train" in ours
        frames = ours[: ours.index("train") + 1]  # from the one that calls forward up to the command
        assert len(frames) <= 5, frames
        assert frames[1:3] == ["update", "fit"], "the loop itself calls the model, in its own inner function"


def test_the_gradient_of_a_copy_does_not_see_the_others() -> None:
    plan = planned(seeds=[0, 1])
    model = plan.model()
    model.begin(1)
    inputs, targets = torch.randn(2, 6, 2), torch.randint(3, (2, 6))
    losses = model.each(plan.recipe.loss, model(inputs), targets)
    losses[0].mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.copies[0].parameters())
    assert all(p.grad is None or not p.grad.any() for p in model.copies[1].parameters())
