"""Evaluation of a trained model on a split: the report of `dlrun eval`, and its files in the run folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from inspect import signature
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from dlrun.blocks.tasks import Report
from dlrun.config.keys import AVERAGED, Choice
from dlrun.data.example_weights import parted, wide
from dlrun.data.examples import Split
from dlrun.data.loaded import Chosen
from dlrun.errors import UserError
from dlrun.training.baselines import reported_recipe
from dlrun.training.beside_baselines import said_worst, shortfalls
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.loop import meter_on, metered
from dlrun.training.ownership import how_foreign
from dlrun.training.plot_files import draw_plots
from dlrun.training.recipe import Row
from dlrun.training.trained import Trained

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")  # of report files
_LONGEST_NAME = 60


def evaluate_run(trained: Trained, saved: Checkpoint, path: Path, split: str) -> dict[str, Any]:
    """The report of `dlrun eval` for a model on one split; top-level figures are means over seeds.

    Besides the loss and the metrics it has what the task adds (`Task.report`), for a classification accuracy,
    the mean predictive entropy in bits, precision, recall and F1 of each class, and the confusion matrix.
    `seen` is the number of its examples that were trained on, None if that is not known, and `unseen` has the
    figures without them. Of other data (`Trained.given`) the split is None, and `on` names the file. With
    test-time augmentation `without_tta` has the figures without it, which are those that training recorded.
    """
    plan, seeds = trained.plan, trained.seeds
    plainly, of_task = _measured(trained.without_tta or trained, trained.loaded[split])
    figures = plainly
    if trained.tta:
        figures, of_task = _measured(trained, trained.loaded[split])
    column = "trainset" if split == "train" else split  # train_* are running means of an epoch
    baselines = trained.baselines(split)
    ending = AVERAGED * (trained.weights_taken == "averaged")
    # Those of training had no temperatures, and no thresholds.
    compared = [] if trained.temperatures else plainly.keys() - _of_thresholds(trained)
    recorded = {
        figure: _recorded(saved, f"{column}_{figure}{ending}", len(seeds))
        for figure in plainly
        if figure in compared
    }
    return {
        "run": trained.run.name if trained.run else None,
        "checkpoint": str(path),
        "sha256": saved.digest,
        "epoch": trained.epoch,
        **(
            {"epochs": trained.epochs} | ({"chosen": trained.plan.best_said} if trained.is_best else {})
            if len(set(trained.epochs)) > 1
            else {}
        ),
        **({"weights": taken} if (taken := trained.weights_taken) else {}),
        **({"temperatures": trained.temperatures} if trained.temperatures else {}),
        **({"tta": trained.tta} if trained.tta else {}),
        **({"thresholds": trained.thresholds} if trained.thresholds else {}),
        "split": None if trained.given else split,
        **({"on": trained.source} if trained.given else {}),
        **_summarised(figures, seeds, trained.loaded[split]),
        **({"without_tta": _means_and_seeds(plainly, seeds)} if trained.tta else {}),
        **_of_unseen(trained, split, figures),
        "baselines": baselines,
        **({"unit": plan.data.unit} if plan.data.unit else {}),
        "warnings": [
            *_warnings(trained, split, plainly, baselines),
            *_harm_of_views(trained, figures, plainly),
            *of_task.warnings(),
        ],
        **({"no_baselines": trained.no_baselines} if trained.given else {}),
        **plan.loss_of_batches,
        "recorded": {
            figure: {"at_training": fmean(values), "difference": _difference(values, plainly[figure])}
            for figure, values in recorded.items()
            if values
        },
        "foreign": how_foreign(trained.run, path, saved, plan.parts) if trained.run else "",
        "same_data": trained.loaded.fingerprint == saved.data.get("fingerprint"),
    } | of_task.sections(seeds)


def _of_thresholds(trained: Trained) -> set[str]:
    """The metrics that judge the decisions by thresholds, if the model has some."""
    metrics = reported_recipe(trained.plan).metrics
    return {name for name, metric in metrics.items() if metric.by_threshold}


def _measured(trained: Trained, split: Split) -> tuple[Row, Report]:
    """The figures on a split, a list over copies for each, and what the task reports of it."""
    recipe = reported_recipe(trained.plan)
    meter = meter_on(trained.hardware, recipe, trained.model, len(split), recipe.evaluation_batch)
    of_task = trained.plan.task.report(len(trained.seeds))
    takes_weights = _takes_weights(of_task)
    for outputs, targets in metered(meter, split, trained.hardware):
        own, weights = parted(targets)
        of_task.add(outputs, own, *([] if weights is None or not takes_weights else [weights]))
    return meter.means() | of_task.figures(), of_task


def _takes_weights(report: Report) -> bool:
    """True if what a task adds counts the weights of examples."""
    return "weights" in signature(report.add).parameters


def _summarised(figures: Row, seeds: Sequence[int], split: Split) -> dict[str, Any]:
    """The figures on the examples of a split, as means over seeds and of each seed."""
    return {
        "examples": len(split),
        **({} if split.weights is None else {"weight": float(wide(split.weights).sum())}),
        **_means_and_seeds(figures, seeds),
    }


def _means_and_seeds(figures: Row, seeds: Sequence[int]) -> dict[str, Any]:
    """The figures as means over seeds, and those of each seed."""
    return {
        "loss": fmean(figures["loss"]),
        "metrics": {figure: fmean(values) for figure, values in figures.items() if figure != "loss"},
        "per_seed": {
            str(seed): {figure: values[index] for figure, values in figures.items()}
            for index, seed in enumerate(seeds)
        },
    }


def _of_unseen(trained: Trained, split: str, figures: Row) -> dict[str, Any]:
    """The number of a split's examples that were trained on, and the figures without them.

    Of a run's own data `unseen` is there only if it differs; train has no such entries.
    """
    left_out = {} if trained.given else {"left_out": trained.left_out.get(split, 0)}
    if split == "train":
        return left_out
    seen, n = trained.seen(split), len(trained.loaded[split])
    if seen is None:
        return left_out | {"seen": None} | ({"unseen": None} if trained.given else {})
    count = int(seen.sum())
    unseen = _summarised(figures, trained.seeds, trained.loaded[split]) if count == 0 else None
    if 0 < count < n:
        others = Chosen(trained.loaded[split], (~seen).nonzero().squeeze(1))
        if others.weights is None or bool((others.weights > 0).any()):  # else none of them counts
            unseen = _summarised(_measured(trained, others)[0], trained.seeds, others)
    return left_out | {"seen": count} | ({"unseen": unseen} if trained.given or count else {})


def _warnings(
    trained: Trained, split: str, figures: Row, baselines: dict[str, dict[str, float]]
) -> list[str]:
    """A line on the worst figure that is worse than that of a guess without a model, and other remarks.

    A threshold that is best for one metric makes others worse, so that those of decisions are not compared.
    """
    plan, rows = trained.plan, dict[str, list[Any]]()
    with suppress(UserError):  # a damaged metrics.csv
        rows = trained.rows
    decided = _of_thresholds(trained)
    means = {figure: fmean(values) for figure, values in figures.items() if figure not in decided}
    found = shortfalls("" if trained.given else split, means, baselines, plan.parts)
    training = trained.loaded["train"] if "train" in trained.loaded.splits else None
    in_training = trained.baselines("train") if found and training else {}
    without = "without tta " * bool(trained.tta)
    warnings = [without + said_worst(found, plan, training, rows, in_training)] if found else []
    warnings += _optimism(trained, split)
    if plan.data.weighted and not _takes_weights(plan.task.report(1)):
        what = f"what the task {plan.data.task} adds counts every example once, whatever its weight"
        warnings.append(f"{what}: its report's add() takes no weights")
    return warnings


def _optimism(trained: Trained, split: str) -> Iterator[str]:
    """Yield a line if thresholds were chosen on examples of a split, as far as that is known."""
    keys, n = trained.loaded[split].keys, len(trained.loaded[split])
    count = n if split == "valid" else 0
    if trained.validated_on is not None and keys is not None:
        count = int(torch.isin(keys, trained.validated_on).sum())
    if trained.thresholds and count:
        chosen = "thresholds were" if len(trained.thresholds) > 1 else "threshold was"
        these = "these" if count == n else f"{count:,} of these"
        yield f"the {chosen} chosen on {these} examples: figures of decisions are optimistic"


def _harm_of_views(trained: Trained, figures: Row, plainly: Row) -> Iterator[str]:
    """Yield a line if the loss is higher with test-time augmentation than without it, with the remedy."""
    means = [fmean(row["loss"]) for row in (figures, plainly)]
    loss, usual = (f"{mean:.4g}" for mean in means)
    if means[0] > means[1] and loss != usual:
        yield (
            f"--tta {trained.tta} makes the loss worse, {loss} instead of {usual}: leave it out, or "
            "if the views keep the meaning, train with them as augmentations"
        )


def _recorded(saved: Checkpoint, column: str, copies: int) -> list[float]:
    """The figures of each copy in a checkpoint's column; empty if it is missing or malformed."""
    values = saved.figures.get(column)
    if not isinstance(values, list) or len(values) != copies:
        return []
    return values if all(type(value) is float for value in values) else []


def keep_report(trained: Trained, found: dict[str, Any], split: str, warn: Callable[[str], None]) -> None:
    """Write a report, and the plots that the task adds to it, to the run folder."""
    assert trained.run is not None, "a bare checkpoint has no folder to write into"
    called = f"on_{_NOT_IN_NAMES.sub('_', Path(split).stem)[:_LONGEST_NAME]}" if trained.given else split
    called += f"_tta_{trained.tta}" if trained.tta else ""
    trained.run.write_json(f"eval/{called}.json", found)
    parts, folder = trained.plan.parts, trained.run.folder / "eval"
    wanted = [
        (Choice(name, parts.part("plots", name).defaults | {"split": split}), folder / f"{called}_{name}.png")
        for name in trained.plan.task.plots
    ]
    draw_plots(trained, wanted, warn)


def _difference(recorded: Sequence[float], measured: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(recorded, measured, strict=True))
