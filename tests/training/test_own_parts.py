"""A part that would make a run unrepeatable is found before there is a folder, and named."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import own_parts, planned

from dlrun.config.mistakes import ConfigError

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
        plan.try_on(plan.load())
    [mistake] = refused.value.mistakes
    assert (mistake.key, f"{name} is not repeatable" in str(mistake)) == (key, True)


def test_all_of_them_are_named_at_once(tmp_path: Path) -> None:
    plan = planned(own_parts(tmp_path, PARTS), architecture="begun", loss="forgetful", metrics=["guessing"])
    with pytest.raises(ConfigError) as refused:
        plan.try_on(plan.load())
    assert [mistake.key for mistake in refused.value.mistakes] == ["architecture", "loss", "metrics"]


def test_numbers_from_a_seeded_generator_are_fine(tmp_path: Path) -> None:
    parts = {"dataset/drawn.py": DATASET.replace("{seeding}", "np.random.seed(3)")}
    plan = planned(own_parts(tmp_path, parts), dataset="drawn")
    plan.try_on(plan.load())
