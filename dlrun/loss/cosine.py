"""The cosine distance of vectors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlrun.data.examples import Data
from dlrun.errors import UserError

task = "regression"


def cosine(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the cosine of the angle between outputs and targets, from 0 to 2, whatever their lengths.

    Both of shape (n, d), such as embeddings; gives (n,).
    """
    return 1 - F.cosine_similarity(outputs, targets, dim=1)


def outputs(data: Data) -> int:
    """The number of outputs: one for each target. Raises UserError if there is only one."""
    if data.targets < 2:
        raise UserError("it compares the directions of vectors, but the dataset has one target")
    return data.targets
