"""Open images resized within a memory limit, and masks brought back to the size of the original."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from dlrun.config.options import Resize
from dlrun.data.image_files.formats import HEIF
from dlrun.data.image_files.grey_levels import Levels, as_bytes, is_deep, strips

if TYPE_CHECKING:
    from torch import Tensor

MOST_BYTES = 280 * 2**20  # of memory for decoding an image
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # of a pixel; else 4
# Bytes of a pixel where a library decodes all of an image into memory of its own, which Pillow then copies.
_LIBRARY_BYTES = {"WEBP": 16, "AVIF": 16, HEIF: 16, "JPEG2000": 24, "TIFF": 8}
STRIP = 2**20  # pixels


def at_full_size(mask: Tensor, sides: tuple[int, int], resize: Resize, outside: int) -> Tensor:
    """The mask (height, width) of a resized image for the original, whose height and width are `sides`.

    Each pixel of the original has the value of the one that it was resized to, or where it was cut off
    `outside`.
    """
    import torch  # here, for the processes that decode start without it

    ratios = [original / own for original, own in zip(sides, mask.shape, strict=True)]
    ratio = {"crop": min(ratios), "pad": max(ratios), "stretch": 0.0}[resize]
    places = []
    for original, own in zip(sides, mask.shape, strict=True):
        middles, first = torch.arange(original, dtype=torch.float64) + 0.5, 0
        scaled = max(1, round(original / ratio)) if resize == "pad" else own  # as in `resized`
        if resize == "pad":
            first = (own - scaled) // 2
        cut = (original - ratio * own) / 2 if resize == "crop" else 0.0
        places.append(((middles - cut) * scaled / (original - 2 * cut) + first).floor().long())
    rows, columns = places
    found = mask[rows.clamp(0, mask.shape[0] - 1)][:, columns.clamp(0, mask.shape[1] - 1)]
    inside = [(of >= 0) & (of < own) for of, own in zip(places, mask.shape, strict=True)]
    return torch.where(inside[0].unsqueeze(1) & inside[1], found, outside)


def memory_to_resize(image: Image.Image, factor: int, wanted: tuple[int, int]) -> int:
    """The bytes that resizing an image takes if both sides are first reduced by `factor`."""
    own = max(_LIBRARY_BYTES.get(str(image.format), 0), _BYTES.get(image.mode, 4))
    copies = 8 / factor**2 if is_copied(image) else 0  # once as RGBA, and once multiplied by its A
    resized = 4 * max(wanted) * (max(image.size) // factor + 3 * max(wanted))  # one side, then the other
    return round(image.width * image.height * (own + copies)) + resized


def is_copied(image: Image.Image) -> bool:
    """True if the pixels need to be converted to another mode before they can be reduced."""
    return image.mode not in ("L", "RGB") or image.has_transparency_data


def reduction(sides: tuple[int, int], wanted: tuple[int, int]) -> int:
    """The factor by which both sides of an image can be reduced and still be twice the wanted size."""
    return max(1, int(min(sides) / max(wanted)) // 2)


def reduced(image: Image.Image, factor: int, levels: Levels | None) -> Image.Image:
    """The image as L, RGB or RGBA with both sides reduced, strip by strip, without a copy of the whole."""
    whole: Image.Image | None = None
    height = factor * max(1, STRIP // (image.width * factor))
    for top in range(0, image.height, height):
        strip = image.crop((0, top, image.width, min(image.height, top + height)))
        small = plain_image(strip, levels).reduce(factor)
        if whole is None:
            whole = Image.new(small.mode, (small.width, -(-image.height // factor)))
        whole.paste(small, (0, top // factor))
    assert whole is not None, "an image has pixels"
    return whole


def plain_image(image: Image.Image, levels: Levels | None) -> Image.Image:
    """The image as L, RGB or RGBA, modes in which colours can be interpolated."""
    if levels and is_deep(image):
        plain, top = Image.new("L", image.size), 0
        for strip in strips(image, STRIP):
            plain.paste(Image.fromarray(as_bytes(strip, levels)), (0, top))
            top += len(strip)
        return plain
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def resized(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float], resize: Resize
) -> Image.Image:
    """The part of the image in `box` (left, top, right, bottom), scaled to size, or below it for pad."""
    width, height = box[2], box[3]
    ratios = width / size[0], height / size[1]
    if resize == "crop":
        cut_x = max(0.0, width - min(ratios) * size[0])  # max: rounding must not lead outside the image
        cut_y = max(0.0, height - min(ratios) * size[1])
        box = (cut_x / 2, cut_y / 2, width - cut_x / 2, height - cut_y / 2)
    elif resize == "pad":
        size = (max(1, round(width / max(ratios))), max(1, round(height / max(ratios))))
    return image.resize(size, Image.Resampling.BILINEAR, box)
