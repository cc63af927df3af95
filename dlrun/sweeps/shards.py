"""Parts of a sweep's runs, for jobs that train them at the same time without knowing of each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.errors import UserError, shortened
from dlrun.run_folders.run import ENDED
from dlrun.run_folders.sweep_folder import Sweep, Trial

_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """Every `of`-th run of a sweep. An `index` of 0 is the same as one of `of`: counts begin at 0 or at 1."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def own(self, trials: Sequence[Trial]) -> list[Trial]:
        """Its part of all runs of a sweep, by their places alone, whichever of them have been trained."""
        return list(trials[(self.index - 1) % self.of :: self.of])


def shard_named(text: str) -> Shard:
    """The shard I/N. Raises UserError if it is none."""
    found = _SHARD.fullmatch(text)
    if not found:
        fix = "write I/N, such as 3/8; $SLURM_ARRAY_TASK_ID is set in the jobs of an array alone"
        raise UserError(f"{shortened(text)!r} is no part of the runs", where="--shard", fix=fix)
    index, of = map(int, found.groups())
    if not of or index > of:
        fix = f"count from 1 to {of}, or from 0 to {of - 1}" if of else "write I/N, such as 3/8"
        raise UserError(f"there is no part {index} of {of}", where="--shard", fix=fix)
    return Shard(index, of)


def refuse_shard(sweep: Sweep, command: str) -> None:
    """Raise UserError if a sweep cannot be trained in shards. `command` trains the whole."""
    if sweep.is_search:
        what = f"{sweep.name} chooses each setting by the results of those before, and has no parts"
        raise UserError(what, where="--shard", fix=command)
    gone = [trial for trial in sweep.trials if trial.is_borrowed and not trial.run.config.exists()]
    if gone:
        what = f"a finished run that {sweep.name} reuses is gone: {gone[0].run.name.removesuffix('.gone')}"
        raise UserError(what, where="--shard", fix=f"{command} puts a new one in its place")


def left_to_others(sweep: Sweep, shard: Shard) -> int:
    """The number of runs of other shards that are not trained yet, or are being trained."""
    own = {trial.run.folder for trial in shard.own(sweep.trials)}
    others = [trial.run for trial in sweep.trials if trial.run.folder not in own and not trial.is_borrowed]
    return sum(run.summary().get("status") not in (*ENDED, "failed") for run in others)
