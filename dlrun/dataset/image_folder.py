"""Your own images, in a folder for each class."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Count, Fraction, Resize, Seed
from dlrun.data.composed import composed
from dlrun.data.examples import Data
from dlrun.data.image_files.dealing import Dealing
from dlrun.data.image_files.decoded_images import Decoding
from dlrun.data.image_files.finding import SUFFIXES
from dlrun.data.image_files.image_examples import Images, KnownImages, image_place, levels_of
from dlrun.data.image_files.labels import ImageLabels
from dlrun.data.image_files.layout import Layout
from dlrun.data.image_files.pixels import pixel_fit
from dlrun.errors import UserError, nearest

# An earlier dlrun drew the splits by number, read fewer formats, always 16 bits by their whole range, and had
# one scale for several numbers.
of_earlier_runs = {
    "split_rule": "drawn",
    "test_fraction": 0.2,
    "valid_fraction": 0.0,
    "value_range": [0.0, 65535.0],
    "endings": [".png", ".jpg", ".jpeg", ".webp", ".bmp"],
    "scale_each": False,
}
# The options that have an effect on a trained model; its checkpoint has settled the others.
at_evaluation = (
    "path",
    "labels",
    "target",
    "file_column",
    "unit",
    "endings",
    "unreadable",
    "resize",
    "value_range",
)

_USUAL_TEST_FRACTION = 0.2
_MOST_SIDE = 4096  # pixels: decoding more takes more than dlrun.data.image_files.reading.MOST_BYTES


def image_folder(
    root: Path,
    known: Mapping[str, Any] | None = None,
    *,
    path: str,
    size: Count | list[Count] = 64,
    colour: bool = True,
    resize: Resize = "crop",
    normalise: Literal["unit", "half", "train", "imagenet"] | list[float | list[float]] = "train",
    valid_fraction: Fraction = 0.1,
    test_fraction: Fraction | None = None,
    seed: Seed = 0,
    split_rule: Literal["hash", "drawn"] = "hash",
    group: Literal["folder"] | None = None,
    unreadable: Literal["refuse", "skip"] = "refuse",
    value_range: list[float] | None = None,
    endings: list[str] | None = None,
    names: dict[str, str] | None = None,
    labels: str | None = None,
    target: str | list[str] | None = None,
    file_column: str = "",
    task: Literal["classification", "multilabel", "regression"] | None = None,
    unit: str = "",
    scale_target: bool = True,
    scale_each: bool = True,
) -> Data:
    """Your own images, in a folder for each class, or with their labels in a table.

    Images in PATH/CLASS/…, or in PATH/train/CLASS/…, PATH/valid/CLASS/… and PATH/test/CLASS/…; these may
    also be called training, testing, eval, evaluation, val, validation and dev, in any case. A lone folder in
    PATH that holds them all is gone into. `path` is looked for in the working directory, beside the config
    and in the data folder. PNG, JPEG, WEBP, BMP, GIF, TIFF, JPEG 2000 and AVIF are read, and HEIC with
    pillow-heif (pip install 'dlrun[heic]'); of several frames or pages the first. `endings` are those of
    the files that are images, instead of the usual ones of these formats.

    Without a folder of validation images `valid_fraction` of each class in train is the validation split.
    Without one of test images `test_fraction` of each class is the test split: by default a fifth, and none
    if there are validation images. A hash of each image's name, CLASS/…, and of `seed` decides, so that
    images that are added move no other (`split_rule: drawn` draws by number, as earlier versions did, and
    has classes in the order of their characters). Equal images stand together, and with
    `group: folder` all of a folder PATH/CLASS/FOLDER/….

    Images are resized to `size` pixels, a number or [height, width]: crop keeps the centre of the longer
    side, pad adds black, stretch distorts; see `read_image`. Of images with one value of
    more than 8 bits for each pixel the smallest value of all becomes 0 and the largest 255, or the two of
    `value_range`. They are decoded once, into DATA/image_folder/, and memory-mapped from there, so that
    images beyond the memory are read as needed. What was not used for the longest time is deleted there
    beyond 20 GiB, or DLRUN_CACHE_GIB; `dlrun data --clear-cache` deletes all; the next run decodes again.

    `labels` names a CSV file, beside the images or where `path` is looked for, that has their classes instead
    of the folders: `target` is its column of classes; with `task: multilabel` (usual for several columns)
    those of labels that apply, 1, or not, 0; with `task: regression` those of numbers (in `unit`), which with
    `scale_target` the loss sees with mean 0 and deviation 1 over all labels, each column (or with
    `scale_each: false`, as in earlier versions, all together), whatever their split: that is known only once
    the images are decoded. `file_column` has the names of the files, with or without
    folder and ending; by default it is the column in which most are. Images without a row and rows without an
    image are left out and counted.

    `names` gives classes other names, such as `{n01440764: tench}`. `normalise` is as for mnist, or
    imagenet, or [mean, deviation] of pixels from 0 to 1, numbers or a list for each channel.
    `unreadable: skip` leaves out damaged images and reports them.
    """
    sides = [size, size] if isinstance(size, int) else size
    if len(sides) != 2:
        raise UserError(f"size is {size}, but must be one number, or [height, width]")
    if max(sides) > _MOST_SIDE:
        raise UserError(f"size is {size}, but may be {_MOST_SIDE:,} pixels at most")
    if group and split_rule == "drawn":
        raise UserError("group needs split_rule: hash", fix="set dataset.split_rule=hash, or no group")
    shape = (3 if colour else 1, sides[0], sides[1])
    suffixes = SUFFIXES if endings is None else tuple(_ending(each) for each in endings)
    table = _table(labels, target, file_column, task)
    kind = table.task if table else "classification"
    before = KnownImages.of(known, has_classes=kind != "regression") if known is not None else None
    classes: tuple[str, ...] = before.classes if before else ()
    scaling, present = before.scaling if before else None, {"train"}
    with suppress(*([UserError] if before else [])):  # a prediction does not need the training images
        source = image_place(path, root)
        if table:
            if not before:
                read = table.table(source, root)
                classes = table.classes(read)
                scaling = table.scaling(read, apart=scale_each) if scale_target else None
            present = set(table.listing(source, root, suffixes, classes).splits)
        else:
            layout = Layout.of(source, known=classes)
            present = set(layout.splits)
            if not before:
                classes = tuple(sorted(layout.classes()) if split_rule == "drawn" else layout.classes())
    if test_fraction is None:
        test_fraction = 0.0 if {"test", "valid"} & present else _USUAL_TEST_FRACTION
    every = Images(
        path,
        root,
        classes,
        Decoding(Path(path), shape, resize, levels_of(value_range)),
        suffixes,
        unreadable,
        Dealing(
            split_rule,
            seed,
            0.0 if "test" in present else test_fraction,
            0.0 if "valid" in present else valid_fraction,
            group is not None,
        ),
        before,
        table,
    )
    every.known["scaling"] = [
        list(each) if isinstance(each, tuple) else each for each in scaling or ()
    ] or None
    numbers = table.targets if table and kind == "regression" else ()
    fractions = {"test": test_fraction, "valid": valid_fraction if split_rule == "hash" else 0.0}
    return Data(
        task=kind,
        input_shape=shape,
        read=every.read,
        classes=_shown(classes, names or {}),
        target=numbers[0] if len(numbers) == 1 else "",
        target_names=numbers if len(numbers) > 1 else (),
        unit=unit,
        targets=max(1, len(numbers)),
        scaling=scaling,
        splits=tuple(name for name in ("train", "valid", "test") if name in present or fractions.get(name)),
        fit=pixel_fit(normalise, shape[0]),
        valid_fraction=valid_fraction if split_rule == "drawn" else 0.0,
        seed=seed,
        prepare=every.prepare,
        read_new=every.read_new,
        read_labelled=every.read_labelled,
        name_of=every.name_of,
        resize=resize,
        known=every.known,
        notes=every.notes,
    )


def _table(
    labels: str | None, target: str | list[str] | None, file_column: str, task: str | None
) -> ImageLabels | None:
    """The table of labels that the options state, if any. Raises UserError for options that need one."""
    targets = (target,) if isinstance(target, str) else tuple(target or ())
    if labels is None:
        if stated := [name for name, value in (("target", targets), ("task", task)) if value]:
            what = f"{stated[0]} is for the labels in a table"
            raise UserError(what, fix="name the CSV file with dataset.labels=…")
        return None
    return ImageLabels(
        labels, targets, file_column, task or ("multilabel" if len(targets) > 1 else "classification")
    )


def _shown(classes: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    """The names under which classes are shown. Raises UserError for names of no class, and equal ones."""
    for name in names:
        if composed(name) not in map(composed, classes):
            raise UserError(f"names has {name!r}, which is no class{nearest(name, classes)}")
    others = {composed(name): shown for name, shown in names.items()}
    shown = tuple(others.get(composed(name), name) for name in classes)
    if twice := [name for name in shown if shown.count(name) > 1]:
        raise UserError(f"names calls two classes {twice[0]}", fix="give each a name of its own")
    return shown


def _ending(text: str) -> str:
    """The ending of a file's name, in small letters with its dot."""
    return f".{text.strip().lower().removeprefix('.')}"
