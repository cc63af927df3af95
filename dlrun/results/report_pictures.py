"""The pictures of a run or a sweep for its report, with what they show in words."""

from __future__ import annotations

from pathlib import Path

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.run_folders.pictures import Picture, files_in, read_picture
from dlrun.run_folders.run import Run

_SPLITS = ("train", "valid", "test")
CURVES = "curves"  # the name of the picture that a report replaces by its own


def pictures_of_run(run: Run, parts: Parts) -> list[Picture]:
    """The pictures that a run and its evaluations have drawn, each once: an evaluation may repeat one."""
    found = dict[bytes, Picture]()
    for path in files_in(run.plots, run.folder / "eval"):
        if picture := read_picture(path, *_said(path, parts)):
            found.setdefault(picture.content, picture)
    return list(found.values())


def pictures_of_sweep(plots: Path) -> list[Picture]:
    """The pictures of a sweep."""
    said = {"settings": "The compared figure of each setting.", CURVES: "Training curves of the settings."}
    found = (read_picture(path, said.get(path.stem, f"{path.stem}.")) for path in files_in(plots))
    return [picture for picture in found if picture]


def _said(path: Path, parts: Parts) -> tuple[str, bool]:
    """A sentence on a run's picture, by its plot's docstring, and whether it is of the data alone."""
    words = path.stem.split("_")
    known = parts.names("plots")
    for start, end in ((a, b) for a in range(len(words)) for b in range(len(words), a, -1)):
        if (name := "_".join(words[start:end])) in known:
            rest = [word for word in (*words[:start], *words[end:]) if word]
            try:
                part = parts.part("plots", name)
            except UserError:  # a file of one's own that cannot be read
                break
            said = part.summary.rstrip(".") or name
            told = ", ".join(f"{word} split" if word in _SPLITS else word for word in rest)
            return f"{said}{f' ({told})' if told else ''}.", part.constants.get("of") == "data"
    return f"{path.stem.replace('_', ' ')}.", False
