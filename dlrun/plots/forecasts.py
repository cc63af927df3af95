"""Forecasts of a series beside what came, and their error over the steps ahead."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dlrun.data.example_weights import weighted_mean
from dlrun.drawing.dates import Numbers, apart, date_axis, dates_of
from dlrun.drawing.estimates import errors
from dlrun.drawing.fonts import Picture
from dlrun.drawing.lines import Look, draw_line
from dlrun.drawing.style import (
    BLUE,
    CLASS_COLOURS,
    RED,
    TEXT,
    WIDTH,
    headline,
    if_weighted,
    legend_above,
    over_seeds,
    put_title,
    shown,
    target_name,
    tidy,
    unit_after,
)
from dlrun.errors import UserError
from dlrun.training.baselines import guesses
from dlrun.training.trained import Trained

task = "regression"
of_estimates = True
automatic = True
inputs = "windows"

FAR = 6  # errors so many times those of the model are words and leave the axis to the others
COLOURS = [colour for colour in CLASS_COLOURS if colour not in (BLUE, RED)]


def forecasts(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    most: Annotated[int, Ge(1), Le(100_000)] = 240,
) -> Figure:
    """The last steps of a split with forecasts of them, and the error of each step ahead.

    A forecast is a line over the whole horizon that begins at a dot, the mean over seeds ± 1 sd; the next one
    begins where it ends; those of a single step are joined. Errors are absolute, means over all windows of
    the split, beside those of the baselines.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        most: Steps to show, the last ones.
    """
    chosen = trained.chosen(split)
    if "step" not in trained.loaded[chosen].aside:
        raise UserError(
            'forecasts: the dataset does not say which targets are the same: aside["step"] (n, d)'
        )
    ratios = [1.3, 1] if trained.data.targets > 1 else [1]
    figure = Picture(figsize=(WIDTH, 1.3 + 2.25 * sum(ratios)), layout="constrained")
    upper, *lower = figure.subplots(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
    drawn, steps = draw_forecasts(trained, upper, chosen, most)
    for axes in lower:
        draw_errors(trained, axes, chosen)
    figure.align_ylabels()
    facts = [f"the last {drawn:,} of {steps:,} steps"] if drawn < steps else []
    facts.append(if_weighted(trained))
    said = errors(trained, chosen, *trained.outputs(chosen))
    put_title(figure, headline(trained, said, trained.at_epoch(), *facts, over_seeds(trained)))
    return figure


def draw_forecasts(trained: Trained, axes: Axes, split: str, most: int) -> tuple[int, int]:
    """Draw the true values of the last steps and forecasts that do not overlap.

    Gives the number of steps with a true value that are drawn, and of all.
    """
    outputs, targets = trained.outputs(split)
    steps, dates = trained.loaded[split].aside["step"], dates_of(trained.loaded[split], slice(None))
    horizon = steps.shape[1]
    order = steps[:, 0].argsort(stable=True)
    recent = order[steps[order, 0] > steps.max() - max(most, horizon)]
    flat, first = np.unique(steps[recent].numpy(), return_index=True)
    places = flat if dates is None else dates[recent.numpy()].flatten()[first]
    truth = targets[recent].double().flatten().numpy()[first]
    tidy(axes)
    axes.plot(*apart(flat, places, truth), color=BLUE, linewidth=1.6, label="true")

    if horizon == 1:
        draw_forecast(axes, "forecasts of 1 step", flat, places, outputs[:, recent, 0].numpy()[:, first])
    end = int(steps.max()) + 1
    for number, example in enumerate(recent.flip(0).tolist() if horizon > 1 else []):
        if int(steps[example, -1]) >= end:
            continue  # the forecast drawn behind it begins within its horizon
        end = int(steps[example, 0])
        own = steps[example].numpy()
        label = "_" if number else f"forecasts of {horizon:,} steps"
        draw_forecast(axes, label, own, own if dates is None else dates[example], outputs[:, example].numpy())
    axes.set_ylabel(target_name(trained, None), fontsize=TEXT)
    if dates is None:
        axes.set_xlabel("step of the series", fontsize=TEXT)
    else:
        date_axis(axes)
    legend_above(axes, 2)
    return len(flat), len(steps.unique())


def draw_forecast(axes: Axes, label: str, steps: Numbers, places: Numbers, said: Numbers) -> None:
    """Draw forecasts (copies, n) of consecutive steps over their places: a line from a dot, with its band."""
    mean = said.mean(0, dtype=np.float64)
    if len(said) > 1:
        sd = said.std(0, ddof=1, dtype=np.float64)
        (over, low), (_, high) = apart(steps, places, mean - sd), apart(steps, places, mean + sd)
        axes.fill_between(over, low, high, color=RED, alpha=0.25, linewidth=0)
    line = apart(steps, places, mean)
    axes.plot(*line, color=RED, linewidth=1.5, marker="o", markevery=[0], markersize=3.5, label=label)


def draw_errors(trained: Trained, axes: Axes, split: str) -> None:
    """Draw the mean absolute error of the model and of each baseline over the steps ahead."""
    outputs, targets = trained.outputs(split)
    truth, unit = targets.double(), unit_after(trained)
    ahead = np.arange(1, truth.shape[1] + 1, dtype=np.float64)
    weights = trained.weights(split)
    reached = over_examples(outputs, truth, weights)
    tidy(axes)
    draw_line(axes, Look("model", RED, width=2.0, order=3), ahead, reached.T)
    highest = reached.max()
    top = highest
    for number, (name, guess) in enumerate(guesses(trained.plan, trained.loaded, split).items()):
        without = over_examples(guess.cpu().unsqueeze(0), truth, weights)
        colour = COLOURS[number % len(COLOURS)]
        is_far = without.min() > FAR * highest
        label = f"{shown(name)}: {without.mean():.4g}{unit}{' (above)' if is_far else ''}"
        draw_line(axes, Look(label, colour, "--", 1.5), ahead, without.T)
        top = max(top, min(without.max(), FAR * highest))
    axes.set_xlim(0.5, len(ahead) + 0.5)
    axes.set_ylim(0, 1.08 * top)
    axes.set_xlabel("steps ahead", fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set_ylabel(f"MAE{unit and f' ({unit.strip()})'}", fontsize=TEXT)
    legend_above(axes, 2)


def over_examples(
    outputs: Tensor, truth: Tensor, weights: Tensor | None = None
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The mean absolute error of outputs (copies, n, d) for each target, (copies, d); weights are (n,)."""
    return torch.stack([weighted_mean((own.double() - truth).abs(), weights) for own in outputs]).numpy()
