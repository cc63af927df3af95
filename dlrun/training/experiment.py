"""Train a run: consume `fit`, save checkpoints; early stopping (`patience`), Ctrl-C, pauses and resuming."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from dlrun.config.dumping import dump_config
from dlrun.config.keys import DATA_PATH, OF_EARLIER_RUNS, flat_config
from dlrun.config.strict_yaml import read_file
from dlrun.data.loaded import Loaded
from dlrun.data.tabular.suspicious_columns import column_warnings
from dlrun.data.trees import first_of
from dlrun.errors import (
    CheckpointRefused,
    Diverged,
    RunFailed,
    UserError,
    note_parts_at_work,
    note_resume,
)
from dlrun.run_folders.run import DONE, Run
from dlrun.system.processes import quoted
from dlrun.system.progress import Progress, no_progress
from dlrun.system.signals import StopSignals
from dlrun.tracking.live import logged_live
from dlrun.tracking.trackers import refuse_missing
from dlrun.training.baselines import why_no_guess
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.checkpoint_entries import take_class_weights
from dlrun.training.early_stopping import is_complete, why_stopped
from dlrun.training.following import Stopped, tell, tell_start
from dlrun.training.initial_weights import initial_weights, said_weights
from dlrun.training.launching import refuse_draws
from dlrun.training.loop import Batch, fit
from dlrun.training.opening import bring_teacher
from dlrun.training.plan import Plan
from dlrun.training.recipe import Row
from dlrun.training.resume_checks import (
    another_data,
    evaluated_as_saved,
    preprocessing_of,
    refuse_another_config,
    restore,
    warnings_of,
    what_is_elsewhere,
)
from dlrun.training.run_writer import Outcome, RunWriter, log_warning
from dlrun.training.step_checks import further, refuse_steps
from dlrun.training.teachers import record_of, recorded_digest, teacher_warnings
from dlrun.training.trained_on import told_apart
from dlrun.training.traps import trap_warnings
from dlrun.training.views import TrainingView
from dlrun.training.world import World


def train_run(
    plan: Plan,
    run: Run,
    view: TrainingView,
    *,
    loaded: Loaded | None = None,
    stop_after: int | None = None,
    stop_at: float | None = None,
    redraw: bool = False,
    strict: bool = False,
    progress: Progress = no_progress,
    world: World | None = None,
    lets_go: bool = False,
) -> Outcome:
    """Train the remaining epochs of a run: all of them for a new folder.

    `loaded` is the data, if it was loaded before; if it `lets_go` of these, nobody needs them afterwards.
    `stop_after` pauses after that epoch; the plan stays the
    same. From `stop_at` on, a time of time.monotonic(), the run stops as by a signal. With `redraw` the
    curves are drawn again every few seconds. With `strict` a run is not resumed with other threads, or on
    another device, version or machine. `progress` shows the progress of loading the data. A signal stops the
    run at the next point from which a resume gives the same result as an uninterrupted run. In a `world` of
    several processes this is the first, and the others `follow`.
    """
    world = world or World()
    with _resumable(plan, run), run.lock(), StopSignals() as signals:
        is_late = partial(_is_past, stop_at)
        world.is_asked = lambda: signals.received is not None or is_late()
        writer = _opened(plan, run, view, loaded, _heeding(signals, progress), strict, world, lets_go)
        if writer is None:
            return Outcome(run, run.summary() | {"already_complete": True}, 0)
        plan, state, status = writer.plan, writer.state, ""
        training: Iterator[Row] | None = None
        tell_start(world, plan, writer.loaded, writer.hardware, state)
        world.is_save_due = writer.is_step_due
        started = time.monotonic() - state.seconds
        steps = plan.recipe.sampling.steps(len(writer.loaded["train"]))

        def each_batch(batches: Iterator[Batch]) -> Iterator[Batch]:
            for batch in batches:
                yield batch
                view.tick(first_of(batch[0]).shape[1])
                if state.step == steps:
                    continue  # the epoch is complete in a moment
                stops = world.is_to_stop and writer.saved_epoch == state.epoch  # else that is saved first
                if stops or world.is_to_save:
                    state.seconds = time.monotonic() - started
                    writer.save_step()
                if stops:
                    raise Stopped

        warn = partial(log_warning, run, view)
        with logged_live(plan.config.track, run, warn), writer.failing():
            try:
                view.begin(plan, run, state, steps)
                while not status and not is_complete(plan, state):
                    state.leave_out_stopped(plan.optimizers)
                    training = fit(state, writer.loaded, plan.recipe, writer.hardware, each_batch)
                    for row in training:
                        best = writer.write_row(row)
                        state.seconds = time.monotonic() - started
                        view.row(state.epoch, row, best)
                        is_end = is_complete(plan, state)
                        if not is_end and world.is_to_stop:
                            status = "interrupted"
                        elif not is_end and stop_after is not None and state.epoch >= stop_after:
                            status = "paused"
                        is_end, is_due = is_end or bool(status), writer.is_due()
                        # The next epochs are those of the other seeds, or of other steps.
                        begins_anew = state.has_new_stops or plan.recipe.changes_after(state.epoch)
                        tell(world, state, is_end=is_end, begins_anew=begins_anew, is_saved=is_due)
                        if is_end:
                            break
                        if is_due:
                            writer.save()
                        if redraw:
                            writer.redraw()
                        if begins_anew:
                            break
                    else:
                        break
            except Stopped:
                status = "interrupted"
            finally:
                view.end()
            if not status:
                status = "finished" if state.epoch >= plan.config.epochs else "stopped early"
            training = None  # with its batches
            is_over = status == "interrupted" and not signals.received and is_late()
            return writer.finish(status, signals.received, "its --max-time is over" if is_over else None)


def _is_past(when: float | None) -> bool:
    """True from a time of time.monotonic() on."""
    return when is not None and time.monotonic() >= when


@contextmanager
def _resumable(plan: Plan, run: Run) -> Iterator[None]:
    """Attach the command that resumes the run to every exception but Diverged.

    The traceback of an unexpected exception is written to the log.
    """
    try:
        yield
    except Diverged:  # resumed, it would diverge again
        raise
    except UserError as error:
        error.resume = resume_command(plan, run)
        raise
    except Exception as error:
        run.log("".join(traceback.format_exception(error)))
        note_resume(error, resume_command(plan, run))
        note_parts_at_work(error, plan.own_files)
        raise


def resume_command(plan: Plan, run: Run) -> str:
    """The command that resumes a run, with --parts if needed."""
    return command_on(plan, "resume", str(run.folder))


def command_on(plan: Plan, command: str, run: str) -> str:
    """A command on a run that is named so, with --parts if needed."""
    parts = ["--parts", str(plan.parts.folder)] if plan.parts.folder else []
    return quoted(["dlrun", command, run, *parts])


def _opened(
    plan: Plan,
    run: Run,
    view: TrainingView,
    loaded: Loaded | None,
    progress: Progress,
    strict: bool,
    world: World,
    lets_go: bool,
) -> RunWriter | None:
    """Open a run: restore its checkpoint, or save the first one; None if nothing is left to train.

    Raises UserError and CheckpointRefused, with no file changed, if the run cannot be resumed.
    """
    refuse_missing(plan.config)
    saved = load_checkpoint(run.last) if run.last.exists() else None
    if saved is None and (run.has_rows() or run.best.exists()):
        left = "rows but no checkpoint" if run.has_rows() else "a best.pt but no last.pt"
        raise CheckpointRefused(
            f"this run has {left} to resume from",
            where=str(run.last),
            fix=f"put last.pt back, or start a new run with dlrun train {run.config}",
        )
    last = saved
    if saved:
        saved = further(saved, plan, run, partial(log_warning, run, view))
        plan = evaluated_as_saved(plan, saved)
        refuse_another_config(plan, run, saved)
    text = dump_config(plan.config)
    preprocessing = preprocessing_of(saved, plan, run) if saved else None
    if saved:
        take_class_weights(plan.loss, saved, run.last)
    # A dataset of the user's own may give other examples when it is read again.
    lets_go = lets_go and plan.parts.part("dataset", plan.config.dataset.name).built_in
    loaded = loaded or plan.load(preprocessing, progress)
    plan.settle(loaded)
    refuse_draws(plan, loaded, world.size)
    bring_teacher(plan, loaded.preprocessing, recorded_digest(plan, saved, run.last) if saved else "")
    record_of(plan)  # a teacher that is gone, or another one, is found before anything changes
    before = saved.environment if saved else None
    hardware = replace(plan.hardware(loaded, before), warn=partial(log_warning, run, view), world=world)
    hardware.use()
    begun = None if saved else initial_weights(plan)  # a checkpoint has all weights itself
    state = plan.state(hardware, begun.put_into if begun else None)
    if saved:
        if (fingerprint := saved.data.get("fingerprint")) != loaded.fingerprint:
            raise another_data(told_apart(loaded.fingerprint, fingerprint), run)
        try:
            restore(state, saved, plan, run)
            if state.steps_before:
                refuse_steps(state, saved, plan, loaded)
        except CheckpointRefused as refused:
            if saved is last:
                refused.where = refused.where or str(run.last)
                raise
            fix = f"delete it: the run then goes on after epoch {saved.state['epoch']}"
            raise CheckpointRefused(refused.what, where=str(run.step), fix=fix) from None
        done = is_complete(plan, state) and run.summary().get("status") in DONE
        if done and plan.config.epochs > saved.config["epochs"]:
            what = f"nothing is left to train: the run stopped early after epoch {state.epoch}"
            more = f"patience={2 * (plan.config.patience or 1)}"
            fix = f"raise the patience too, such as {more}, or set patience=null"
            if state.active:
                fix = "raise max_time too, or set max_time=null"
            elif {*state.stopped} != {state.epoch}:
                fix = "start a new run with more patience: its seeds stopped at different epochs"
            raise UserError(f"{what}, because {why_stopped(plan, state)}", where=str(run.config), fix=fix)
        if done and _without_data_path(read_file(run.config).plain()) == _without_data_path(
            plan.config.plain()
        ):
            if run.config.read_text(encoding="utf-8") != text:  # its data lies elsewhere now
                run.write_config(text)
            return None
    elsewhere = what_is_elsewhere(hardware, saved, state)
    if strict and elsewhere:
        fix = "restore that, or resume without --strict"
        raise CheckpointRefused(elsewhere, where=str(run.last), fix=fix)
    warnings = list(warnings_of(plan, elsewhere, saved, state))
    warnings += [] if saved else [*column_warnings(plan.data, loaded.splits), *trap_warnings(plan, loaded)]
    warnings += [] if saved else teacher_warnings(plan, loaded)
    if reason := why_no_guess(plan, loaded):
        warnings.append(f"there is no baseline beside the figures: {reason}")
    weights = begun.plain() if begun else None
    writer = RunWriter(plan, run, loaded, hardware, state, saved, view, weights, lets_go=lets_go)
    for warning in warnings:
        writer.warn(warning)
    run.write_config(text)
    if saved is None:
        writer.write_snapshot()
        writer.save()  # from here on there is always a checkpoint to resume from
    writer.write_summary("running")
    if saved is None:
        for finding in plan.data.findings:
            run.log(finding)
    if begun:
        run.log(said_weights(begun.plain()))
    amid = f", step {state.step} of the next" if state.step else ""
    run.log(
        f"epoch {state.epoch} of {plan.config.epochs}{amid}, {hardware.threads} threads, {hardware.device}"
    )
    return writer


def _without_data_path(config: dict[str, Any]) -> dict[str, Any]:
    """A config without the path of its data, which may change: the fingerprint identifies the data."""
    return {key: value for key, value in flat_config(OF_EARLIER_RUNS | config).items() if key != DATA_PATH}


def _heeding(signals: StopSignals, progress: Progress) -> Progress:
    """Wrap `progress` so that a signal stops the loading of the data: there is nothing to save yet.

    The iterator then raises RunFailed with the exit code of the signal.
    """

    def heeded(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        for item in progress(items, total, what):
            yield item
            if signals.received:
                stopped = RunFailed(f"stopped by a signal while {what}")
                stopped.exit_code = 128 + signals.received
                raise stopped

    return heeded
