"""The formats of image files that are read, and the names of others."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from PIL import features

# Not all of Pillow's formats: it would run PostScript, for example.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "AVIF")
HEIF = "HEIF"  # the name that pillow-heif gives to its format
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
HEAD = 132  # bytes of a file that tell its kind
HEIC_REMEDY = "pip install 'dlrun[heic]'"


@cache
def readable_formats() -> tuple[str, ...]:
    """The formats that are read on this machine."""
    there = {"AVIF": features.check("avif"), "JPEG2000": features.check("jpg_2000")}
    heic = ("HEIC",) if find_spec("pillow_heif") else ()
    return (*(each for each in FORMATS if there.get(each, True)), *heic)


def kind_of_file(head: bytes) -> str:
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
def register_heic() -> None:
    """Make pillow-heif Pillow's reader of HEIC."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
