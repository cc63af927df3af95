"""A plan that cannot work is refused before a run folder exists; equivalent choices give equal bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import OWN_PARTS, own_parts, planned

from dlrun.config.mistakes import ConfigError
from dlrun.system.control_groups import Limits
from dlrun.training.plan_trials import try_on

NO_FIGURE_EACH = '''
"""A loss that forgets the examples."""


def of_all(outputs, targets):
    """One number for a whole batch."""
    return outputs.mean()
'''

ASKS_AGAIN = '''
"""LBFGS."""
from torch import optim


def again(parameters, *, lr: float):
    """Several evaluations in a step."""
    return optim.LBFGS(parameters, lr=lr)
'''
TWO_HEADS = '''
"""A model with a second head."""
from torch import nn


class TwoHeads(nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.first, self.second = nn.Linear(features, outputs), nn.Linear(features, 4)

    def forward(self, inputs):
        return {"outputs": self.first(inputs), "code": self.second(inputs)}


def two_heads(shape, outputs):
    """A layer for each."""
    return TwoHeads(shape[0], outputs)
'''


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"loss": "l1"}, "loss", "l1 is for regression"),
        ({"dataset": {"name": "spiral", "classes": 1}}, "loss", "two or more classes"),
        ({"metrics": ["mae"]}, "metrics", "mae is for regression"),
        ({"metrics": ["mae"]}, "metrics", "write metrics: [accuracy]"),
        ({"loss": "l1"}, "loss", "write loss: cross_entropy"),
        ({"plots": ["predictions"]}, "plots", "write plots: [auto] for those that suit"),
        ({"plots": ["filters"]}, "plots", "write plots: [auto] for those that suit"),
        ({"augmentations": ["crop"]}, "augmentations", "crop does not take inputs of 2"),
        ({"plots": ["predictions"]}, "plots", "inputs of images"),
        ({"optimizer": {"name": "sgd", "lr": 0.1, "nesterov": True}}, "optimizer", "momentum"),
        ({"dataset": "mnist"}, "architecture", "flatten: true"),
        ({"dataset": "mnist", "plots": ["decision_regions"]}, "plots", "inputs of two numbers"),
        ({"monitor": "valid_loss"}, "monitor", "never measured"),
        ({"expect": {"trainset_loss": "< 1"}}, "expect.trainset_loss", "set evaluate_train_every"),
        (
            {"monitor": "test_loss", "evaluate_every": 5, "patience": 2, "expect": {}},
            "patience",
            "first measured after epoch 5",
        ),
    ],
)
def test_what_cannot_work_is_refused_and_named(changes: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(**changes)
    [mistake] = [line for line in map(str, refused.value.mistakes) if said in line]
    assert f" {key}: " in mistake


def test_a_dataset_that_guesses_an_option_it_does_not_have_is_refused_with_its_file(tmp_path: Path) -> None:
    days = OWN_PARTS["dataset/days.py"]
    stated = 'baselines=("day before",)'
    assert stated in days
    guessing = {"dataset/days.py": days.replace(stated, f'{stated}, guessed={{"mixed": True}}')}
    plan = planned(own_parts(tmp_path, guessing), dataset="days", loss="mse", metrics=[])
    assert plan.config.dataset.options["mixed"] is True
    wrong = {"dataset/days.py": days.replace(stated, f'{stated}, guessed={{"mixt": True}}')}
    parts = own_parts(tmp_path / "wrong", wrong)
    with pytest.raises(ConfigError) as refused:
        planned(parts, dataset="days", loss="mse", metrics=[])
    [mistake] = map(str, refused.value.mistakes)
    assert "dataset: Data states guessed={'mixt': …}, no option of days; did you mean 'mixed'?" in mistake
    assert str(parts.part("dataset", "days").path) in mistake


def test_mistakes_of_different_parts_are_said_together() -> None:
    with pytest.raises(ConfigError) as refused:
        planned(
            augmentations=["flip"],
            optimizer={"name": "sgd", "lr": 0.1, "nesterov": True},
            monitor="valid_loss",
            plots=["predictions"],
        )
    assert len(refused.value.mistakes) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stacked": True, "seeds": [0, 1]}, "set stacked: false"),
        ({"precision": "float16"}, "take bfloat16"),
    ],
)
def test_an_optimizer_that_asks_for_the_loss_again_is_refused_where_it_gets_none(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    parts = own_parts(tmp_path, {"optimizer/again.py": ASKS_AGAIN})
    planned(parts, optimizer={"name": "again", "lr": 0.1})
    with pytest.raises(ConfigError) as refused:
        planned(parts, optimizer={"name": "again", "lr": 0.1}, **changes)
    [mistake] = map(str, refused.value.mistakes)
    assert "optimizer: again computes the loss several times in a step" in mistake
    assert said in mistake


def test_a_loss_must_give_each_example_a_figure_of_its_own(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"loss/of_all.py": NO_FIGURE_EACH})
    with pytest.raises(ConfigError) as refused:
        planned(parts, loss="of_all")
    assert "each needs a figure of its own" in str(refused.value.mistakes[0])


@pytest.mark.parametrize("loss", ["bce", "mse", "nll", "cross_entropy", "cross_entropy_scratch"])
def test_a_loss_of_one_tensor_is_refused_for_a_model_that_gives_several(loss: str, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"architecture/two_heads.py": TWO_HEADS})
    with pytest.raises(ConfigError) as refused:
        planned(parts, architecture="two_heads", loss=loss, metrics=[])
    [mistake] = map(str, refused.value.mistakes)
    wanted = f"loss: {loss} takes a single tensor of outputs, but the model gives several: outputs 3, code 4"
    assert wanted in mistake


SHARED = '''
"""An augmentation of targets."""


def shared(inputs, targets, generator):
    """Both as they are; the targets have to be a tensor."""
    return inputs, targets.clone()
'''


def test_an_augmentation_of_targets_is_not_tried_without_any(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"augmentations/shared.py": SHARED})
    assert planned(parts, task="other", loss="mse", augmentations=["shared"], metrics=[]).recipe.augmentations
    with pytest.raises(ConfigError) as refused:
        planned(parts, loss="l1", augmentations=["shared"])
    [mistake] = map(str, refused.value.mistakes)
    assert "l1 is for regression" in mistake


def test_outputs_that_are_no_probabilities_are_refused_by_a_loss_that_takes_them_for_such() -> None:
    plan = planned(loss="nll")
    with pytest.raises(ConfigError, match="1 mistake") as refused:
        try_on(plan, plan.load())
    assert "log_softmax" in str(refused.value.mistakes[0])
    mlp = {"name": "mlp", "output_activation": "log_softmax"}
    for changes in ({"loss": "nll", "architecture": mlp}, {"loss": "cross_entropy_scratch"}, {}):
        fine = planned(**changes)
        try_on(fine, fine.load())


HUGE = '''
"""Outputs whose exponentials are beyond a float."""
from torch import nn


class Huge(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) + 1e4


def huge(shape, outputs):
    """A layer."""
    return Huge(shape[0], outputs)
'''


def test_large_outputs_are_called_no_log_probabilities_and_not_infinite(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path, {"architecture/huge.py": HUGE}), architecture="huge", loss="nll")
    with pytest.raises(ConfigError, match="1 mistake") as refused:
        try_on(plan, plan.load())
    assert "exponentials sum to inf instead of 1" in str(refused.value.mistakes[0])


@pytest.mark.parametrize(
    ("batch_size", "said"),
    [
        (59, "the last batch of 60 examples has a single example"),  # a full one, and what is left of 60
        (1, "every batch has a single example"),
    ],
)
def test_batch_normalisation_over_a_single_example_is_refused_before_training(
    batch_size: int, said: str
) -> None:
    plan = planned(architecture={"name": "mlp", "batch_norm": True}, batch_size=batch_size)
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    assert refused.value.exit_code == 2
    [mistake] = map(str, refused.value.mistakes)
    assert "batch_size: " in mistake and said in mistake
    better = int(mistake.rpartition("such as ")[2])
    changes: dict[str, Any]
    for changes in (
        {"batch_size": better},
        {"batch_size": 58},
        {"batch_size": "full"},
        {"batch_size": batch_size, "architecture": "mlp"},
    ):
        fine = planned(**{"architecture": {"name": "mlp", "batch_norm": True}} | changes)
        try_on(fine, fine.load())


def test_one_image_has_many_values_to_normalise_over(tmp_path: Path) -> None:
    cnn = {"name": "cnn", "channels": [2], "kernel_size": 3, "padding": 1, "batch_norm": True}
    parts = own_parts(tmp_path)
    plan = planned(parts, dataset="dots", architecture=cnn, batch_size=39)
    try_on(plan, plan.load())
    plan = planned(parts, dataset="dots", architecture=cnn | {"hidden": [4]}, batch_size=39)
    with pytest.raises(ConfigError):
        try_on(plan, plan.load())


def test_a_model_beyond_the_memory_is_refused_before_it_is_made() -> None:
    plan = planned(architecture={"name": "mlp", "hidden": [10**11]})
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    assert "GiB" in str(refused.value.mistakes[0])


def test_the_number_of_seeds_does_not_change_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.system.machine.cores", lambda: 8)
    # Enough work for two threads, so that with other copies counted in there would be more.
    wide = {"threads": "auto", "architecture": {"name": "mlp", "hidden": [1200, 1200]}, "batch_size": 60}
    one, many = planned(**wide), planned(**wide, seeds=list(range(6)))
    threads = one.hardware(one.load()).threads
    assert threads > 1
    assert many.hardware(many.load()).threads == threads


@pytest.mark.parametrize("far", [0.0, 100.0, 1e4])
def test_r2_is_right_wherever_the_targets_are(far: float) -> None:
    from dlrun.metrics.r2 import finish, r2

    stream = torch.Generator().manual_seed(0)
    targets = torch.randn(2000, 2, generator=stream) + torch.tensor([far, 0.0])
    outputs = targets + 0.5 * torch.randn(2000, 2, generator=stream)
    y, error = targets.double(), (outputs.double() - targets.double())
    expected = (1 - error.square().mean(0) / y.var(0, correction=0)).mean()
    assert finish(r2(outputs, targets).mean(0).tolist()) == pytest.approx(float(expected), abs=1e-5)


def test_one_logit_of_two_classes_is_always_among_the_first_five() -> None:
    from dlrun.metrics.top5 import top5

    assert top5(torch.tensor([[-1.0], [2.0]]), torch.tensor([1, 0])).tolist() == [True, True]


def test_what_a_container_has_no_memory_for_is_refused_with_the_file_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited = Limits(memory=700_000_000, memory_file="/sys/fs/cgroup/job/memory.max")
    monkeypatch.setattr("dlrun.system.machine.limits", lambda root: limited)
    plan = planned(architecture={"name": "mlp", "hidden": [9000, 9000]})
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    said = "need 0.9 GiB to train; cpu has 0.7, the limit of this container (/sys/fs/cgroup/job/memory.max)"
    assert said in str(refused.value.mistakes[0])
    plan = planned(architecture={"name": "mlp", "hidden": [1500, 1500]})
    try_on(plan, plan.load())


def test_a_function_that_makes_no_optimizer_is_refused_with_what_it_made(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"optimizer/three.py": "def three(parameters):\n    return 3\n"})
    with pytest.raises(ConfigError) as refused:
        planned(parts, optimizer="three")
    [mistake] = map(str, refused.value.mistakes)
    assert "optimizer: it returned 3, not a torch.optim.Optimizer" in mistake
