"""The kernels of the first convolution."""

from __future__ import annotations

from math import ceil

from matplotlib.figure import Figure

from dlrun.config.options import Few, Many
from dlrun.drawing.convolutions import convolutions_of
from dlrun.drawing.image_grids import EDGE, HEAD, SCALE, as_signed, draw_picture, draw_scale, page
from dlrun.drawing.style import WIDTH, headline
from dlrun.training.trained import Trained

automatic = True
model = "convolution"


def filters(trained: Trained, *, columns: Few = 8, most: Many = 64) -> Figure:
    """The kernels of the first copy's first convolution, on one colour scale.

    A kernel over three channels is an RGB image; over any other number its mean over channels is shown.
    Raises UserError if the model has no convolution.

    Args:
        columns: Kernels in a row of the picture.
        most: Kernels to show, the first ones.
    """
    kernels = convolutions_of(trained, "filters")[0].weight.detach().float().cpu()
    channels = kernels.shape[1]
    if channels not in (1, 3):
        kernels = kernels.mean(1, keepdim=True)
    largest = float(kernels.abs().max())
    pictures = as_signed(kernels[:most], largest)

    cell = (WIDTH - 2 * EDGE) / columns
    height, width = kernels.shape[2:]
    step = cell * height / width
    top = HEAD + 0.12
    total = top + ceil(len(pictures) / columns) * step + SCALE
    count = f"{len(kernels)} kernels" if len(kernels) <= most else f"{most} of {len(kernels)} kernels"
    size = f"{height}×{width}×{channels}" if channels > 1 else f"{height}×{width}"
    meaned = ", means over channels" if channels not in (1, 3) else ""
    what = f"The first convolution: {count} of {size}{meaned}"
    title = headline(trained, what, trained.at_epoch(0), f"seed {trained.seeds[0]}")
    figure, axes = page(total, title)
    for place, picture in enumerate(pictures):
        left, above = EDGE + place % columns * cell, top + place // columns * step
        draw_picture(axes, picture, (left + 0.05 * cell, above + 0.05 * step, 0.9 * cell, 0.9 * step))
    draw_scale(axes, total - SCALE + 0.06, (f"−{largest:.2g}", f"{largest:.2g}"), channels == 3, "weight")
    return figure
