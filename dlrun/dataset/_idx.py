"""MNIST and its relatives: four idx files, fetched by torchvision where they are missing."""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from dlrun.data import Data, Examples
from dlrun.dataset._images import FITS
from dlrun.errors import UserError
from dlrun.options import Normalise
from dlrun.vision import torchvision

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def idx_dataset(
    root: Path, name: str, classes: tuple[str, ...], normalise: Normalise, valid_fraction: float, seed: int
) -> Data:
    """One of torchvision's datasets of 28×28 grey images; `name` is torchvision's."""
    return Data(
        task="classification",
        input_shape=(1, 28, 28),
        classes=classes,
        read=partial(read, root, name, len(classes)),
        fit=FITS[normalise],
        valid_fraction=valid_fraction,
        seed=seed,
    )


def read(root: Path, name: str, classes: int) -> dict[str, Examples]:
    """Images (n, 1, 28, 28) uint8 and labels (n,) of both splits.

    Raises UserError where the files are neither there nor to be had, or are not what they should be.
    """
    folder = root / name / "raw"
    if any(not (folder / file).exists() for files in _FILES.values() for file in files):
        _download(root, name, folder)
    splits = {}
    for split, (images, labels) in _FILES.items():
        inputs = read_idx(folder / images).unsqueeze(1)
        targets = read_idx(folder / labels).long()
        if inputs.shape[1:] != (1, 28, 28) or targets.shape != inputs.shape[:1]:
            raise UserError(f"{images} and {labels} do not belong together", where=str(folder))
        if len(targets) and int(targets.max()) >= classes:
            raise UserError(
                f"there is a label {int(targets.max())} of {classes} classes", where=str(folder / labels)
            )
        splits[split] = Examples(inputs, targets)
    return splits


def read_idx(path: Path) -> Tensor:
    """The uint8 tensor in an idx file. Raises UserError where the file is not whole."""
    raw = bytearray(path.stat().st_size)  # read into once, and kept as the tensor's memory
    with path.open("rb") as file:
        read_bytes = file.readinto(raw)
    dimensions = raw[3] if read_bytes == len(raw) > 3 else 0
    sizes = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis]) for axis in range(dimensions)]
    if raw[:3] != b"\x00\x00\x08" or dimensions not in (1, 3) or len(raw) != 4 + 4 * dimensions + prod(sizes):
        raise UserError(
            "this is no whole idx file", where=str(path), fix="delete it, and it is fetched again"
        )
    values = torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * dimensions)
    return values.view(sizes)


def _download(root: Path, name: str, folder: Path) -> None:
    try:
        getattr(torchvision().datasets, name)(str(root), download=True)  # compares checksums (md5)
    except Exception as error:  # torchvision raises whatever the network did
        files = ", ".join(file for files in _FILES.values() for file in files)
        reason = str(error).splitlines()[-1][:200] if str(error) else type(error).__name__
        raise UserError(
            f"{name} could not be downloaded: {reason}",
            where=str(folder),
            fix=f"put {files} there, or name the folder above {name} with --data-dir",
        ) from None
