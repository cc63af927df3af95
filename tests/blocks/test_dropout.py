"""Dropout of branches: whole examples are left out, and the mean stays."""

from __future__ import annotations

import pytest
import torch

from dlrun.architecture.vit import vit
from dlrun.blocks.dropout import DropPath, drop_paths_of
from dlrun.data.examples import Data
from dlrun.data.torchvision_import import import_torchvision


def test_a_branch_is_left_out_for_whole_examples_as_torchvision_does() -> None:
    branch = torch.rand(400, 3, 5) + 1
    torch.manual_seed(3)
    ours = DropPath(0.25)(branch)
    torch.manual_seed(3)
    theirs = import_torchvision().ops.StochasticDepth(0.25, "row")(branch)
    for dropped in (ours, theirs):
        left = dropped.flatten(1).ne(0)
        assert torch.equal(left.all(1), left.any(1)), "an example has its branch, or not"
        kept = dropped[left.all(1)]
        torch.testing.assert_close(kept, branch[left.all(1)] / 0.75)
        assert 0.68 < float(left.all(1).float().mean()) < 0.82


def test_nothing_is_left_out_of_an_evaluation() -> None:
    branch = torch.rand(4, 3)
    assert torch.equal(DropPath(0.9).eval()(branch), branch)


def test_later_blocks_are_left_out_more_often() -> None:
    assert drop_paths_of(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert drop_paths_of(0.3, 1) == [0.3]
    assert drop_paths_of(0.0, 3) == [0, 0, 0]


def test_the_blocks_of_a_vision_transformer_leave_out_what_they_add() -> None:
    data = Data("classification", (3, 8, 8), dict, classes=("a", "b"))
    model = vit((3, 8, 8), 2, data, layers=3, width=8, heads=2, drop_path=0.4)
    paths = [module.dropout.p for module in model.modules() if isinstance(module, DropPath)]
    assert paths == pytest.approx([0.2, 0.2, 0.4, 0.4]), "the first block is never left out"
    images = torch.rand(6, 3, 8, 8)
    whole = model.eval()(images)
    model.train()
    assert not torch.allclose(model(images), whole)
    for module in model.modules():
        if isinstance(module, DropPath):
            module.dropout.p = 0.0
    torch.testing.assert_close(model(images), whole)
