"""Tasks of srun that would each train the same by themselves are refused at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import UserError
from dlrun.system.slurm import refuse_lone_tasks

STEP = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"}
JOB = {"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_NPROCS": "4", "SLURM_PROCID": "0"}


def of_torchrun(nodes: int, local: int) -> dict[str, str]:
    counts = {"WORLD_SIZE": nodes * local, "LOCAL_WORLD_SIZE": local, "GROUP_WORLD_SIZE": nodes, "RANK": 0}
    return {name: str(count) for name, count in counts.items()}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (STEP, "srun started 4 tasks (SLURM_STEP_NUM_TASKS) that know nothing of each other (no RANK)"),
        (
            STEP | of_torchrun(1, 2),
            "srun started 4 tasks (SLURM_STEP_NUM_TASKS), but torchrun joins 1",
        ),
        (STEP | of_torchrun(1, 1), "torchrun joins 1: WORLD_SIZE is 1, LOCAL_WORLD_SIZE 1"),
        (STEP | of_torchrun(2, 4), "torchrun joins 2: WORLD_SIZE is 8, LOCAL_WORLD_SIZE 4"),
        (
            STEP | {"RANK": "0", "WORLD_SIZE": "2"},
            "joins 2: WORLD_SIZE is 2, LOCAL_WORLD_SIZE 1",
        ),
    ],
)
@pytest.mark.parametrize("command", ["train", "resume", "sweep"])
def test_tasks_that_do_not_train_together_are_refused_with_both_figures(
    environment: dict[str, str], said: str, command: str
) -> None:
    with pytest.raises(UserError) as raised:
        refuse_lone_tasks(environment, [command, "x"])
    assert said in raised.value.what and "dlrun slurm" in raised.value.fix


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, ["train", "x"]),
        (JOB, ["train", "x"]),  # the shell of salloc, or a batch script
        (JOB | of_torchrun(1, 4), ["train", "x"]),  # torchrun there, on one of the nodes
        (STEP | {"SLURM_STEP_NUM_TASKS": "1"}, ["train", "x"]),
        (STEP | {"SLURM_STEP_NUM_TASKS": "1"} | of_torchrun(2, 1), ["train", "x"]),  # srun --pty bash on each
        (STEP | of_torchrun(4, 2), ["train", "x"]),
        (STEP | {"RANK": "3", "WORLD_SIZE": "4"}, ["train", "x"]),  # a rank for each task, by a script
        (STEP, ["sweep", "--resume", "x", "--shard", "3/4"]),
        (STEP, ["sweep", "--resume", "x", "--shard=3/4"]),
        (STEP, ["eval", "x"]),
        (STEP, []),
        ({"SLURM_STEP_NUM_TASKS": "many"}, ["train", "x"]),
    ],
)
def test_what_a_job_leaves_in_the_environment_is_harmless(
    environment: dict[str, str], words: list[str]
) -> None:
    refuse_lone_tasks(environment, words)


@pytest.mark.parametrize(("task", "lines"), [("0", 3), ("3", 0)])
def test_the_first_task_speaks_for_all_before_anything_is_made(
    task: str,
    lines: int,
    dlrun: Callable[..., Any],
    tiny: Path,
    runs_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**STEP, "SLURM_PROCID": task}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RANK", raising=False)
    done = dlrun("train", tiny)
    assert (done.code, len(done.err.splitlines()), runs_dir.exists()) == (2, lines, False)
