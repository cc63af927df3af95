"""Training images as the model sees them, after their augmentations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from dlrun.blocks.places import IGNORED
from dlrun.config.options import Few, Seed
from dlrun.data.example_weights import parted
from dlrun.data.trees import Tree, at, expanded, single
from dlrun.drawing.image_grids import (
    EDGE,
    HEAD,
    SMALLEST,
    as_pictures,
    draw_picture,
    letters_in,
    page,
    refuse_other_inputs,
)
from dlrun.drawing.style import INK, WIDTH, class_colours, headline, shown
from dlrun.training.augmentation import Augmentation, training_split
from dlrun.training.trained import Trained

automatic = True
inputs = "images"
of = "data"
of_augmentations = True

LINE = 0.16  # inches for a line below an image
TOP = HEAD + 0.36  # inches for the title and the epochs
GAP = 0.12  # inches between the images as they are and those after the augmentations
OVER = 0.4  # share of the colour of a pixel's class


def augmented(trained: Trained, *, rows: Few = 4, draws: Few = 6, seed: Seed = 0) -> Figure:
    """Random training images, and beside each what becomes of it in several epochs.

    The images are a batch, whose images `mixup` and others blend; below each is its class, after a blend with
    those of the two largest shares. Classes of pixels lie over the images in their colours. Pixels have
    the scale of the image before preprocessing; what lies beyond it is cut off. Raises UserError unless
    inputs are grey or RGB images.

    Args:
        rows: Images in the batch, one in a row.
        draws: Epochs beside each other.
        seed: Random choice of the images.
    """
    refuse_other_inputs(trained, "augmented")
    loaded, examples, device = trained.loaded, trained.loaded["train"], trained.loaded["train"].device
    changes = trained.plan.recipe.augmentations
    drawn = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))[:rows]
    raw = examples.raw(drawn)
    batches = [examples.batch(drawn.to(device))]
    inputs, targets = training_split(loaded, changes).batch(drawn.to(device))
    augment = Augmentation.on(loaded, changes, trained.seeds[:1], device, trained.plan.recipe.epochs)
    for epoch in range(1, draws + 1):
        augment.begin(epoch)
        changed, after = augment(expanded(inputs, 1), expanded(targets, 1))
        batches.append((at(changed, 0), at(after, 0)))

    cell = (WIDTH - 2 * EDGE - GAP) / (1 + draws)
    height, width = trained.data.shape[1:]
    across, side = 0.94 * cell, 0.94 * cell * height / width
    captions = [_captions(trained, own, letters_in(across, SMALLEST) - 1) for _, own in batches]
    lines = max(caption.count("\n") + 1 for each in captions for caption in each) if captions[0] else 0
    step = side + lines * LINE + 0.08
    names = ", ".join(shown(change.name, 30) for change in changes)
    over = "classes of pixels in colours" if _has_masks(trained) else ""
    title = headline(trained, f"Training images after {names}", f"seed {trained.seeds[0]}", over)
    figure, axes = page(TOP + len(drawn) * step, title)
    for column, (images, own) in enumerate(batches):
        left = EDGE + (column + 0.03) * cell + GAP * bool(column)
        middle, top = left + across / 2, TOP
        said = f"epoch {column}" if column else "original"
        axes.text(middle, top - 0.04, said, ha="center", va="bottom", size=SMALLEST, color=INK)
        restored = loaded.preprocessing.undone(single(images).cpu())
        pictures = as_pictures(restored, like=raw)
        if _has_masks(trained):
            pictures = _coloured(pictures, single(parted(own)[0]).cpu(), trained.data.classes)
        for row, picture in enumerate(pictures):
            draw_picture(axes, picture, (left, top + row * step, across, side))
            if captions[column]:
                below = top + row * step + side + 0.03
                axes.text(
                    middle, below, captions[column][row], ha="center", va="top", size=SMALLEST, color=INK
                )
    return figure


def _has_masks(trained: Trained) -> bool:
    """True if each pixel has a class."""
    return trained.data.task == "pixels"


def _captions(trained: Trained, targets: Tree, letters: int) -> list[str]:
    """The class of each example, after a blend the largest two with their percentages, a line for each."""
    if trained.data.task != "classification":
        return []
    own, names = single(parted(targets)[0]).cpu(), trained.data.classes
    if own.dim() == 1:
        return [shown(names[target], letters) for target in own.tolist()]
    captions = []
    for shares in own:
        largest = [k for k in shares.argsort(descending=True, stable=True)[:2].tolist() if shares[k] >= 0.005]
        each = [f"{shown(names[k], letters - 6)}: {100 * float(shares[k]):.0f} %" for k in largest]
        captions.append(shown(names[largest[0]], letters) if len(largest) == 1 else "\n".join(each))
    return captions


def _coloured(pictures: Tensor, masks: Tensor, classes: Sequence[str]) -> Tensor:
    """Pictures (n, height, width, 3) with the colours of the classes over their pixels, where these count."""
    colours = torch.tensor([to_rgb(colour) for colour in class_colours(classes)])
    covered = (1 - OVER) * pictures + OVER * colours[masks.clamp_min(0)]
    return torch.where((masks == IGNORED).unsqueeze(-1), pictures, covered)
