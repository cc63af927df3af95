"""What the system did not give: memory, files, threads and processes, said with the limit that is set."""

from __future__ import annotations

import errno
import os

from dlrun.errors import RunFailed, is_out_of_memory

TORCH_NEEDS = 750 * 2**20  # bytes of address space: PyTorch, NumPy and matplotlib with nothing computed yet
_FEW = 8 * 2**30  # bytes of address space, below which no library should reserve some for each processor
_FILES = (errno.EMFILE, errno.ENFILE)


def refuse_little_memory() -> None:
    """Raises RunFailed where PyTorch cannot be imported: libraries end the process then, or say it badly."""
    limit = _limit("RLIMIT_AS")
    if limit is None:
        return
    if limit < TORCH_NEEDS:
        raise RunFailed(
            f"PyTorch needs {_mib(TORCH_NEEDS)} of address space; this process may have {_mib(limit)}",
            where="ulimit -v",
            fix=f"allow more, with ulimit -v {2 * TORCH_NEEDS // 2**10} or ulimit -v unlimited",
        )
    if limit < _FEW:  # NumPy's, of which dlrun asks nothing
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def shortage(error: BaseException) -> RunFailed | None:
    """An error as what the system did not give; None where it is about something else."""
    if is_out_of_memory(error):
        fix = "take a smaller model or less data, or end what else needs memory"
        return RunFailed("out of memory", where=limits_of_memory(error), fix=fix)
    if isinstance(error, OSError) and error.errno in _FILES:
        limit = _limit("RLIMIT_NOFILE")
        return RunFailed(
            "too many files are open",
            where=f"ulimit -n, which allows {limit:,}" if limit else "",
            fix="allow more with ulimit -n 1024, or take fewer --jobs",
        )
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return no_more_processes("no further thread or process can be started")
    return None


def no_more_processes(what: str) -> RunFailed:
    """The error that says that the system refused a thread or a process."""
    limit = _limit("RLIMIT_NPROC")
    return RunFailed(
        what,
        where=f"ulimit -u, which allows {limit:,}" if limit else "",
        fix="allow more with ulimit -u, end other processes, or take fewer threads and --jobs",
    )


def limits_of_memory(error: BaseException) -> str:
    """The limits of memory that are set for this process, in words; "" for an error of an accelerator."""
    if type(error).__name__ == "OutOfMemoryError":
        return ""
    from dlrun.system import machine  # every command starts with this file

    names = {"RLIMIT_AS": "ulimit -v", "RLIMIT_DATA": "ulimit -d"}
    said = [f"{name}, which allows {_mib(limit)}" for key, name in names.items() if (limit := _limit(key))]
    if file := machine.limit_of_memory():
        said.append(f"{file}, which allows {_mib(machine.memory())}")
    return "; ".join(said)


def _limit(name: str) -> int | None:
    """A limit of this process; None where it has none, or the system knows no such limit."""
    try:
        import resource
    except ImportError:
        return None
    known = getattr(resource, name, None)
    soft = resource.RLIM_INFINITY if known is None else resource.getrlimit(known)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
