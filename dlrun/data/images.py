"""Image files: which of a folder's files are some, and their pixels."""

from __future__ import annotations

import errno
import os
import stat
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from dlrun.config.options import Resize
from dlrun.errors import RunFailed, UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # Pillow knows more, among them PostScript, which it would run
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MOST_PIXELS = 2**26  # 67 million: a 61-megapixel camera; 256 MiB of colours in Pillow
MOST_BYTES = 280 * 2**20  # that decoding an image may take
_MANY_PIXELS = 2**24  # from here on one image at a time: threads share the memory
_one_at_a_time = threading.Lock()
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # of a pixel; else 4
_WEBP_BYTES = 16  # its decoder holds two frames, and a copy on the way to Pillow's own
_STRIP = 2**20  # pixels
_GREYS = [round(value / 257) for value in range(2**16)]  # 65535 = 257 · 255
# What systems put into folders by themselves: Windows, macOS, Linux and Synology.
_OF_SYSTEMS = {
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "icon\r",
    "lost+found",
    "@eadir",
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # orientations in which rows are stored as columns
# Pillow warns of many pixels, which are refused here, and of broken EXIF, which nobody can mend.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Unreadable(UserError):
    """What is in a file is no whole image, and will be none when it is read again: for this `reason`."""

    def __init__(self, reason: str, path: Path | str) -> None:
        fix = f"bring a whole image: {', '.join(FORMATS)}"
        super().__init__(f"the image cannot be read: {reason}", where=printable(path), fix=fix)
        self.reason = reason


def read_image(path: Path | str, height: int, width: int, channels: int, resize: Resize) -> Tensor:
    """The image in a file, upright, as (channels, height, width) uint8: 1 channel is grey, 3 are RGB.

    `resize`: crop brings the shorter side to size and keeps the centre, pad brings the longer side to
    size and fills up with black, stretch brings each side to size by itself; bilinear, antialiased.
    What is transparent is seen over white. Raises Unreadable for what is not a whole PNG, JPEG, WEBP or
    BMP image, for an animated one, and for one of more than 2²⁶ pixels or more than MOST_BYTES to decode;
    UserError for a file that cannot be opened or read, RunFailed where there is no memory for it.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError("the image cannot be read: this is no regular file", where=printable(path))
            if status.st_size > MOST_BYTES:
                raise ValueError(f"its file has {status.st_size / 2**20:,.0f} MiB")
            with Image.open(file, formats=FORMATS) as image:
                pixels = _pixels(image, (width, height), "L" if channels == 1 else "RGB", resize)
    except UserError:
        raise
    except MemoryError:  # nothing is wrong with the image
        what, fix = "there is no memory left to decode an image", "end what else needs memory"
        raise RunFailed(what, where=printable(path), fix=fix) from None
    except Exception as error:  # Pillow raises whatever a file that is not whole provokes
        # The disk's words, not Pillow's; but who follows a file's broken offsets is told Invalid argument.
        if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
            raise UserError(f"the image cannot be read: {error.strerror}", where=printable(path)) from None
        if isinstance(error, UnidentifiedImageError):
            reason = f"it is none of {', '.join(FORMATS)}"
        else:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise Unreadable(reason, path) from None
    return torch.from_numpy(pixels)


def _pixels(image: Image.Image, size: tuple[int, int], mode: str, resize: Resize) -> np.ndarray:
    """The pixels of an open image, (channels, height, width), for a size of (width, height)."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"it has {image.width:,} × {image.height:,} pixels, more than {MOST_PIXELS:,}")
    if image.format != "MPO" and getattr(image, "is_animated", False):  # MPO: a photograph and its previews
        raise ValueError("it is animated")
    box = (0.0, 0.0, float(image.width), float(image.height))
    coefficients = _coefficients(image)
    # A JPEG file can be decoded at a half, a fourth or an eighth: twice the wanted size is enough.
    if drafted := image.draft(mode, (2 * max(size), 2 * max(size))):
        box = drafted[1]
    is_large = image.width * image.height > _MANY_PIXELS
    factor = _factor(image.size, size) if is_large and _is_copied(image) else 1
    if (needed := coefficients + _memory(image, factor, size)) > MOST_BYTES:
        raise ValueError(
            f"its {image.width:,} × {image.height:,} pixels take {needed / 2**20:,.0f} MiB to decode, "
            f"more than {MOST_BYTES / 2**20:.0f}"
        )
    with _one_at_a_time if is_large else nullcontext():
        image.load()
        orientation = _orientation(image)
        plain = _reduced(image, factor) if factor > 1 else _plain(image)
        box = (0.0, 0.0, box[2] / factor, box[3] / factor)
        small = _resized(plain, size[::-1] if orientation in _LYING else size, box, resize)
    if orientation in _UPRIGHT:
        small = small.transpose(_UPRIGHT[orientation])
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    small = small.convert(mode)
    if small.size != size:
        canvas = Image.new(mode, size)
        canvas.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
        small = canvas
    # Not by torch, which would wake threads of its own in every thread that decodes.
    return np.atleast_3d(np.array(small)).transpose(2, 0, 1).copy()


def _coefficients(image: Image.Image) -> int:
    """The bytes that libjpeg holds of an image in several scans, beside its pixels: two for each sample."""
    if not isinstance(image, JpegImageFile) or _is_one_scan(image):
        return 0
    sampled = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in sampled) * max(down for _, down in sampled)
    return 2 * image.width * image.height * sum(across * down for across, down in sampled) // most


def _is_one_scan(image: JpegImageFile) -> bool:
    """Whether all components come at once, so that pixels can be decoded as they are read."""
    assert image.fp is not None, "it was opened this moment"
    components, place = len(image.layer), image.fp.tell()  # right after the start of the first scan
    start = b"\xff\xda" + (6 + 2 * components).to_bytes(2, "big") + bytes([components])
    image.fp.seek(max(0, place - 8 - 2 * components))  # of an MPO file we are at its beginning again
    is_whole = image.fp.read(len(start)) == start
    image.fp.seek(place)
    return is_whole and not image.info.get("progressive")


def _memory(image: Image.Image, factor: int, wanted: tuple[int, int]) -> int:
    """The bytes that an image takes until it has the wanted size, where it is first reduced by a factor."""
    own = _WEBP_BYTES if image.format == "WEBP" else _BYTES.get(image.mode, 4)
    copies = 8 / factor**2 if _is_copied(image) else 0  # once as RGBA, and once multiplied by its A
    resized = 4 * max(wanted) * (max(image.size) // factor + 3 * max(wanted))  # one side, then the other
    return round(image.width * image.height * (own + copies)) + resized


def _is_copied(image: Image.Image) -> bool:
    """Whether the pixels have to be brought into another form before they can be made fewer."""
    return image.mode not in ("L", "RGB") or image.has_transparency_data


def _factor(sides: tuple[int, int], wanted: tuple[int, int]) -> int:
    """By how much both sides of an image can be reduced and still be twice what is wanted."""
    return max(1, int(min(sides) / max(wanted)) // 2)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """The image as L, RGB or RGBA, both sides reduced, a strip at a time: the whole is never copied."""
    whole: Image.Image | None = None
    height = factor * max(1, _STRIP // (image.width * factor))
    for top in range(0, image.height, height):
        strip = image.crop((0, top, image.width, min(image.height, top + height)))
        small = _plain(strip).reduce(factor)
        if whole is None:
            whole = Image.new(small.mode, (small.width, -(-image.height // factor)))
        whole.paste(small, (0, top // factor))
    assert whole is not None, "an image has pixels"
    return whole


def _orientation(image: Image.Image) -> int:
    """How the camera was held, from 1 to 8; 1 where the file does not say so in a way that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises whatever EXIF that is not whole provokes
        return 1


def _plain(image: Image.Image) -> Image.Image:
    """The image as L, RGB or RGBA, in which colours can be mixed."""
    if image.mode.startswith("I"):  # 16 bits of grey
        return image.convert("I").point(_GREYS, "L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _resized(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float], resize: Resize
) -> Image.Image:
    """What `box` (left, top, right, bottom) holds of the image, brought to size, or to less for pad."""
    width, height = box[2], box[3]
    ratios = width / size[0], height / size[1]
    if resize == "crop":
        cut_x = max(0.0, width - min(ratios) * size[0])  # a rounding may not lead out of the image
        cut_y = max(0.0, height - min(ratios) * size[1])
        box = (cut_x / 2, cut_y / 2, width - cut_x / 2, height - cut_y / 2)
    elif resize == "pad":
        size = (max(1, round(width / max(ratios))), max(1, round(height / max(ratios))))
    return image.resize(size, Image.Resampling.BILINEAR, box)


def image_files(folder: Path) -> list[Path]:
    """The files at any depth of a folder that are images by their names, sorted; none that is hidden.

    Raises UserError as `files_below` does.
    """
    return [Path(file) for file in files_below(folder) if file.lower().endswith(SUFFIXES)]


def files_below(folder: Path) -> list[str]:
    """The paths of all files at any depth of a folder, sorted; none that is hidden or in what is hidden.

    Links are followed. Raises UserError for a folder that cannot be listed, or that a link leads back to.
    """
    found: list[str] = []
    leading: dict[str, frozenset[tuple[int, int]]] = {}  # folder -> itself and those that lead to it
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_cannot_list):
        status = Path(place).stat()
        here, before = (status.st_dev, status.st_ino), leading.get(place.rpartition("/")[0], frozenset())
        if here in before:
            what = "the link leads back to a folder above it"
            raise UserError(what, where=printable(place), fix="take the link out of that path")
        leading[place] = before | {here}
        folders[:] = [name for name in folders if not is_hidden(name)]
        found += [f"{place}/{name}" for name in names if not is_hidden(name)]
    return sorted(found)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not for people: .git, .ipynb_checkpoints, __MACOSX, Thumbs.db."""
    return name.startswith((".", "__")) or name.lower() in _OF_SYSTEMS


def printable(path: Path | str) -> str:
    """A path as text, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


def _cannot_list(error: OSError) -> None:
    raise UserError(
        f"the folder cannot be listed: {error.strerror}", where=printable(error.filename)
    ) from None
