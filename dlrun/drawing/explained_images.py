"""Shared code of plots that show what in an image speaks for its class: overlays beside the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.data.trees import main_outputs, single
from dlrun.drawing.image_grids import (
    EDGE,
    SCALE,
    Captioned,
    as_pictures,
    draw_picture,
    gallery,
    in_one_line,
    refuse_other_inputs,
)
from dlrun.drawing.style import BLUE, INK, RED, TEXT, headline, predicted, probability
from dlrun.errors import UserError
from dlrun.training.copies import whole
from dlrun.training.trained import Trained

COLUMNS = 3  # images with their overlays in a row
GAP = 0.06  # of the width of an image, before its overlay
FAINT = 0.45  # share of white in the grey image under an overlay


@dataclass(frozen=True)
class Explained:
    """Some images of a split, and the class that the first copy predicts for each."""

    split: str
    indices: Tensor  # of the errors, then of the others, (m,)
    classes: Tensor  # the predicted class of each, (m,)
    sureness: Tensor  # its probability, (m,)
    targets: Tensor  # the true class of each, (m,)
    inputs: Tensor  # prepared, on the device, (m, channels, height, width)
    errors: int  # of all examples of the split
    examples: int

    def of_each(self, values: Callable[[Tensor, int], Tensor]) -> Tensor:
        """The values (m, height, width) that a function gives for each input (1, …) and class."""
        classes = self.classes.tolist()
        each = [values(one, said) for one, said in zip(self.inputs.split(1), classes, strict=True)]
        return torch.cat(each).detach().float().cpu()


def explained_images(trained: Trained, plot: str, split: str, images: int, image: int | None) -> Explained:
    """The most confident errors and as many correct images, drawn at random; or one, by its number.

    Raises UserError unless inputs are images and there is one of that number.
    """
    refuse_other_inputs(trained, plot)
    found = predicted(trained, split)
    said, sureness, targets = found.classes[0], found.sureness[0], found.targets
    if image is not None and image >= len(targets):
        raise UserError(f"{plot}: there is no image {image:,} among the {len(targets):,} of {split}")
    wrong, right = found.confident_errors(), (said == targets).nonzero().squeeze(1)
    drawn = right[torch.randperm(len(right), generator=torch.Generator().manual_seed(0))]
    indices = torch.cat([wrong[:images], drawn[:images]]) if image is None else torch.tensor([image])
    inputs = single(trained.loaded[split].batch(indices.to(trained.hardware.device))[0])
    own = (said[indices], sureness[indices], targets[indices])
    return Explained(split, indices, *own, inputs, len(wrong), len(targets))


def outputs_for_class(trained: Trained, inputs: Tensor, said: int) -> Tensor:
    """The output (n,) of the first copy for a class, from prepared inputs (n, …).

    For two classes and a single logit it is that logit, negated for class 0; for a loss whose probabilities
    rank classes otherwise than the outputs, the logarithm of the probability.
    """
    outputs = main_outputs(whole(trained.model.eval().copies[0](inputs)))
    if trained.decision.outputs == 1:
        return outputs[:, 0] if said else -outputs[:, 0]
    return replace(trained.decision, threshold=None).scores(outputs)[:, said]


def overlays(
    trained: Trained, found: Explained, values: Tensor, method: str, scale: str, notes: Sequence[str] = ()
) -> Figure:
    """Each image beside its grey copy with values (m, height, width) over it, on its own scale.

    Positive values are red, negative ones blue; `scale` says of what, a note more of an image.
    """
    names, raw = trained.data.classes, trained.loaded[found.split].raw(found.indices)
    pictures = as_pictures(raw)
    largest = values.abs().flatten(1).amax(1)
    over = overlaid(pictures, values / largest.clamp_min(1e-30).view(-1, 1, 1))
    gap = torch.ones(*pictures.shape[:2], max(1, round(GAP * pictures.shape[2])), 3)
    ones = [
        Captioned(
            pair,
            names[true],
            names[said],
            below=", ".join([probability(sure), *filter(None, [note if most else "nothing found"])]),
            file=PurePath(trained.name_of(found.split, index)).name,
        )
        for pair, true, said, sure, most, note, index in zip(
            torch.cat([pictures, gap, over], 2),
            found.targets.tolist(),
            found.classes.tolist(),
            found.sureness,
            largest.tolist(),
            notes or [""] * len(found.indices),
            found.indices.tolist(),
            strict=True,
        )
    ]
    order = "true / predicted" if in_one_line(COLUMNS, names) else "true over predicted"
    wrong = int((found.classes != found.targets).sum())
    groups = [
        (f"The {wrong} most confident of {found.errors:,} errors: {order}, probability", ones[:wrong]),
        (f"Correct ones, drawn at random: {order}, probability", ones[wrong:]),
    ]
    if len(ones) == 1:
        groups = [(f"Image {int(found.indices):,}: {order}, probability", ones)]
    facts = trained.at_epoch(0), f"seed {trained.seeds[0]}", f"n = {found.examples:,}"
    title = headline(trained, f"{method}, {found.split} images", *facts)
    figure = gallery(title, [group for group in groups if group[1]], COLUMNS, names, SCALE)
    draw_key(figure.axes[0], figure.get_figheight() - SCALE + 0.06, scale, signed=bool((values < 0).any()))
    return figure


def overlaid(pictures: Tensor, values: Tensor) -> Tensor:
    """Pictures (m, height, width, 3) in pale grey under values (m, height, width) from -1 to 1."""
    grey = pictures.mean(-1, keepdim=True)
    grey = FAINT + (1 - FAINT) * grey.expand(-1, -1, -1, 3)
    red, blue = (torch.tensor(to_rgb(colour)) for colour in (RED, BLUE))
    share = values.abs().unsqueeze(-1)
    return (1 - share) * grey + share * torch.where(values.unsqueeze(-1) > 0, red, blue)


def draw_key(axes: Axes, top: float, scale: str, *, signed: bool) -> None:
    """Draw the colours of overlays, with what they mean and where they end."""
    shares = torch.linspace(-1 if signed else 0, 1, 121).view(1, 1, -1)
    bar = overlaid(torch.ones(1, 1, 121, 3), shares)[0]
    words = axes.text(EDGE, top + 0.11, scale, va="center", size=TEXT - 0.5, color=INK)
    left = EDGE + words.get_window_extent().width / axes.figure.dpi + 0.12
    low, wide = "−max" if signed else "0", 1.2
    begin = axes.text(left, top + 0.11, low, va="center", size=TEXT - 0.5, color=INK)
    left += begin.get_window_extent().width / axes.figure.dpi + 0.08
    draw_picture(axes, bar, (left, top + 0.02, wide, 0.18))
    axes.text(left + wide + 0.08, top + 0.11, "max", va="center", size=TEXT - 0.5, color=INK)
