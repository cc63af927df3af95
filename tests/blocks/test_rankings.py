"""The rank of the true class among the scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_runs import planned, trained

from dlrun.blocks.rankings import is_among_largest
from dlrun.metrics.top5 import top5
from dlrun.metrics.top_k import top_k


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_the_true_class_is_among_the_k_largest(k: int) -> None:
    outputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(40) % 4
    ranks = [int((own > own[target]).sum()) for own, target in zip(outputs, targets, strict=True)]
    assert is_among_largest(outputs, targets, k).tolist() == [rank < k for rank in ranks]
    assert top_k(outputs, targets, k=k).tolist() == [rank < k for rank in ranks]
    assert top5(outputs, targets).all()


def test_a_single_logit_ranks_two_classes() -> None:
    outputs, targets = torch.tensor([[2.0], [-1.0], [3.0]]), torch.tensor([1, 1, 0])
    assert is_among_largest(outputs, targets, 1).tolist() == [True, False, False]
    assert is_among_largest(outputs, targets, 2).all()


def test_k_is_an_option_of_the_metric(tmp_path: Path) -> None:
    metrics = [{"name": "top_k", "k": 2}, "accuracy"]
    figures = trained(planned(metrics=metrics), tmp_path).summary()["final"]
    assert 1 >= figures["test_top_k"]["mean"] >= figures["test_accuracy"]["mean"]
