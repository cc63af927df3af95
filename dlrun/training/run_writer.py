"""The writer of a run's files while it trains: rows, best weights, checkpoints; its end."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dlrun.config.dumping import dump_config
from dlrun.config.keys import Choice
from dlrun.data.loaded import Loaded
from dlrun.errors import CheckpointRefused, Diverged, RunFailed, UserError
from dlrun.run_folders.metrics_file import Cells, MetricsFile
from dlrun.run_folders.run import DONE, ENDED, Run
from dlrun.system.files import make_folder
from dlrun.training.averaging import AVERAGE
from dlrun.training.baselines import baselines_of
from dlrun.training.beside_baselines import worst_of_run
from dlrun.training.best import of_copy, row_of
from dlrun.training.best_weights import BestWeights
from dlrun.training.checkpoint import Checkpoint, save_checkpoint
from dlrun.training.checkpoint_contents import CheckpointContents
from dlrun.training.copies import Copies, weights_of
from dlrun.training.early_stopping import is_complete, is_out_of_time, note_best, note_stops, said_seeds
from dlrun.training.failures import explained
from dlrun.training.hardware import Hardware
from dlrun.training.initial_weights import recorded_weights
from dlrun.training.kept_epochs import mean_of_measured, path_of
from dlrun.training.loop import measured
from dlrun.training.not_finite import said_weight
from dlrun.training.plan import Plan
from dlrun.training.recipe import Row
from dlrun.training.run_pictures import RunPictures
from dlrun.training.run_summary import RunSummary
from dlrun.training.state import State
from dlrun.training.stretches import surroundings_of
from dlrun.training.verdicts import too_good, verdicts
from dlrun.training.views import TrainingView

SAVE_EVERY = 3.0  # seconds, at least
SAVE_SHARE = 40  # and at least this many times the duration of the last save: under 3 % of the time
SAVE_STEP_EVERY = 300.0  # seconds between saves within an epoch, at least


class RunWriter:
    """The writer of one run: adds rows, remembers the best weights, saves checkpoints, writes the summary.

    If it `lets_go` of the data, nobody else needs what is loaded, and it can be read again.
    """

    def __init__(
        self,
        plan: Plan,
        run: Run,
        loaded: Loaded,
        hardware: Hardware,
        state: State,
        saved: Checkpoint | None,
        view: TrainingView,
        weights: dict[str, Any] | None = None,
        *,
        lets_go: bool = False,
    ) -> None:
        self._view, self._lets_go = view, lets_go
        self._warnings: list[str] = []  # since the run was begun or resumed
        self.plan, self.run, self.loaded, self.hardware, self.state = plan, run, loaded, hardware, state
        self.rows = MetricsFile(run, plan.recipe.columns(), state.rows_end, state.last_rows)
        self.saved_epoch = state.epoch if saved else None
        copies = range(len(state.model.seeds))
        before = saved.figures if saved else {}
        self._figures = [of_copy(before, place) for place in copies]  # of each copy's last epoch
        self._best = BestWeights([None for _ in copies])
        if saved and any(state.best):
            self._read_best()
        self._next_save = 0.0
        self._next_step_save = time.monotonic() + SAVE_STEP_EVERY
        self._saved_step = state.step
        # Epochs whose checkpoints were kept when last.pt was saved, or that a killed process left.
        self._kept_before = plan.keeping.found(run.last.parent) if saved else set()
        self._pictures: list[str] = []  # the files that were drawn at the end, in the run's folder
        self._baselines = {
            split: baselines_of(plan, loaded, split)
            for split in ("train", plan.recipe.evaluation_split)
            if split
        }
        weights_wanted = [plan.parts.part("plots", choice.name).constants for choice in plan.plots]
        moments = max((constants.get("keeps_weights", 0) for constants in weights_wanted), default=0)
        self._snapshot_every = -(-plan.config.epochs // moments) if moments else 0
        self._surroundings = surroundings_of(plan, hardware)
        # those that it began with: `weights` is their record in a new run
        self._weights = recorded_weights(saved, run.summary()) if saved else weights
        self._contents = CheckpointContents(plan, loaded, hardware, self._weights, saved)
        self._summary = RunSummary(
            run, loaded, state.epoch, self._surroundings, self._baselines, self._weights
        )
        self._drawer = RunPictures(run, loaded, hardware.alone, self._baselines, self._warn_once)

    def write_row(self, row: Row) -> bool:
        """Add one epoch's row; return whether it is the best yet. Raises Diverged if a loss is not finite."""
        seeds = self.state.training.seeds
        for column, values in row.items():
            if column.endswith("_loss"):
                for seed, value in zip(seeds, values, strict=True):
                    if math.isnan(value):  # sums that are not finite were refused before: it is 0 / 0
                        what = f"no example of epoch {self.state.epoch} counts, for their weights sum to 0"
                        raise Diverged(f"{what}: {column} of seed {seed} is nan; raise epoch_examples")
                    if not math.isfinite(value):
                        raise Diverged(f"{column} of seed {seed} is {value} after epoch {self.state.epoch}")
        active = self.state.active
        for place, index in enumerate(active):
            self._figures[index] = of_copy(row, place)
        self.write_snapshot()
        improved = note_best(self.plan, self.state, row)
        note_stops(self.plan, self.state)
        if self.state.has_new_stops and not is_complete(self.plan, self.state):
            completed = self._completed(self._figures, *self.state.whole_models())
            for index in active:
                if self.state.stopped[index]:
                    self._figures[index] = completed[index]
        self.rows.add(self.state.epoch, self._cells(active), seeds)
        for index in improved:
            self._best.take(self.state.kept, index, self.state.epoch, self._figures[index])
        self._keep_epoch(is_measured=self.plan.monitor in row)
        return bool(improved)

    def _keep_epoch(self, *, is_measured: bool) -> None:
        """Write the checkpoint of this epoch if it is to stay; `save` deletes those that no longer do."""
        plan, state = self.plan, self.state
        monitored = [figures.get(plan.monitor) if is_measured else None for figures in self._figures]
        value, improves = mean_of_measured(monitored), partial(plan.improves, plan.monitor)
        self._kept_before |= dict(state.best_epochs).keys()
        state.best_epochs = plan.keeping.ranked(state.best_epochs, state.epoch, value, improves)
        if plan.keeping.keeps(state.best_epochs, state.epoch):
            weights = {entry: weights_of(model) for entry, model in state.kept.items()}
            path = path_of(self.run.last.parent, state.epoch)
            now = {"epoch": state.epoch, "stopped": list(state.stopped)}
            self._save(path, weights | now, row_of(self._figures))

    def _cells(self, copies: Sequence[int]) -> Cells:
        """The figures of some copies' last epochs as cells of metrics.csv."""
        names = (*self.plan.recipe.columns(), "lr", "seconds")
        return {name: [self._figures[index].get(name) for index in copies] for name in names}

    def _read_best(self) -> None:
        """Take the best weights of a resumed run from best.pt; if they cannot be read, a warning says so."""
        try:
            self._best.read(self.run.best, self.state.kept)
        except CheckpointRefused as refused:
            self.warn(f"best.pt is skipped: {refused.what}")

    def write_snapshot(self) -> None:
        """Write the weights of this epoch, if a plot shows how the model changed and a snapshot is due."""
        epoch, every = self.state.epoch, self._snapshot_every
        if not every or (epoch % every and epoch != self.plan.config.epochs):
            return
        make_folder(self.run.weights)
        now = {"model": weights_of(self.state.kept[self.plan.shown_weights]), "epoch": epoch}
        self._save(self.run.weights / f"{epoch:08d}.pt", now, row_of(self._figures))

    def is_due(self) -> bool:
        """Return whether the next checkpoint is due."""
        return time.monotonic() >= self._next_save

    def save(self) -> None:
        """Sync the rows, then save best.pt if it changed, then last.pt: in this order a crash loses nothing.

        Raises Diverged, with the files unchanged, if a weight is not finite.
        """
        started = time.monotonic()
        has_smaller_pieces = self._take_smaller_pieces()
        self.rows.flush()
        self.state.rows_end, self.state.last_rows = self.rows.end_and_last
        if not self._best.is_saved:
            self._hold_last()
            self._save(self.run.best, self._best.state(), self._best.figures())
            self._best.is_saved = True
        self._save(self.run.last, self.state.state_dict(), row_of(self._figures))
        if has_smaller_pieces:  # after last.pt, which says that this config is the run's
            self.run.write_config(dump_config(self.plan.config))
        self.saved_epoch, self._saved_step = self.state.epoch, 0
        self.plan.keeping.delete(self.run.last.parent, self._kept_before, self.state.best_epochs)
        self._kept_before.clear()
        with suppress(OSError):  # an older one is passed over at resume
            self.run.step.unlink(missing_ok=True)
        took = time.monotonic() - started
        self._next_save = time.monotonic() + max(SAVE_EVERY, SAVE_SHARE * took)
        self._next_step_save = time.monotonic() + max(SAVE_STEP_EVERY, SAVE_SHARE * took)

    def is_step_due(self) -> bool:
        """Return whether the steps of a long epoch are to be saved."""
        return time.monotonic() >= self._next_step_save and self.saved_epoch == self.state.epoch

    def save_step(self) -> None:
        """Save the steps of this epoch so far, if last.pt is of the epoch before; a failure is a warning.

        step.pt stands beside last.pt, which remains the state after an epoch, with figures of its weights.
        """
        started, within = time.monotonic(), self.state.within and self.state.within.state_dict()
        if within and not said_weight(self.state.model, weights_of(self.state.model)):
            try:
                saved = self._contents.checkpoint(
                    self.plan, self.state.state_dict() | {"within": within}, row_of(self._figures)
                )
                save_checkpoint(self.run.step, saved)
                self._saved_step = within["step"]
            except RunFailed as failed:
                self.warn(f"the steps of epoch {self.state.epoch + 1} are not saved: {failed.what}")
        took = time.monotonic() - started
        self._next_step_save = time.monotonic() + max(SAVE_STEP_EVERY, SAVE_SHARE * took)

    def _take_smaller_pieces(self) -> bool:
        """Take the size of pieces to which evaluation came down into the config; False if it is there."""
        most = self.hardware.pieces.most
        if most is None or most >= self.plan.recipe.evaluation_batch:
            return False
        self.state.evaluation_sizes.append(self.plan.config.evaluation_batch_size)
        self.plan = self.plan.evaluating(most)
        return True

    def _hold_last(self) -> None:
        """Let best.pt hold the last epoch of each copy of which it has none."""
        for index in self._best.missing():
            self._best.take(self.state.kept, index, self._last_epoch(index), self._figures[index])

    def _last_epoch(self, index: int) -> int:
        """The last epoch that a copy trained."""
        return self.state.stopped[index] or self.state.epoch

    def _best_figures(self) -> Row:
        """The figures of each copy at its best epoch, or without one of its last epoch."""
        of_each = zip(self.state.best, self._figures, strict=True)
        return row_of([best.figures if best else last for best, last in of_each])

    def _save(self, path: Path, state: dict[str, Any], figures: Row) -> None:
        """Write one checkpoint. Raises Diverged, with the file unchanged, if a weight is not finite."""
        for entry in self.state.kept.keys() & state.keys():
            if broken := said_weight(self.state.model, state[entry]):
                raise Diverged(f"{broken} after epoch {state['epoch']}")
        save_checkpoint(path, self._contents.checkpoint(self.plan, state, figures))

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Handle an exception in this context: write it to the log and the summary; saved files stay.

        If the run diverged, the curves are drawn too.
        """
        try:
            yield
        except Exception as raised:
            self._take_smaller_pieces()
            error = explained(raised, self.plan, self.state, self.loaded)
            self.rows.close()
            diverged = isinstance(error, Diverged)
            said = " ".join(error.lines()) if isinstance(error, UserError) else repr(error)
            self.run.log(said)
            try:
                self.write_summary("diverged" if diverged else "failed", error=said)
                if diverged:
                    self._draw([choice for choice in self.plan.plots if choice.name == "curves"])
            except (OSError, UserError) as again:
                self.warn(f"and then: {again}")
            if isinstance(error, Diverged):
                error.where = str(self.run.folder)
            if error is raised:
                raise
            raise error from raised

    def finish(self, status: str, received: int | None, reason: str | None = None) -> Outcome:
        """End the run: complete the figures of the last and the best epoch, save, draw, check `expect`.

        `reason` says why it is interrupted, if not by the signal `received`.
        """
        whole = self.saved_epoch != self.state.epoch or status != "interrupted"  # not amid an epoch
        if whole and self.state.epoch:
            if status != "interrupted":  # a user who stops a run does not want to wait
                self._figures = self._completed(self._figures, *self.state.whole_models())
                self._complete_best()
            if status in DONE:
                stopped = enumerate(self.state.stopped)
                copies = [index for index, epoch in stopped if epoch in (None, self.state.epoch)]
                seeds = [self.state.model.seeds[index] for index in copies]
                self.rows.complete(self.state.epoch, self._cells(copies), seeds)
            self.save()
        self.rows.close()
        if self.state.epoch and self.plan.plots:
            self.write_summary("running")  # pictures show its best epochs
            if self._lets_go:  # the libraries that draw take as much memory as many images
                self.loaded.let_go_of_training()
            self._pictures = self._draw(self.plan.pictures(self.loaded["train"].aside))
        best, last = self._best_figures(), row_of(self._figures)
        unjudged = "" if status in DONE else "the run is not complete"
        if is_out_of_time(self.plan, self.state):
            unjudged = f"max_time ended the run after {self.state.epoch} of {self.plan.config.epochs} epochs"
        judged = verdicts(self.plan.config, last, best, self.state.seconds, unjudged)
        if status in DONE:
            rows, training = self.run.rows(), self.loaded["train"]
            if worse := worst_of_run(self.plan, best, self._baselines, training, rows):
                self.warn(worse)
            sizes = {name: len(split) for name, split in self.loaded.splits.items()}
            for warning in too_good(self.plan.config, best, sizes):
                self.warn(warning)
        more = {"reason": reason} if reason else {}
        summary = self.write_summary(status, expect=judged, signal=received, **more)
        code = 128 + received if received and status == "interrupted" else 0
        if any(verdict["met"] is False for verdict in judged):
            code = 5
        if not self.run.log(f"{status} after epoch {self.state.epoch}, exit code {code}"):
            self._view.warn(f"{self.run.folder / 'log.txt'} cannot be written")
        return Outcome(self.run, summary, code)

    def warn(self, text: str) -> None:
        """Show a warning, and write it to the log and the summary."""
        self._warnings.append(text)
        log_warning(self.run, self._view, text)

    def _warn_once(self, text: str) -> None:
        if text not in self._warnings:
            self.warn(text)

    def write_summary(self, status: str, **more: Any) -> dict[str, Any]:
        """Write summary.json for the current state, and return its content."""
        final, best = row_of(self._figures), self._best_figures()
        own = {"pictures": self._pictures, "within": self._within()} | more
        if status not in ENDED:
            self.run.mark_unfinished()
        summary = self._summary.write(status, self.plan, self.state, final, best, self._warnings, **own)
        if status in ENDED:
            self.run.unfinished.unlink(missing_ok=True)
        return summary

    def _within(self) -> dict[str, int] | None:
        """The epoch that was begun, its steps so far, and those that a resume does not train again."""
        done = self.state.step
        return {"epoch": self.state.epoch + 1, "steps": done, "saved": self._saved_step} if done else None

    def _completed(
        self, figures: Sequence[dict[str, float]], model: Copies, averaged: Copies | None
    ) -> list[dict[str, float]]:
        """The figures of each copy's epoch, with those of the splits that were not evaluated in it."""
        found = [dict(own) for own in figures]
        for column in self.plan.recipe.columns():
            name = column.removesuffix("_loss")
            if column.endswith("_loss") and not all(column in own for own in found):
                row = measured(name, model, averaged, self.loaded, self.plan.recipe, self.hardware.alone)
                found = [of_copy(row, place) | own for place, own in enumerate(found)]
        ordered = (*self.plan.recipe.columns(), "lr", "seconds")
        return [{column: own[column] for column in ordered if column in own} for own in found]

    def _complete_best(self) -> None:
        """Complete the figures of the best epochs; a copy without one has its last epoch in best.pt."""
        state = self.state
        for index, best in enumerate(state.best):
            if best is None or self._best.held[index] is None:
                self._best.take(state.kept, index, self._last_epoch(index), self._figures[index])
        for index, held in enumerate(self._best.held):
            if held and held.epoch == self._last_epoch(index):
                held.figures = self._figures[index]
        self._warn_of_others()
        before = [held.figures for held in self._best.held if held]
        if any(not figures.keys() >= set(self.plan.recipe.columns()) for figures in before):
            averaged = self._best_model(AVERAGE) if state.average else None
            completed = self._completed(before, self._best_model("model"), averaged)
        else:
            completed = before
        for index, (held, figures) in enumerate(zip(self._best.held, completed, strict=True)):
            best = state.best[index]
            if held is None:
                continue
            held.figures = figures
            if best and best.epoch == held.epoch and best.figures != figures:
                state.best[index] = replace(best, figures=figures)
                self._best.is_saved = False

    def _warn_of_others(self) -> None:
        """Warn of the seeds whose weights in best.pt are not those of a best epoch, with the reason."""
        monitor, state = self.plan.monitor, self.state
        without = [index for index, best in enumerate(state.best) if best is None]
        if without:
            why = f"{monitor} was not a number in any epoch"
            if self.plan.monitor_every > state.epoch:
                why = f"{monitor} is first measured after epoch {self.plan.monitor_every}"
            self.warn(f"best.pt is the last epoch{said_seeds(state, without)}: {why}")
        for index, (best, held) in enumerate(zip(state.best, self._best.held, strict=True)):
            if best and held and best.epoch != held.epoch:
                what = f"best.pt has epoch {held.epoch} of seed {state.model.seeds[index]}"
                self.warn(f"{what}: the weights of its best epoch, {best.epoch}, were lost")

    def _best_model(self, entry: str) -> Copies:
        """A model with the weights of best.pt under an entry."""
        self._hold_last()
        return self.hardware.prepare(self._best.put_into(self.plan.model(), entry, self.run.best))

    def redraw(self) -> None:
        """Draw the current curves, unless they were drawn a moment ago."""
        if self._drawer.is_due():
            self.rows.flush()
            self.write_summary("running")
            model = self.state.kept[self.plan.shown_weights]
            self._drawer.draw_curves(self.plan, model, self.state.epoch)

    def _draw(self, plots: Sequence[Choice]) -> list[str]:
        """Draw some plots of the best model; give the files, relative to the run's folder."""
        if not plots:
            return []
        model = self._best_model(self.plan.shown_weights)
        return self._drawer.draw(self.plan, model, self._best.epochs, plots)


def log_warning(run: Run, view: TrainingView, text: str) -> None:
    run.log(f"warning: {text}")
    view.warn(text)


@dataclass(frozen=True)
class Outcome:
    """The end of a call of `train_run`: the run, the content of summary.json, and the exit code."""

    run: Run
    summary: dict[str, Any]
    exit_code: int
