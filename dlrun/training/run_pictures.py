"""Pictures of one run: the curves while it trains, and all that its config names at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from dlrun.config.keys import Choice
from dlrun.data.loaded import Loaded
from dlrun.run_folders.run import Run
from dlrun.training.copies import Copies
from dlrun.training.hardware import Hardware
from dlrun.training.plan import Plan
from dlrun.training.plot_files import draw_plots, picture_name
from dlrun.training.trained import Trained

REDRAW_EVERY = 3.0  # seconds, at least
REDRAW_SHARE = 10  # and at least this many times the duration of the last drawing


class RunPictures:
    """The drawer of one run's pictures; a warning is said once."""

    def __init__(
        self,
        run: Run,
        loaded: Loaded,
        hardware: Hardware,
        baselines: dict[str, Any],
        warn: Callable[[str], None],
    ) -> None:
        self._run, self._loaded, self._hardware, self._baselines = run, loaded, hardware, baselines
        self._warn = warn
        self._next_drawing = 0.0

    def is_due(self) -> bool:
        """Return whether the curves may be drawn again: not if they were drawn a moment ago."""
        return time.monotonic() >= self._next_drawing

    def draw_curves(self, plan: Plan, model: Copies, epoch: int) -> None:
        """Draw the curves so far."""
        started = time.monotonic()
        default = Choice("curves", plan.parts.part("plots", "curves").defaults)
        curves = next((choice for choice in plan.plots if choice.name == "curves"), default)
        self.draw(plan, model, [epoch], [curves])
        took = time.monotonic() - started
        self._next_drawing = time.monotonic() + max(REDRAW_EVERY, REDRAW_SHARE * took)

    def draw(self, plan: Plan, model: Copies, epochs: list[int], plots: Sequence[Choice]) -> list[str]:
        """Draw plots of a model whose copies trained `epochs`; give the files, relative to the folder."""
        trained = Trained(
            plan,
            self._loaded,
            self._hardware,
            model,
            max(epochs),
            self._run,
            reached=self._baselines,
            epochs=epochs,
            is_best=True,
            weights_taken="averaged" if plan.takes_averaged else None,
        )
        wanted = [(choice, self._run.plots / picture_name(trained, choice)) for choice in plots]
        drawn = draw_plots(trained, wanted, self._warn)
        return [path.relative_to(self._run.folder).as_posix() for path in drawn if path]
