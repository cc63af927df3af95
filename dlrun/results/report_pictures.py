"""The pictures of a run or a sweep for its report, with what they show in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.results.report_evaluations import Calibration, Evaluation
from dlrun.run_folders.pictures import Picture, files_in, read_picture
from dlrun.run_folders.run import Run

_SPLITS = ("train", "valid", "test")
_OF_SEEDS = re.compile(r",? (the )?means? over seeds( ± 1 sd)?")  # in the docstrings of plots
CURVES = "curves"  # the name of the picture that a report replaces by its own


def pictures_of_run(
    run: Run,
    parts: Parts,
    evaluations: Sequence[Evaluation],
    calibrations: Sequence[Calibration],
    *,
    has_several_seeds: bool,
) -> list[Picture]:
    """The pictures that a run and its evaluations have drawn, each once: an evaluation may repeat one.

    Those of an outdated evaluation, and those that training drew before `dlrun calibrate`, say so.
    """
    found = dict[bytes, Picture]()
    for path in files_in(run.plots, run.folder / "eval"):
        said, of_data = _said(path, parts)
        said = said if has_several_seeds else _OF_SEEDS.sub("", said)
        is_of_run = path.parent == run.plots
        why = _before(path, calibrations) if is_of_run else _of_evaluation(path, evaluations)
        if picture := read_picture(path, f"{said.removesuffix('.')}; {why}." if why else said, of_data):
            found.setdefault(picture.content, picture)
    return list(found.values())


def _of_evaluation(path: Path, evaluations: Sequence[Evaluation]) -> str:
    """The earlier state of the run that a picture of an evaluation shows; "" for the present one."""
    of_names = {each.path.stem: each.outdated for each in evaluations if path.stem.startswith(each.path.stem)}
    return of_names[max(of_names, key=len)] if of_names else ""


def _before(path: Path, calibrations: Sequence[Calibration]) -> str:
    """A remark on a picture of probabilities or of decisions that is older than what calibrates these."""
    for each in calibrations:
        temperatures, thresholds = each.decisions
        shows = {"calibration": bool(temperatures), "confusion_matrix": bool(thresholds)}
        with suppress(OSError):
            is_older = path.stat().st_mtime < each.path.stat().st_mtime
            if is_older and any(used and name in path.stem for name, used in shows.items()):
                return "from before dlrun calibrate"
    return ""


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
