"""Growth of a sweep: further values of its keys, further seeds, or further draws of a search."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from dlrun.config.keys import flat_config, with_defaults
from dlrun.config.registry import KINDS, Parts
from dlrun.config.strict_yaml import parse, read_file
from dlrun.errors import UserError, in_full, shortened
from dlrun.run_folders.sweep_folder import BASE, Sweep
from dlrun.sweeps.base import AT_PATHS
from dlrun.sweeps.grid import Setting, checked_settings, swept_keys
from dlrun.sweeps.values import MOST_VALUES, SweptKey, distinct, identity_of, listed, pairs
from dlrun.system import machine
from dlrun.system.files import is_file
from dlrun.system.processes import command_line

if TYPE_CHECKING:
    from dlrun.run_folders.records import Record
    from dlrun.sweeps.planning import SweepPlan

_Values = dict[str, Any]  # key -> value, of a setting
_SAME_FOR_ALL = ("name", "device")


def settings_to_add(
    sweep: Sweep, given: Sequence[str], seeds: Sequence[int] | None, parts: Parts, *, is_zipped: bool = False
) -> list[Setting]:
    """The settings that a sweep lacks if its keys take the values of `given` KEY=VALUES too, and these seeds.

    The values of the other keys are those of the settings that are there. If these are a whole grid, so are
    those of the grown sweep; else, or if it `is_zipped`, only the combinations, or pairs, of the new values
    are added. A key that was not swept has in each setting the value of its runs, and so have runs and files
    that values name, wherever the command is given. A setting that is there gets the seeds that it lacks.
    Raises ConfigError with the mistakes of all settings, UserError if there is nothing to add, or if the
    sweep cannot grow.
    """
    _refuse_growth(sweep)
    path, words = sweep.folder / BASE, _words(sweep)
    axes, plain = swept_keys(path, given, seeds, parts, is_zipped=is_zipped, of_one=True)
    axes = [_as_called(axis, sweep) for axis in axes]
    keys = [axis.key for axis in axes]
    of_runs = [_of_run(sweep, number) for number in range(len(sweep.trials))]
    valued = [_with_own(trial.values, own, keys) for trial, own in zip(sweep.trials, of_runs, strict=True)]
    there = distinct(valued)
    seeds_of = {identity_of(values): list[int]() for values in there}
    for trial, values in zip(sweep.trials, valued, strict=True):
        seeds_of[identity_of(values)] += trial.seeds
    asked = _asked_seeds(plain)
    every_seed = distinct([*(seed for trial in sweep.trials for seed in trial.seeds), *asked])
    named = {  # the runs and files that were found for the values that name them
        (key, repr(values[key])): own[key]
        for values, own in zip(valued, of_runs, strict=True)
        for key in AT_PATHS
        if key in values and own.get(key) is not None
    }

    def checked(every: Sequence[_Values], seeds: Sequence[int]) -> list[Setting]:
        where = [{k: named.get((k, repr(value)), value) for k, value in each.items()} for each in every]
        of_seeds = [*words, f"seeds={json.dumps(seeds)}"]
        found = checked_settings(path, given, where, of_seeds, axes, parts)
        as_written = {identity_of(at): each for at, each in zip(where, every, strict=True)}
        return [replace(each, values=as_written.get(identity_of(each.values), each.values)) for each in found]

    added = list[Setting]()
    for lacking in distinct([seed for seed in asked if seed not in own] for own in seeds_of.values()):
        alike = [
            each for each in there if [s for s in asked if s not in seeds_of[identity_of(each)]] == lacking
        ]
        added += checked(alike, lacking) if lacking else []
    wanted = _combined(there, axes, is_zipped=is_zipped)
    fresh = [values for values in wanted if identity_of(values) not in seeds_of]
    added += [each for each in checked(fresh, every_seed) if identity_of(each.values) not in seeds_of]
    if not added:
        what = f"{sweep.name} has all of these settings and seeds"
        raise UserError(what, where=in_full(sweep.folder), fix="leave them out to train what is left of it")
    return added


def _combined(there: Sequence[_Values], axes: Sequence[SweptKey], *, is_zipped: bool) -> list[_Values]:
    """The settings of a grown sweep, of which some may be there, with the keys in their first order."""
    keys, first = [axis.key for axis in axes], there[0]
    own = {key: distinct(values[key] for values in there if key in values) for key in first}
    is_grid = len(there) == math.prod(map(len, own.values()))
    if is_zipped:
        chosen = pairs(axes)
    else:
        lists = [listed(axis, may_draw=False) for axis in axes]
        if is_grid:
            of_axes = zip(axes, lists, strict=True)
            lists = [distinct([*own.get(axis.key, []), *new]) for axis, new in of_axes]
        chosen = [dict(zip(keys, values, strict=True)) for values in product(*lists)]
    rests = distinct({key: values[key] for key in values if key not in keys} for values in there)
    both = [rest | values for rest in rests for values in chosen]
    return [{key: each[key] for key in (*first, *keys) if key in each} for each in both]


def grow(sweep: Sweep, added: SweepPlan, finished: Sequence[Record] = ()) -> None:
    """Add the runs of a plan to a sweep, with their folders. Raises RunFailed if it is being trained.

    Finished runs take the place of new ones as in `SweepPlan.make`. Runs that another command has added since
    the plan was made are left out.
    """
    keys = list(dict.fromkeys(key for setting in added.settings for key in setting.values))
    with sweep.lock():
        sweep.remove_unlisted()  # of a growth that was killed
        for number, (entry, trial) in enumerate(zip(sweep.content["runs"], sweep.trials, strict=True)):
            entry["values"] = _with_own(trial.values, _of_run(sweep, number), keys)
        there = {(identity_of(trial.values), seed) for trial in sweep.trials for seed in trial.seeds}
        added.add_runs(sweep, finished, there)
        if not sweep.has_chosen_jobs:
            sweep.content["jobs"] = max(sweep.jobs, added.jobs)
        _note_command(sweep)
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
        if not sweep.has_chosen_jobs:
            from dlrun.training.devices import dealt_cards  # which imports PyTorch

            at_once = len(dealt_cards(sweep.device)) or machine.cores()
            sweep.content["jobs"] = max(sweep.jobs, min(count, at_once))
        _note_command(sweep)
        sweep.write()


def _note_command(sweep: Sweep) -> None:
    """Add the command at hand to those that have added runs."""
    earlier = sweep.content.get("grown_by")
    sweep.content["grown_by"] = [*(earlier if isinstance(earlier, list) else []), command_line()]


def _refuse_growth(sweep: Sweep) -> None:
    """Raise UserError for a sweep whose settings are not chosen by KEY=VALUES."""
    if sweep.is_search:
        fix = "have it draw more settings: dlrun sweep --resume SWEEP --optuna N"
        raise UserError(f"{sweep.name} is a search, which draws its values and has its seeds", fix=fix)
    if sweep.is_cross_validation:
        fix = "begin another one with the number of folds that you want"
        raise UserError(f"{sweep.name} is a cross-validation, whose runs differ by their folds", fix=fix)
    if not is_file(sweep.folder / BASE) or not sweep.trials:
        what = f"{sweep.name} is of an earlier dlrun, which did not keep the config that it began with"
        fix = "begin another one with all values and --needed, which takes the finished runs of this one"
        raise UserError(what, where=in_full(sweep.folder), fix=fix)


def _words(sweep: Sweep) -> list[str]:
    """The KEY=VALUE arguments that all runs of a sweep have; sweep.json is untrusted."""
    words = sweep.content.get("words")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError("sweep.json has no words", where=in_full(sweep.folder), fix="restore the file")
    return words


def _asked_seeds(plain: Sequence[str]) -> list[int]:
    """The seeds among KEY=VALUE arguments; of several the last, which --seeds writes."""
    written = [json.loads(word.removeprefix("seeds=")) for word in plain if word.startswith("seeds=")]
    return distinct(each if isinstance(each := written[-1], list) else [each]) if written else []


def _as_called(axis: SweptKey, sweep: Sweep) -> SweptKey:
    """A key as the sweep calls it: `optimizer` or `optimizer.name`. Raises UserError for one of all runs."""
    if axis.key in _SAME_FOR_ALL:
        fix = "leave it out, or begin another sweep"
        raise UserError(f"{shortened(axis.key)} is the same for all runs of a sweep", fix=fix)
    swept = {key for trial in sweep.trials for key in trial.values}
    kind, _, option = axis.key.partition(".")
    other = kind if option == "name" else f"{kind}.name"
    is_renamed = kind in KINDS and option in ("", "name") and axis.key not in swept and other in swept
    return replace(axis, key=other) if is_renamed else axis


def _of_run(sweep: Sweep, number: int) -> _Values:
    """The flat config of a run of a sweep; of one that stood for it and is gone, the one that was kept."""
    entry, trial = sweep.content["runs"][number], sweep.trials[number]
    tree = parse(entry["config"], str(trial.run.config)) if "config" in entry else read_file(trial.run.config)
    plain = tree.plain()
    return flat_config(with_defaults(plain)) if isinstance(plain, dict) else {}


def _with_own(values: _Values, own: _Values, keys: Sequence[str]) -> _Values:
    """The values of a setting with those that its run has of further `keys`, if it has any."""
    return values | {key: own[key] for key in keys if key not in values and key in own}
