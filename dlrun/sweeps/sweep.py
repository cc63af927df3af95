"""Training of a sweep: its runs in parallel workers, where one that fails stops no other, and the ranking."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from dlrun.config.registry import Parts
from dlrun.drawing.sweep_pictures import draw_curves, draw_settings
from dlrun.errors import UserError
from dlrun.run_folders.best_run import ranked_settings
from dlrun.run_folders.comparison import Comparison
from dlrun.run_folders.records import Record, some
from dlrun.run_folders.run import DONE
from dlrun.run_folders.sweep_folder import Sweep, Trial
from dlrun.sweeps.best_config import keep_best
from dlrun.sweeps.messages import Message
from dlrun.sweeps.ray_cluster import Demand
from dlrun.sweeps.ray_workers import RayWorkers
from dlrun.sweeps.search import Search
from dlrun.sweeps.shards import Shard
from dlrun.sweeps.views import RunProgress, SweepView
from dlrun.sweeps.workers import Workers
from dlrun.system.files import write_atomically
from dlrun.system.locks import is_in_use
from dlrun.system.signals import KILLED, StopSignals
from dlrun.system.socket_folder import RECORD, recorded_sockets
from dlrun.training.devices import dealt_cards

REFRESH = 0.25  # seconds
OPEN = ("waiting", "training")  # statuses of a run that has not ended


@dataclass(frozen=True)
class SweepOutcome:
    """The end of a call of `train_sweep`: the state of each run, and the signal that stopped it, if any."""

    sweep: Sweep
    progress: list[RunProgress]
    signal: int | None

    @property
    def failed(self) -> list[RunProgress]:
        """The runs that ended without a result."""
        return [each for each in self.progress if each.status in ("failed", "diverged", "broken")]

    @property
    def is_open(self) -> bool:
        """True if a resumed sweep would train something."""
        left = (*OPEN, "interrupted", "failed", "broken")
        return self.undrawn > 0 or any(
            each.status in left and not each.trial.is_borrowed for each in self.progress
        )

    @property
    def undrawn(self) -> int:
        """The number of settings that a search has still to draw."""
        return self.sweep.wanted - len({each.trial.number for each in self.progress})

    @property
    def exit_code(self) -> int:
        """The exit code of the command: 128 + signal, 1 if some runs failed, else 0."""
        return 128 + self.signal if self.signal else int(bool(self.failed))

    @property
    def expectations(self) -> list[bool]:
        """For each run with claims under `expect` that were judged: True if all of them were met."""
        verdicts = [each.trial.run.summary().get("expect") for each in self.progress]
        met = [
            [claim["met"] for claim in each if claim.get("met") is not None]
            for each in verdicts
            if isinstance(each, list)
        ]
        return [all(each) for each in met if each]

    @property
    def warnings(self) -> dict[str, list[str]]:
        """The names of the runs that gave each warning; of texts that differ by numbers alone the first."""
        found = dict[str, tuple[str, list[str]]]()
        for each in self.progress:
            said = each.trial.run.summary().get("warnings")
            for text in dict.fromkeys(map(str, said)) if isinstance(said, list) else ():
                _, names = found.setdefault(re.sub(r"[\d,.]*\d", "0", text), (text, []))
                names.append(each.trial.run.name)
        return dict(found.values())

    def plain(self) -> dict[str, Any]:
        """The outcome as a dict for JSON."""
        counts, met = Counter(each.status for each in self.progress), self.expectations
        return {
            "sweep": str(self.sweep.folder),
            "runs": len(self.progress),
            "status": dict(counts),
            "failed": [{"run": each.trial.run.name, "error": each.lines} for each in self.failed],
            "warnings": [{"warning": text, "runs": names} for text, names in self.warnings.items()],
            "expect": {"met": sum(met), "of": len(met)},
            "signal": self.signal,
        }


def train_sweep(
    sweep: Sweep,
    jobs: int,
    view: SweepView,
    parts: Parts,
    data_dir: Path,
    shard: Shard | None = None,
    demand: Demand | None = None,
) -> SweepOutcome:
    """Train the remaining runs of a sweep, `jobs` at a time, and those that its search draws.

    A failed run does not stop the others, and a run that another process trains is waited for. A signal
    stops the running ones with a checkpoint; a second signal ends them at once. Raises RunFailed if another
    process holds the sweep's lock. The runs are dealt to the GPUs that there are, if they train on one; with
    a `demand` Ray finds a place for each in the cluster that was joined. Of a `shard` only its own runs are
    trained, while other processes may train other shards.
    """
    cards = [] if demand else dealt_cards(sweep.device)
    told = sweep.folder / "workers.log", sweep.metric, parts.folder, data_dir
    sockets = f"sockets-{shard.index}-{shard.of}.json" if shard else RECORD
    with (
        sweep.lock(is_shared=shard is not None),
        StopSignals() as signals,
        RayWorkers(jobs, *told, demand) if demand else Workers(jobs, *told, cards) as workers,
        recorded_sockets(sweep.folder, sockets),
    ):
        if not shard:
            sweep.replace_gone()
        search = Search(sweep, parts, data_dir) if sweep.is_search else None
        trials = shard.own(sweep.trials) if shard else sweep.trials
        training = _Training(sweep, trials, workers, search, signals, view)
        view.begin(sweep, training.every, jobs, min(jobs, len(cards)))
        try:
            training.go_on()
        finally:
            view.end()
    return SweepOutcome(sweep, training.every, signals.received)


class _Training:
    """The scheduler of a sweep: gives runs to free workers and handles their messages."""

    def __init__(
        self,
        sweep: Sweep,
        trials: list[Trial],
        workers: Workers | RayWorkers,
        search: Search | None,
        signals: StopSignals,
        view: SweepView,
    ) -> None:
        self.sweep, self.workers, self.search = sweep, workers, search
        self.signals, self.view = signals, view
        self.every = [standing(trial, sweep) for trial in trials]
        self.of_folder = {each.trial.run.folder: each for each in self.every}
        left = [trial.run.folder for trial in sweep.unfinished()]
        self.waiting = deque(folder for folder in left if folder in self.of_folder)
        self.stopped = set[Path]()  # the runs that were told to stop
        self.elsewhere = set[Path]()  # the runs found in use by another process
        for folder in self.waiting:
            self.of_folder[folder].status = "waiting"
        if search:  # trials that ended just before the sweep was killed
            for number in search.study.running():
                self._tell(number)

    def go_on(self) -> None:
        """Train until no run is left, or all have stopped after a signal."""
        self._feed()
        while self.workers.training or (self.waiting and not self.signals.received):
            for message in self.workers.messages(REFRESH):
                self._hear(message)
            if self.signals.received:
                for folder in self.workers.training:
                    self._stop(folder)
            self._feed()
            self.view.refresh()

    def _feed(self) -> None:
        """Give each free worker a run."""
        while self.workers.is_free and not self.signals.received:
            if not self.waiting and self.search:
                for trial in self.search.more():
                    fresh = standing(trial, self.sweep)
                    self.every.append(fresh)
                    self.of_folder[trial.run.folder] = fresh
                    self.waiting.append(trial.run.folder)
            folder = next((each for each in self.waiting if not is_in_use(each)), None)
            if folder is None:
                if found := {*self.waiting} - self.elsewhere:
                    self.view.warn(f"waiting for {some(sorted(each.name for each in found))}")
                    self.elsewhere |= found
                return
            self.waiting.remove(folder)
            self.workers.train(folder)
            self.of_folder[folder].status = "training"

    def _stop(self, folder: Path) -> None:
        """Tell a run's worker, once, to save a checkpoint and stop."""
        if folder not in self.stopped:
            self.workers.stop(folder)
            self.stopped.add(folder)

    def _hear(self, message: Message) -> None:
        """Handle a message of a worker: update the run's progress, give up its setting, or note its end."""
        progress = self.of_folder[message.folder]
        if message.kind in ("begin", "row"):
            progress.epoch, progress.epochs = message.epoch, message.epochs
            progress.figure = message.figure
            if (
                self.search
                and message.rung
                and message.folder not in self.stopped
                and self.search.is_hopeless(progress.trial, message.rung, progress.figure)
            ):
                self._give_up(progress.trial.number)
            return
        conclude_run(progress, message, self.sweep)
        if progress.status == "interrupted" and not self.signals.received:
            if message.folder not in self.stopped:  # it was lost on a node, or the STOP was of an earlier run
                for line in message.lines:
                    self.view.warn(line)
                progress.lines = []
                self.waiting.append(message.folder)
                progress.status = "waiting"
                return
            progress.status = "given up"
        self.view.ended(progress)
        self._tell(progress.trial.number)

    def _give_up(self, number: int | None) -> None:
        """Prune a setting: stop its running runs and skip its waiting ones."""
        for each in self.every:
            if each.trial.number == number:
                folder = each.trial.run.folder
                if folder in self.waiting:
                    self.waiting.remove(folder)
                    each.status = "given up"
                self._stop(folder)

    def _tell(self, number: int | None) -> None:
        """Report the result of a setting to the search, once all its runs have ended."""
        of_setting = [each for each in self.every if each.trial.number == number]
        if not self.search or not of_setting:
            return
        if any(each.status in (*OPEN, "interrupted") for each in of_setting):
            return
        figures = [each.figure for each in of_setting if each.figure is not None]
        is_whole = all(each.status in DONE for each in of_setting)
        is_given_up = any(each.status == "given up" for each in of_setting)
        self.search.ended(number, figures if is_whole else [], is_given_up=is_given_up)


def standing(trial: Trial, sweep: Sweep) -> RunProgress:
    """The progress of a run of a sweep, read from its folder."""
    summary = trial.run.summary()
    status = trial.run.status(summary) if summary else "waiting"
    epoch, epochs = summary.get("epochs"), summary.get("planned_epochs")
    figures = Record(trial.run, {}, summary).of_taken_weights(sweep.metric)
    error = summary.get("error")
    if trial.number is not None and trial.number in sweep.given_up:
        status = "given up"
    return RunProgress(
        trial,
        status,
        epoch if isinstance(epoch, int) else 0,
        epochs if isinstance(epochs, int) else 0,
        fmean(figures.values()) if figures else None,
        error.splitlines() if isinstance(error, str) else [],
    )


def conclude_run(progress: RunProgress, message: Message, sweep: Sweep) -> None:
    """Update a run's progress when it has ended, from its folder and from its worker's last message."""
    fresh = standing(progress.trial, sweep)
    progress.epoch, progress.epochs, progress.figure = fresh.epoch, fresh.epochs, fresh.figure
    progress.status, progress.lines = fresh.status, message.lines
    if message.kind == "killed":
        progress.status = "failed"
        killed = f"error: its process was killed (exit code {message.exit_code})"
        fix = "  fix: if it was for want of memory, resume with --jobs 1, or take a smaller model"
        progress.lines = [killed, fix] if message.exit_code in KILLED else [killed]
    elif message.exit_code > 128:  # by a signal, maybe before it wrote a summary
        progress.status = "interrupted"
    elif progress.status in ("running", "waiting") or (message.lines and progress.status == "interrupted"):
        progress.status = "failed"  # it ended before it could write that status


def rank_sweep(
    sweep: Sweep, metric: str | None, parts: Parts, warn: Callable[[str], None]
) -> Comparison | None:
    """The settings of a sweep, the best first; None if no finished run has measured the metric."""
    if not any(trial.run.status(trial.run.summary()) in DONE for trial in sweep.trials):
        return None
    try:
        return ranked_settings(sweep, sweep.metric if metric is None else metric, parts=parts)
    except UserError as error:
        warn(error.what)
        return None


def keep_ranking(sweep: Sweep, ranked: Comparison, warn: Callable[[str], None]) -> None:
    """Write the ranked table, its best config and pictures to the sweep's folder.

    Raises RunFailed if that fails.
    """
    write_atomically(
        sweep.folder / "results.csv", lambda file: file.write(ranked.csv().encode(errors="backslashreplace"))
    )
    keep_best(sweep, ranked)
    draw_ranking(ranked, sweep, warn)


def draw_ranking(ranked: Comparison, sweep: Sweep, warn: Callable[[str], None]) -> None:
    """Draw a sweep's figure over the swept values, and the training curves of its settings."""
    draw_settings(ranked, sweep.name, sweep.plots / "settings.png", warn)
    draw_curves(ranked, sweep.plots / "curves.png", warn)
