"""From a plan to a trained run: consume `fit`, keep what it yields, judge it at the end."""

from __future__ import annotations

import math
import shlex
import subprocess
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from traceback import walk_tb
from typing import Any, Protocol

import torch
from torch import Tensor

from dlrun import __version__
from dlrun import checkpoint as checkpoints
from dlrun.checkpoint import Checkpoint
from dlrun.config.claims import meets, missed_by
from dlrun.config.dumping import dump_config
from dlrun.config.keys import Choice, Config, changed_keys
from dlrun.continuing import preprocessing_of, restore
from dlrun.copies import Copies, lost_weight
from dlrun.data.batches import steps
from dlrun.data.examples import EVALUATION_BATCH
from dlrun.data.loaded import Loaded
from dlrun.errors import (
    CheckpointRefused,
    Diverged,
    RunFailed,
    UserError,
    is_out_of_memory,
    note_resume,
    shortened,
)
from dlrun.evaluation import Trained, baselines, config_of, draw, load_weights, summarised
from dlrun.hardware import Hardware, describe, versions
from dlrun.plan import Plan
from dlrun.run_folders.metrics_file import MetricsFile
from dlrun.run_folders.run import DONE, Run
from dlrun.system.files import make_folder
from dlrun.system.processes import command_line, identity, now
from dlrun.system.progress import Progress, no_progress
from dlrun.system.signals import Signals
from dlrun.trainer import Batch, Row, State, evaluate, fit, named

# What may differ when a run goes on: the length, and what cannot change what was learnt.
RESUMABLE = {
    "epochs",
    "device",
    "threads",
    "graph",
    "plots",
    "expect",
    "expect_epochs",
    "name",
    "dataset.path",
}
REDRAW_EVERY = 3.0  # seconds, at least
REDRAW_SHARE = 10  # and at least this many times what the last drawing took
SAVE_EVERY = 3.0  # seconds, at least
SAVE_SHARE = 40  # and at least this many times what the last save took: under 3 % of the time


class View(Protocol):
    """What is shown of a run while it trains. Every method must be cheap and may not fail."""

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None: ...
    def tick(self, examples: int) -> None: ...
    def row(self, epoch: int, row: Row, best: bool) -> None: ...
    def warn(self, text: str) -> None: ...
    def end(self) -> None: ...


class Silent:
    """A view that shows nothing."""

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None: ...
    def tick(self, examples: int) -> None: ...
    def row(self, epoch: int, row: Row, best: bool) -> None: ...
    def warn(self, text: str) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How a call of `resume` ended. `summary` is what summary.json says."""

    run: Run
    summary: dict[str, Any]
    exit_code: int


def resume(
    plan: Plan,
    run: Run,
    view: View,
    *,
    loaded: Loaded | None = None,
    stop_after: int | None = None,
    redraw: bool = False,
    strict: bool = False,
    watching: Progress = no_progress,
) -> Outcome:
    """Train a run for the epochs that are left: all of them, for a new folder.

    `loaded` is the data where it is at hand already. `stop_after` pauses after that epoch, the plan
    unchanged. With `redraw` the curves are drawn anew every few seconds. With `strict` a run does not go on
    with other threads, or another device, version or machine. `watching` shows the progress of what the
    data must have done first. A signal stops at the next moment from which going on is as if there had been
    none.
    """
    with _resumable(plan, run), run.lock(), Signals() as signals:
        keeper = _keeper(plan, run, view, loaded, _heeding(signals, watching), strict)
        if keeper is None:
            return Outcome(run, run.summary() | {"already_complete": True}, 0)
        state, status = keeper.state, ""
        started = time.monotonic() - state.seconds

        def watch(batches: Iterator[Batch]) -> Iterator[Batch]:
            for batch in batches:
                yield batch
                view.tick(batch[0].shape[1])
                if signals.received and keeper.saved_epoch == state.epoch:
                    raise Stopped  # this epoch will be done again from its start

        with keeper.failing(view):
            try:
                view.begin(plan, run, state, steps(len(keeper.loaded["train"]), plan.config.batch_size))
                complete = is_complete(plan, state)
                for row in () if complete else fit(state, keeper.loaded, plan.recipe, keeper.hardware, watch):
                    best = keeper.add(row)
                    state.seconds = time.monotonic() - started
                    view.row(state.epoch, row, best)
                    if is_complete(plan, state):
                        break
                    if signals.received:
                        status = "interrupted"
                        break
                    if stop_after is not None and state.epoch >= stop_after:
                        status = "paused"
                        break
                    if keeper.is_due():
                        keeper.save()
                    if redraw:
                        keeper.redraw(view)
            except Stopped:
                status = "interrupted"
            finally:
                view.end()
            if not status:
                status = "finished" if state.epoch >= plan.config.epochs else "stopped early"
            return keeper.finish(status, signals.received, view)


@contextmanager
def _resumable(plan: Plan, run: Run) -> Iterator[None]:
    """In here every failure comes with the command that goes on with the run.

    Of what nobody foresaw the log keeps the traceback.
    """
    try:
        yield
    except Diverged:  # going on would only diverge again
        raise
    except UserError as error:
        error.resume = resume_command(plan, run)
        raise
    except Exception as error:
        run.log("".join(traceback.format_exception(error)))
        note_resume(error, resume_command(plan, run))
        raise


def resume_command(plan: Plan, run: Run) -> str:
    """The command that goes on with a run, with the parts that it needs."""
    parts = ["--parts", str(plan.parts.folder)] if plan.parts.folder else []
    return shlex.join(["dlrun", "resume", str(run.folder), *parts])


def _keeper(
    plan: Plan, run: Run, view: View, loaded: Loaded | None, watching: Progress, strict: bool
) -> Keeper | None:
    """A run as it stands, ready to go on, with a checkpoint to go on from; None where nothing is left.

    Raises UserError and CheckpointRefused where it cannot go on, with everything left as it is.
    """
    text = dump_config(plan.config)
    saved = checkpoints.load(run.last) if run.last.exists() else None
    if saved is None and (run.has_rows() or run.best.exists()):
        left = "rows but no checkpoint" if run.has_rows() else "a best.pt but no last.pt"
        raise CheckpointRefused(
            f"this run has {left} to go on from",
            where=str(run.last),
            fix=f"put last.pt back, or start a new run with dlrun train {run.config}",
        )
    if saved:
        _refuse_another_config(plan, run, saved)
    preprocessing = preprocessing_of(saved, plan, run) if saved else None
    loaded = loaded or plan.load(preprocessing, watching)
    hardware = replace(plan.hardware(loaded), warn=partial(_warn, run, view))
    hardware.use()
    state = plan.state(hardware)
    if saved:
        if (fingerprint := saved.data.get("fingerprint")) != loaded.fingerprint:
            raise CheckpointRefused(
                "the data is not what this run was trained on: its fingerprint was "
                f"{shortened(fingerprint)}, now {loaded.fingerprint}",
                where=str(run.last),
                fix=f"bring the data back, or start a new run with dlrun train {run.config}",
            )
        restore(state, saved, plan, run)
        done = is_complete(plan, state) and run.summary().get("status") in DONE
        if done and run.config.read_text(encoding="utf-8") == text:
            return None
    elsewhere = _elsewhere(hardware, saved, state)
    if strict and elsewhere:
        fix = "make it as it was, or go on without --strict"
        raise CheckpointRefused(elsewhere, where=str(run.last), fix=fix)
    for warning in _warnings(plan, elsewhere, saved, state):
        _warn(run, view, warning)
    keeper = Keeper(plan, run, loaded, hardware, state, saved)
    run.write_config(text)
    if saved is None:
        keeper.keep_weights()
        keeper.save()  # from here on there is always a checkpoint to go on from
    keeper.write_summary("running")
    run.log(f"epoch {state.epoch} of {plan.config.epochs}, {hardware.threads} threads, {hardware.device}")
    return keeper


def is_complete(plan: Plan, state: State) -> bool:
    """Whether nothing is left to train: all epochs are done, or patience has run out."""
    if state.epoch >= plan.config.epochs:
        return True
    patience, best = plan.config.patience, state.best
    if patience is None or best is None or state.epoch % plan.monitor_every:
        return False
    return bool(state.epoch - best["epoch"] >= patience)


class Stopped(Exception):
    """A signal arrived where nothing is lost by leaving the epoch unfinished."""


class Keeper:
    """What is kept of a run: its rows, the best weights, the checkpoints, the summary."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        loaded: Loaded,
        hardware: Hardware,
        state: State,
        saved: Checkpoint | None,
    ) -> None:
        self.plan, self.run, self.loaded, self.hardware, self.state = plan, run, loaded, hardware, state
        self.rows = MetricsFile(run, plan.recipe.columns(), plan.config.seeds, state.rows_end)
        self.saved_epoch = state.epoch if saved else None
        self._figures: Row = saved.figures if saved else {}  # of the last epoch done
        self._best_weights: list[dict[str, Tensor]] | None = None
        self._best_is_saved = True  # whether best.pt is what is best
        self._next_save = self._next_drawing = 0.0
        default = Choice("curves", plan.parts.part("plots", "curves").defaults)
        self._curves = next((choice for choice in plan.plots if choice.name == "curves"), default)
        self._baselines = {
            split: baselines(plan, loaded, split)
            for split in ("train", plan.recipe.evaluation_split)
            if split
        }
        weights_wanted = [plan.parts.part("plots", choice.name).constants for choice in plan.plots]
        moments = max((constants.get("keeps_weights", 0) for constants in weights_wanted), default=0)
        self._keep_weights_every = -(-plan.config.epochs // moments) if moments else 0
        before = run.summary()
        resumed = before.get("resumed")
        self._resumed = [*(resumed if isinstance(resumed, list) else []), command_line()] if before else []

    def add(self, row: Row) -> bool:
        """Keep one epoch's row; whether it is the best so far. Raises Diverged before keeping nan."""
        for column, values in row.items():
            if column.endswith("_loss"):
                for seed, value in zip(self.state.model.seeds, values, strict=True):
                    if not math.isfinite(value):
                        raise Diverged(f"{column} of seed {seed} is {value} after epoch {self.state.epoch}")
        self.rows.add(self.state.epoch, row)
        self._figures = row
        self.keep_weights()
        monitor = self.plan.monitor
        value = fmean(row[monitor]) if monitor in row else math.nan
        best = self.state.best
        if not self.plan.improves(monitor, value, best["value"] if best else None):
            return False
        self.state.best = {"epoch": self.state.epoch, "value": value, "figures": row}
        self._set_best(self.state.model)
        return True

    def _set_best(self, model: Copies) -> None:
        """Remember the weights of a model as the best ones, in the memory of those that were."""
        if self._best_weights is None:
            self._best_weights = [
                {name: value.clone() for name, value in copy.items()} for copy in _weights(model)
            ]
        else:
            before = [value for copy in self._best_weights for value in copy.values()]
            torch._foreach_copy_(before, [v for copy in model.copies for v in copy.state_dict().values()])
        self._best_is_saved = False

    def keep_weights(self) -> None:
        """Keep the model as it is now, where a plot will show how it changed and it is time to."""
        epoch, every = self.state.epoch, self._keep_weights_every
        if not every or (epoch % every and epoch != self.plan.config.epochs):
            return
        make_folder(self.run.weights)
        now = {"model": _weights(self.state.model), "epoch": epoch}
        self._save(self.run.weights / f"{epoch:08d}.pt", now, self._figures)

    def is_due(self) -> bool:
        """Whether the next save is worth its time."""
        return time.monotonic() >= self._next_save

    def save(self) -> None:
        """The rows, then best.pt where it changed, then last.pt: in this order a crash loses nothing.

        Raises Diverged, keeping the files as they are, where a weight is not finite.
        """
        started = time.monotonic()
        self.state.rows_end = self.rows.flush()
        if not self._best_is_saved and self.state.best is not None:
            best = self.state.best
            weights = {"model": self._best_weights, "epoch": best["epoch"]}
            self._save(self.run.best, weights, best["figures"])
            self._best_is_saved = True
        self._save(self.run.last, self.state.state_dict(), self._figures)
        self.saved_epoch = self.state.epoch
        took = time.monotonic() - started
        self._next_save = time.monotonic() + max(SAVE_EVERY, SAVE_SHARE * took)

    def _save(self, path: Path, state: dict[str, Any], figures: Row) -> None:
        """Write one checkpoint. Raises Diverged, keeping the file as it is, where a weight is not finite."""
        if lost := _lost_weight(self.state.model, state["model"]):
            raise Diverged(f"{lost} after epoch {state['epoch']}")
        checkpoints.save(path, self._checkpoint(state, figures))

    @contextmanager
    def failing(self, view: View) -> Iterator[None]:
        """Where what is inside fails: leave what was saved, say why in the summary, draw what there is."""
        try:
            yield
        except Exception as raised:
            error = self._explained(raised)
            self.rows.close()
            diverged = isinstance(error, Diverged)
            said = " ".join(error.lines()) if isinstance(error, UserError) else repr(error)
            self.run.log(said)
            try:
                self.write_summary("diverged" if diverged else "failed", error=said)
                if diverged:
                    self._draw(view, [choice for choice in self.plan.plots if choice.name == "curves"])
            except (OSError, UserError) as again:
                _warn(self.run, view, f"and then: {again}")
            if isinstance(error, Diverged):
                error.where = str(self.run.folder)
            if error is raised:
                raise
            raise error from raised

    def _explained(self, error: Exception) -> Exception:
        """The error with what can be found out about it, now that a look takes nobody's time."""
        if isinstance(error, Diverged):
            if "epoch" not in error.what:
                error.what += f" ({self.state.epoch} of {self.plan.config.epochs} epochs done)"
            if place := _lost_example(self.loaded):
                error.what, error.fix = f"{error.what}: {place}", "mend that example, or leave it out"
            elif (
                lost := _lost_weight(self.state.model, _weights(self.state.model))
            ) and lost not in error.what:
                error.what = f"{error.what}: {lost} since an earlier update"
        if not is_out_of_memory(error):
            return error
        frames = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
        if evaluate.__code__ in frames:
            what = f"out of memory while {EVALUATION_BATCH:,} examples are evaluated at once"
            return RunFailed(what, fix="take a smaller model, or a device with more memory")
        wanted, there = self.plan.config.batch_size, len(self.loaded["train"])
        size = there if wanted == "full" else min(wanted, there)
        smaller = f"try batch_size={size // 2} in a new run" if size > 1 else "take a smaller model"
        return RunFailed(f"out of memory at batch_size {size}", fix=f"{smaller}, or go on with more memory")

    def finish(self, status: str, received: int | None, view: View) -> Outcome:
        """Complete the figures of the last and the best epoch, save, draw, and judge."""
        whole = self.saved_epoch != self.state.epoch or status != "interrupted"  # no epoch half done
        if whole and self.state.epoch:
            if status != "interrupted":  # who stops a run does not want to wait
                self._figures = self._completed(self._figures, self.state.model)
                self._complete_best(view)
            self.save()
        self.rows.close()
        if self.state.epoch:
            self._draw(view, self.plan.plots)
        verdicts = self._judge(status)
        summary = self.write_summary(status, expect=verdicts, signal=received)
        code = 128 + received if received and status == "interrupted" else 0
        if any(verdict["met"] is False for verdict in verdicts):
            code = 5
        if not self.run.log(f"{status} after epoch {self.state.epoch}, exit code {code}"):
            view.warn(f"{self.run.folder / 'log.txt'} cannot be written")
        return Outcome(self.run, summary, code)

    def write_summary(self, status: str, **more: Any) -> dict[str, Any]:
        """summary.json as things stand."""
        config, best = self.plan.config, self.state.best
        before = self.run.summary()
        summary = {
            "status": status,
            "name": self.run.name,
            "started": before.get("started") or now(),
            "updated": now(),
            **identity(),
            "command": before.get("command") or command_line(),
            "resumed": self._resumed,
            "epochs": self.state.epoch,
            "planned_epochs": config.epochs,
            "seeds": config.seeds,
            "seconds": self.state.seconds,
            "final": summarised(self._figures),
            "best": {
                "epoch": best["epoch"],
                "monitor": self.plan.monitor,
                "figures": summarised(best["figures"]),
            }
            if best
            else None,
            "baselines": self._baselines,
            "parameters": self.plan.layers.parameters,
            "multiply_adds": self.plan.layers.multiply_adds,
            "device": str(self.hardware.device),
            "threads": self.hardware.threads,
            "precision": self.hardware.precision,
            "machine": describe(self.hardware.device),
            "versions": {"dlrun": __version__, **versions()},
            "code": self.plan.parts.code,
            "git": before.get("git") or _git(),
            "data": {
                "name": config.dataset.name,
                "fingerprint": self.loaded.fingerprint,
                "examples": {name: len(split) for name, split in self.loaded.splits.items()},
            },
            "expect": [],
            "signal": None,
            "error": None,
        } | more
        self.run.write_json("summary.json", summary)
        return summary

    def _checkpoint(self, state: dict[str, Any], figures: Row) -> Checkpoint:
        data = self.plan.data
        return Checkpoint(
            config=self.plan.config.plain(),
            data={
                "task": data.task,
                "input_shape": list(data.input_shape),
                "classes": list(data.classes),
                "unit": data.unit,
                "preprocessing": self.loaded.preprocessing.state_dict(),
                "known": dict(data.known),
                "fingerprint": self.loaded.fingerprint,
            },
            state=state,
            figures=figures,
            environment=self.hardware.environment(),
            dlrun=__version__,
        )

    def _completed(self, figures: Row, model: Copies) -> Row:
        """The figures of an epoch, with those that its row was not due to measure."""
        for column in self.plan.recipe.columns():
            name = column.removesuffix("_loss")
            if column.endswith("_loss") and column not in figures:
                split = self.loaded["train" if name == "trainset" else name]
                figures = figures | named(name, evaluate(model, split, self.plan.recipe, self.hardware))
        return figures

    def _complete_best(self, view: View) -> None:
        """Complete the figures of the best epoch; without one (nothing was monitored) it is the last."""
        best = self.state.best
        if best is None:
            why = f"{self.plan.monitor} is first measured after epoch {self.plan.monitor_every}"
            _warn(self.run, view, f"best.pt is the last epoch: {why}")
            weights = {"model": _weights(self.state.model), "epoch": self.state.epoch}
            self._save(self.run.best, weights, self._figures)
        elif best["epoch"] == self.state.epoch:
            best["figures"] = self._figures
            self._set_best(self.state.model)
        elif not best["figures"].keys() >= set(self.plan.recipe.columns()):
            model, epoch = self._best_model(view)
            if epoch == best["epoch"]:
                best["figures"] = self._completed(best["figures"], model)
                self._set_best(model)

    def _best_model(self, view: View) -> tuple[Copies, int]:
        """A model with the weights of the best epoch, and which epoch that is.

        Where they are lost, those of the last epoch saved.
        """
        model, best = self.plan.model(), self.state.best
        if best and self._best_weights is not None:
            load_weights(model, self._best_weights, self.run.best)
            return self.hardware.prepare(model), best["epoch"]
        for path in (self.run.best, self.run.last):
            if best is None and not path.exists():  # nothing was monitored yet
                continue
            try:
                saved = checkpoints.load(path).state
                load_weights(model, saved["model"], path)
                return self.hardware.prepare(model), saved["epoch"]
            except CheckpointRefused as refused:
                _warn(self.run, view, f"{path.name} is passed over: {refused.what}")
        raise RunFailed("neither best.pt nor last.pt can be read", where=str(self.run.folder))

    def redraw(self, view: View) -> None:
        """Draw the curves as they stand, unless that was done a moment ago."""
        started = time.monotonic()
        if started >= self._next_drawing:
            self.rows.flush()
            self._draw_of(self.state.model, self.state.epoch, view, [self._curves])
            took = time.monotonic() - started
            self._next_drawing = time.monotonic() + max(REDRAW_EVERY, REDRAW_SHARE * took)

    def _draw(self, view: View, plots: Sequence[Choice]) -> None:
        """Draw some plots of the best model."""
        if plots:
            self._draw_of(*self._best_model(view), view, plots)

    def _draw_of(self, model: Copies, epoch: int, view: View, plots: Sequence[Choice]) -> None:
        trained = Trained(
            self.plan, self.loaded, self.hardware, model, epoch, self.run, reached=self._baselines
        )
        for choice in plots:
            draw(
                trained,
                choice,
                self.run.plots / f"{choice.name}.png",
                lambda text: _warn(self.run, view, text),
            )

    def _judge(self, status: str) -> list[dict[str, Any]]:
        """Each claim of `expect` with what was measured. Not judged: a run that is not complete, or
        whose epochs were lowered below what its file says.
        """
        config = self.plan.config
        judged = status in DONE and config.epochs >= (config.expect_epochs or 0)
        best = self.state.best["figures"] if self.state.best else self._figures
        verdicts = []
        for column, claim in config.expect.items():
            if column == "seconds":
                measured = self.state.seconds
            else:
                figures = best if column.startswith("best.") else self._figures
                values = figures.get(column.removeprefix("best."), [])
                measured = fmean(values) if values else math.nan
            met = meets(measured, claim) if judged else None
            missed = missed_by(measured, claim) if met is False else None
            verdicts.append(
                {"column": column, "claim": claim, "measured": measured, "met": met, "missed_by": missed}
            )
        return verdicts


def _heeding(signals: Signals, watching: Progress) -> Progress:
    """`watching`, which a signal stops: before the first step there is nothing to save.

    What it gives raises RunFailed then, with the exit code of the signal.
    """

    def heeded(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        for item in watching(items, total, what):
            yield item
            if signals.received:
                stopped = RunFailed(f"stopped by a signal while {what}")
                stopped.exit_code = 128 + signals.received
                raise stopped

    return heeded


def _refuse_another_config(plan: Plan, run: Run, saved: Checkpoint) -> None:
    """Refuse a config that would make another run of it, naming the keys."""
    old, new = config_of(saved, run.last, plan.parts), plan.config
    changed = changed_keys(old, new)
    different = [key for key in changed if not {key, key.split(".")[0]} & RESUMABLE]
    if different:
        said = (f"{key} (was {_value(old, key)}, now {_value(new, key)})" for key in different)
        raise UserError(
            f"a run cannot go on with another {', '.join(said)}",
            where=str(run.config),
            fix="take it back, or start a new run with dlrun train",
        )
    if new.epochs < old.epochs:
        raise UserError(
            f"epochs={new.epochs} is less than the {old.epochs} of this run: they may only grow",
            where=str(run.config),
            fix="give more of them, or start a new run with dlrun train",
        )


def _value(config: Config, key: str) -> str:
    """What a config says at a key such as `optimizer.lr`."""
    value: Any = config.plain()
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None  # a bare name has no options
    return shortened(value)


def _elsewhere(hardware: Hardware, saved: Checkpoint | None, state: State) -> str:
    """What the bits depend on and is not what it was, such as `threads was 1, now 2`; "" where all is."""
    if saved is None or not state.epoch:  # nothing was trained yet
        return ""
    before, now = saved.environment, hardware.environment()
    found = [
        f"{key} was {shortened(before.get(key, 'none'))}, now {now.get(key, 'none')}"
        for key in dict.fromkeys([*now, "gpu"])  # which is there on some machines alone
        if before.get(key) != now.get(key)
    ]
    return f"{', '.join(found)}: the bits may differ from those of an unbroken run" if found else ""


def _warnings(plan: Plan, elsewhere: str, saved: Checkpoint | None, state: State) -> Iterator[str]:
    config = plan.config
    yield from plan.data.notes
    if config.monitor and config.monitor.startswith("test_"):
        yield "best.pt is chosen on the test set: its figures there are no longer an honest estimate"
    if saved is None or not state.epoch:
        return
    if plan.rate_depends_on_length and saved.config["epochs"] != config.epochs:
        yield (
            f"the schedule {config.schedule.name} depends on the length of the run: a run of "
            f"{config.epochs} epochs from the start would differ from this one"
        )
    if elsewhere:
        yield elsewhere


def _warn(run: Run, view: View, text: str) -> None:
    run.log(f"warning: {text}")
    view.warn(text)


def _lost_weight(model: Copies, weights: Sequence[Mapping[str, Tensor]]) -> str:
    """Which of a model's weights is no longer finite, in words; "" where all are."""
    lost = lost_weight(model, weights)
    return f"{lost[1]} of seed {lost[0]} is no longer finite" if lost else ""


def _lost_example(loaded: Loaded) -> str:
    """Which example is not finite before anything is computed of it, in words; "" where all are."""
    for name, split in loaded.splits.items():
        if not (split.raw(torch.tensor([0])).is_floating_point() or split.targets.is_floating_point()):
            continue
        for indices in torch.arange(len(split), device=split.targets.device).split(EVALUATION_BATCH):
            for called, values in zip(("inputs", "targets"), split.batch(indices), strict=True):
                lost = (~values.reshape(len(values), -1).isfinite()).any(1).nonzero()
                if len(lost):
                    number = int(indices[lost[0, 0]])
                    return f"the {called} of example {number} of {name}, counted from 0, are not finite"
    return ""


def _weights(model: Copies) -> list[dict[str, Tensor]]:
    """The weights of each copy as they stand, in the memory of the model."""
    return [copy.state_dict() for copy in model.copies]


def _git() -> dict[str, Any] | None:
    """The commit of the folder we are in, and whether the tree differs from it."""
    # Git would write its index anew, and start the monitor that the folder's .git/config names.
    careful = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false"]

    def git(*words: str) -> str:
        done = subprocess.run([*careful, *words], capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
