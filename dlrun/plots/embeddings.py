"""Embeddings: the inputs of a model's last layer, in two dimensions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from dlrun.config.options import Seed
from dlrun.data.trees import first_of
from dlrun.drawing.fonts import Picture
from dlrun.drawing.layers import layer_called, layers_of_kind
from dlrun.drawing.plane import draw_points, draw_values, figure_beside_legend
from dlrun.drawing.style import (
    CLASS_COLOURS,
    PALE,
    TEXT,
    WIDTH,
    headline,
    put_title,
    shown,
    some_of,
    target_name,
    tidy,
)
from dlrun.errors import UserError
from dlrun.training.trained import Trained

task = ("classification", "regression")


def embeddings(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    layer: str | None = None,
    examples: Annotated[int, Ge(2), Le(10_000)] = 2000,
    seed: Seed = 0,
) -> Figure:
    """Embeddings: the inputs of the last linear layer in two dimensions, coloured by class or target.

    The two are the principal components (PCA) of the examples shown; the axes say which share of the
    variance they have. What lies together there may be apart in the others. The model is the first copy.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        layer: Layer whose inputs are shown, as `dlrun show` names it; null: the last linear one.
        examples: Examples to show at most, drawn at random.
        seed: Random choice of the examples.
    """
    chosen = trained.chosen(split)
    name = last_linear(trained) if layer is None else layer
    module = layer_called(trained, "embeddings", name)
    count = len(trained.loaded[chosen])
    drawn = some_of(count, examples, seed)
    given = inputs_of(trained, module, name, chosen, drawn)
    points, shares = principal_components(given)
    targets, classes = trained.loaded[chosen].targets.cpu()[drawn], trained.data.classes

    of_all = f"{len(drawn):,}" if len(drawn) == count else f"{len(drawn):,} of {count:,}"
    left_out = ""
    if classes:
        names, places, left_out = in_colours(targets, classes)
        legend = f"{of_all}\n{chosen} examples"
        figure = figure_beside_legend(names, legend)
        axes = figure.subplots()
        x, y = points[places < 0].T.tolist()
        axes.scatter(x, y, 8, color=PALE, linewidths=0)
        draw_points(axes, points, places, names, legend)
    else:
        figure = Picture(figsize=(WIDTH, 5.6), layout="constrained")
        axes = figure.subplots()
        draw_values(axes, points, targets[:, 0], target_name(trained))
    draw_axes(axes, shares)
    what = f"Inputs of the layer {shown(name, 30)}: {given.shape[1]:,} numbers as two principal components"
    drawn_said = "" if classes else f"{of_all} {chosen} examples"
    facts = (trained.at_epoch(0), f"seed {trained.seeds[0]}", drawn_said, left_out)
    put_title(figure, headline(trained, what, *facts))
    return figure


def last_linear(trained: Trained) -> str:
    """The name of the last linear layer. Raises UserError if there is none."""
    if found := layers_of_kind(trained, nn.Linear):
        return list(found)[-1]
    what = "embeddings: the model has no linear layer, so that there is none to take by itself"
    raise UserError(what, fix="name one as embeddings.layer")


@torch.no_grad()
def inputs_of(trained: Trained, layer: nn.Module, name: str, split: str, indices: Tensor) -> Tensor:
    """The inputs (m, numbers) of a layer of the first copy for some examples, float64, on the CPU.

    Raises UserError if the layer is not used, or not given something for each example.
    """
    examples, kept = trained.loaded[split], list[Any]()
    indices = indices.to(trained.hardware.device)

    def compute(piece: slice) -> Tensor:
        kept.clear()
        inputs, _ = examples.batch(indices[piece])
        with trained.hardware.autocast():
            model(inputs)
        given = kept[-1] if kept else None
        if not isinstance(given, Tensor) or given.dim() < 2 or len(given) != len(first_of(inputs)):
            said = (
                f"is given {'×'.join(map(str, given.shape))}" if isinstance(given, Tensor) else "is not used"
            )
            raise UserError(
                f"embeddings: {name} {said}, not a vector for each example", fix="name another layer"
            )
        return given.flatten(1).cpu().double()

    model = trained.model.eval().copies[0]
    hook = layer.register_forward_pre_hook(lambda layer, given: kept.append(given[0] if given else None))
    try:
        size = trained.plan.recipe.evaluation_batch
        return torch.cat(list(trained.hardware.in_pieces(len(indices), size, compute)))
    finally:
        hook.remove()


def principal_components(vectors: Tensor) -> tuple[Tensor, list[float]]:
    """The first two principal components (n, 2) of vectors (n, d), and their shares of the variance.

    The largest weight of each is positive, which settles its sign. Raises UserError if all are the same.
    """
    centred = vectors - vectors.mean(0)
    total = float(centred.square().sum())
    if total <= 1e-20 * float(vectors.square().sum()) or len(vectors) < 2:
        raise UserError("embeddings: the layer is given the same for every example shown")
    _, lengths, weights = torch.linalg.svd(centred, full_matrices=False)
    weights, lengths = weights[:2], lengths[:2]
    largest = weights.gather(1, weights.abs().argmax(1, keepdim=True))
    points = centred @ (weights * largest.sign()).T
    shares = (lengths.square() / total).tolist()
    if len(weights) == 1:  # vectors of one number
        return torch.cat([points, torch.zeros_like(points)], 1), [*shares, 0.0]
    return points, shares


def in_colours(targets: Tensor, classes: tuple[str, ...]) -> tuple[tuple[str, ...], Tensor, str]:
    """The classes that have colours, the place among them of each target, and words for the others.

    Of more classes than colours these are the most frequent ones; the place of a target of another is -1.
    """
    most = len(CLASS_COLOURS)
    if len(classes) <= most:
        return classes, targets, ""
    frequent = torch.bincount(targets, minlength=len(classes)).argsort(descending=True, stable=True)[:most]
    frequent = frequent.sort().values
    places = torch.full((len(classes),), -1)
    places[frequent] = torch.arange(most)
    names = tuple(classes[place] for place in frequent.tolist())
    return names, places[targets], f"pale: the other {len(classes) - most:,} classes"


def draw_axes(axes: Axes, shares: list[float]) -> None:
    """Label the axes of two principal components with their shares of the variance."""
    tidy(axes)
    for axis, which, share in zip((axes.xaxis, axes.yaxis), ("first", "second"), shares, strict=True):
        axis.set_label_text(f"{which} component: {100 * share:.3g} % of the variance", fontsize=TEXT)
        axis.set_major_locator(MaxNLocator(5))
