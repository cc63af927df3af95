"""The start of several processes that train one run together, by PyTorch's own launcher (torchrun)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from dlrun.config.durations import seconds_of
from dlrun.config.keys import DATA_PATH, Config, flat_config
from dlrun.data.loaded import Loaded
from dlrun.errors import RunFailed, UserError
from dlrun.run_folders.run import Run
from dlrun.system import machine
from dlrun.system.processes import LAUNCHER, started_together
from dlrun.system.signals import KILLED, PASSED_ON, request_stop
from dlrun.training.devices import dealt_cards
from dlrun.training.layers import skeleton
from dlrun.training.plan import Plan
from dlrun.training.presence import HANGS, SAID, Presence, note_for_launcher
from dlrun.training.shared_norms import has_norms
from dlrun.training.traps import draws_by_pieces
from dlrun.training.world import World

_OF_MACHINE = (DATA_PATH, "device", "threads", "processes", "process_timeout")  # may be others on each
_PROCESS = "DLRUN_LAUNCHER_PROCESS"  # the id of the launcher of this process
_LEFT = "left"  # the note that the first process has saved what it had to
_RUN = "run"  # the note of the folder of the run, and of the command that resumes it


def processes_of(config: Config) -> int:
    """The number of processes of this run: those that a launcher has started, or that the config asks for."""
    if several := started_together(os.environ):
        return several
    return max(1, len(dealt_cards(config.device))) if config.processes == "auto" else config.processes


@contextmanager
def joined(config: Config) -> Iterator[World]:
    """Meet the other processes, if there are any, until the end of this context.

    On a machine with several GPUs each process sees its own alone, as cuda:0.
    """
    if not started_together(os.environ):
        yield World()
        return
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    cards, local = dealt_cards(config.device), int(os.environ.get("LOCAL_RANK", 0))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if cards:
        os.environ[machine.CARDS] = cards[local % len(cards)]
    backend = "nccl" if 0 < here <= len(cards) else "gloo"
    stop_with_launcher()
    timeout = timedelta(seconds=seconds_of(config.process_timeout))
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=timeout)))
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        several = started_together(os.environ)
        what = f"not all of the {several} processes met within {config.process_timeout}"
        fix = "look whether each was started, with the same address of the first"
        raise RunFailed(f"{what}: {str(error).splitlines()[0][:200]}", fix=fix) from error
    presence = Presence(store, rank, size, config.process_timeout, _digest(config))
    presence.show()
    try:
        yield World(rank, size, presence)
    except UserError as error:
        presence.leave_word(error.inline)
        if presence.is_heard:
            error.is_heard = True
            raise
        raise SystemExit(error.exit_code) from error
    except Exception as error:
        presence.leave_word(f"{type(error).__name__}: {error}")
        if rank and LAUNCHER in os.environ:  # which logs it
            traceback.print_exc()
        raise
    finally:
        presence.end()
        presence.leave()
        if not rank:
            note_for_launcher(_LEFT)
        dist.destroy_process_group()


def stop_with_launcher() -> None:
    """Have this process save and stop, as at SIGTERM, when dlrun or torchrun, which started it, has ended."""
    if _PROCESS not in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ:
        return  # started by hand, it may outlive its shell
    launcher = int(os.environ.get(_PROCESS) or os.getppid())

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        request_stop()

    threading.Thread(target=watch, daemon=True).start()


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
        if plan.recipe.averaging.updates_bn:
            name = plan.config.average.name
            raise UserError(
                f"{what}, and {name} computes them anew for its weights", fix=f"{one}, or take average: ema"
            )
        if plan.config.is_stacked or plan.config.compile:
            key = "stacked" if plan.config.is_stacked else "compile"
            raise UserError(f"{what}, each seed by itself as it is written", fix=f"set {key}: false")


def refuse_draws(plan: Plan, loaded: Loaded, processes: int) -> None:
    """Raise UserError if several processes would draw the same random numbers, each for its part."""
    if processes > 1 and draws_by_pieces(plan, loaded):
        what = "the model draws random numbers that are not those of the whole batch"
        is_compiled = plan.config.compile
        fix = "set compile: false" if is_compiled else "leave its dropout out, or set processes: 1"
        raise UserError(f"{what}, as each of several processes needs them", fix=fix)


def said_world(world: World, batch: int | Literal["full"]) -> str:
    """The parts of a batch that the processes take, such as `batch 256 = 4 × 64, gloo, 2 machines`."""
    import torch.distributed as dist

    if batch == "full":
        shared = f"full batch in {world.size} parts"
    else:
        least, more = divmod(batch, world.size)
        parts = " + ".join(
            f"{count} × {size:,}" for count, size in ((more, least + 1), (world.size - more, least)) if count
        )
        shared = f"batch {batch:,} = {parts}"
    machines = -(-world.size // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    several = f", {machines} machines" if machines > 1 else ""
    return f"{shared}, {dist.get_backend()}{several}"


def launch(words: Sequence[str], processes: int, environment: Mapping[str, str]) -> int:
    """Run a dlrun command in so many processes of this machine; return the exit code of the first.

    They have some further variables in their `environment`. The first alone is heard. Raises RunFailed with
    the words of another one that failed before it.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as one process ignores it
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
        if hasattr(config, "shutdown_timeout"):  # since PyTorch 2.13; before, a save had to end in 30 seconds
            config.shutdown_timeout = 24 * 3600
        os.environ |= {LAUNCHER: logs, _PROCESS: str(os.getpid()), **environment}
        try:
            elastic_launch(config, sys.executable)("-m", "dlrun", *words)
        except SignalException as received:
            code, about = 128 + int(received.sigval), _noted_run(Path(logs))
            if not about or Path(logs, _LEFT).exists():
                return code
            stopped = RunFailed("the processes were ended before the run was saved")
            stopped.resume, stopped.exit_code = about["resume"], code
            raise stopped from None
        except ChildFailedError as failed:
            written = {rank: _words(Path(logs), rank) for rank in range(1, processes)}
            about, first = _noted_run(Path(logs)), failed.failures.get(0)
            for rank in [each for each in written if about and written[each]]:
                Run(Path(about["folder"])).log(f"process {rank} of {processes}:\n{written[rank]}")
            if first and first.exitcode > 0 and first.exitcode != HANGS:
                return int(first.exitcode)
            if Path(logs, SAID).exists():
                return RunFailed.exit_code
            rank, other = next(iter(failed.failures.items()))
            error = _error_of(f"process {rank} of {processes}", int(other.exitcode), written)
            error.resume = about.get("resume", "")
            raise error from None
    return 0


def _digest(config: Config) -> str:
    """A digest of all that the configs of processes must have in common."""
    alike = {key: value for key, value in flat_config(config.plain()).items() if key not in _OF_MACHINE}
    return hashlib.sha256(json.dumps(alike, sort_keys=True, default=str).encode()).hexdigest()


def tell_launcher(run: Run, resume: str) -> None:
    """Tell the launcher of this process, if there is one, of the run and of the command that resumes it."""
    note_for_launcher(_RUN, json.dumps({"folder": str(run.folder), "resume": resume}))


def _error_of(process: str, exit_code: int, written: dict[int, str]) -> RunFailed:
    """The error of a process that failed, of which the first one said nothing, but maybe another one."""
    lines = [line for own in written.values() for line in own.splitlines()]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("error: "):
            fix = following.removeprefix("  fix: ") if following.startswith("  fix: ") else ""
            return RunFailed(line.removeprefix("error: "), fix=fix)
    if exit_code in KILLED:
        fix = "if that was for want of memory, take fewer processes, or a smaller model"
        return RunFailed(f"{process} was killed", fix=fix)
    last = f": {lines[-1][:200]}" if lines else ""
    return RunFailed(f"{process} ended with exit code {exit_code}{last}")


def _noted_run(logs: Path) -> dict[str, str]:
    """The note that the first process left of its run; empty if it had not begun one."""
    path = logs / _RUN
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _words(logs: Path, rank: int) -> str:
    """All that a process wrote to stderr."""
    paths = logs.rglob(f"{rank}/stderr.log")
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").strip() for path in paths)
