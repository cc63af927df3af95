"""The runs of a sweep are dealt to the GPUs of a machine, each of which a worker sees alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL, own_parts
from small_sweeps import CONFIG, only_sweep

from dlrun.config.dumping import dump_config
from dlrun.config.loading import config_from_plain
from dlrun.errors import UserError
from dlrun.run_folders.locating import create_run
from dlrun.sweeps import planning, sweep
from dlrun.sweeps.workers import Workers
from dlrun.training import devices

Dlrun = Callable[..., Any]
SEEING = '''
"""Points whose reading notes the GPUs that are seen."""
import os
import torch
from dlrun.data.examples import Data, Examples
from dlrun.config.options import Count


def seeing(root, *, points: Count = 40):
    """Two classes of points."""

    def read():
        with (root / "seen").open("a") as file:
            file.write(f"{os.environ['CUDA_VISIBLE_DEVICES']}\\n")
        targets = torch.arange(points) % 2
        return {"train": Examples(torch.arange(2.0 * points).view(-1, 2), targets)}

    return Data("classification", (2,), read, classes=("a", "b"), splits=("train",))
'''


def test_each_worker_sees_one_and_a_killed_ones_is_given_to_the_next(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"dataset/seeing.py": SEEING})
    points = iter(range(40, 50))

    def train_three() -> None:
        for _ in range(3):
            plain = SMALL | {"dataset": {"name": "seeing", "points": next(points)}, "epochs": 1}
            config = config_from_plain(plain, "small.yaml", parts=parts)
            workers.train(create_run(tmp_path / "runs", "small", dump_config(config)).folder)
        ended = 0
        while ended < 3:
            for word in workers.messages(1.0):
                assert word.kind != "end" or word.exit_code == 0, word.lines
                ended += word.kind == "end"

    cards = ["GPU-a", "GPU-b"]
    with Workers(3, tmp_path / "log", "train_loss", parts.folder, tmp_path, cards) as workers:
        train_three()
        assert Counter((tmp_path / "seen").read_text().split()) == {"GPU-a": 2, "GPU-b": 1}
        [alone] = [each for each, card in workers._card_of.items() if card == "GPU-b"]
        workers._all[alone].kill()
        workers._all[alone].join()
        train_three()
    assert Counter((tmp_path / "seen").read_text().split()) == {"GPU-a": 4, "GPU-b": 2}


@pytest.mark.parametrize(
    ("device", "visible", "dealt"),
    [
        ("auto", None, ["0", "1", "2"]),
        ("cuda", "", ["0", "1", "2"]),
        ("cuda:0", "5, 7,GPU-8f", ["5", "7", "GPU-8f"]),
        ("cuda:1", None, []),
        ("cpu", None, []),
        ("", None, []),
    ],
)
def test_those_that_are_visible_are_dealt_unless_the_config_names_another(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, dealt: list[str]
) -> None:
    monkeypatch.setattr(devices, "_count", lambda kind: 3 if kind == "cuda" else 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.dealt_cards(device) == dealt


def test_as_many_runs_train_at_once_as_there_are_gpus_and_share_them_on_demand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_count", lambda kind: 3 if kind == "cuda" else 1)
    assert [planning.runs_on_gpus(device, 1) for device in ("auto", "cuda", "cuda:0", "cuda:1")] == [
        3,
        3,
        3,
        1,
    ]
    assert [planning.runs_on_gpus(device, 2) for device in ("auto", "cuda:1")] == [6, 2]
    with pytest.raises(UserError, match="the runs train on no GPU: device is cpu"):
        planning.runs_on_gpus("cpu", 2)


def test_a_sweep_says_on_how_many_and_trains_there(
    dlrun: Dlrun, write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, runs_dir: Path
) -> None:
    asked: list[str] = []

    def dealt(device: str) -> list[str]:
        asked.append(device)
        return ["0", "1"]

    monkeypatch.setattr(sweep, "dealt_cards", dealt)
    words = ("optimizer.lr=1e-3,1e-2", "device=cpu", "--jobs", "2")
    done = dlrun("sweep", write("small.yaml", CONFIG), *words)
    assert (done.code, asked) == (0, ["cpu"])
    assert "4 runs, 4 to train, 2 at a time on 2 GPUs" in done.out
    found = only_sweep(runs_dir)
    assert found.device == "cpu"
    del found.content["device"]
    found.write()
    assert only_sweep(runs_dir).device == "", "an earlier dlrun dealt no cards"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--jobs", "2", "--jobs-per-gpu", "2"), "--jobs and --jobs-per-gpu cannot both be given"),
        (("--jobs-per-gpu", "2", "device=cpu"), "the runs train on no GPU: device is cpu"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    dlrun: Dlrun, write: Callable[[str, str], Path], words: tuple[str, ...], said: str
) -> None:
    done = dlrun("sweep", write("small.yaml", CONFIG), "optimizer.lr=1e-3,1e-2", *words)
    assert done.code == 2
    assert said in done.err
