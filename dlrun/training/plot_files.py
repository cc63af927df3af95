"""Plots drawn into files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from dlrun.config.keys import Choice
from dlrun.errors import UserError
from dlrun.system.files import write_atomically
from dlrun.training.trained import Trained


def draw_plot(trained: Trained, choice: Choice, path: Path, warn: Callable[[str], None]) -> Path | None:
    """Draw one plot into a PNG file, or a GIF file if it moves; gives the file.

    A plot that fails is a warning: the figures are there all the same.
    """
    try:
        picture = trained.plan.parts.find("plots", choice.name)(trained, **choice.options)
        if hasattr(picture, "savefig"):
            write_atomically(path, lambda file: picture.savefig(file, format="png", dpi=150))
            return path
        with TemporaryDirectory() as folder:  # an animation writes to a path only
            moving = Path(folder) / "moving.gif"
            picture.save(moving, writer="pillow")
            path = path.with_suffix(".gif")
            write_atomically(path, lambda file: file.write(moving.read_bytes()))
        return path
    except Exception as error:
        reason = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        warn(f"the plot {choice.name} was not drawn: {reason}")
        return None
