"""The resume of a run from Python, and what a program is shown of a run in training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlrun.config.judging import with_judged_claims
from dlrun.config.keys import Config
from dlrun.config.loading import load_run_config
from dlrun.errors import UserError
from dlrun.results.places import Places
from dlrun.run_folders.run import Run as RunFolder
from dlrun.system.process_state import undisturbed
from dlrun.system.progress import Progress, no_progress
from dlrun.training.experiment import train_run
from dlrun.training.plan_making import make_plan
from dlrun.training.teachers import with_teacher_found
from dlrun.training.views import HiddenTraining

if TYPE_CHECKING:
    from dlrun.training.views import TrainingView


def resumed(run: RunFolder, overrides: Sequence[str], places: Places, *, quiet: bool) -> None:
    """Train what is left of a run (see `Run.resume`)."""
    own_parts = places.own_parts()
    with undisturbed():
        checked = with_judged_claims(
            load_run_config(run.config, overrides, own_parts),
            list(overrides),
            lambda: load_run_config(run.config, (), own_parts),
            check=False,
        )
        refuse_several(checked)
        checked = with_teacher_found(checked, own_parts, run.folder.parent)
        view, progress = view_of_run(quiet)
        plan = make_plan(checked, own_parts, places.data_folder())
        train_run(plan, run, view, progress=progress)


class QuietTraining(HiddenTraining):
    """A view that shows nothing, and gives warnings as Python's."""

    def warn(self, text: str) -> None:
        warnings.warn(text, stacklevel=2)


def refuse_several(config: Config) -> None:
    """Raise UserError for a run of several processes, which the command line alone starts."""
    if config.processes not in ("auto", 1):
        what = f"processes: {config.processes} is for the command line, which starts them"
        raise UserError(what, fix='use dlrun train, or add "processes=1"')


def view_of_run(quiet: bool) -> tuple[TrainingView, Progress]:
    """The view of a run: none, a table of a notebook, or that of the command line; with that of slow work."""
    if quiet:
        return QuietTraining(), no_progress
    from dlrun.api.notebook import NotebookTraining, in_notebook

    if in_notebook():
        return NotebookTraining(), no_progress
    from dlrun.console.streams import show_progress
    from dlrun.console.training_view import TrainingDisplay

    return TrainingDisplay(), show_progress
