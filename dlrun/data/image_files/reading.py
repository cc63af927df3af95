"""Image files, decoded and resized within a memory limit."""

from __future__ import annotations

import errno
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from dlrun.config.options import Resize
from dlrun.data.image_files.finding import printable
from dlrun.data.image_files.formats import (
    HEAD,
    HEIC_REMEDY,
    HEIF,
    kind_of_file,
    readable_formats,
    register_heic,
)
from dlrun.data.image_files.grey_levels import SIXTEEN_BITS, Levels, Spread, is_deep, strips
from dlrun.data.image_files.resizing import (
    MOST_BYTES,
    STRIP,
    is_copied,
    memory_to_resize,
    plain_image,
    reduced,
    reduction,
    resized,
)
from dlrun.errors import RunFailed, UserError
from dlrun.system.files import open_to_read

if TYPE_CHECKING:
    from torch import Tensor

MOST_PIXELS = 2**26  # 67 million: a 61-megapixel camera; 256 MiB of colours in Pillow
_MANY_PIXELS = 2**24  # larger images are decoded one at a time, for threads share the memory
_one_at_a_time = threading.Lock()
_LARGEST_TILE = 2**23  # pixels of a TIFF; its decoder holds a whole one
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # EXIF orientations in which rows are stored as columns
# Pillow warns of many pixels, which are refused here, and of broken EXIF, which is ignored.
warnings.filterwarnings("ignore", module=r"PIL\.")


_Found = TypeVar("_Found")


class Unreadable(UserError):
    """A file that is not a complete image, for a permanent `reason`; reading it again would not help.

    `needs_levels` if it could be read with the levels of its values.
    """

    def __init__(self, reason: str, path: Path | str, *, needs_levels: bool = False) -> None:
        fix = f"provide a complete image: {', '.join(readable_formats())}"
        if HEIC_REMEDY in reason:
            fix = HEIC_REMEDY
        super().__init__(f"the image cannot be read: {reason}", where=printable(path), fix=fix)
        self.reason, self.needs_levels = reason, needs_levels


@dataclass(frozen=True)
class Picture:
    """The `values` (channels, height, width) uint8 of an image file, and what about it is worth saying.

    `is_deep` if it has one value of more than 8 bits for each pixel, which levels turned into bytes; `is_cut`
    if it has 16 bits for each of several colours, of which the upper 8 are read; `is_first` if it is the
    first of several frames or pages; `is_clipped` if some of its values lie beyond the levels.
    """

    values: np.ndarray
    is_deep: bool = False
    is_cut: bool = False
    is_first: bool = False
    is_clipped: bool = False

    @property
    def pixels(self) -> Tensor:
        """The values as a tensor, without a copy."""
        import torch  # here, for the processes that decode start without it

        return torch.from_numpy(self.values)

    @property
    def remarks(self) -> list[str]:
        """The names of what is true of it: deep, cut, first, clipped."""
        each = {"deep": self.is_deep, "cut": self.is_cut, "first": self.is_first, "clipped": self.is_clipped}
        return [name for name, is_so in each.items() if is_so]


def read_image(
    path: Path | str, height: int, width: int, channels: int, resize: Resize, levels: Levels | None = None
) -> Tensor:
    """Read an image file, upright, as (channels, height, width) uint8: 1 channel is grey, 3 are RGB.

    `resize`: crop scales the shorter side to size and keeps the centre, pad scales the longer side to size
    and adds black, stretch scales each side on its own; bilinear, antialiased. Transparent pixels are put
    over white. Of several frames or pages the first is read. Of an image of more than 8 bits the first of
    `levels` becomes 0 and the second 255; without them 0 and 65,535 do, and 32 bits are refused.

    Raises Unreadable for anything but a complete image of FORMATS (and HEIC, with the package pillow-heif),
    and for one of more than 2²⁶ pixels or more than MOST_BYTES to decode; UserError for a file that cannot
    be opened or read, RunFailed if memory runs out.
    """
    return read_picture(path, height, width, channels, resize, levels).pixels


def read_picture(
    path: Path | str,
    height: int,
    width: int,
    channels: int,
    resize: Resize,
    levels: Levels | None = None,
    most_pixels: int = MOST_PIXELS,
) -> Picture:
    """Read an image file as `read_image` does, and what is to be said about it.

    One of more than `most_pixels` is Unreadable.
    """
    mode = "L" if channels == 1 else "RGB"

    def read(image: Image.Image) -> Picture:
        _refuse_too_many(image, most_pixels)
        return _picture(image, (width, height), mode, resize, levels)

    return _opened(path, read)


def spread_of(path: Path | str) -> Spread | None:
    """The values of an image file of more than 8 bits; None of any other. Raises as `read_image` does."""

    def measure(image: Image.Image) -> Spread | None:
        _refuse_too_many(image)
        if not is_deep(image):
            return None
        _refuse_too_large(image, 1, (1, 1), 0)
        with _one_at_a_time if image.width * image.height > _MANY_PIXELS else nullcontext():
            image.load()
            return Spread.of(strips(image, STRIP))

    return _opened(path, measure)


def _opened(path: Path | str, use: Callable[[Image.Image], _Found]) -> _Found:
    """The result of `use` for an image file, which is closed again. Raises as `read_image` does."""
    try:
        with open_to_read(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError("the image cannot be read: this is no regular file", where=printable(path))
            if status.st_size > MOST_BYTES:
                raise ValueError(f"its file has {status.st_size / 2**20:,.0f} MiB")
            head = file.read(HEAD)
            file.seek(0)
            with _as_image(file, head) as image:
                return use(image)
    except UserError:
        raise
    except MemoryError:  # not the image's fault
        what, fix = "there is no memory left to decode an image", "close other programs"
        raise RunFailed(what, where=printable(path), fix=fix) from None
    except Exception as error:  # Pillow raises many types for a damaged file
        # An OSError with errno comes from the disk; EINVAL comes from following a file's broken offsets.
        if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
            raise UserError(f"the image cannot be read: {error.strerror}", where=printable(path)) from None
        reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise Unreadable(reason, path, needs_levels=isinstance(error, _LevelsUnknown)) from None


class _LevelsUnknown(ValueError):
    """The values that are black and white in an image of 32 bits are not known."""


@contextmanager
def _as_image(file: IO[bytes], head: bytes) -> Iterator[Image.Image]:
    """Open an image of a format that is read. Raises ValueError that names what else it is, if known."""
    formats = [each for each in readable_formats() if each != "HEIC"]
    if head[4:8] == b"ftyp" and kind_of_file(head) == "HEIC":  # the first saves time
        if "HEIC" not in readable_formats():
            raise ValueError(f"it is HEIC, which is read after {HEIC_REMEDY}")
        register_heic()
        formats = [HEIF]
    try:
        image = Image.open(file, formats=formats)
    except UnidentifiedImageError:
        kind = kind_of_file(head)
        if kind in ("TIFF", "HEIC", "AVIF"):
            raise ValueError(f"it is {kind} of a kind that is not read, or damaged") from None
        none = f"it is none of {', '.join(readable_formats())}"
        raise ValueError(f"it is {kind}" if kind else none) from None
    with image:
        yield image


def upright_size(path: Path | str) -> tuple[int, int] | None:
    """The height and width of an image file as `read_image` sees it; None if it is no such file."""
    try:
        with open_to_read(path) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            head = file.read(HEAD)
            file.seek(0)
            with _as_image(file, head) as image:
                sides = image.size if _orientation(image) in _LYING else image.size[::-1]
    except Exception:  # Pillow raises many types for a damaged file
        return None
    return sides


def _picture(
    image: Image.Image, size: tuple[int, int], mode: str, resize: Resize, levels: Levels | None
) -> Picture:
    """The picture of an open image, resized to `size` (width, height)."""
    has_levels, is_cut, is_first = is_deep(image), _is_cut(image), _is_first(image)
    if has_levels and not levels:
        if not image.mode.startswith("I;16"):
            raise _LevelsUnknown("it has 32 bits, and no image of training had: black and white are unknown")
        levels = SIXTEEN_BITS
    box = (0.0, 0.0, float(image.width), float(image.height))
    coefficients = _coefficients(image)
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice the wanted size is enough.
    if drafted := image.draft(mode, (2 * max(size), 2 * max(size))):
        box = drafted[1]
    is_large = image.width * image.height > _MANY_PIXELS
    factor = reduction(image.size, size) if is_large and is_copied(image) else 1
    _refuse_too_large(image, factor, size, coefficients)
    with _one_at_a_time if is_large else nullcontext():
        image.load()
        orientation = _orientation(image)
        is_clipped = bool(has_levels and levels and _goes_beyond(image, levels))
        plain = reduced(image, factor, levels) if factor > 1 else plain_image(image, levels)
        box = (0.0, 0.0, box[2] / factor, box[3] / factor)
        small = resized(plain, size[::-1] if orientation in _LYING else size, box, resize)
    if orientation in _UPRIGHT:
        small = small.transpose(_UPRIGHT[orientation])
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    small = small.convert(mode)
    if small.size != size:
        canvas = Image.new(mode, size)
        canvas.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
        small = canvas
    # Not with torch, which would start its own threads in every decoding thread.
    pixels = np.atleast_3d(np.array(small)).transpose(2, 0, 1).copy()
    return Picture(pixels, has_levels, is_cut, is_first, is_clipped)


def _goes_beyond(image: Image.Image, levels: Levels) -> bool:
    """True if an image has values that are smaller than the first level or larger than the second."""
    low, high = levels
    return any(bool((strip < low).any() or (strip > high).any()) for strip in strips(image, STRIP))


def _refuse_too_many(image: Image.Image, most: int = MOST_PIXELS) -> None:
    """Raise ValueError for an image of too many pixels, or a TIFF of too large tiles."""
    if image.width * image.height > most:
        raise ValueError(f"it has {image.width:,} × {image.height:,} pixels, more than {most:,}")
    if image.format == "TIFF":
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        tile = tags.get(TiffImagePlugin.TILEWIDTH, 0) * tags.get(TiffImagePlugin.TILELENGTH, 0)
        if tile > max(_LARGEST_TILE, 2 * image.width * image.height):
            raise ValueError(f"its tiles have {tile:,} pixels, more than {_LARGEST_TILE:,}")


def _refuse_too_large(image: Image.Image, factor: int, size: tuple[int, int], coefficients: int) -> None:
    """Raise ValueError for an image that takes too much memory to decode."""
    if (needed := coefficients + memory_to_resize(image, factor, size)) > MOST_BYTES:
        raise ValueError(
            f"its {image.width:,} × {image.height:,} pixels take {needed / 2**20:,.0f} MiB to decode, "
            f"more than {MOST_BYTES / 2**20:.0f}"
        )


def _is_first(image: Image.Image) -> bool:
    """True if an image is the first of several frames or pages; an MPO is a photograph and its previews."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _is_cut(image: Image.Image) -> bool:
    """True if each of several colours has 16 bits in the file, of which Pillow reads the upper 8."""
    tiles: Any = getattr(image, "tile", None)
    if is_deep(image) or not tiles:
        return False
    stated = tiles[0].args
    return ";16" in str(stated[0] if isinstance(stated, tuple) else stated)


def _coefficients(image: Image.Image) -> int:
    """The bytes that libjpeg needs beside the pixels for a JPEG in several scans: two for each sample."""
    if not isinstance(image, JpegImageFile) or _is_one_scan(image):
        return 0
    sampled = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in sampled) * max(down for _, down in sampled)
    return 2 * image.width * image.height * sum(across * down for across, down in sampled) // most


def _is_one_scan(image: JpegImageFile) -> bool:
    """True if a JPEG has all components in one scan, so that pixels are decoded as they are read."""
    assert image.fp is not None, "it was opened this moment"
    components, place = len(image.layer), image.fp.tell()  # just behind the header of the first scan
    start = b"\xff\xda" + (6 + 2 * components).to_bytes(2, "big") + bytes([components])
    image.fp.seek(max(0, place - 8 - 2 * components))  # in an MPO file the position is at its start again
    is_whole = image.fp.read(len(start)) == start
    image.fp.seek(place)
    return is_whole and not image.info.get("progressive")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of the camera, 1 to 8; 1 if it is missing or unreadable."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises many types for damaged EXIF
        return 1
