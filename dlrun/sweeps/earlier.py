"""The sweep that an earlier call of the same command began (`--or-resume`)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlrun.config.keys import KEYS, Config, changed_keys, identifies, may_change_at_resume
from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.errors import UserError, in_words
from dlrun.run_folders.locating import latest_folder
from dlrun.run_folders.sweep_finding import is_unbegun_sweep
from dlrun.run_folders.sweep_folder import BASE, Sweep, read_sweep
from dlrun.sweeps.planning import SweepPlan
from dlrun.system.locks import remove_unless_in_use


def earlier_sweep(asked: SweepPlan, parent: Path, parts: Parts) -> Sweep | None:
    """The latest sweep of the same name in `parent`, None if there is none.

    One whose creation was killed is deleted. Raises UserError if it has other runs than are asked for.
    """
    name = f"{asked.plan.config.name}-sweep"
    folder = latest_folder(parent, name)
    if folder and is_unbegun_sweep(folder):
        remove_unless_in_use(folder)
        folder = latest_folder(parent, name)
    if folder is None:
        return None
    found = read_sweep(folder)
    if differs := _difference(found, asked, parts):
        fix = "repeat the command it was begun with, or give the new one another --name"
        raise UserError(f"{found.name} has {differs}", where=str(folder), fix=fix)
    return found


def _difference(found: Sweep, asked: SweepPlan, parts: Parts) -> str:
    """The difference between a sweep and the one that is asked for, in words; "" if it is the same."""
    if asked.space or found.is_search:
        space = asked.space.plain() if asked.space else {}
        wanted = _as_written(space | {"count": asked.times})
        if not asked.space or {key: found.content.get("search", {}).get(key) for key in wanted} != wanted:
            return "other settings to search"
        base = load_config(found.folder / BASE, [], parts)
        return _said(base, replace(asked.settings[0].configs[0], seeds=asked.space.base.seeds))
    theirs = [(trial.values, trial.seeds) for trial in found.trials]
    if theirs != [(_as_written(values), config.seeds) for values, config in asked.runs]:
        return "other values, or other seeds"
    for trial, (_, config) in zip(found.trials, asked.runs, strict=True):
        if differs := _said(load_config(trial.run.config, [], parts), config):
            return differs
    return ""


def _said(old: Config, new: Config) -> str:
    """The keys in which results of two configs differ, in words."""
    changed = [key for key in changed_keys(old, new) if _matters(key)]
    return f"another {in_words(changed)}" if changed else ""


def _matters(key: str) -> bool:
    """True if a sweep that goes on with another value of a key would not be the one that was begun."""
    about = KEYS[key.partition(".")[0]]
    is_of_machine = may_change_at_resume(key) and about.keeps_claims
    return identifies(key) and about.changes == "results" and not is_of_machine


def _as_written(content: dict[str, Any]) -> Any:
    """Plain content as it is read back from JSON."""
    return json.loads(json.dumps(content))
