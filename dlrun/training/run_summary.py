"""summary.json of one run: what it was, how far it came, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

from dlrun.config.keys import AVERAGED
from dlrun.config.registry import TEACHER
from dlrun.data.loaded import Loaded
from dlrun.run_folders.run import Run
from dlrun.system.git import git_commit
from dlrun.system.processes import command_line, identity, now
from dlrun.training.checkpoint_entries import CLASS_WEIGHTS
from dlrun.training.early_stopping import why_stopped
from dlrun.training.figures import summarised
from dlrun.training.initial_weights import RECORDED
from dlrun.training.plan import Plan
from dlrun.training.recipe import Row
from dlrun.training.state import State
from dlrun.training.stretches import stretches_with
from dlrun.training.teachers import record_of


class RunSummary:
    """The writer of one run's summary.json; begun once, it knows what the run was before a resume."""

    def __init__(
        self,
        run: Run,
        loaded: Loaded,
        epoch: int,
        surroundings: Mapping[str, Any],
        baselines: Mapping[str, Any],
        weights: dict[str, Any] | None,
    ) -> None:
        self._run, self._loaded, self._baselines, self._weights = run, loaded, baselines, weights
        before = run.summary()
        self._surroundings = surroundings
        self._stretches = stretches_with(before, epoch, surroundings)
        resumed = before.get("resumed")
        self._resumed = [*(resumed if isinstance(resumed, list) else []), command_line()] if before else []

    def write(
        self,
        status: str,
        plan: Plan,
        state: State,
        final: Row,
        best: Row,
        warnings: list[str],
        **more: Any,
    ) -> dict[str, Any]:
        """Write the summary of the current state, with `more` entries; return its content.

        `final` and `best` are the figures of each copy's last and best epoch.
        """
        config = plan.config
        reached = [own for own in state.best if own]
        stopped = zip(config.seeds, state.stopped, strict=True)
        before = self._run.summary()
        trained = state.epoch if status != "running" else config.epochs
        summary = {
            "status": status,
            "name": self._run.name,
            "started": before.get("started") or now(),
            "updated": now(),
            **identity(),
            "command": before.get("command") or command_line(),
            "resumed": self._resumed,
            "epochs": state.epoch,
            "planned_epochs": config.epochs,
            "seeds": config.seeds,
            "seconds": state.seconds,
            "stopped": {str(seed): epoch for seed, epoch in stopped if epoch is not None},
            "reason": why_stopped(plan, state) if status == "stopped early" else None,
            "final": summarised(final),
            "best": {
                "epoch": max(own.epoch for own in reached),
                "epochs": {
                    str(seed): own.epoch for seed, own in zip(config.seeds, state.best, strict=True) if own
                },
                "monitor": plan.monitor,
                "figures": summarised(best),
            }
            if reached
            else None,
            "baselines": self._baselines,
            **({"average": comparison} if (comparison := averaged_beside_trained(plan, best)) else {}),
            **plan.loss_of_batches,
            **model_facts(plan),
            **self._surroundings,
            "stretches": [each for each in self._stretches if each["from_epoch"] <= max(trained, 1)],
            "git": before.get("git") or git_commit(),
            "data": {
                "name": config.dataset.name,
                "fingerprint": self._loaded.fingerprint,
                "examples": {name: len(split) for name, split in self._loaded.splits.items()},
                "targets": self._loaded.digests,
                **({"unit": unit} if (unit := plan.data.unit) else {}),
            },
            **({RECORDED: self._weights} if self._weights else {}),
            **({TEACHER: dict(record_of(plan))} if plan.loss.teacher else {}),
            **({CLASS_WEIGHTS: of_classes.by_name} if (of_classes := plan.loss.class_weights) else {}),
            "warnings": warnings,
            "pictures": [],
            "expect": [],
            "within": None,
            "signal": None,
            "error": None,
        } | more
        self._run.write_json("summary.json", summary)
        return summary


def averaged_beside_trained(plan: Plan, best: Row) -> dict[str, Any]:
    """The monitored figure, or else the loss, of averaged and of trained weights in the best epochs.

    Of several seeds the means, and in how many the averaged weights are better. They are the same if every
    figure of every seed is. Empty if it was not measured,
    or if no weights are averaged.
    """
    columns, split = plan.recipe.columns(), plan.recipe.evaluation_split or "trainset"
    column = plan.monitor.removesuffix(AVERAGED)
    column = column if f"{column}{AVERAGED}" in columns else f"{split}_loss"
    trained, averaged = best.get(column), best.get(f"{column}{AVERAGED}")
    if not plan.recipe.averaging.share or not trained or not averaged:
        return {}
    return {
        "name": plan.config.average.name,
        "taken": "averaged" if plan.takes_averaged else "trained",
        "column": column,
        "averaged": fmean(averaged),
        "trained": fmean(trained),
        "is_better": plan.improves(column, fmean(averaged), fmean(trained)),
        "are_same": all(
            best[name] == best[f"{name}{AVERAGED}"] for name in best if f"{name}{AVERAGED}" in best
        ),  # as long as nothing is averaged
        "better_seeds": sum(plan.improves(column, *pair) for pair in zip(averaged, trained, strict=True)),
    }


def model_facts(plan: Plan) -> dict[str, Any]:
    """The sizes of a model and its layers, for summary.json and `dlrun show --json`."""
    freezing = plan.recipe.freezing
    return {
        "parameters": plan.layers.parameters,
        **({"frozen_parameters": freezing.count} if freezing.weights else {}),
        "multiply_adds": plan.layers.multiply_adds,
        "layers": [asdict(layer) for layer in plan.layers.layers],
    }
