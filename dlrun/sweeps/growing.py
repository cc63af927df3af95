"""Growth of a sweep: further values of its keys, further seeds, or further draws of a search."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from dlrun.config.keys import flat_config, with_defaults
from dlrun.config.registry import Parts
from dlrun.config.strict_yaml import read_file
from dlrun.errors import UserError, in_full
from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_folder import BASE, Sweep
from dlrun.sweeps.grid import Setting, checked_settings, swept_keys
from dlrun.sweeps.values import MOST_VALUES, distinct, listed, pairs
from dlrun.system.files import is_file
from dlrun.system.processes import command_line

if TYPE_CHECKING:
    from dlrun.run_folders.records import Record
    from dlrun.sweeps.planning import SweepPlan

_Values = dict[str, Any]  # key -> value, of a setting


def settings_to_add(
    sweep: Sweep, given: Sequence[str], seeds: Sequence[int] | None, parts: Parts, *, is_zipped: bool = False
) -> list[Setting]:
    """The settings that a sweep lacks if its keys take the values of `given` KEY=VALUES too, and these seeds.

    The values of the other keys are those of the settings that are there. If these are a whole grid, so are
    those of the grown sweep; else, or if it `is_zipped`, only the combinations, or pairs, of the new values
    are added. A key that was not swept has in each setting the value of its runs. A setting that is there
    gets the new seeds alone. Raises ConfigError with the mistakes of all settings, UserError if there is
    nothing to add, or if the sweep cannot grow.
    """
    _refuse_growth(sweep)
    path, words = sweep.folder / BASE, _words(sweep)
    axes, plain = swept_keys(path, given, seeds, parts, is_zipped=is_zipped, of_one=True)
    of_seeds = [json.loads(word.removeprefix("seeds=")) for word in plain if word.startswith("seeds=")]
    asked = [seed for each in of_seeds for seed in (each if isinstance(each, list) else [each])]
    seeds_there = distinct(seed for trial in sweep.trials for seed in trial.seeds)
    seeds_new = [seed for seed in asked if seed not in seeds_there]
    keys = [axis.key for axis in axes]
    there = distinct(_with_own(trial.values, trial.run, keys) for trial in sweep.trials)
    own = {key: distinct(values[key] for values in there if key in values) for key in there[0]}
    is_grid = len(there) == math.prod(map(len, own.values()))
    if is_zipped:
        chosen = pairs(axes)
    else:
        lists = [
            distinct([*own.get(axis.key, []), *listed(axis)]) if is_grid else listed(axis) for axis in axes
        ]
        chosen = [dict(zip(keys, values, strict=True)) for values in product(*lists)]
    rests = distinct({key: values[key] for key in values if key not in keys} for values in there)
    wanted = [
        {key: (rest | values)[key] for key in (*there[0], *keys) if key in (rest | values)}
        for rest in rests
        for values in chosen
    ]
    fresh = [values for values in wanted if values not in there]

    def checked(every: Sequence[_Values], seeds: Sequence[int]) -> list[Setting]:
        return checked_settings(path, given, every, [*words, f"seeds={json.dumps(seeds)}"], axes, parts)

    added = checked(there, seeds_new) if seeds_new else []
    added += [each for each in checked(fresh, seeds_there + seeds_new) if each.values not in there]
    if not added:
        what = f"{sweep.name} has all of these settings and seeds"
        raise UserError(what, where=in_full(sweep.folder), fix="leave them out to train what is left of it")
    return added


def grow(sweep: Sweep, added: SweepPlan, finished: Sequence[Record] = ()) -> None:
    """Add the runs of a plan to a sweep, with their folders. Raises RunFailed if it is being trained.

    Finished runs take the place of new ones as in `SweepPlan.make`.
    """
    keys = list(dict.fromkeys(key for setting in added.settings for key in setting.values))
    with sweep.lock():
        sweep.remove_unlisted()  # of a growth that was killed
        for entry, trial in zip(sweep.content["runs"], sweep.trials, strict=True):
            entry["values"] = _with_own(trial.values, trial.run, keys)
        added.add_runs(sweep, finished)
        sweep.content.setdefault("grown_by", []).append(command_line())
        sweep.write()


def grow_search(sweep: Sweep, count: int) -> None:
    """Have a search draw `count` settings in all. Raises UserError if it is none, or draws as many anyway."""
    if not sweep.is_search:
        fix = "give its keys further values: --resume SWEEP KEY=VALUES"
        raise UserError(f"{sweep.name} is no search", where="--optuna", fix=fix)
    if not sweep.wanted < count <= MOST_VALUES:
        what = f"{sweep.name} draws {sweep.wanted} settings in all"
        raise UserError(what, where="--optuna", fix=f"write a number from {sweep.wanted + 1} on")
    with sweep.lock():
        sweep.content["search"]["count"] = count
        sweep.content.setdefault("grown_by", []).append(command_line())
        sweep.write()


def _refuse_growth(sweep: Sweep) -> None:
    """Raise UserError for a sweep whose settings are not chosen by KEY=VALUES."""
    if sweep.is_search:
        fix = "have it draw more: --resume SWEEP --optuna N"
        raise UserError(f"{sweep.name} is a search, which draws its values itself", fix=fix)
    if sweep.is_cross_validation:
        fix = "begin another one with the number of folds that you want"
        raise UserError(f"{sweep.name} is a cross-validation, whose runs differ by their folds", fix=fix)
    if not is_file(sweep.folder / BASE):
        what = f"{sweep.name} is of an earlier dlrun, which did not keep the config that it began with"
        fix = "begin another one with all values and --needed, which takes the finished runs of this one"
        raise UserError(what, where=in_full(sweep.folder), fix=fix)


def _words(sweep: Sweep) -> list[str]:
    """The KEY=VALUE arguments that all runs of a sweep have; sweep.json is untrusted."""
    words = sweep.content.get("words")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError("sweep.json has no words", where=in_full(sweep.folder), fix="restore the file")
    return words


def _with_own(values: _Values, run: Run, keys: Sequence[str]) -> _Values:
    """The values of a setting with those that its run has of further `keys`, if it has any."""
    missing = [key for key in keys if key not in values]
    plain = read_file(run.config).plain() if missing else {}
    of_run = flat_config(with_defaults(plain)) if isinstance(plain, dict) else {}
    return values | {key: of_run[key] for key in missing if key in of_run}
