"""MNIST and its relatives: four idx files, downloaded if they are missing."""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from dlrun.config.options import Normalise
from dlrun.data.download import Published, cannot_read, fetch
from dlrun.data.examples import Data, Examples
from dlrun.data.image_files.pixels import FITS
from dlrun.errors import UserError
from dlrun.system.progress import Progress, no_progress

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# The URL of each dataset, and the SHA-256 of its gzip files in the order of _FILES, as listed by TensorFlow
# Datasets and others.
_PUBLISHED = {
    "MNIST": (
        [
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ],
        [
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ],
    ),
    "FashionMNIST": (
        ["https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"],
        [
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ],
    ),
    "KMNIST": (
        ["https://codh.rois.ac.jp/kmnist/dataset/kmnist"],
        [
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ],
    ),
}
_MOST_BYTES = 2**26  # of a downloaded file, compressed
_MOST_READ = 2**30  # of a local file, which may be another, larger dataset
_AGAIN = "delete it; it is then downloaded again"


def idx_dataset(
    root: Path, name: str, classes: tuple[str, ...], normalise: Normalise, valid_fraction: float, seed: int
) -> Data:
    """A dataset of 28×28 grey images in the folder `name` of the data folder."""
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


def prepare(root: Path, name: str, progress: Progress) -> None:
    """Download the missing files. Raises UserError if that fails."""
    folder = root / name / "raw"
    files = [file for of_split in _FILES.values() for file in of_split]
    mirrors, digests = _PUBLISHED[name]
    fix = f"put {', '.join(files)} there, or name the folder above {name} with --data-dir"
    for file, sha256 in zip(files, digests, strict=True):
        published = Published([f"{mirror}/{file}.gz" for mirror in mirrors], sha256, _MOST_BYTES, packed=True)
        fetch(published, folder / file, progress, called=name, fix=fix)


def read(root: Path, name: str, classes: int) -> dict[str, Examples]:
    """Read images (n, 1, 28, 28) uint8 and labels (n,) of both splits.

    Raises UserError if files are missing or malformed.
    """
    prepare(root, name, no_progress)
    folder = root / name / "raw"
    splits = {}
    for split, (images, labels) in _FILES.items():
        inputs = read_idx(folder / images).unsqueeze(1)
        targets = read_idx(folder / labels).long()
        if inputs.shape[1:] != (1, 28, 28) or targets.shape != inputs.shape[:1]:
            fix = "delete both; they are then downloaded again"
            raise UserError(f"{images} and {labels} do not belong together", where=str(folder), fix=fix)
        if int(targets.max()) >= classes:
            what = f"there is a label {int(targets.max())} of {classes} classes, counted from 0"
            raise UserError(what, where=str(folder / labels), fix=_AGAIN)
        splits[split] = Examples(inputs, targets)
    return splits


def read_idx(path: Path) -> Tensor:
    """Read the uint8 tensor in an idx file. Raises UserError if the file is malformed or incomplete."""
    try:
        size = path.stat().st_size
        if size > _MOST_READ:
            raise UserError(f"this file has {size:,} bytes, more than {_MOST_READ:,}", where=str(path))
        raw = bytearray(size)  # becomes the tensor's memory without a copy
        with path.open("rb") as file:
            read_bytes = file.readinto(raw)
    except OSError as error:
        raise cannot_read(path, error) from None
    dimensions = raw[3] if read_bytes == size > 3 else 0
    sizes = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis]) for axis in range(dimensions)]
    start = 4 + 4 * dimensions
    if raw[:3] != b"\x00\x00\x08" or dimensions not in (1, 3) or not 0 < prod(sizes) == size - start:
        raise UserError("this is not a complete idx file", where=str(path), fix=_AGAIN)
    return torch.frombuffer(raw, dtype=torch.uint8, offset=start).view(sizes)
