"""Plots drawn into files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dlrun.config.keys import Choice
from dlrun.data.misfits import said_kind
from dlrun.errors import UserError, first_few, own_place
from dlrun.system.files import ANOTHER_RUNS_DIR, write_atomically
from dlrun.training.trained import Trained

DOTS_PER_INCH = 200  # 1280 pixels of the usual width
_MOST_NAMED, _MOST_LETTERS = 20, 40  # classes and letters in a warning
_NO_GLYPH = r"Glyph (\d+) .*missing from"


def write_picture(figure: Any, path: Path, fix: str = ANOTHER_RUNS_DIR) -> None:
    """Write a figure of matplotlib in the format of the path's suffix. Raises RunFailed with the `fix`."""
    kind = path.suffix[1:].lower()
    write_atomically(path, lambda file: figure.savefig(file, format=kind, dpi=DOTS_PER_INCH), fix)


def picture_name(trained: Trained, choice: Choice) -> str:
    """The name of a plot's file, with the split if another one than by default is chosen."""
    usual = trained.plan.parts.part("plots", choice.name).defaults.get("split")
    split = choice.options.get("split", usual)
    return f"{choice.name}.png" if split == usual else f"{choice.name}_{split}.png"


def draw_plots(
    trained: Trained, wanted: Sequence[tuple[Choice, Path]], warn: Callable[[str], None]
) -> list[Path | None]:
    """Draw plots, each into a PNG file, or a GIF file if it moves; gives the files.

    A plot that fails, whose file is None, is a warning: the figures are there all the same. Classes with
    letters that no font has are called by their numbers, and one warning for all plots says so.
    """
    missing, boxes = dict[str, None](), dict[str, None]()
    drawn = list[Path | None]()
    for choice, path in wanted:
        shown, fresh = numbered(trained, missing), dict[str, None]()
        drawn.append(_draw_plot(shown, choice, path, warn, fresh))
        missing |= fresh
        if drawn[-1] and any(letter in name for name in shown.data.classes for letter in fresh):
            fresh = {}
            drawn[-1] = _draw_plot(numbered(trained, missing), choice, path, warn, fresh)
        boxes |= fresh
    if missing:
        warn(_said_missing(trained, missing, has_boxes=bool(boxes)))
    return drawn


def numbered(trained: Trained, missing: Collection[str]) -> Trained:
    """A trained model whose classes with a missing letter are called by their numbers, `class 3`."""
    data = trained.data
    names = tuple(
        f"class {number}" if any(letter in name for letter in missing) else name
        for number, name in enumerate(data.classes)
    )
    if names == data.classes:
        return trained
    return replace(trained, plan=replace(trained.plan, data=replace(data, classes=names)))


def _said_missing(trained: Trained, missing: Collection[str], *, has_boxes: bool) -> str:
    """The letters that no font has, and what stands for them."""
    classes = {
        number: name
        for number, name in enumerate(trained.data.classes)
        if any(letter in name for letter in missing)
    }
    said = first_few([f"class {number} for {name}" for number, name in classes.items()], _MOST_NAMED)
    what = [f"say {said}"] if classes else []
    if has_boxes:
        what.append("have boxes in other texts" if classes else "have boxes")
    which = first_few(list(missing), _MOST_LETTERS, joint="")
    return f"no font here has {which}: pictures {' and '.join(what)}; install one that has, such as Noto Sans"


def _draw_plot(
    trained: Trained, choice: Choice, path: Path, warn: Callable[[str], None], missing: dict[str, None]
) -> Path | None:
    """Draw one plot into a file, which it gives, and note the letters that no font has in `missing`."""
    try:
        with boxes_noted(lambda letters: missing.update(dict.fromkeys(letters))):
            picture = trained.plan.parts.find("plots", choice.name)(trained, **choice.options)
            if hasattr(picture, "savefig"):
                write_picture(picture, path)
                return path
            if not hasattr(picture, "save"):
                what = f"it gives {said_kind(picture)} instead of a Figure or an animation"
                raise UserError(what)
            with TemporaryDirectory() as folder:  # an animation writes to a path only
                moving = Path(folder) / "moving.gif"
                picture.save(moving, writer="pillow")
                path = path.with_suffix(".gif")
                write_atomically(path, lambda file: file.write(moving.read_bytes()))
            return path
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, UserError):
            reason = f"{error.what}; {error.fix}" if error.fix else error.what
        if _own_file(trained, choice):
            reason += f" (in your file {own_place(error) or _own_file(trained, choice)})"
        warn(f"the plot {choice.name} was not drawn: {reason}")
        return None


def _own_file(trained: Trained, choice: Choice) -> str:
    """The place of a plot in a file of the user's; "" of one of dlrun's."""
    part = trained.plan.parts.part("plots", choice.name)
    return "" if part.built_in else part.place


@contextmanager
def boxes_noted(note: Callable[[str], None]) -> Iterator[None]:
    """Call `note` once with the signs for which matplotlib drew boxes meanwhile, instead of its warnings."""
    signs: dict[str, None] = {}
    with warnings.catch_warnings(record=True) as said:
        warnings.filterwarnings("always", _NO_GLYPH)
        yield
    for each in said:
        if glyph := re.match(_NO_GLYPH, str(each.message)):
            signs[chr(int(glyph[1]))] = None
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if signs:
        note("".join(signs))
