"""Small colour photographs of ten kinds of things."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from functools import partial
from pathlib import Path

import torch

from dlrun.data import Data, Examples
from dlrun.dataset._images import FITS
from dlrun.errors import UserError
from dlrun.files import ANOTHER_DATA_DIR, make_folder, put_in_place
from dlrun.options import Fraction, Normalise, Seed
from dlrun.vision import torchvision

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as the authors publish it, beside the archive
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue pixels row by row
_BATCH = 10_000 * _RECORD
_MEMBERS = {
    "train": [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["cifar-10-batches-bin/test_batch.bin"],
}


def cifar10(
    root: Path,
    *,
    normalise: Normalise = "train",
    valid_fraction: Fraction = 0.0,
    seed: Seed = 0,
) -> Data:
    """Small photographs in ten classes, 32×32 colour pixels.

    50,000 images to train on and 10,000 to test. `normalise`: unit gives 0 … 1, half -1 … 1, train
    mean 0 and standard deviation 1 of each colour over the training images. Source: Krizhevsky 2009.
    """
    return Data(
        task="classification",
        input_shape=(3, 32, 32),
        classes=CLASSES,
        read=partial(read, root / "cifar-10-binary.tar.gz"),
        fit=FITS[normalise],
        valid_fraction=valid_fraction,
        seed=seed,
    )


def read(archive: Path) -> dict[str, Examples]:
    """Images (n, 3, 32, 32) uint8 and labels (n,) of both splits, from the archive as it is.

    Nothing is unpacked to the disk. Raises UserError where the archive is neither there nor to be had.
    """
    if not archive.exists():
        _download(archive)
    try:
        with gzip.open(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as opened:
            splits = {split: read_members(opened, names) for split, names in _MEMBERS.items()}
            while unpacked.read(1 << 20):  # to its end, where gzip compares the checksum
                pass
            return splits
    except (tarfile.TarError, zlib.error, OSError, EOFError, KeyError, ValueError) as error:
        raise UserError(
            f"this is not the CIFAR-10 archive: {error}",
            where=str(archive),
            fix="delete it, and it is fetched again",
        ) from None


def read_members(opened: tarfile.TarFile, names: list[str]) -> Examples:
    """The records of some members, one after the other. Raises ValueError for other sizes."""
    raw = bytearray()
    for name in names:
        member = opened.getmember(name)
        if not member.isfile() or member.size != _BATCH:
            raise ValueError(f"{name} is not {_BATCH:,} bytes long")
        file = opened.extractfile(member)
        raw += file.read() if file else b""
    records = torch.frombuffer(raw, dtype=torch.uint8).view(-1, _RECORD)
    if int(records[:, 0].max()) >= len(CLASSES):
        raise ValueError("a label is not one of ten")
    return Examples(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].long())


def _download(archive: Path) -> None:
    part = archive.with_name(f"{archive.name}.part")
    try:
        make_folder(archive.parent, ANOTHER_DATA_DIR)
        torchvision()
        from torchvision.datasets.utils import download_url

        part.unlink(missing_ok=True)
        download_url(_URL, str(part.parent), part.name)
        if hashlib.md5(part.read_bytes()).hexdigest() != _MD5:
            raise ValueError("what came is not what the authors publish (its md5 differs)")
        put_in_place(part, archive)
    except Exception as error:  # torchvision raises whatever the network did
        part.unlink(missing_ok=True)
        reason = str(error).splitlines()[-1][:200] if str(error) else type(error).__name__
        raise UserError(
            f"CIFAR-10 could not be downloaded: {reason}",
            where=str(archive.parent),
            fix=f"put {archive.name} (the binary version) there, or name its folder with --data-dir",
        ) from None
