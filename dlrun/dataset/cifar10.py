"""Small colour photographs of ten kinds of things."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Literal

import torch

from dlrun.config.options import Fraction, Seed
from dlrun.data.download import Published, cannot_read, fetch
from dlrun.data.examples import Data, Examples
from dlrun.data.image_files.pixels import FITS
from dlrun.errors import UserError
from dlrun.system.progress import Progress, no_progress

# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = ()

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
# The SHA-256 that TensorFlow Datasets lists; the authors publish only an MD5.
_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_MOST_BYTES = 2**28  # of the archive, compressed and decompressed
_MOST_MEMBERS = 100
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue pixels row by row
_BATCH = 10_000 * _RECORD
_MEMBERS = {
    "train": [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["cifar-10-batches-bin/test_batch.bin"],
}


def cifar10(
    root: Path,
    *,
    normalise: Literal["unit", "half", "train", "imagenet"] = "train",
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """Small photographs in ten classes, 32×32 colour pixels.

    50,000 images to train on and 10,000 to test. Source: Krizhevsky 2009.

    Args:
        normalise: Scale of the pixels: unit from 0 to 1, half from -1 to 1, train with mean 0 and standard
            deviation 1 of each colour over the training images, imagenet by ImageNet's.
        valid_fraction: Share of the training images that becomes the validation split.
        seed: Random choice of the validation images.
    """
    return Data(
        task="classification",
        input_shape=(3, 32, 32),
        classes=CLASSES,
        read=partial(read, root / "cifar-10-binary.tar.gz"),
        fit=FITS[normalise],
        valid_fraction=valid_fraction,
        seed=seed,
        prepare=partial(prepare, root / "cifar-10-binary.tar.gz"),
    )


def prepare(archive: Path, progress: Progress) -> None:
    """Download the archive if it is missing. Raises UserError if that fails."""
    fix = f"put {archive.name} (the binary version) there, or name its folder with --data-dir"
    fetch(Published([_URL], _SHA256, _MOST_BYTES), archive, progress, called="CIFAR-10", fix=fix)


def read(archive: Path) -> dict[str, Examples]:
    """Read images (n, 3, 32, 32) uint8 and labels (n,) of both splits from the archive.

    Nothing is unpacked to the disk. Raises UserError if the archive is missing or damaged.
    """
    prepare(archive, no_progress)
    try:
        with gzip.open(archive) as packed:
            unpacked = packed.read(_MOST_BYTES + 1)  # to the end, where gzip verifies the checksum
        if len(unpacked) > _MOST_BYTES:
            raise ValueError(f"it unpacks to more than {_MOST_BYTES:,} bytes")
        with tarfile.open(fileobj=BytesIO(unpacked), mode="r:") as opened:  # no compression inside
            batches = read_members(opened)
        del unpacked
        return {split: _examples([batches.pop(name) for name in names]) for split, names in _MEMBERS.items()}
    except (gzip.BadGzipFile, tarfile.TarError, zlib.error, EOFError, RecursionError, ValueError) as error:
        raise UserError(
            f"this is not the CIFAR-10 archive: {error}",
            where=str(archive),
            fix="delete it; it is then downloaded again",
        ) from None
    except OSError as error:
        raise cannot_read(archive, error) from None


def read_members(opened: tarfile.TarFile) -> dict[str, bytes]:
    """The batches in an archive, by name. Raises ValueError if one is missing, repeated or of wrong size."""
    wanted = {name for names in _MEMBERS.values() for name in names}
    batches: dict[str, bytes] = {}
    for count, member in enumerate(opened, 1):
        if count > _MOST_MEMBERS:
            raise ValueError(f"it holds more than {_MOST_MEMBERS} files")
        if member.name not in wanted:
            continue
        if member.name in batches:
            raise ValueError(f"{member.name} stands in it twice")
        if not member.isreg() or member.size != _BATCH:
            raise ValueError(f"{member.name} is not {_BATCH:,} bytes long")
        file = opened.extractfile(member)
        batches[member.name] = file.read() if file else b""
    if missing := sorted(wanted - batches.keys()):
        raise ValueError(f"{missing[0]} is missing")
    return batches


def _examples(batches: list[bytes]) -> Examples:
    """The records of all batches in order. Raises ValueError for a label that is no class."""
    raw = bytearray().join(batches)
    records = torch.frombuffer(raw, dtype=torch.uint8).view(-1, _RECORD)
    if int(records[:, 0].max()) >= len(CLASSES):
        raise ValueError("a label is not one of ten")
    return Examples(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].long())
