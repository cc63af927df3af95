"""MNIST and its relatives: four idx files, fetched where they are missing."""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from dlrun.data import Data, Examples, Watching, unwatched
from dlrun.dataset._download import Published, fetch
from dlrun.dataset._images import FITS
from dlrun.errors import UserError
from dlrun.options import Normalise

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# Where each is published, and the MD5 of its gzip files in the order of _FILES.
_PUBLISHED = {
    "MNIST": (
        ["https://ossci-datasets.s3.amazonaws.com/mnist", "http://yann.lecun.com/exdb/mnist"],
        [
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ],
    ),
    "FashionMNIST": (
        ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"],
        [
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ],
    ),
    "KMNIST": (
        ["http://codh.rois.ac.jp/kmnist/dataset/kmnist"],
        [
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ],
    ),
}
_MOST_BYTES = 2**26  # of any of these files, packed or not


def idx_dataset(
    root: Path, name: str, classes: tuple[str, ...], normalise: Normalise, valid_fraction: float, seed: int
) -> Data:
    """A dataset of 28×28 grey images, in the folder `name`."""
    return Data(
        task="classification",
        input_shape=(1, 28, 28),
        classes=classes,
        read=partial(read, root, name, len(classes)),
        fit=FITS[normalise],
        valid_fraction=valid_fraction,
        seed=seed,
        prepare=partial(prepare, root, name),
    )


def prepare(root: Path, name: str, watching: Watching) -> None:
    """Fetch the files that are missing. Raises UserError where they are not to be had."""
    folder = root / name / "raw"
    files = [file for of_split in _FILES.values() for file in of_split]
    mirrors, digests = _PUBLISHED[name]
    fix = f"put {', '.join(files)} there, or name the folder above {name} with --data-dir"
    for file, md5 in zip(files, digests, strict=True):
        published = Published([f"{mirror}/{file}.gz" for mirror in mirrors], md5, _MOST_BYTES, _MOST_BYTES)
        fetch(published, folder / file, watching, called=name, fix=fix)


def read(root: Path, name: str, classes: int) -> dict[str, Examples]:
    """Images (n, 1, 28, 28) uint8 and labels (n,) of both splits.

    Raises UserError where the files are neither there nor to be had, or are not what they should be.
    """
    prepare(root, name, unwatched)
    folder = root / name / "raw"
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
