"""T55: two machines, which are two network namespaces joined by a cable (veth), train one run by torchrun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE, until
from small_runs import far_figures, only_run

from dlrun.run_folders.run import Run

PROJECT = Path(__file__).parents[2]
TIMEOUT = 10  # seconds
WORDS = ("configs/mnist_threenet.yaml", "precision=float64", "epochs=60", "limit=6000", "plots=[]")


class Machines:
    """Two machines: `starts` gives a command on both of them, `cut` takes the cable away."""

    def __init__(self, names: tuple[str, str]) -> None:
        self.names = names

    def torchrun(self, number: int, port: int, folder: Path, data: Path) -> subprocess.Popen[str]:
        """The part of one machine in the training of a run."""
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
        command += [f"--node-rank={number}", "--master-addr=10.77.0.1", f"--master-port={port}"]
        command += ["-m", "dlrun", "train", *WORDS, f"process_timeout={TIMEOUT}s"]
        command += ["--runs-dir", str(folder), "--data-dir", str(data)]
        name = self.names[number]
        named = ["unshare", "--uts", "sh", "-c", f'hostname {name}; exec "$@"', "sh"]
        return subprocess.Popen(
            ["ip", "netns", "exec", name, *named, *command],
            cwd=PROJECT,
            env=os.environ | {"GLOO_SOCKET_IFNAME": "cable", "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def trains(self, port: int, folder: Path, data: Path) -> list[subprocess.Popen[str]]:
        """Both parts of the training of a run."""
        return [self.torchrun(number, port, folder, data) for number in range(2)]

    def cut(self) -> None:
        """Take the cable away: nothing arrives any more, and nobody is told."""
        ip("-n", self.names[0], "link", "set", "cable", "down")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[Machines]:
    """Two network namespaces that reach each other alone, removed afterwards."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("two network namespaces need root, and the command ip")
    names = f"dlrun{os.getpid()}a", f"dlrun{os.getpid()}b"
    made = []
    try:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
            made.append(name)
        ip("-n", names[0], "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "cable")
            for device in ("cable", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield Machines(names)
    finally:
        for name in made:
            ip("netns", "delete", name)


@pytest.mark.row("T55")
@pytest.mark.slow
def test_two_machines_train_a_run_and_a_cut_cable_ends_it_with_one_error(
    fault: Any, machines: Machines, real_mnist: Path, tmp_path: Path, dlrun: Callable[..., Any]
) -> None:
    both = machines.trains(29711, tmp_path / "unbroken", real_mnist)
    said = [process.communicate(timeout=2 * PATIENCE) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "batch 256 = 2 × 128, gloo, 2 machines" in said[0][0]
    unbroken = only_run(tmp_path / "unbroken")

    both = machines.trains(29712, tmp_path / "cut", real_mnist)
    until(lambda: any(run.has_rows() for run in runs_of(tmp_path / "cut")), lambda: both[0].poll() is None)
    machines.cut()
    began = time.monotonic()
    said = [process.communicate(timeout=2 * PATIENCE) for process in both]
    took = time.monotonic() - began
    print(f"both ended {took:.1f} s after the cut, {TIMEOUT} s of them the timeout")
    run = only_run(tmp_path / "cut")
    for number, ((out, err), process) in enumerate(zip(said, both, strict=True)):
        print(number, out, err)
        assert process.returncode != 0
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, "one on each machine"
        fault.count(messages=1)
        lost = f"process 1 of 2 on {machines.names[1]} did not answer for {TIMEOUT}s, in "
        assert errors[0].startswith(f"error: {'the machine of the first process' if number else lost}"), err
    fault.count(seconds_after_the_cut=round(took))
    fault.never(too_late=took > TIMEOUT + 15)
    assert run.summary()["status"] == "failed"
    assert 0 < run.rows()["epoch"][-1] < 60, "it was cut in the middle"

    done = dlrun("resume", run.folder, "processes=1", "--data-dir", real_mnist)
    fault.never(refused=done.code)
    fault.never(different=far_figures(run, unbroken))


def runs_of(folder: Path) -> list[Run]:
    return [Run(each) for each in folder.iterdir()] if folder.exists() else []
