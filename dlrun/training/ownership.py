"""Ownership of a checkpoint: a comparison with the run's other files, in case it is another run's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlrun.config.keys import changed_keys, identifies, may_change_at_resume
from dlrun.config.loading import load_run_config
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused, UserError, shortened
from dlrun.run_folders.records import at
from dlrun.run_folders.run import DONE, Run
from dlrun.training.best import bests_of
from dlrun.training.checkpoint import Checkpoint, load_checkpoint
from dlrun.training.checkpoint_entries import config_of, epochs_of

_SAVED = (*DONE, "paused", "interrupted")  # statuses that are written after the last checkpoint
_Figures = dict[str, list[Any]]  # column -> a figure of each seed


def how_foreign(run: Run, path: Path, saved: Checkpoint, parts: Parts) -> str:
    """The evidence that the checkpoint at `path` in a run's folder is another run's; "" if there is none.

    A killed run may have saved a best.pt that no other file mentions yet, so figures are compared only up to
    the epoch of last.pt, which is saved after best.pt.
    """
    if differs := _another_config(run, path, saved, parts):
        return differs
    copies = len(saved.state["model"])
    epochs = _of_copies(epochs_of(saved.state), copies)
    summary = run.summary()
    is_saved = summary.get("status") in _SAVED
    last = saved if path == run.last else _last(run)
    settled = last.state.get("epoch") if last else summary.get("epochs") if is_saved else None
    if not isinstance(settled, int):
        return ""
    if max(epochs) > settled:
        return f"it is of epoch {max(epochs)}, and the run has {settled}" if is_saved else ""
    for witness, others, figures in _told(run, path, epochs, last, summary if is_saved else {}):
        for mine, other in zip(epochs, _of_copies(others, copies), strict=False):
            if other != mine:
                return f"it is of epoch {mine}, and by {witness} the best is epoch {shortened(other)}"
        for column in (name for name in figures if name != "seconds"):
            for epoch, mine, theirs in zip(
                epochs, _listed(saved.figures.get(column)), figures[column], strict=False
            ):
                if theirs is not None and repr(mine) != repr(theirs):
                    said = f"{shortened(column)} of epoch {epoch} is {shortened(mine)} in it"
                    return f"{said} and {shortened(theirs)} in {witness}"
    return ""


def _of_copies(epochs: list[Any], copies: int) -> list[Any]:
    """The epoch of each copy, where all may share one."""
    return epochs * copies if len(epochs) == 1 else epochs


def _another_config(run: Run, path: Path, saved: Checkpoint, parts: Parts) -> str:
    """The first key that differs from config.yaml and may not change in a resume, with both values."""
    try:
        mine, of_run = config_of(saved, path, parts), load_run_config(run.config, (), parts)
    except UserError:  # a config that cannot be read proves nothing
        return ""
    for key in changed_keys(mine, of_run):
        if identifies(key) and not may_change_at_resume(key):
            values = (at(config.plain(), *key.split(".")) for config in (mine, of_run))
            return "its {} is {}, and by config.yaml {}".format(key, *map(shortened, values))
    return ""


def _last(run: Run) -> Checkpoint | None:
    with suppress(CheckpointRefused, MemoryError):  # the checkpoint at hand can be evaluated all the same
        return load_checkpoint(run.last)
    return None


def _told(
    run: Run, path: Path, epochs: list[int], last: Checkpoint | None, summary: dict[str, Any]
) -> Iterator[tuple[str, list[Any], _Figures]]:
    """Yield what the run's files say of the epochs of a checkpoint: the file, the epochs, their figures.

    For best.pt, last.pt and summary.json give the best epochs, which may be others than `epochs`.
    """
    if path.name == run.best.name:
        with suppress(LookupError, TypeError, ValueError, AttributeError):  # last.pt is untrusted too
            bests = bests_of(last.state, len(epochs)) if last else []
            if any(bests):
                columns = {column for best in bests if best for column in best.figures}
                yield (
                    run.last.name,
                    [best.epoch if best else epoch for best, epoch in zip(bests, epochs, strict=True)],
                    {name: [best.figures.get(name) if best else None for best in bests] for name in columns},
                )
        if isinstance(best := summary.get("best"), dict):
            of_seeds = {column: at(figure, "values") for column, figure in _items(best.get("figures"))}
            seeds = _listed(summary.get("seeds"))
            of_each = dict(_items(best.get("epochs")))
            several = [of_each.get(str(seed), epoch) for seed, epoch in zip(seeds, epochs, strict=False)]
            yield "summary.json", several if of_each else [best.get("epoch")], _figures(of_seeds)
    with suppress(UserError):
        columns_of_run = run.rows()
        seeds = list(dict.fromkeys(columns_of_run.get("seed", ())))
        places = {
            cell: row
            for row, cell in enumerate(
                zip(columns_of_run.get("epoch", ()), columns_of_run.get("seed", ()), strict=False)
            )
        }
        rows = [places.get(cell) for cell in zip(epochs, seeds, strict=False)]
        cells = {
            name: [column[row] if row is not None and row < len(column) else None for row in rows]
            for name, column in columns_of_run.items()
            if name not in ("epoch", "seed")
        }
        yield run.metrics.name, epochs, cells


def _figures(content: Any) -> _Figures:
    return {column: _listed(values) for column, values in _items(content)}


def _items(content: Any) -> list[tuple[str, Any]]:
    return list(content.items()) if isinstance(content, dict) else []


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else []
