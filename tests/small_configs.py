"""A small config whose every kind of value the tests change, and the mistakes that are found in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dlrun.config.loading import load_config
from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts

BODY = """\
dataset: {name: spiral, points: 20}
architecture: {name: mlp, hidden: [4], activation: tanh}
loss: cross_entropy
optimizer: {name: adam, lr: 1e-2, weight_decay: 1e-5}
epochs: 10
batch_size: full
metrics: [accuracy]
"""


def mistakes(path: Path, overrides: Sequence[str] = (), parts: Parts | None = None) -> list[str]:
    """The mistakes for which the config is refused, a line each."""
    with pytest.raises(ConfigError) as refused:
        load_config(path, overrides, parts)
    return list(map(str, refused.value.mistakes))
