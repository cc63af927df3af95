"""Image files: find them in a folder, and decode and resize them within a memory limit."""

from __future__ import annotations

import errno
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, features
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from dlrun.config.options import Resize
from dlrun.data.grey_levels import SIXTEEN_BITS, Levels, Spread, as_bytes, is_deep, strips
from dlrun.errors import RunFailed, UserError
from dlrun.system.files import open_to_read

# Not all of Pillow's formats: it would run PostScript, for example.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "AVIF")
_HEIC = "HEIF"  # the name that pillow-heif gives to its format
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".jp2", ".j2k", ".avif", ".heic", ".heif"),
)
MOST_PIXELS = 2**26  # 67 million: a 61-megapixel camera; 256 MiB of colours in Pillow
MOST_BYTES = 280 * 2**20  # of memory for decoding an image
_MANY_PIXELS = 2**24  # larger images are decoded one at a time, for threads share the memory
_one_at_a_time = threading.Lock()
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # of a pixel; else 4
# Bytes of a pixel where a library decodes all of an image into memory of its own, which Pillow then copies.
_LIBRARY_BYTES = {"WEBP": 16, "AVIF": 16, _HEIC: 16, "JPEG2000": 24, "TIFF": 8}
_STRIP = 2**20  # pixels
_LARGEST_TILE = 2**23  # pixels of a TIFF; its decoder holds a whole one
# Files and folders that operating systems create: Windows, macOS, Linux and Synology.
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
_LYING = (5, 6, 7, 8)  # EXIF orientations in which rows are stored as columns
# Pillow warns of many pixels, which are refused here, and of broken EXIF, which is ignored.
warnings.filterwarnings("ignore", module=r"PIL\.")


# The first bytes of files that are no image that is read, or only with a package of its own.
_KINDS = {
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"<!DOC": "a web page",
    b"<html": "a web page",
    b"\x89HDF": "HDF5",
    b"SIMPLE  =": "FITS",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "compressed by gzip",
    b"v/1\x01": "OpenEXR",
    b"qoif": "QOI",
    b"version https://git-lfs": "a pointer of Git LFS, whose content was not fetched",
}
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_HEAD = 132  # bytes of a file that tell its kind
HEIC_REMEDY = "pip install 'dlrun[heic]'"
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
    """The pixels (channels, height, width) uint8 of an image file, and what about it is worth saying.

    `is_deep` if it has one value of more than 8 bits for each pixel, which levels turned into bytes; `is_cut`
    if it has 16 bits for each of several colours, of which the upper 8 are read; `is_first` if it is the
    first of several frames or pages; `is_clipped` if some of its values lie beyond the levels.
    """

    pixels: Tensor
    is_deep: bool = False
    is_cut: bool = False
    is_first: bool = False
    is_clipped: bool = False

    @property
    def remarks(self) -> list[str]:
        """The names of what is true of it: deep, cut, first, clipped."""
        each = {"deep": self.is_deep, "cut": self.is_cut, "first": self.is_first, "clipped": self.is_clipped}
        return [name for name, is_so in each.items() if is_so]


@cache
def readable_formats() -> tuple[str, ...]:
    """The formats that are read on this machine."""
    there = {"AVIF": features.check("avif"), "JPEG2000": features.check("jpg_2000")}
    heic = ("HEIC",) if find_spec("pillow_heif") else ()
    return (*(each for each in FORMATS if there.get(each, True)), *heic)


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
    path: Path | str, height: int, width: int, channels: int, resize: Resize, levels: Levels | None = None
) -> Picture:
    """Read an image file as `read_image` does, and what is to be said about it."""
    mode = "L" if channels == 1 else "RGB"
    return _opened(path, lambda image: _picture(image, (width, height), mode, resize, levels))


def spread_of(path: Path | str) -> Spread | None:
    """The values of an image file of more than 8 bits; None of any other. Raises as `read_image` does."""

    def measure(image: Image.Image) -> Spread | None:
        _refuse_too_many(image)
        if not is_deep(image):
            return None
        _refuse_too_large(image, 1, (1, 1), 0)
        with _one_at_a_time if image.width * image.height > _MANY_PIXELS else nullcontext():
            image.load()
            return Spread.of(strips(image, _STRIP))

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
            head = file.read(_HEAD)
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
    kind, formats = _kind(head), [each for each in readable_formats() if each != "HEIC"]
    if kind == "HEIC":
        if "HEIC" not in readable_formats():
            raise ValueError(f"it is HEIC, which is read after {HEIC_REMEDY}")
        _register_heic()
        formats = [_HEIC]
    try:
        image = Image.open(file, formats=formats)
    except UnidentifiedImageError:
        if kind in ("TIFF", "HEIC", "AVIF"):
            raise ValueError(f"it is {kind} of a kind that is not read, or damaged") from None
        none = f"it is none of {', '.join(readable_formats())}"
        raise ValueError(f"it is {kind}" if kind else none) from None
    with image:
        yield image


def _kind(head: bytes) -> str:
    """The kind of a file by its first bytes, in words; "" if they are not known."""
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[place : place + 4] for place in range(16, len(head), 4))]
        stated = brands[: max(1, int.from_bytes(head[:4], "big") // 4 - 3)]
        if any(brand in _AVIF_BRANDS for brand in stated):
            return "AVIF"
        return "HEIC" if stated[0] in _HEIC_BRANDS else "a video"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[128:132] == b"DICM":
        return "DICOM"
    return next((kind for start, kind in _KINDS.items() if head.lstrip().startswith(start)), "")


@cache
def _register_heic() -> None:
    """Make pillow-heif Pillow's reader of HEIC."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)


def upright_size(path: Path | str) -> tuple[int, int] | None:
    """The height and width of an image file as `read_image` sees it; None if it is no such file."""
    try:
        with open_to_read(path) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            head = file.read(_HEAD)
            file.seek(0)
            with _as_image(file, head) as image:
                sides = image.size if _orientation(image) in _LYING else image.size[::-1]
    except Exception:  # Pillow raises many types for a damaged file
        return None
    return sides


def at_full_size(mask: Tensor, sides: tuple[int, int], resize: Resize, outside: int) -> Tensor:
    """The mask (height, width) of a resized image for the original, whose height and width are `sides`.

    Each pixel of the original has the value of the one that it was resized to, or where it was cut off
    `outside`.
    """
    ratios = [original / own for original, own in zip(sides, mask.shape, strict=True)]
    ratio = {"crop": min(ratios), "pad": max(ratios), "stretch": 0.0}[resize]
    places = []
    for original, own in zip(sides, mask.shape, strict=True):
        middles, first = torch.arange(original, dtype=torch.float64) + 0.5, 0
        scaled = max(1, round(original / ratio)) if resize == "pad" else own  # as in `_resized`
        if resize == "pad":
            first = (own - scaled) // 2
        cut = (original - ratio * own) / 2 if resize == "crop" else 0.0
        places.append(((middles - cut) * scaled / (original - 2 * cut) + first).floor().long())
    rows, columns = places
    found = mask[rows.clamp(0, mask.shape[0] - 1)][:, columns.clamp(0, mask.shape[1] - 1)]
    inside = [(of >= 0) & (of < own) for of, own in zip(places, mask.shape, strict=True)]
    return torch.where(inside[0].unsqueeze(1) & inside[1], found, outside)


def _picture(
    image: Image.Image, size: tuple[int, int], mode: str, resize: Resize, levels: Levels | None
) -> Picture:
    """The picture of an open image, resized to `size` (width, height)."""
    _refuse_too_many(image)
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
    factor = _factor(image.size, size) if is_large and _is_copied(image) else 1
    _refuse_too_large(image, factor, size, coefficients)
    with _one_at_a_time if is_large else nullcontext():
        image.load()
        orientation = _orientation(image)
        is_clipped = bool(has_levels and levels and _goes_beyond(image, levels))
        plain = _reduced(image, factor, levels) if factor > 1 else _plain(image, levels)
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
    # Not with torch, which would start its own threads in every decoding thread.
    pixels = np.atleast_3d(np.array(small)).transpose(2, 0, 1).copy()
    return Picture(torch.from_numpy(pixels), has_levels, is_cut, is_first, is_clipped)


def _goes_beyond(image: Image.Image, levels: Levels) -> bool:
    """True if an image has values that are smaller than the first level or larger than the second."""
    low, high = levels
    return any(bool((strip < low).any() or (strip > high).any()) for strip in strips(image, _STRIP))


def _refuse_too_many(image: Image.Image) -> None:
    """Raise ValueError for an image of too many pixels, or a TIFF of too large tiles."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"it has {image.width:,} × {image.height:,} pixels, more than {MOST_PIXELS:,}")
    if image.format == "TIFF":
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        tile = tags.get(TiffImagePlugin.TILEWIDTH, 0) * tags.get(TiffImagePlugin.TILELENGTH, 0)
        if tile > max(_LARGEST_TILE, 2 * image.width * image.height):
            raise ValueError(f"its tiles have {tile:,} pixels, more than {_LARGEST_TILE:,}")


def _refuse_too_large(image: Image.Image, factor: int, size: tuple[int, int], coefficients: int) -> None:
    """Raise ValueError for an image that takes too much memory to decode."""
    if (needed := coefficients + _memory(image, factor, size)) > MOST_BYTES:
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


def _memory(image: Image.Image, factor: int, wanted: tuple[int, int]) -> int:
    """The bytes that resizing an image takes if both sides are first reduced by `factor`."""
    own = max(_LIBRARY_BYTES.get(str(image.format), 0), _BYTES.get(image.mode, 4))
    copies = 8 / factor**2 if _is_copied(image) else 0  # once as RGBA, and once multiplied by its A
    resized = 4 * max(wanted) * (max(image.size) // factor + 3 * max(wanted))  # one side, then the other
    return round(image.width * image.height * (own + copies)) + resized


def _is_copied(image: Image.Image) -> bool:
    """True if the pixels need to be converted to another mode before they can be reduced."""
    return image.mode not in ("L", "RGB") or image.has_transparency_data


def _factor(sides: tuple[int, int], wanted: tuple[int, int]) -> int:
    """The factor by which both sides of an image can be reduced and still be twice the wanted size."""
    return max(1, int(min(sides) / max(wanted)) // 2)


def _reduced(image: Image.Image, factor: int, levels: Levels | None) -> Image.Image:
    """The image as L, RGB or RGBA with both sides reduced, strip by strip, without a copy of the whole."""
    whole: Image.Image | None = None
    height = factor * max(1, _STRIP // (image.width * factor))
    for top in range(0, image.height, height):
        strip = image.crop((0, top, image.width, min(image.height, top + height)))
        small = _plain(strip, levels).reduce(factor)
        if whole is None:
            whole = Image.new(small.mode, (small.width, -(-image.height // factor)))
        whole.paste(small, (0, top // factor))
    assert whole is not None, "an image has pixels"
    return whole


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of the camera, 1 to 8; 1 if it is missing or unreadable."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises many types for damaged EXIF
        return 1


def _plain(image: Image.Image, levels: Levels | None) -> Image.Image:
    """The image as L, RGB or RGBA, modes in which colours can be interpolated."""
    if levels and is_deep(image):
        plain, top = Image.new("L", image.size), 0
        for strip in strips(image, _STRIP):
            plain.paste(Image.fromarray(as_bytes(strip, levels)), (0, top))
            top += len(strip)
        return plain
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _resized(
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


def image_files(folder: Path, endings: Sequence[str] = SUFFIXES) -> list[Path]:
    """The sorted paths of files with an image's ending at any depth of a folder, without hidden ones.

    Raises UserError as `files_below` does.
    """
    return [Path(file) for file in files_below(folder) if file.lower().endswith(tuple(endings))]


def files_below(folder: Path) -> list[str]:
    """The sorted paths of all files at any depth of a folder, without hidden files and folders.

    Their parts are joined by / on every system. Links are followed. Raises UserError for a folder that cannot
    be listed, and for a circle of links.
    """
    found: list[str] = []
    leading: dict[str, frozenset[tuple[int, int]]] = {}  # folder -> the identities of it and its parents
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_cannot_list):
        status = Path(place).stat()
        here, before = (status.st_dev, status.st_ino), leading.get(os.path.dirname(place), frozenset())  # noqa: PTH120
        if here in before:
            what = "the link leads back to a folder above it"
            raise UserError(what, where=printable(place), fix="remove the link from that path")
        leading[place] = before | {here}
        folders[:] = [name for name in folders if not is_hidden(name)]
        shown = place.replace(os.sep, "/")
        found += [f"{shown}/{name}" for name in names if not is_hidden(name)]
    return sorted(found)


def is_hidden(name: str) -> bool:
    """True for hidden and system files and folders: .git, .ipynb_checkpoints, __MACOSX, Thumbs.db."""
    return name.startswith((".", "__")) or name.lower() in _OF_SYSTEMS


def printable(path: Path | str) -> str:
    """A path as text that can be printed, even if its name is not valid UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _cannot_list(error: OSError) -> None:
    raise UserError(
        f"the folder cannot be listed: {error.strerror}", where=printable(error.filename)
    ) from None
