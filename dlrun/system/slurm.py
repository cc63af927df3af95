"""The tasks of a step by Slurm's srun, compared with the processes of torchrun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dlrun.errors import UserError

_ALONE = ("train", "resume", "sweep")  # commands whose tasks would each train the same for themselves


def refuse_lone_tasks(environment: Mapping[str, str], words: Sequence[str]) -> None:
    """Raise UserError if srun has started several tasks of this command that do not train together.

    Each would train the same as a run of its own. The variables of a job, such as SLURM_NTASKS in the shell
    of salloc, say nothing of that: only those of a step of several tasks do, and only if torchrun's groups,
    one for each task, are not as many. Tasks with a --shard each have their own.
    """
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    if tasks < 2 or not {*words[:1]} & {*_ALONE} or _has_shard(words):
        return
    if not environment.get("RANK", "").isdecimal():
        what = f"srun started {tasks} tasks (SLURM_STEP_NUM_TASKS) that know nothing of each other (no RANK)"
    else:
        size, local = _number(environment, "WORLD_SIZE"), _number(environment, "LOCAL_WORLD_SIZE") or 1
        groups = _number(environment, "GROUP_WORLD_SIZE") or size // local
        if groups == tasks:
            return
        of_size = f"WORLD_SIZE is {size}, LOCAL_WORLD_SIZE {local}"
        what = f"srun started {tasks} tasks (SLURM_STEP_NUM_TASKS), but torchrun joins {groups}: {of_size}"
    fix = (
        "start one torchrun a node with --nnodes, as in the script of dlrun slurm; for another run in each "
        "task, unset SLURM_STEP_NUM_TASKS"
    )
    raise UserError(what, where="environment", fix=fix)


def _has_shard(words: Sequence[str]) -> bool:
    return any(word.startswith("--shard") for word in words)


def _number(environment: Mapping[str, str], name: str) -> int:
    """A variable's whole number; 0 without one."""
    text = environment.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
