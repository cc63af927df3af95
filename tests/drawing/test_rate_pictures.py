"""The picture of a range test shows the losses, the band of the seeds and the rate that is suggested."""

from __future__ import annotations

import pytest

from dlrun.drawing.rate_pictures import rate_figure
from dlrun.training.rate_range import RateCurve, RateRange
from dlrun.training.rate_suggestion import SeedRate, Suggestion

RANGE = RateRange(1e-6, 1.0, 60)


def suggested(*ends: int) -> Suggestion:
    """Losses that fall at 1e-3 and then rise, of a seed for each number of steps."""
    losses = [2.0 - 1.5 / (1 + (1e-3 / rate) ** 2) + 100 * rate**2 for rate in RANGE.rates]
    each = [RateCurve(n, RANGE.rates[:end], losses[:end], "risen") for n, end in enumerate(ends)]
    return Suggestion(RANGE, list(map(SeedRate, each)), takes_closure=False)


@pytest.mark.parametrize("ends", [(58,), (58, 55, 60)])
def test_the_picture_has_the_losses_and_the_rate(ends: tuple[int, ...]) -> None:
    found = suggested(*ends)
    assert not found.doubts
    figure = rate_figure(found, "my_config", "spiral")
    [axes] = figure.axes
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (1e-6, 1.0)
    smoothed = next(line for line in axes.lines if "smoothed" in str(line.get_label()))
    assert len(smoothed.get_xdata()) == max(ends)
    marked = next(line for line in axes.lines if line.get_label() == f"{found.rate:g}")
    assert list(marked.get_xdata()) == [found.rate, found.rate]
    assert len(axes.collections) == (len(ends) > 1)  # the band
    assert axes.get_ylim()[0] < min(found.each[0].smoothed)
    assert axes.get_ylim()[1] < 4  # what has risen leaves the picture
    assert f"Learning rate {found.rate:g}" in figure.get_suptitle()


def test_a_rate_that_is_not_to_be_trusted_is_marked() -> None:
    figure = rate_figure(suggested(25), "my_config", "spiral")
    labels = [str(line.get_label()) for line in figure.axes[0].lines]
    assert figure.get_suptitle().startswith("No rate that can be trusted")
    assert any(label.startswith("not trusted: ") for label in labels)
