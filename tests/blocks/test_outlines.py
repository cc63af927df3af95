"""Outlines: each symbol has its corners where its formula says."""

from __future__ import annotations

import pytest
import torch

from dlrun.blocks.outlines import RADII


def test_an_edge_is_where_its_formula_says() -> None:
    angles = torch.tensor([0.0, torch.pi / 2])
    assert RADII["bar"](angles).tolist() == pytest.approx([1.0, 0.38])
    assert RADII["cross"](angles).tolist() == pytest.approx([1.0, 1.0])
    up = torch.tensor([-torch.pi / 2])
    for name in ("triangle", "square", "pentagon"):
        assert float(RADII[name](up)) == pytest.approx(1.0, abs=1e-5), f"a corner of a {name} points up"
    around = torch.linspace(0, 2 * torch.pi, 1000)
    star = RADII["star"](around)
    assert (float(star.min()), float(star.max())) == pytest.approx((0.42, 1.0), abs=0.01)


@pytest.mark.parametrize("name", RADII)
def test_an_outline_reaches_about_as_far_as_any_other(name: str) -> None:
    radii = RADII[name](torch.linspace(-torch.pi, torch.pi, 5000))
    assert float(radii.min()) > 0
    assert 0.85 < float(radii.max()) <= 1.1
