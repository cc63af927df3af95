"""Symbols: ten forms in two domains, each image by its own random numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dlrun.blocks.outlines import RADII
from dlrun.data.loaded import Loaded
from dlrun.dataset.symbols import drawn, symbols
from dlrun.errors import UserError

DOMAINS = ("filled", "sketched")


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_class_has_as_many_images(domain: str) -> None:
    data = symbols(Path(), domain=domain, images=3, test_images=2, size=16)  # type: ignore[arg-type]
    found = data.read()
    for split, count in (("train", 3), ("test", 2)):
        targets = found[split].targets
        assert isinstance(targets, torch.Tensor)
        assert targets.bincount().tolist() == [count] * len(RADII)
    assert not torch.equal(
        *(Loaded(data, torch.device("cpu"))[split].batch(torch.arange(5))[0] for split in found)
    )


def test_a_domain_shows_the_forms_in_its_own_way() -> None:
    """A sketch is light paper with a line, whatever the form."""
    filled, sketched = (
        drawn(torch.arange(10), torch.Generator().manual_seed(1), domain=domain, size=32, noise=0.0)
        for domain in DOMAINS
    )
    light = (sketched.amin(1) > 150).float().mean((1, 2))
    assert bool((light > 0.85).all())
    grey = sketched.float().mean(1).flatten(1)
    assert bool((grey.amin(1) < grey.median(1).values - 60).all()), "there is a line"
    assert float((filled.amin(1) > 150).float().mean()) < 0.3


def test_more_images_than_fit_are_refused() -> None:
    with pytest.raises(UserError, match="3,145,728,000 pixels"):
        symbols(Path(), size=512, images=1000)
