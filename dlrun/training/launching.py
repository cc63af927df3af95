"""The start of several processes that train one run together, by PyTorch's own launcher (torchrun)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from dlrun.config.keys import Config
from dlrun.errors import RunFailed, UserError
from dlrun.system import machine
from dlrun.system.processes import started_together
from dlrun.system.signals import PASSED_ON
from dlrun.training.devices import dealt_cards
from dlrun.training.layers import skeleton
from dlrun.training.plan import Plan
from dlrun.training.shared_norms import has_norms
from dlrun.training.world import SAID, World

_PATIENCE = timedelta(minutes=10)  # for the others, when something is exchanged


def processes_of(config: Config) -> int:
    """The number of processes of this run: those that a launcher has started, or that the config asks for."""
    if several := started_together(os.environ):
        return several
    return max(1, len(dealt_cards(config.device))) if config.processes == "auto" else config.processes


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Meet the other processes, if there are any, until the end of this context.

    On a machine with several GPUs each process sees its own alone, as cuda:0.
    """
    if not started_together(os.environ):
        yield World()
        return
    import torch.distributed as dist

    cards, local = dealt_cards(device), int(os.environ.get("LOCAL_RANK", 0))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if cards:
        os.environ[machine.CARDS] = cards[local % len(cards)]
    backend = "nccl" if 0 < here <= len(cards) else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def refuse_processes(plan: Plan, processes: int) -> None:
    """Raise UserError if several processes cannot train as one would."""
    if processes == 1:
        return
    one = "set processes: 1"
    if plan.optimizer.takes_closure():
        name = plan.config.optimizer.name
        raise UserError(f"{name} computes the loss of a batch several times in a step", fix=one)
    if plan.loss.is_batchwise:
        what = f"{plan.config.loss.name} judges a batch as a whole, of which each process has a part"
        raise UserError(what, fix=one)
    if has_norms(skeleton(plan.build)):
        what = "batch normalisation takes the statistics of a whole batch from all processes"
        if plan.config.micro_batch:
            raise UserError(
                f"{what}, which may have different numbers of pieces", fix="set micro_batch: null"
            )
        if plan.config.average.name == "swa":
            raise UserError(
                f"{what}, but those of swa are computed by one", fix=f"{one}, or take average: ema"
            )
        if plan.config.is_stacked or plan.config.compile:
            key = "stacked" if plan.config.is_stacked else "compile"
            raise UserError(f"{what}, each seed by itself as it is written", fix=f"set {key}: false")


def said_world(world: World, batch: int) -> str:
    """The parts of a batch that the processes take, such as `batch 256 = 4 × 64, gloo, 2 machines`."""
    import torch.distributed as dist

    least, more = divmod(batch, world.size)
    parts = " + ".join(
        f"{count} × {size}" for count, size in ((more, least + 1), (world.size - more, least)) if count
    )
    machines = -(-world.size // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    several = f", {machines} machines" if machines > 1 else ""
    return f"batch {batch:,} = {parts}, {dist.get_backend()}{several}"


def launch(words: Sequence[str], processes: int) -> int:
    """Run a dlrun command in so many processes of this machine; return the exit code of the first.

    It alone is heard. Raises RunFailed with the words of another one that failed before it.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # what it says of its processes, they say themselves
    threads = str(max(1, machine.cores() // processes))
    os.environ.setdefault("OMP_NUM_THREADS", threads)  # else the launcher sets 1, and says so
    with TemporaryDirectory(prefix="dlrun-processes-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            signals_to_handle=PASSED_ON,
            monitor_interval=0.1,
            start_method="spawn",
            logs_specs=DefaultLogsSpecs(logs, redirects=dict.fromkeys(range(1, processes), Std.ALL)),
        )
        said = Path(logs, "said")
        os.environ[SAID] = str(said)
        try:
            elastic_launch(config, sys.executable)("-m", "dlrun", *words)
        except SignalException as signal:
            return 128 + int(signal.sigval)
        except ChildFailedError as failed:
            first = failed.failures.get(0)
            if first and first.exitcode > 0:
                return int(first.exitcode)
            if said.exists():
                return RunFailed.exit_code
            rank, other = next(iter(failed.failures.items()))
            what = f"process {rank} of {processes} ended with exit code {other.exitcode}"
            raise RunFailed(f"{what}{_last_words(Path(logs), rank)}") from None
    return 0


def _last_words(logs: Path, rank: int) -> str:
    """The last line that a process wrote, if it wrote any."""
    for path in logs.rglob(f"{rank}/stderr.log"):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return f": {lines[-1][:200]}"
    return ""
