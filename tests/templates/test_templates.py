"""The parts that `dlrun new` writes compute what they say, alone and in a run that is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.patches import Rectangle
from small_runs import differences, go_on, outcome, own_parts, planned, trained

from dlrun.config.registry import FOLDERS
from dlrun.console.commands.new import PLACEHOLDER, TEMPLATES
from dlrun.templates import architecture, augmentations, dataset, loss, metrics, optimizer, schedule
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_trials import try_on

WRITTEN = {
    f"{kind}/mine.py": (TEMPLATES / f"{kind}.py").read_text(encoding="utf-8").replace(PLACEHOLDER, "mine")
    for kind in FOLDERS
}
ALL: dict[str, Any] = {
    "dataset": {"name": "mine", "points": 30},
    "architecture": {"name": "mine", "width": 8},
    "loss": "mine",
    "optimizer": {"name": "mine", "lr": 0.02},
    "schedule": "mine",
    "augmentations": ["mine"],
    "metrics": ["accuracy", "mine"],
    "task": "mine",
    "seeds": [0, 1],
    "epochs": 8,
}


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_there_is_a_template_for_each_kind_and_nothing_else() -> None:
    assert sorted(path.stem for path in TEMPLATES.glob("*.py")) == sorted(FOLDERS)


def test_templates_of_all_kinds_train_together_and_are_resumed_bit_for_bit(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, WRITTEN)
    plan = planned(parts, **ALL)
    try_on(plan, plan.load())
    whole, halves = trained(plan, tmp_path), trained(planned(parts, **ALL), tmp_path, stop_after=2)
    go_on(halves, ALL, parts)
    assert not differences(outcome(whole), outcome(halves))
    model, saved = open_checkpoint(whole.last, whole, [], parts, Path("no-data"))
    outputs, targets = model.outputs("test")
    sure, said = outputs.softmax(-1).max(-1)
    answered = sure >= 0.8
    right = ((said == targets) & answered).sum(1) / answered.sum(1)
    report = evaluate_run(model, saved, whole.last, "test")
    assert 0 < answered.double().mean() < 1
    assert report["metrics"]["answered"] == pytest.approx(answered.double().mean().item())
    assert report["metrics"]["accuracy_of_answers"] == pytest.approx(right.mean().item(), rel=1e-6)
    unsure = model.plan.task.row(torch.zeros(2, 1, 3)[:, 0])
    assert unsure["class"] == "undecided"
    assert model.plan.task.row(torch.tensor([[9.0, 0.0, 0.0]] * 2))["class"] == "ring 1"


def test_the_histograms_count_each_example_once(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, WRITTEN)
    run = trained(planned(parts, epochs=20, seeds=[0, 1]), tmp_path)
    model, _ = open_checkpoint(run.last, run, [], parts, Path("no-data"))
    outputs, targets = model.outputs("test")
    right = int((outputs.argmax(-1) == targets).sum())
    [axes] = parts.find("plots", "mine")(model, bins=10).axes
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    heights = torch.tensor([bar.get_height() for bar in bars]).view(2, 10)
    assert heights.sum(1).tolist() == [right, outputs.shape[0] * outputs.shape[1] - right]
    expected = torch.histc(outputs.softmax(-1).amax(-1), 10, 0, 1)
    assert heights.sum(0).tolist() == expected.tolist()


def test_the_dataset_has_rings_of_the_radii_1_2_and_3() -> None:
    data = dataset.my_part(Path(), points=500)
    once, again = data.read(), data.read()
    for split in ("train", "test"):
        inputs, targets = once[split].inputs, once[split].targets
        assert torch.equal(inputs, again[split].inputs)
        radii = [inputs[targets == ring].norm(dim=1).mean().item() for ring in range(3)]
        assert radii == pytest.approx([1, 2, 3], abs=0.05)
    prepared = data.fit(once["train"])(once["train"].inputs)
    torch.testing.assert_close(prepared.std(0), torch.ones(2))


def test_a_block_without_its_last_layer_gives_its_inputs_back() -> None:
    block = architecture.Block(5)
    inputs = drawn(3, 5)
    assert not torch.equal(block(inputs), inputs)
    for weight in block.layers[-1].parameters():
        weight.data.zero_()
    assert torch.equal(block(inputs), inputs)
    assert architecture.my_part((1, 4, 4), 3, width=5)(drawn(2, 1, 4, 4)).shape == (2, 3)


def test_the_loss_is_the_focal_loss() -> None:
    outputs, targets = drawn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    p = outputs.softmax(1)[torch.arange(6), targets]
    for gamma in (0.0, 2.0):
        given = loss.my_part(outputs, targets, gamma=gamma)
        torch.testing.assert_close(given, -((1 - p) ** gamma) * p.log())


def test_the_optimizer_takes_the_steps_of_lion() -> None:
    weight = torch.tensor([1.0, -2.0])
    made = optimizer.my_part([weight], lr=0.1, weight_decay=0.5)
    for gradient in ([1.0, 1.0], [-0.1, -20.0]):
        weight.grad = torch.tensor(gradient)
        made.step()
    # m₁ = 0.01 · g₁; in the second step 0.9 · m₁ + 0.1 · g₂ = -0.001 and -1.991: up by 0.1 both
    expected = [(first * 0.95 - 0.1) * 0.95 + 0.1 for first in (1.0, -2.0)]
    assert weight.tolist() == pytest.approx(expected)


def test_the_schedule_rises_stays_and_falls() -> None:
    rates = [schedule.my_part(progress) for progress in (0.0, 0.05, 0.1, 0.5, 0.7, 0.85, 1.0)]
    assert rates == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])
    assert schedule.my_part(0.0, warmup=0.0, cooldown=0.0) == schedule.my_part(1.0, cooldown=0.0) == 1


def test_the_metric_counts_what_is_right_and_sure() -> None:
    probabilities = torch.tensor([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3], [0.2, 0.8, 0.0]])
    assert metrics.my_part(probabilities, torch.tensor([0, 0, 0])).tolist() == [True, False, False]
    assert metrics.my_part(probabilities, torch.tensor([0, 0, 1]), least=0.3).all()


def test_the_augmentation_scales_each_example_by_a_factor_of_its_own() -> None:
    inputs = drawn(200, 2, 3)
    factors = augmentations.my_part(inputs, torch.Generator().manual_seed(0), spread=0.2) / inputs
    torch.testing.assert_close(factors, factors[:, :1, :1].expand_as(factors))
    assert 0.8 <= factors.min() < 0.82
    assert 1.18 < factors.max() <= 1.2
