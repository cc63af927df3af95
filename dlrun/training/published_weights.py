"""Weights that an architecture's file names (`weights: DEFAULT`): downloaded, with their preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from statistics import fmean
from typing import Any

from dlrun.blocks.published_weights import PublishedWeights
from dlrun.config.dumping import in_one_line
from dlrun.config.keys import Choice, Config
from dlrun.config.option_values import accepts
from dlrun.config.registry import Parts
from dlrun.data.download import Published, fetch
from dlrun.data.image_files.pixels import NAMED
from dlrun.data.misfits import said_kind
from dlrun.errors import UserError, in_words
from dlrun.system.progress import Progress

_FOLDER = "weights"  # in the data folder
_MOST_BYTES = 2**33  # of a file; the largest of torchvision has 2.6 GB


def published_for(config: Config, parts: Parts) -> dict[str, PublishedWeights]:
    """The published weights of a config's architecture by their names; none if its file has no `published`.

    The function is given those options of the architecture that it takes.
    """
    choice = config.architecture
    function = getattr(parts.module("architecture", choice.name), "published", None)
    if function is None:
        return {}
    taken = signature(function).parameters
    found = function(**{name: value for name, value in choice.options.items() if name in taken})
    if not isinstance(found, Mapping):
        raise UserError(f"published() gives {said_kind(found)} instead of PublishedWeights by their names")
    for name, weights in found.items():
        if not isinstance(weights, PublishedWeights):
            raise UserError(f"published() gives {said_kind(weights)} as {name}, instead of PublishedWeights")
    return dict(found)


def with_preprocessing(config: Config, parts: Parts, name: str, weights: PublishedWeights) -> Config:
    """The config whose images have the size and the scale of those that some published weights know.

    An option that the config states stays. Notes say what is set, and what the dataset has no option for.
    """
    dataset = config.dataset
    known, written = parts.part("dataset", dataset.name).options, config.tree.at(("dataset",)).value
    stated = written if isinstance(written, dict) else {}
    values, missing = dict[str, Any](), list[str]()
    for option, (said, readings) in _preprocessing(weights, dataset.options.get("colour") is False).items():
        if "normalise" not in known or option not in known:  # elsewhere `size` may be that of anything
            missing.append(said)
        elif option not in stated:
            fitting = [value for value in readings if accepts(known[option].type, value)]
            values |= {option: fitting[0]} if fitting else {}
            missing += [] if fitting else [said]
    notes = list[str]()
    if values:
        words = in_words(f"dataset.{option} is {in_one_line(value)}" for option, value in values.items())
        notes.append(f"{words}, as in the training of the weights {name}; a config may state others")
    if missing:
        learnt = f"the weights {name} were trained on images {in_words(missing)}"
        notes.append(f"{learnt}, but {dataset.name} has no option that makes them so")
    said_once = tuple(dict.fromkeys([*config.notes, *notes]))
    return replace(config, dataset=Choice(dataset.name, dataset.options | values), notes=said_once)


def _preprocessing(weights: PublishedWeights, is_grey: bool) -> dict[str, tuple[str, list[Any]]]:
    """Option -> the images in words, and values for them, of which a dataset has the first that it takes."""
    mean, deviation = weights.mean, weights.deviation
    scales: list[Any] = [name for name, each in NAMED.items() if each == (mean, deviation) and not is_grey]
    if is_grey:  # all colours are this one
        mean, deviation = ((round(fmean(each), 4),) for each in (mean, deviation))
    lists = [list(mean), list(deviation)]
    scales.append([each[0] for each in lists] if len({*mean}) == len({*deviation}) == 1 else lists)
    shown = " and ".join(in_one_line(each) for each in lists)
    found = dict[str, tuple[str, list[Any]]]()
    if weights.size:
        height, width = weights.size
        sizes = [height, [height, width]] if height == width else [[height, width]]
        found["size"] = (f"of {height}×{width} pixels", sizes)
    return found | {"normalise": (f"by mean and deviation {shown}", scales)}


def fetched(name: str, weights: PublishedWeights, data_dir: Path, progress: Progress) -> Path:
    """The file of published weights in the data folder, downloaded if it is missing.

    Raises UserError with the address and the place if that fails.
    """
    path = data_dir / _FOLDER / weights.file
    fix = f"download it elsewhere and put it there as {weights.file}"
    file = Published([weights.url], weights.sha256, _MOST_BYTES)
    fetch(file, path, progress, called=f"the file of the weights {name}", fix=fix)
    return path
