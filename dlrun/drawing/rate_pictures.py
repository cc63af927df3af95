"""The picture of a learning-rate range test: losses over rates, and the rate that is suggested."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from dlrun.drawing.style import BLUE, GREY, INK, RED, TEXT, WIDTH, put_title, shown, tidy
from dlrun.training.rate_suggestion import Suggestion

_ABOVE = 0.25  # of the fall, shown above the loss before training: what has risen leaves the picture


def rate_figure(found: Suggestion, name: str, dataset: str) -> Figure:
    """Draw the smoothed loss over the rate, in a band from the lowest to the highest seed.

    Of a single seed the losses of its batches are drawn too. Seeds whose test ended earlier are not in the
    band from there on.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    steps = max(len(seed.curve.rates) for seed in found.each)
    rates = np.array(found.tested.rates[:steps])
    losses = np.full((steps, len(found.each)), np.nan)
    for copy, seed in enumerate(found.each):
        losses[: len(seed.smoothed), copy] = seed.smoothed
    if len(found.each) > 1:
        low, high = np.nanmin(losses, 1), np.nanmax(losses, 1)
        axes.fill_between(rates, low, high, color=BLUE, alpha=0.2, linewidth=0, label="from seed to seed")
        axes.plot(rates, np.nanmean(losses, 1), color=BLUE, linewidth=1.8, label="mean, smoothed")
    else:
        [seed] = found.each
        axes.plot(
            rates, seed.curve.losses, ".", color=GREY, alpha=0.5, markersize=4, linewidth=0, label="a batch"
        )
        axes.plot(rates, losses[:, 0], color=BLUE, linewidth=1.8, label="smoothed")
    before = max(seed.curve.begun_at for seed in found.each)
    lowest = float(np.nanmin(losses))
    if len(found.each) == 1:  # whose batches are drawn
        lowest = min(found.each[0].curve.losses)
    room = _ABOVE * ((before - lowest) or abs(before) or 1.0)
    axes.set_ylim(lowest - 0.4 * room, before + room)
    axes.set_xlim(found.tested.low, found.tested.high)
    style, words = (":", "not trusted: ") if found.doubts else ("--", "")
    label = f"{words}{found.rate:g}"
    axes.axvline(found.rate, color=RED, linestyle=style, linewidth=1.6, label=label)
    axes.set_xlabel("learning rate", fontsize=TEXT)
    axes.set_ylabel("training loss of a batch", fontsize=TEXT)
    tidy(axes)
    axes.legend(
        fontsize=TEXT - 0.5,
        loc="lower left",
        labelcolor=INK,
        framealpha=0.85,
        facecolor="white",
        edgecolor="none",
    )
    seeds = f"{len(found.each)} seeds" if len(found.each) > 1 else ""
    facts = [shown(name, 30), shown(dataset, 32), *filter(None, [seeds])]
    rule = "steepest descent of the loss"
    what = f"Learning rate {found.rate:g}: {rule}" if not found.doubts else "No rate that can be trusted"
    put_title(figure, f"{what}\n{' · '.join(facts)}")
    return figure
