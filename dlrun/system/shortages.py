"""Errors of exhausted resources: memory, open files, threads and processes, with the limit that is set."""

from __future__ import annotations

import errno
import os

from dlrun.errors import RunFailed, is_out_of_memory

TORCH_NEEDS = 750 * 2**20  # bytes of address space for importing PyTorch, NumPy and matplotlib
_FEW = 8 * 2**30  # bytes of address space; with less no library should reserve memory per processor
_FILES = (errno.EMFILE, errno.ENFILE)


def refuse_little_memory() -> None:
    """Raises RunFailed if the address space is too small to import PyTorch.

    Without this check its libraries abort the process or raise an obscure error.
    """
    limit = _limit("RLIMIT_AS")
    if limit is None:
        return
    if limit < TORCH_NEEDS:
        raise RunFailed(
            f"PyTorch needs {_mib(TORCH_NEEDS)} of address space; this process may have {_mib(limit)}",
            where="ulimit -v",
            fix=f"allow more, with ulimit -v {2 * TORCH_NEEDS // 2**10} or ulimit -v unlimited",
        )
    if limit < _FEW:  # the BLAS of NumPy, which dlrun does not use
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def shortage(error: BaseException) -> RunFailed | None:
    """Return an error of an exhausted resource as a RunFailed; None for any other error."""
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
    """The RunFailed for a thread or a process that the system refused to start."""
    limit = _limit("RLIMIT_NPROC")
    return RunFailed(
        what,
        where=f"ulimit -u, which allows {limit:,}" if limit else "",
        fix="allow more with ulimit -u, end other processes, or take fewer threads and --jobs",
    )


def limits_of_memory(error: BaseException) -> str:
    """The memory limits of this process, in words; "" if the error is of an accelerator's memory."""
    if type(error).__name__ == "OutOfMemoryError":
        return ""
    from dlrun.system import machine  # here, because every command imports this file at its start

    names = {"RLIMIT_AS": "ulimit -v", "RLIMIT_DATA": "ulimit -d"}
    said = [f"{name}, which allows {_mib(limit)}" for key, name in names.items() if (limit := _limit(key))]
    if file := machine.limit_of_memory():
        said.append(f"{file}, which allows {_mib(machine.memory())}")
    return "; ".join(said)


def _limit(name: str) -> int | None:
    """A resource limit of this process; None if it is unlimited, or unknown to the system."""
    try:
        import resource
    except ImportError:
        return None
    known = getattr(resource, name, None)
    soft = resource.RLIM_INFINITY if known is None else resource.getrlimit(known)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
