"""The script that `dlrun slurm` prints: a job of sbatch that saves before its time is over, and goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlrun.system.signals import PASSED_ON

SECONDS_LEFT = 120  # between the signal and the end of a job's time, to finish a step, save and draw
_DLRUN = ("-m", "dlrun")


@dataclass(frozen=True)
class Job:
    """The resources of a job, by sbatch's names; `more` are further options of sbatch, as they are given."""

    name: str = ""
    nodes: int = 1
    gpus_per_node: int = 0
    cpus_per_task: int | None = None
    time: str = ""
    partition: str = ""
    array: str = ""
    more: Sequence[str] = field(default_factory=tuple)

    def options(self) -> list[str]:
        """All options of sbatch."""
        asked = {
            "job-name": shlex.quote(self.name),
            "array": self.array,
            "partition": self.partition,
            "nodes": self.nodes,
            "ntasks-per-node": 1,
            "gpus-per-node": self.gpus_per_node,
            "cpus-per-task": self.cpus_per_task,
            "time": self.time,
            "signal": f"B:USR1@{SECONDS_LEFT}",  # B: the batch shell alone, which passes it on
            "open-mode": "append",
        }
        return [*(f"--{key}={value}" for key, value in asked.items() if value), "--requeue", *self.more]


def script_of_run(job: Job, words: Sequence[str], folder: Path) -> str:
    """A job that trains a run; `words` are those of dlrun, and `folder` is where the run is or will be."""
    if job.nodes == 1:
        several = ("--processes", str(job.gpus_per_node)) if job.gpus_per_node > 1 else ()
        return _script(job, [_quoted(sys.executable, *_DLRUN, *words, *several)], _is_unfinished(folder))
    cpus = f" --cpus-per-task={job.cpus_per_task}" if job.cpus_per_task else ""  # srun does not inherit it
    launcher = (
        f"--nproc-per-node {max(1, job.gpus_per_node)}",
        '--nnodes "$SLURM_JOB_NUM_NODES" --rdzv-id "$SLURM_JOB_ID"',
        '--rdzv-backend c10d --rdzv-endpoint "$head:$port"',
        f"--signals-to-handle {PASSED_ON}",
        _quoted(*_DLRUN, *words),
    )
    before = (
        'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "port=$((20000 + SLURM_JOB_ID % 20000))",
        f"export TORCH_ELASTIC_SHUTDOWN_TIMEOUT={SECONDS_LEFT}  # for saving, instead of 30 seconds",
        "",
    )
    torchrun = f"srun{cpus} {_quoted(sys.executable, '-m', 'torch.distributed.run')}"
    return _script(job, [torchrun, *launcher], _is_unfinished(folder), before)


def script_of_sweep(job: Job, words: Sequence[str]) -> str:
    """An array of jobs, each of which trains a part of a sweep's runs; `words` are those of dlrun."""
    shard = '--shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"'
    return _script(job, [f"{_quoted(sys.executable, *_DLRUN, *words)} {shard}"], '[ "$code" = 138 ]')


def _script(job: Job, command: Sequence[str], is_to_go_on: str, before: Sequence[str] = ()) -> str:
    """The script that starts a command, passes SIGUSR1 on to it, and puts the job back into the queue.

    It does so only if its time was over: a job that failed would fail again, without end.
    """
    lines = (
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in job.options()),
        "",
        f"cd {shlex.quote(str(Path.cwd()))} || exit 1",
        *before,
        " \\\n    ".join(command) + " &",
        "job=$!",
        "is_over=",
        "trap 'is_over=yes; kill -USR1 \"$job\"' USR1",
        'wait "$job"; code=$?',
        'if [ "$is_over" ]; then wait "$job"; code=$?; fi  # the signal ended the first wait',
        f'if [ "$is_over" ] && {is_to_go_on}; then scontrol requeue "$SLURM_JOB_ID"; fi',
        'exit "$code"',
    )
    return "\n".join(lines)


def _is_unfinished(folder: Path) -> str:
    return f"[ -e {shlex.quote(str(folder / 'unfinished'))} ]"


def _quoted(*words: str) -> str:
    return shlex.join(words)
