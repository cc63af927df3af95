"""The command line and the report that all contestants share."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

WARM_UP = 1  # epochs that no time is taken of
TURNS = "BENCHMARK_TURNS"  # an environment variable: if it is set, an epoch begins when it is said
WAITING = "waits for its turn"


def await_turn() -> None:
    """Say that the next epoch could begin, and wait until it may, if contestants take turns."""
    if TURNS in os.environ:
        print(WAITING, flush=True)
        sys.stdin.readline()


def asked() -> argparse.Namespace:
    """The command line of a contestant."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, help="without it, as many as PyTorch chooses")
    parser.add_argument("--data", type=Path, help="the folder above MNIST")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, help="examples in a batch; without it, all of them")
    parser.add_argument("--hidden", type=int, nargs="+", help="the sizes of the hidden layers")
    parser.add_argument("--default-loaders", action="store_true", help="batches as the library collects them")
    words = parser.parse_args()
    if words.threads:
        torch.set_num_threads(words.threads)
    return words


class Epochs:
    """The time and figures of each epoch: `trained` after its last step, `evaluated` after the test set."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._trained: float | None = None
        await_turn()
        self._started = time.perf_counter()

    def trained(self) -> None:
        self._trained = time.perf_counter()

    def evaluated(self, loss: float, test_accuracy: float) -> None:
        now = time.perf_counter()
        row = {"whole": now - self._started, "loss": loss, "test_accuracy": test_accuracy}
        if self._trained is not None:
            row["training"] = self._trained - self._started
        self.rows.append(row)
        await_turn()
        self._started = time.perf_counter()

    def report(self, **more: Any) -> None:
        """Print what was measured as one line of JSON; times are medians over the epochs after the first."""
        timed = self.rows[WARM_UP:]
        parts = [part for part in ("training", "whole") if timed and part in timed[0]]
        told: dict[str, Any] = {part: median(row[part] for row in timed) for part in parts} | {
            "losses": [row["loss"] for row in self.rows],
            "test_accuracies": [row["test_accuracy"] for row in self.rows],
        }
        say(**told, **more)


def say(**figures: Any) -> None:
    """Print the figures, and with how many threads they came, as one line of JSON."""
    print(json.dumps({"threads": torch.get_num_threads()} | figures))
