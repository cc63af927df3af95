"""MNIST where it is at hand; elsewhere files of the same shape, which take the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measured import PROJECT

STAND_IN = "MNIST is not here: images of its shape and number stand in, which take the same time."
_SIZES = {"train": 60_000, "t10k": 10_000}


@contextmanager
def digits() -> Iterator[tuple[Path, bool]]:
    """The folder above MNIST, and whether the digits in it are real."""
    folder = Path(os.environ.get("DLRUN_DATA", PROJECT / "data"))
    if (folder / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        yield folder, True
        return
    with TemporaryDirectory() as temporary:
        write_stand_in(Path(temporary), _SIZES)
        yield Path(temporary), False


def write_stand_in(folder: Path, sizes: dict[str, int]) -> None:
    """Write idx files as MNIST's are: ten random images, each under much noise."""
    import numpy as np

    chance = np.random.default_rng(0)
    patterns = chance.integers(0, 256, (10, 28, 28))
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, number in sizes.items():
        labels = chance.integers(0, 10, number).astype(np.uint8)
        noise = chance.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        images = np.where(noise < 128, patterns[labels], noise).astype(np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            (raw / f"{split}-{kind}-ubyte").write_bytes(head + values.tobytes())
