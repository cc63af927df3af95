"""Out-of-fold predictions: each example of a cross-validation by the models that were not trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.results.judged_examples import judged_rows
from dlrun.results.prediction_rows import csv_text, for_csv
from dlrun.run_folders.run import Run
from dlrun.training.baselines import reported_recipe
from dlrun.training.loop import metered
from dlrun.training.meters import Meter, means_together
from dlrun.training.opening import open_checkpoint
from dlrun.training.recipe import Row
from dlrun.training.trained import Trained

_HELD_OUT = "valid"  # the split that a fold is


@dataclass(frozen=True)
class OutOfFold:
    """The predictions of all folds together: a row for each example, and the figures on all of them.

    `figures` are lists over seeds. `chose` is the column that chose each model's epoch on the very examples
    that it is judged by here, "" if it was the last epoch anyway.
    """

    rows: list[dict[str, Any]]
    figures: Row
    chose: str

    def plain(self) -> dict[str, Any]:
        """The figures as a dict for JSON, each as a mean over seeds."""
        means = {figure: fmean(values) for figure, values in self.figures.items()}
        return {"examples": len(self.rows), "figures": means, "epoch_chosen_by": self.chose or None}

    def csv(self) -> str:
        """The rows as `dlrun eval --csv` has them, with the fold of each."""
        cells = [{"fold": row["fold"]} | for_csv(row) for row in self.rows]
        heads = list(dict.fromkeys(key for own in cells for key in own))
        return csv_text([heads, *([own.get(key, "") for key in heads] for own in cells)])


def out_of_fold(runs: Mapping[int, Sequence[Run]], parts: Parts, data_dir: Path) -> OutOfFold:
    """The predictions by the best epochs of the runs of each fold, which may have one seed or several.

    Raises UserError if the data have changed since, or if outputs of several models cannot be compared, and
    as `open_checkpoint` does.
    """
    rows, meters, chose = list[tuple[Any, dict[str, Any]]](), dict[tuple[int, ...], list[Meter]](), set[str]()
    has_own_scales = False  # the loss of each fold is of a scale of its own
    for fold, of_fold in sorted(runs.items()):
        every = [_opened(run, parts, data_dir) for run in of_fold]
        if every[0].plan.task.has_own_space:
            what = f"outputs of a task {every[0].data.task} are points of a space of each model's own"
            raise UserError(f"{what}, and those of different folds no neighbours in it")
        judged = [
            trained.judged(_HELD_OUT, torch.arange(len(trained.loaded[_HELD_OUT]))) for trained in every
        ]
        outputs, losses = (torch.cat(each) for each in zip(*judged, strict=True))
        first, origin = every[0], every[0].loaded[_HELD_OUT].origin
        has_own_scales |= first.data.scaling is not None
        found = judged_rows(first, _HELD_OUT, outputs, losses, range(outputs.shape[1]))
        for place, row in enumerate(found):
            row.pop("trained_on", None)  # by none of these models
            key = (fold, place)
            if origin is not None:  # in the order of the data
                key = (int(origin[place]), fold)
                named = first.name_of(_HELD_OUT, place)
                row["input"] = named or f"example {key[0] + 1}"
            rows.append((key, row | {"fold": fold}))
        for trained in every:
            meters.setdefault(tuple(trained.seeds), []).append(_measured(trained))
            is_early = any(epoch < trained.plan.config.epochs for epoch in trained.epochs or [trained.epoch])
            chose |= {trained.plan.monitor} if is_early else set()
    figures: Row = {}
    for each in meters.values():
        for figure, values in means_together(each).items():
            figures.setdefault(figure, []).extend(values)
    if has_own_scales:
        del figures["loss"]
    monitor = next((column for column in chose if column.startswith(f"{_HELD_OUT}_")), "")
    return OutOfFold([row for _, row in sorted(rows, key=lambda entry: entry[0])], figures, monitor)


def _opened(run: Run, parts: Parts, data_dir: Path) -> Trained:
    """The model of a run's best epoch, with the data that it was trained on."""
    trained, saved = open_checkpoint(run.best, run, [], parts, data_dir)
    if trained.loaded.fingerprint != saved.data.get("fingerprint"):
        what = f"the data are not those that {run.name} was trained on"
        raise UserError(what, fix="train all folds anew, to have predictions of each example")
    return trained


def _measured(trained: Trained) -> Meter:
    """The meter of a model over the fold that it held out."""
    split = trained.loaded[_HELD_OUT]
    meter = Meter(reported_recipe(trained.plan), trained.model, len(split), "evaluation")
    for _ in metered(meter, split, trained.hardware):
        pass
    return meter
