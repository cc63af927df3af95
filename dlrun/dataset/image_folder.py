"""Your own images, in a folder for each class."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from dlrun.config.options import Count, Fraction, Resize, Seed
from dlrun.data.composed import composed
from dlrun.data.examples import Data
from dlrun.data.folds import Fold
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
    fold: Fold | None = None,
    *,
    path: str,
    size: Count | list[Count] = 64,
    store_size: Count | list[Count] | None = None,
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

    Images in PATH/CLASS/…, or in PATH/train/CLASS/…, PATH/valid/CLASS/… and PATH/test/CLASS/…; these may also
    be called training, testing, eval, evaluation, val, validation and dev, in upper or lower case. A lone
    folder in PATH that holds them all is gone into. PNG, JPEG, WEBP, BMP, GIF, TIFF, JPEG 2000 and AVIF are
    read, and HEIC with pillow-heif (pip install 'dlrun[heic]'); of several frames or pages the first.

    A hash of each image's name, CLASS/…, decides on its split, so that images that are added move no other.
    Equal images stand together.

    Images are decoded once, into DATA/image_folder/, and memory-mapped from there, so that images beyond the
    memory are read as needed. What was not used for the longest time is deleted there beyond 20 GiB, or
    DLRUN_CACHE_GIB; `dlrun data --clear-cache` deletes all; the next run decodes again.

    Of a table of labels, images without a row and rows without an image are left out and counted.

    Args:
        path: Folder of the images, looked for in the working directory, beside the config and in the data
            folder.
        size: Pixels of the images that the model gets: a number, or [height, width].
        store_size: Pixels to which images are resized, if these are more: the model gets their centres, in
            training the parts that random_resized_crop or crop choose; null: those of size.
        colour: Read three channels, red, green and blue; false: one of grey.
        resize: Way to the stored size: crop keeps the centre of the longer side, pad adds black, stretch
            distorts.
        normalise: Scale of the pixels: unit from 0 to 1, half from -1 to 1, train with mean 0 and standard
            deviation 1 over the training images, imagenet by ImageNet's; or [mean, deviation] of pixels from
            0 to 1, each a number or a list for each channel.
        valid_fraction: Share of each class in train that becomes the validation split, if no folder of its
            own is there.
        test_fraction: Share of each class that becomes the test split, if no folder of its own is there;
            null: a fifth, and none if there are validation images.
        seed: Choice of another hash, and so of other validation and test images.
        split_rule: Way of choosing images: by hash, or drawn by number as earlier versions did, which had
            classes in the order of their characters.
        group: Keep all of a folder PATH/CLASS/FOLDER/… in one split; null: each image by itself.
        unreadable: Treatment of damaged images: refuse the folder, or skip and report them.
        value_range: Smallest and largest value that become 0 and 255, of images with one value of more than 8
            bits for each pixel; null: those of all images.
        endings: Endings of the files that are images, such as [.jpg]; null: the usual ones of the formats
            above.
        names: Other names for classes, such as {n01440764: tench}.
        labels: CSV file that has the labels instead of the folders, beside the images or where `path` is
            looked for.
        target: Column of `labels` with the classes; or those of labels that apply, 1, or not, 0; or those of
            numbers.
        file_column: Column of `labels` with the names of the files, with or without folder and ending; empty:
            the column in which most are.
        task: Meaning of the target: classification, multilabel (usual for several columns) or regression.
        unit: Unit of the numbers in a regression.
        scale_target: Let the loss of a regression see numbers with mean 0 and standard deviation 1 over all
            labels, whatever their split: that is known only once the images are decoded.
        scale_each: Scale each column of numbers by itself; false: all together, as in earlier versions.

    Example:
        dataset: {name: image_folder, path: photos, size: 64}
    """
    sides = _sides("size", size)
    stored = sides if store_size is None else _sides("store_size", store_size)
    if stored[0] < sides[0] or stored[1] < sides[1]:
        what = f"store_size is {store_size}, but the model gets {sides[0]}×{sides[1]} pixels of it"
        raise UserError(what, fix=f"write store_size: {round(8 / 7 * max(sides))}, or a smaller size")
    if group and split_rule == "drawn":
        raise UserError("group needs split_rule: hash", fix="set dataset.split_rule=hash, or no group")
    channels = 3 if colour else 1
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
        Decoding(Path(path), (channels, *stored), resize, levels_of(value_range)),
        suffixes,
        unreadable,
        Dealing(
            split_rule,
            seed,
            0.0 if "test" in present else test_fraction,
            0.0 if "valid" in present else valid_fraction,
            group is not None,
            fold,
        ),
        before,
        table,
        sides,
    )
    every.known["scaling"] = [
        list(each) if isinstance(each, tuple) else each for each in scaling or ()
    ] or None
    numbers = table.targets if table and kind == "regression" else ()
    fractions = {"test": test_fraction, "valid": valid_fraction if split_rule == "hash" else 0.0}
    present |= {"valid"} if fold else set()
    return Data(
        task=kind,
        input_shape=(channels, *sides),
        read=every.read,
        classes=_shown(classes, names or {}),
        target=numbers[0] if len(numbers) == 1 else "",
        target_names=numbers if len(numbers) > 1 else (),
        unit=unit,
        targets=max(1, len(numbers)),
        scaling=scaling,
        splits=tuple(name for name in ("train", "valid", "test") if name in present or fractions.get(name)),
        fit=pixel_fit(normalise, channels),
        valid_fraction=valid_fraction if split_rule == "drawn" and not fold else 0.0,
        seed=seed,
        prepare=every.prepare,
        read_new=every.read_new,
        read_labelled=every.read_labelled,
        name_of=every.name_of,
        resize=resize,
        known=every.known,
        notes=every.notes,
    )


def _sides(option: str, stated: int | list[int]) -> tuple[int, int]:
    """Height and width, for which an option may have one number. Raises UserError for anything else."""
    sides = [stated, stated] if isinstance(stated, int) else stated
    if len(sides) != 2:
        raise UserError(f"{option} is {stated}, but must be one number, or [height, width]")
    if max(sides) > _MOST_SIDE:
        raise UserError(f"{option} is {stated}, but may be {_MOST_SIDE:,} pixels at most")
    return sides[0], sides[1]


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
