"""A Ray cluster on which the runs of a sweep train: it is joined, and its processors and GPUs are counted."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from dlrun.errors import RunFailed, UserError, one_line, shortened
from dlrun.run_folders.sweep_folder import Sweep
from dlrun.sweeps.ray_address import AUTO, LOCAL, known, settle_token
from dlrun.system import machine
from dlrun.system.children import HAS_SERVER

# The usage statistics of Ray are not sent, its watch over the memory kills no run, and runs have the priority
# of the command. The older autoscaler, of no use either, would have to be killed, a second after SIGTERM.
_OF_LOCAL = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
    "RAY_enable_autoscaler_v2": "1",
}
_STORE = 100 * 2**20  # bytes for Ray's objects, of which a sweep has none
_LONGEST = 200  # characters of an error of Ray, some of which fill pages


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, with the processors and GPUs that it offers."""

    id: str
    name: str
    cores: int
    gpus: int


@dataclass(frozen=True)
class Demand:
    """The resources that each run of a sweep asks Ray for, and who begins its process."""

    cpus: int
    gpus: float  # a share of one, or 0
    is_here: bool = False  # the command itself begins the processes


@dataclass(frozen=True)
class Cluster:
    """The machines that have joined a Ray cluster."""

    address: str
    nodes: tuple[Node, ...]
    is_own: bool = False  # started by this command, on its machine

    def of(self, device: str) -> Cluster:
        """The nodes that can train runs with such a `device`: with `auto` those with GPUs, if there are any.

        Raises UserError if there is none, or if the config names one GPU of several.
        """
        if device.startswith("cuda:") and device != "cuda:0":
            fix = "set device=cuda, or leave out --ray"
            raise UserError(f"Ray chooses the GPU of each run, and device is {device}", fix=fix)
        on_gpus = self.trains_on_gpus(device)
        found = tuple(node for node in self.nodes if node.cores and (node.gpus or not on_gpus))
        if not found:
            lacks = "GPU" if on_gpus else "CPU"
            raise UserError(f"no node of this Ray cluster has a {lacks}", where=f"--ray {self.address}")
        return replace(self, nodes=found)

    def trains_on_gpus(self, device: str) -> bool:
        """True if runs with such a `device` train on GPUs here."""
        return device.startswith("cuda") or (device == "auto" and any(node.gpus for node in self.nodes))

    def at_once(self, device: str, per_gpu: int | None) -> int:
        """The number of runs that train at once by default: one for each core, or `per_gpu` for each GPU.

        Raises UserError for `per_gpu` if they train elsewhere.
        """
        if self.trains_on_gpus(device):
            return sum(node.gpus for node in self.nodes) * (per_gpu or 1)
        if per_gpu:
            what = f"the runs train on no GPU: device is {device}"
            raise UserError(what, where="--jobs-per-gpu", fix="take --jobs")
        return sum(node.cores for node in self.nodes)

    def share(self, jobs: int) -> int:
        """The most threads of a run with which so many find room at once, each on any of the nodes."""
        most = min(node.cores for node in self.nodes)
        return next(
            (
                threads
                for threads in range(most, 1, -1)
                if sum(node.cores // threads for node in self.nodes) >= jobs
            ),
            1,
        )

    def demand(self, sweep: Sweep, jobs: int, per_gpu: int | None) -> Demand:
        """The resources for each run of a sweep: as before, unless no node has so many."""
        cpus = min(sweep.cpus or self.share(jobs), max(node.cores for node in self.nodes))
        per_gpu = per_gpu or sweep.runs_per_gpu or 1
        gpus = 1 / per_gpu if self.trains_on_gpus(sweep.device) else 0
        return Demand(cpus, gpus, self.is_own and HAS_SERVER)

    def __str__(self) -> str:
        cores, gpus = (sum(each) for each in zip(*((n.cores, n.gpus) for n in self.nodes), strict=True))
        counts = {"node": len(self.nodes), "CPU": cores} | ({"GPU": gpus} if gpus else {})
        words = [f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items()]
        where = "started on this machine" if self.is_own else f"at {self.address}"
        return f"Ray {where}: {', '.join(words)}"


def load_ray() -> Any:
    """Import Ray. Raises UserError if it is not installed."""
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray, which is not installed", fix="pip install 'dlrun[ray]'") from None
    return ray


def connect(address: str) -> Cluster:
    """Join the Ray cluster at an address, or for AUTO the one that is known here, else one that is started.

    The process leaves it when it exits. Raises UserError if that is no address, or Ray is not installed;
    RunFailed if no cluster answers there.
    """
    found = known() if address == AUTO else address
    if found.startswith("ray://"):
        fix = "run the command on a node, which sees the runs folder too, with --ray HOST:6379"
        raise UserError("dlrun is no Ray client", where=f"--ray {found}", fix=fix)
    if found != LOCAL and not re.fullmatch(r"\S+:\d{1,5}", found):
        fix = f"write --ray alone, --ray {LOCAL}, or an address such as 10.0.0.1:6379"
        raise UserError(f"{shortened(found)!r} is no address of a Ray cluster", where="--ray", fix=fix)
    if found != LOCAL:
        settle_token(found)
    ray = load_ray()
    atexit.register(ray.shutdown)  # it comes before Ray's own call, which would sleep half a second first
    before = signal.getsignal(signal.SIGTERM)
    try:
        if found == LOCAL:
            os.environ.update(_OF_LOCAL | os.environ)
            cores = machine.cores()
            _initialise(ray, LOCAL, num_cpus=cores, object_store_memory=_STORE, include_dashboard=False)
        else:
            with _without_stderr():
                _initialise(ray, found)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        what, fix = "Ray cannot be started here", "leave out --ray"
        if found != LOCAL:
            what = "the Ray cluster cannot be joined"
            fix = "look whether Ray and Python have its versions here, and whether its token is here"
        raise RunFailed(f"{what}: {said(error)}", where=f"--ray {found}", fix=fix) from error
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray's would end the process by an exception at any point
    nodes = tuple(_node(each) for each in ray.nodes() if each["Alive"])
    return Cluster(found, nodes, is_own=found == LOCAL)


def _initialise(ray: Any, address: str, **options: Any) -> None:
    """Call ray.init so that Ray prints nothing into the table: dlrun itself says which runs were lost."""
    import logging

    import ray._private.worker as ray_worker

    # Ray's only switch, log_to_driver, does not silence its messages about workers that died.
    if hasattr(ray_worker, "print_to_stdstream"):
        ray_worker.print_to_stdstream = lambda *_, **__: None
    ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **options)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what is written to stderr meanwhile: Ray's C++ code says a line for each attempt to join."""
    if sys.stderr is None:  # it was closed before Python started
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def said(error: BaseException) -> str:
    """The reason that the system gives, or the last line of an error of Ray, which may fill pages."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line for line in map(str.strip, str(error).splitlines()) if line]
    text = one_line(lines[-1]).split(". ")[0].rstrip(".") if lines else type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _node(entry: dict[str, Any]) -> Node:
    """A node as Ray describes it."""
    offers = entry["Resources"]
    host, address = entry["NodeManagerHostname"], entry["NodeManagerAddress"]
    name = host if host in ("", address) else f"{host} ({address})"
    return Node(entry["NodeID"], name or address, int(offers.get("CPU", 0)), int(offers.get("GPU", 0)))
