"""Plots drawn into files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dlrun.config.keys import Choice
from dlrun.data.misfits import said_kind
from dlrun.errors import UserError, own_place
from dlrun.system.files import ANOTHER_RUNS_DIR, write_atomically
from dlrun.training.trained import Trained

DOTS_PER_INCH = 150
_NO_GLYPH = r"Glyph (\d+) .*missing from"


def write_picture(figure: Any, path: Path, fix: str = ANOTHER_RUNS_DIR) -> None:
    """Write a figure of matplotlib in the format of the path's suffix. Raises RunFailed with the `fix`."""
    kind = path.suffix[1:].lower()
    write_atomically(path, lambda file: figure.savefig(file, format=kind, dpi=DOTS_PER_INCH), fix)


def draw_plot(trained: Trained, choice: Choice, path: Path, warn: Callable[[str], None]) -> Path | None:
    """Draw one plot into a PNG file, or a GIF file if it moves; gives the file.

    A plot that fails is a warning: the figures are there all the same.
    """
    try:
        with boxes_noted(
            lambda signs: warn(f"the plot {choice.name} has boxes for what no font has: {signs}")
        ):
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
        reason = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
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
