"""Each augmentation by dlrun, and by torchvision for each image and for each batch, in turn in one process.

All begin with images of 8 bits and end with normalised floats. Photographs are blurred noise: what an
operation costs hardly depends on the picture. The median batch counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contestants._report import say
from dlrun.config.registry import Parts
from dlrun.data.examples import Examples
from dlrun.data.image_files.pixels import NAMED, imagenet
from dlrun.data.torchvision_import import import_torchvision
from dlrun.system.machine import keep_freed_memory
from dlrun.training.augmentation import Augment

import_torchvision()
from torchvision.transforms import v2  # noqa: E402

LINEAR = v2.InterpolationMode.BILINEAR


def theirs(side: int) -> dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]]:
    """Torchvision's transforms by dlrun's names, with the options of dlrun's that make both do the same.

    What has a probability changes every image: a batch of torchvision's is changed as a whole or not at all.
    """
    width = 13  # pixels: of a Gaussian of 2 pixels 3 standard deviations either way
    always = {"probability": 1.0}
    return {
        "flip": (v2.RandomHorizontalFlip(1), always),
        "crop": (v2.RandomCrop(side, padding=4), {}),
        "random_resized_crop": (v2.RandomResizedCrop(side), {}),
        "affine": (v2.RandomAffine(10, (0.1, 0.1), (0.9, 1.1), interpolation=LINEAR), {}),
        "perspective": (v2.RandomPerspective(0.5, 1), always),
        "colour_jitter": (v2.ColorJitter(0.4, 0.4, 0.4, 0.1), {}),
        "grayscale": (v2.RandomGrayscale(1), always),
        "blur": (v2.GaussianBlur(width, (0.1, 2.0)), always),
        "sharpen": (v2.RandomAdjustSharpness(2.0, 1), always | {"factor": [2.0, 2.0]}),
        "posterise": (v2.RandomPosterize(4, 1), always),
        "solarise": (v2.RandomSolarize(128, 1), always),
        "equalise": (v2.RandomEqualize(1), always),
        "autocontrast": (v2.RandomAutocontrast(1), always),
        "erasing": (v2.RandomErasing(1), always),
        "trivial_augment": (v2.TrivialAugmentWide(interpolation=LINEAR), {}),
        "rand_augment": (v2.RandAugment(interpolation=LINEAR), {}),
        "auto_augment": (v2.AutoAugment(interpolation=LINEAR), {}),
        "augmix": (v2.AugMix(), {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("side", "images", "batch", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    noise = torch.rand(words.images, 3, words.side // 8, words.side // 8)
    images = (255 * F.interpolate(noise, (words.side, words.side), mode="bilinear")).to(torch.uint8)
    batches = images.split(words.batch)
    parts, stream = Parts(), torch.Generator().manual_seed(0)
    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(*NAMED["imagenet"])])
    prepare = imagenet(Examples(images, torch.zeros(words.images)))

    seconds: dict[str, dict[str, float]] = {}
    for name, (transform, options) in theirs(words.side).items():
        part = parts.part("augmentations", name)
        augment = Augment(
            name,
            partial(parts.find("augmentations", name), **part.defaults | options),
            part.takes,
            scale=prepare.in_unit(255.0) if "pixels" in part.takes else None,
            size=(words.side, words.side),
        )
        ways: dict[str, Callable[[Tensor], object]] = {
            "dlrun": lambda batch, augment=augment: augment(prepare(batch), {}, stream),
            "images": lambda batch, each=transform: normalise(torch.stack([each(image) for image in batch])),
            "batches": lambda batch, each=transform: normalise(each(batch)),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for number, batch in enumerate((batches[0], *batches)):
            for way, change in list(ways.items())[:: 1 if number % 2 else -1]:
                started = time.perf_counter()
                change(batch)
                times[way].append(time.perf_counter() - started)
        seconds[name] = {way: median(some[1:]) for way, some in times.items()}  # the first warms up
    say(seconds=seconds)


main()
