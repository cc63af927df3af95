"""dlrun reports a shortage of system resources in a few lines, with the limit set, and no traceback."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from dlrun.config.registry import Parts
from dlrun.errors import RunFailed
from dlrun.sweeps.workers import Workers
from dlrun.system.control_groups import Limits
from dlrun.system.shortages import (
    TORCH_NEEDS,
    limits_of_memory,
    no_more_processes,
    refuse_little_memory,
    shortage,
)

MIB = 2**20
UNMAPPED = "libtorch_cpu.so: failed to map segment from shared object"


def limited(kind: int, most: int) -> Callable[[], None]:
    """Return a function that sets a resource limit in a child process."""
    return lambda: resource.setrlimit(kind, (most, most))


@pytest.mark.parametrize("mib", [100, 300, 500, 700])
@pytest.mark.slow
@pytest.mark.parametrize("words", [("train",), ("sweep", "optimizer.lr=1e-3,1e-2"), ("data",)])
def test_too_little_memory_for_pytorch_is_said_before_it_is_imported(
    tiny: Path, runs_dir: Path, dlrun_process: Callable[..., Any], mib: int, words: tuple[str, ...]
) -> None:
    command, *values = words
    done = dlrun_process(command, tiny, *values, preexec_fn=limited(resource.RLIMIT_AS, mib * MIB))
    out, said = done.communicate()
    assert (done.returncode, out) == (1, "")
    assert f"PyTorch needs 750 MiB of address space; this process may have {mib} MiB" in said
    assert "ulimit -v" in said
    assert len(said.splitlines()) <= 5
    assert not runs_dir.exists()


@pytest.mark.parametrize("words", [("runs",), ("parts", "loss"), ("train", "--help"), ("--help",)])
def test_what_needs_no_pytorch_needs_no_memory_for_it(
    dlrun_process: Callable[..., Any], words: tuple[str, ...]
) -> None:
    done = dlrun_process(*words, preexec_fn=limited(resource.RLIMIT_AS, 300 * MIB))
    assert done.communicate()[1] == ""
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [("train",), ("sweep", "optimizer.lr=1e-3,1e-2", "--jobs", "2")])
def test_a_little_more_than_pytorch_needs_is_enough(
    tiny: Path, dlrun_process: Callable[..., Any], words: tuple[str, ...]
) -> None:
    command, *values = words
    limit = limited(resource.RLIMIT_AS, TORCH_NEEDS + 50 * MIB)
    done = dlrun_process(command, tiny, *values, "plots=[curves]", "-q", preexec_fn=limit)
    assert done.communicate()[1] == ""
    assert done.returncode == 0


@pytest.mark.slow
def test_a_sweep_whose_models_do_not_fit_the_limit_names_it_and_how_to_go_on(
    tiny: Path, dlrun_process: Callable[..., Any]
) -> None:
    words = ("optimizer.lr=1e-3,1e-2", "architecture={name: mlp, hidden: [6000, 6000]}", "--jobs", "2", "-q")
    done = dlrun_process("sweep", tiny, *words, preexec_fn=limited(resource.RLIMIT_AS, 1100 * MIB))
    said = done.communicate()[1]
    assert done.returncode == 1
    assert "out of memory" in said
    assert "ulimit -v, which allows 1,100 MiB" in said
    assert "dlrun sweep --resume" in said
    assert len(said.splitlines()) <= 5


@pytest.mark.slow
def test_a_sweep_with_too_few_files_says_so(tiny: Path, dlrun_process: Callable[..., Any]) -> None:
    words = ("optimizer.lr=1e-3,1e-2", "--seeds", "5", "--jobs", "10", "-q")
    done = dlrun_process("sweep", tiny, *words, preexec_fn=limited(resource.RLIMIT_NOFILE, 20))
    said = done.communicate()[1]
    assert done.returncode == 1
    assert "too many files are open\n  where: ulimit -n, which allows 20\n" in said
    assert "dlrun sweep --resume" in said
    assert len(said.splitlines()) <= 5


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "out of memory"),
        (ImportError(UNMAPPED), "out of memory"),
        (ImportError("libgomp.so.1: cannot allocate memory in static TLS block"), "out of memory"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open"),
        (RuntimeError("can't start new thread"), "no further thread or process can be started"),
    ],
)
def test_each_shortage_is_known(error: Exception, what: str) -> None:
    found = shortage(error)
    assert found is not None
    assert (found.what, found.exit_code) == (what, 1)


@pytest.mark.parametrize("error", [ImportError("no module"), OSError(errno.ENOENT, "x"), RuntimeError("x")])
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert shortage(error) is None


def test_want_of_memory_names_the_limit_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(memory=700 * MIB, memory_file="/sys/fs/cgroup/job/memory.max")
    monkeypatch.setattr("dlrun.system.machine.limits", lambda root: limits)
    said = limits_of_memory(MemoryError())
    assert said.endswith("/sys/fs/cgroup/job/memory.max, which allows 700 MiB")


def test_a_part_for_which_there_is_no_memory_is_not_blamed(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "own.py").write_text(
        f"raise ImportError({UNMAPPED!r})\n\n\ndef own(outputs, targets):\n    return outputs\n"
    )
    with pytest.raises(ImportError, match="failed to map"):
        Parts(tmp_path).find("loss", "own")


@pytest.mark.parametrize("error", [EOFError(), ConnectionRefusedError()])
def test_a_server_that_can_begin_no_worker_is_told_in_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refused(process: ForkServerProcess) -> None:
        raise error

    monkeypatch.setattr(ForkServerProcess, "start", refused)
    with Workers(1, tmp_path / "log", "train_loss", None, tmp_path) as workers:
        with pytest.raises(RunFailed, match="no worker can be started"):
            workers.train(tmp_path)
        assert not workers.training


def test_a_stream_that_would_block_is_no_want_of_processes() -> None:
    assert shortage(BlockingIOError(11, "Resource temporarily unavailable")) is None
    assert shortage(RuntimeError("can't start new thread")) is not None


def test_a_limit_that_the_system_does_not_know_is_none(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.delattr(resource, "RLIMIT_AS")
    monkeypatch.delattr(resource, "RLIMIT_NPROC")
    refuse_little_memory()
    assert no_more_processes("no").where == ""
