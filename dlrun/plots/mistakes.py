"""The most confident mistakes of an image classifier."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

from matplotlib.figure import Figure

from dlrun.config.options import Few
from dlrun.drawing.image_grids import Captioned, as_pictures, gallery, in_one_line, refuse_other_inputs
from dlrun.drawing.style import headline, predicted, probability
from dlrun.training.trained import Trained

task = "classification"
automatic = True
inputs = "images"


def mistakes(
    trained: Trained,
    *,
    split: Literal["auto", "train", "valid", "test"] = "auto",
    rows: Few = 3,
    columns: Few = 6,
) -> Figure:
    """The most confident mistakes: true and predicted class, the probability of the latter, the file.

    The predictions are those of the first copy. If none is wrong, the title says so and the least certain
    images are shown. Raises UserError unless inputs are images.

    Args:
        split: Split to show; auto: valid, or without it test, or train.
        rows: Rows of images in the picture.
        columns: Images in a row.
    """
    refuse_other_inputs(trained, "mistakes")
    chosen = trained.chosen(split)
    found = predicted(trained, chosen)
    sureness, said, targets = found.sureness[0], found.classes[0], found.targets
    wrong = found.confident_errors()
    order = wrong if len(wrong) else sureness.argsort(stable=True)
    drawn = order[: rows * columns]

    names = trained.data.classes
    pictures = as_pictures(trained.loaded[chosen].raw(drawn))
    ones = [
        Captioned(
            picture,
            names[targets[index]],
            names[said[index]],
            below=probability(sureness[index]),
            file=PurePath(trained.name_of(chosen, index)).name,
        )
        for picture, index in zip(pictures, drawn.tolist(), strict=True)
    ]
    order_said = "true / predicted" if in_one_line(columns, names) else "true class over predicted"
    if len(wrong):
        of_all = f"{len(drawn)} of {len(wrong):,}"
        what = f"Most confident errors: {of_all} among {len(targets):,} {chosen} images"
        heading = f"{order_said}, with its probability"
    else:
        what = f"No error among {len(targets):,} {chosen} images"
        heading = f"Least confident predictions, {order_said}, with its probability"
    title = headline(trained, what, trained.at_epoch(0), f"seed {trained.seeds[0]}")
    return gallery(title, [(heading, ones)], columns, names)
