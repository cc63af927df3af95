"""A part that would make a run unrepeatable is found before there is a folder, and named."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import own_parts, planned, trained

from dlrun.config.mistakes import ConfigError
from dlrun.training.evaluation import evaluate_run
from dlrun.training.plan_trials import try_on
from dlrun.training.trained import open_checkpoint

DATASET = '''
"""Points from a generator."""
import random
import numpy as np
import torch
from dlrun.data.examples import Data, Examples


def drawn(root):
    """Two classes."""
    def read():
        {seeding}
        x = torch.tensor(np.random.rand(20, 2), dtype=torch.float32)
        return {"train": Examples(x, torch.arange(20) % 2), "test": Examples(x, torch.arange(20) % 2)}
    return Data("classification", (2,), read, classes=("a", "b"))
'''
ARCHITECTURE = '''
"""A layer that begins somewhere."""
import numpy as np
import torch
from torch import nn


def begun(shape, outputs):
    """A linear layer with weights from numpy."""
    layer = nn.Linear(shape[0], outputs)
    layer.weight.data = torch.tensor(np.random.rand(outputs, shape[0]), dtype=torch.float32)
    return layer
'''
NOISY = '''
"""A layer with noise from elsewhere."""
import random
from torch import nn


class Noisy(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) + (random.random() if self.training else 0.0)


def noisy(shape, outputs):
    """A linear layer with noise."""
    return Noisy(shape[0], outputs)
'''
LOSS = '''
"""A loss that forgets some examples."""
import random
import torch.nn.functional as F
task = "classification"


def forgetful(outputs, targets):
    """Cross entropy, sometimes."""
    return F.cross_entropy(outputs, targets, reduction="none") * random.random()
'''
METRIC = '''
"""A metric that guesses."""
import numpy as np
import torch
task = "classification"


def guessing(outputs, targets):
    """A coin."""
    return torch.tensor(np.random.rand(len(targets)))
'''
AUGMENTATION = '''
"""Noise from numpy."""
import numpy as np
import torch


def shaken(inputs, generator):
    """Noise."""
    return inputs + torch.tensor(np.random.rand(*inputs.shape), dtype=inputs.dtype)
'''
PARTS = {
    "dataset/drawn.py": DATASET.replace("{seeding}", "pass"),
    "architecture/begun.py": ARCHITECTURE,
    "architecture/noisy.py": NOISY,
    "loss/forgetful.py": LOSS,
    "metrics/guessing.py": METRIC,
    "augmentations/shaken.py": AUGMENTATION,
}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("dataset", "drawn"),
        ("architecture", "begun"),
        ("architecture", "noisy"),
        ("loss", "forgetful"),
        ("metrics", "guessing"),
        ("augmentations", "shaken"),
    ],
)
def test_a_part_that_draws_from_elsewhere_is_named(key: str, name: str, tmp_path: Path) -> None:
    plan = planned(
        own_parts(tmp_path, PARTS), **{key: [name] if key in ("metrics", "augmentations") else name}
    )
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    [mistake] = refused.value.mistakes
    assert (mistake.key, f"{name} is not repeatable" in str(mistake)) == (key, True)


def test_all_of_them_are_named_at_once(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path, PARTS), architecture="begun", loss="forgetful", metrics=["guessing"])
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    assert [mistake.key for mistake in refused.value.mistakes] == ["architecture", "loss", "metrics"]


def test_numbers_from_a_seeded_generator_are_fine(tmp_path: Path) -> None:
    parts = {"dataset/drawn.py": DATASET.replace("{seeding}", "np.random.seed(3)")}
    plan = planned(own_parts(tmp_path, parts), dataset="drawn")
    try_on(plan, plan.load())


# ------------------------------------------------------------------------ models that read values

DEPTHS = '''
"""A residual network with stochastic depth, as it is usually written."""
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.layer, self.norm, self.drop = nn.Linear(width, width), nn.BatchNorm1d(width), drop

    def forward(self, x):
        if self.training and torch.rand(1).item() < self.drop:
            return x
        return x + self.norm(self.layer(x))


def depths(shape, outputs, *, layers: int = 3, width: int = 8):
    """Blocks that are dropped more often the deeper they are."""
    rates = [rate.item() for rate in torch.linspace(0, 0.5, layers)]
    blocks = [Block(width, rate) for rate in rates]
    return nn.Sequential(nn.Linear(shape[0], width), *blocks, nn.Linear(width, outputs))
'''


@pytest.mark.parametrize("width", [8, 4000], ids=["small", "large"])
def test_a_model_that_reads_values_while_it_is_made_trains_and_is_evaluated(
    width: int, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, {"architecture/depths.py": DEPTHS})
    plan = planned(parts, architecture={"name": "depths", "width": width}, epochs=1, seeds=[0, 1])
    run = trained(plan, tmp_path)
    model, saved = open_checkpoint(run.best, run, [], parts, Path("no-data"))
    report = evaluate_run(model, saved, run.best, "test")
    assert report["recorded"]["loss"]["difference"] == 0
    assert sum(layer.parameters for layer in plan.layers.layers) == plan.layers.parameters


def test_a_model_that_reads_values_is_tried_on_a_batch_of_one(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"architecture/depths.py": DEPTHS})
    plan = planned(parts, architecture="depths", batch_size=59)  # of 60
    with pytest.raises(ConfigError) as refused:
        try_on(plan, plan.load())
    assert "batch normalisation has no variance" in str(refused.value.mistakes[0])
