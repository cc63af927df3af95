"""Run folders that were never trained: their figures are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_runs import SMALL

from dlrun.config.dumping import dump_config
from dlrun.config.keys import Config
from dlrun.config.loading import config_from_plain
from dlrun.config.registry import Parts
from dlrun.run_folders.locating import create_run
from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_folder import Sweep, created_sweep
from dlrun.system.processes import now

Values = list[float | None]
SGD = {"name": "sgd", "lr": 0.01}
EVALUATED: dict[str, Any] = {  # a report of `dlrun eval`
    "run": "small-001",
    "checkpoint": "best.pt",
    "sha256": "0",
    "epoch": 3,
    "split": "test",
    "examples": 4,
    "metrics": {"accuracy": 0.5},
    "per_seed": {"0": {"loss": 0.7, "accuracy": 0.5}},
    "baselines": {"class prior": {"loss": 1.1, "accuracy": 0.3}},
    "per_class": {"cat": {"precision": 0.25, "recall": None, "f1": 0.5, "examples": 4}},
    "intervals": {
        "rent": {
            "between": [{"levels": [0.1, 0.9], "promised": 0.8, "covered": 0.75, "mean_width": 3.5}],
            "below": [{"level": 0.1, "share": 0.125}],
        }
    },
}


def config_of(changes: dict[str, Any]) -> Config:
    return config_from_plain(SMALL | changes, "small.yaml", parts=Parts())


def made(parent: Path, changes: dict[str, Any] | None = None, **summary: Any) -> Run:
    """A run of the small config with some keys changed; what its summary says beside the usual."""
    config = config_of(changes or {})
    return filled(create_run(parent, config.name, dump_config(config)), config.seeds, **summary)


def filled(run: Run, seeds: list[int], **summary: Any) -> Run:
    """A run folder with a summary; `final` is column -> the figure of each seed."""
    final: dict[str, Values] = summary.pop("final", {"train_accuracy": [0.5] * len(seeds)})
    run.write_json(
        "summary.json",
        {
            "status": "finished",
            "started": now(),
            "epochs": 3,
            "seeds": seeds,
            "final": {column: {"values": values} for column, values in final.items()},
            "data": {"fingerprint": "abc"},
            "versions": {"dlrun": "1", "torch": "2"},
        }
        | summary,
    )
    return run


def with_rows(run: Run, rows: list[str], header: str = "epoch,seed,train_loss,lr,seconds") -> Run:
    run.metrics.write_text("\n".join([header, *rows, ""]))
    return run


def made_sweep(parent: Path, values: list[dict[str, Any]], figures: list[Values]) -> Sweep:
    """A finished sweep with a run for each of the values."""
    with created_sweep(parent, "small", jobs=1, device="cpu", metric="train_accuracy") as sweep:
        for each, accuracy in zip(values, figures, strict=True):
            config = config_of(each | {"seeds": list(range(len(accuracy)))})
            filled(sweep.add(each, config).run, config.seeds, final={"train_accuracy": accuracy})
    return sweep


def fast(lr: float) -> dict[str, Any]:
    return {"optimizer": {"name": "adam", "lr": lr}, "seeds": [0, 1, 2, 3, 4]}


def accuracies(parent: Path, changes: dict[str, Any], *values: float | None) -> Run:
    seeds = list(range(len(values)))
    return made(parent, changes | {"seeds": seeds}, final={"train_accuracy": list(values)})


def two_settings(parent: Path) -> list[Run]:
    """Five seeds each; the second is 1.2 points better in the mean."""
    return [
        accuracies(parent, fast(0.1), 0.90, 0.91, 0.92, 0.93, 0.94),
        accuracies(parent, fast(0.2), 0.915, 0.92, 0.934, 0.939, 0.952),
    ]
