"""docs/trackers.md: its commands log runs, and it names what there is."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pages import blocks, page
from places import PROJECT
from small_configs import BODY

from dlrun.config.keys import TrackerName
from dlrun.config.loading import load_config
from dlrun.tracking.live import END_WITHIN

PAGE = page("docs/trackers.md")
LOGGED, ELSEWHERE, LIVE, SAID = [content for _, _, content in blocks(PAGE)]


def test_its_commands_log_a_run_to_tensorboard(dlrun: Callable[..., Any], runs_dir: Path) -> None:
    pytest.importorskip("tensorboard")
    train, log, look = [shlex.split(line) for line in LOGGED.splitlines()]
    assert dlrun(*train[1:], "epochs=1", "plots=[]").code == 0
    done = dlrun(*log[1:])
    assert done.code == 0, done.err
    assert look == ["tensorboard", "--logdir", "runs"]
    [(folder, *seeds)] = re.findall(r"`RUN/(\w+)/`.*?`(seed_0)`, `(seed_1)`", PAGE)
    assert {path.name for path in (runs_dir / "spiral_relu-001" / folder).iterdir()} >= {*seeds}


@pytest.mark.parametrize("command", ELSEWHERE.splitlines())
def test_its_commands_log_runs_elsewhere(
    command: str,
    dlrun: Callable[..., Any],
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = shlex.split(command)
    pytest.importorskip(words[-1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert dlrun("train", tiny, "--name", "spiral_relu").code == 0
    done = dlrun(*words[1:])
    assert done.code == 0, done.err


def test_the_key_of_the_page_is_one_of_a_config(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(f"{BODY}{LIVE}")
    assert load_config(tmp_path / "small.yaml").track == yaml.safe_load(LIVE)["track"] == ["tensorboard"]


def test_it_names_the_trackers_their_packages_and_the_time_that_there_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `pip install 'dlrun\[(\w+)\]'`", PAGE, re.MULTILINE)
    assert rows == [(name, name) for name in get_args(TrackerName)]
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name for name, _ in rows} <= extras.keys()
    assert f"it has {END_WITHIN:g} seconds for the rest" in PAGE
    assert "does not have all of this run: …; log it by dlrun log" in SAID
