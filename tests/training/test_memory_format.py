"""Channels last in memory: the same training in another layout, which resumes and evaluates as it ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    SMALL_CNN,
    differences,
    go_on,
    mostly_slow,
    of_seed,
    outcome,
    own_parts,
    planned,
    trained,
)
from torch import Tensor, nn

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.results.trained_model import load
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_trials import try_on

LAST: dict[str, Any] = {
    "dataset": "dots",
    "architecture": SMALL_CNN,
    "channels_last": True,
    "seeds": [0, 1],
    "batch_size": 7,
}


DROPPED = '''
"""Convolutions between which numbers of images are dropped."""
from torch import nn


def dropped(shape, outputs):
    """Two convolutions."""
    first, second = nn.Conv2d(shape[0], 3, 3), nn.Conv2d(3, 2, 3)
    dropped = nn.Sequential(first, nn.Dropout(0.4), second, nn.Dropout2d(0.4))
    return nn.Sequential(dropped, nn.Flatten(), nn.Linear(32, outputs))
'''
VIEWED = '''
"""A convolution whose images are viewed as vectors."""
from torch import nn


class Viewed(nn.Module):
    def __init__(self, shape, outputs):
        super().__init__()
        self.first, self.last = nn.Conv2d(shape[0], 3, 3), nn.Linear(108, outputs)

    def forward(self, images):
        return self.last(self.first(images).view(len(images), -1))


def viewed(shape, outputs):
    """One convolution."""
    return Viewed(shape, outputs)
'''


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return own_parts(tmp_path, {"architecture/dropped.py": DROPPED, "architecture/viewed.py": VIEWED})


def is_last(tensor: Tensor) -> bool:
    """True if the channels are last by the strides, too, of a single channel."""
    return tensor.is_contiguous(memory_format=torch.channels_last) and tensor.stride(1) == 1


def test_images_weights_and_the_state_of_the_optimizer_are_laid_out_so(tmp_path: Path, parts: Parts) -> None:
    seen: list[Tensor] = []
    model = planned(parts, **LAST).model()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda layer, given, outputs: seen.extend([*given, outputs]))
    model.begin(1)
    model(torch.randn(2, 5, 1, 8, 8))
    assert len(seen) == 8
    assert all(map(is_last, seen))
    run = trained(planned(parts, **LAST), tmp_path)
    state = load_checkpoint(run.last).state
    kept = [own for copy in state["model"] for own in copy.values() if own.dim() == 4]
    moments = [own for own in tensors(state["optimizer"]) if own.dim() == 4]
    assert len(kept) == 4
    assert len(moments) == 8
    assert all(map(is_last, kept + moments))


def tensors(tree: Any) -> list[Tensor]:
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    return [tree] if isinstance(tree, Tensor) else [own for each in inside for own in tensors(each)]


@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": {"name": "adam", "lr": 0.05}},
        {"optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}},
        {"architecture": "dropped"},
        {"architecture": "dropped", "micro_batch": 3},
    ],
    ids=["adam", "momentum", "dropout of images", "dropout of micro-batches"],
)
def test_what_is_learnt_is_the_same_up_to_rounding(
    tmp_path: Path, parts: Parts, more: dict[str, Any]
) -> None:
    changes = LAST | {"precision": "float64"} | more
    last, first = (
        outcome(trained(planned(parts, **changes | {"channels_last": way}), tmp_path))
        for way in (True, False)
    )
    for ours, theirs in zip(tensors(last["model"]), tensors(first["model"]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


MORE: dict[str, dict[str, Any]] = {
    "adam": {},
    "clipped": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "gradient_clip": 0.5},
    "averaged": {"average": "ema", "micro_batch": 3},
    "bfloat16": {"precision": "bfloat16", "augmentations": [{"name": "crop", "padding": 1}]},
}


@pytest.mark.parametrize("kind", mostly_slow(MORE, "averaged", "bfloat16"))
def test_such_a_run_resumes_bit_for_bit_and_each_seed_is_as_alone(
    tmp_path: Path, parts: Parts, kind: str
) -> None:
    changes = LAST | MORE[kind]
    unbroken = trained(planned(parts, **changes), tmp_path)
    run = trained(planned(parts, **changes), tmp_path, stop_after=1)
    go_on(run, changes, parts)
    assert not differences(outcome(unbroken), outcome(run))
    alone = trained(planned(parts, **changes | {"seeds": [1]}), tmp_path)
    assert not differences(of_seed(alone, 1), of_seed(unbroken, 1))


def test_a_run_does_not_go_on_in_another_layout(tmp_path: Path, parts: Parts) -> None:
    run = trained(planned(parts, **LAST), tmp_path, stop_after=1)
    with pytest.raises(UserError, match="another channels_last"):
        go_on(run, LAST | {"channels_last": False}, parts)


def test_its_figures_are_measured_again_exactly_and_a_loaded_model_gives_its_outputs(
    tmp_path: Path, parts: Parts
) -> None:
    run = trained(planned(parts, **LAST), tmp_path)
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    found = evaluate_run(model, saved, run.best, "test")["recorded"]
    assert [own["difference"] for own in found.values()] == [0.0, 0.0]
    images = planned(parts, **LAST).data.read()["test"].inputs
    loaded = load(run.folder, seed=1, parts=tmp_path / "parts")
    assert torch.equal(loaded.model(images), model.outputs("test")[0][1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"architecture": {"name": "mlp", "hidden": [3], "flatten": True}},
            "the model has no convolution of images",
        ),
        ({"stacked": True}, "the images of stacked seeds have an axis more"),
        ({"optimizer": {"name": "lbfgs", "lr": 0.1}}, "lbfgs makes no step of weights whose channels"),
    ],
)
def test_where_the_layout_has_no_sense_it_is_refused(
    parts: Parts, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        planned(parts, **LAST | changes)
    [mistake] = refused.value.mistakes
    assert mistake.key == "channels_last"
    assert mistake.what.startswith(said)
    assert "channels_last: false" in mistake.fix


def test_a_model_that_takes_the_usual_layout_for_granted_is_refused_with_the_remedy(parts: Parts) -> None:
    plan = planned(parts, **LAST | {"architecture": "viewed"})
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    [mistake] = refused.value.mistakes
    assert mistake.key == "channels_last"
    assert ".flatten(1)" in mistake.fix
    usual = planned(parts, **LAST | {"architecture": "viewed", "channels_last": False})
    try_on(usual, usual.load())
