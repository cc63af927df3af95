"""`dlrun slurm`: its scripts run here with stand-ins for srun and scontrol, because there is no Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import timeless
from small_sweeps import CONFIG, listed, only_sweep, ranking_of

from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_folder import created_sweep, read_sweep

Dlrun = Callable[..., Any]
# Starts the command once for each node of the job, all of them this machine, and passes SIGUSR1 on.
SRUN = """\
#!/bin/bash
while [[ $1 == --* ]]; do shift; done
tasks=()
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do
  SLURM_STEP_NUM_TASKS=$SLURM_JOB_NUM_NODES SLURM_PROCID=$node "$@" & tasks+=($!)
done
trap 'kill -USR1 "${tasks[@]}"' USR1
for task in "${tasks[@]}"; do wait "$task"; wait "$task" 2> /dev/null; done
"""
SCONTROL = """\
#!/bin/bash
echo "$@" >> "$STATED"
[[ $1 == show ]] && printf 'localhost\\nanother\\n'
"""


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """started(script, SLURM_X="1") runs a script with what Slurm would set; scontrol notes its arguments."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def start(script: str, **variables: str) -> subprocess.Popen[str]:
        of_job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[1-2]", "STATED": str(tmp_path / "stated")}
        path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
        roots = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, **of_job, "PATH": path, "PYTHONPATH": roots, **variables}
        words = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(["bash", "-c", script], env=environment, **words)  # type: ignore[call-overload]

    return start


def options_in(script: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH ")]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_one_gpu_is_a_plain_training_that_saves_and_goes_on(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    done = dlrun("slurm", tiny, "device=auto", "optimizer.lr=0.5", "--gpus", 1, "--time", "4h", "--name", "x")
    assert (done.code, done.err) == (0, "")
    assert options_in(done.out) == {
        "job-name": "x",
        "nodes": "1",
        "ntasks-per-node": "1",
        "gpus-per-node": "1",
        "time": "0-04:00:00",
        "signal": "B:USR1@120",
        "open-mode": "append",
        "requeue": "",
    }
    train = f"{sys.executable} -m dlrun train {tiny} device=auto optimizer.lr=0.5 --name x --or-resume "
    assert train in done.out and f" --runs-dir {runs_dir} &\n" in done.out
    assert f"[ -e {runs_dir}/x-001/unfinished ]" in done.out
    assert "srun" not in done.out and "torch" not in done.out
    assert not runs_dir.exists(), "nothing is made, and nothing submitted"


def test_gpus_of_one_node_are_processes_and_nodes_meet_by_torchrun(dlrun: Dlrun, tiny: Path) -> None:
    words = ("slurm", tiny, "device=auto")
    assert " --processes 4 &\n" in dlrun(*words, "--gpus", 4).out
    script = dlrun(*words, "--gpus", 8, "--nodes", 2, "--cpus-per-task", 6, "--", "--mem=4G", "-C=a100").out
    asked = options_in(script)
    assert (asked["nodes"], asked["gpus-per-node"], asked["ntasks-per-node"]) == ("2", "4", "1")
    assert asked["mem"] == "4G" and "#SBATCH -C=a100\n" in script
    launcher = script.replace(" \\\n    ", " ").partition("srun ")[2].partition(" -m dlrun train ")[0]
    assert launcher == (
        f"--cpus-per-task=6 {sys.executable} -m torch.distributed.run --nproc-per-node 4 "
        '--nnodes "$SLURM_JOB_NUM_NODES" --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d '
        '--rdzv-endpoint "$head:$port" --signals-to-handle SIGTERM,SIGINT,SIGUSR1,SIGUSR2'
    )


@pytest.mark.parametrize(("array", "expected"), [((), "1-2"), (("--array", "2%1"), "1-2%1")])
def test_the_runs_of_a_sweep_are_an_array(
    array: tuple[str, ...], expected: str, dlrun: Dlrun, runs_dir: Path, tmp_path: Path
) -> None:
    sweep = listed(runs_dir, tmp_path)
    done = dlrun("slurm", sweep.name, "--time", "1-12:00:00", "--partition", "gpu", *array)
    asked = options_in(done.out)
    assert (asked["array"], asked["partition"], asked["time"]) == (expected, "gpu", "1-12:00:00")
    shard = '--shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" &\n'
    assert f" -m dlrun sweep --resume {sweep.folder} " in done.out and shard in done.out


@pytest.mark.parametrize(
    "words",
    [
        ("device=auto",),
        ("device=auto", "--gpus", 4),
        ("device=auto", "--gpus", 4, "--nodes", 2),
        ("architecture.hidden=[3, 4]", "--name", "it's", "--time", "4h"),
        ("expect={train_accuracy: '>= 0.1 $(touch x) `touch x`'}",),
    ],
)
def test_a_shell_reads_every_script(words: tuple[Any, ...], dlrun: Dlrun, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a b'c"
    folder.mkdir()
    done = dlrun("slurm", tiny.rename(folder / "my $config.yaml"), *words)
    if done.code:
        assert "name" in done.err  # of a run, which has no quotes
        return
    assert subprocess.run(["bash", "-n"], input=done.out, text=True, capture_output=True).stderr == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpus", 3, "--nodes", 2), "3 GPUs cannot be shared evenly by 2 nodes"),
        (("device=cpu", "--gpus", 1), "device is cpu, and the job's GPUs would be idle"),
        (("device=cuda",), "device is cuda, and the job has no GPU"),
        (("--time", "30"), "'30' is not a duration"),
        (("--time", "2m"), "2m is no longer than the 120 seconds that are left for saving"),
        (("--array", "3"), "an array is for the runs of a sweep"),
        (("optimizer.lrr=3",), "there is no such option; did you mean 'lr'?"),
        (("--", "--mem", "16G"), "'16G' is not of the form KEY=VALUE"),
        (("--", "--nodes=3"), "--nodes is in the script already"),
        (("--", "--comment=a\n#SBATCH --uid=0"), "is no option of sbatch in one word"),
        (("--partition", "a b"), "'a b' is no option of sbatch in one word"),
        (("--mem=16G",), "options of sbatch that dlrun does not know stand behind --, as in -- --mem=…"),
    ],
)
def test_what_a_job_could_not_do_is_refused_before_it_waits_in_a_queue(
    words: tuple[Any, ...], said: str, dlrun: Dlrun, tiny: Path
) -> None:
    done = dlrun("slurm", tiny, "device=auto", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_job_that_would_train_nothing_is_refused(dlrun: Dlrun, tiny: Path, runs_dir: Path) -> None:
    assert dlrun("train", tiny, "--name", "x", "--stop-after", 1).code == 0
    assert f"{runs_dir}/x-001/unfinished" in dlrun("slurm", tiny, "--name", "x").out
    assert dlrun("resume", "x").code == 0
    done = dlrun("slurm", tiny, "--name", "x")
    assert (done.code, "x-001 has ended: the job would train nothing" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("epochs=3",), "the runs of a sweep have their configs"),
        (("--nodes", "2"), "the runs of a sweep have their configs"),
        (("--array", "3"), "there are 2 runs for 3 jobs"),
        (("--array", "1-2"), "'1-2' is no number of jobs"),
        (("--gpus", "1"), "device is cpu, and the job's GPUs would be idle"),
    ],
)
def test_what_an_array_of_a_sweep_could_not_do_is_refused(
    words: tuple[str, ...], said: str, dlrun: Dlrun, runs_dir: Path, tmp_path: Path
) -> None:
    done = dlrun("slurm", listed(runs_dir, tmp_path).name, *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_an_array_of_a_search_is_refused(dlrun: Dlrun, runs_dir: Path) -> None:
    search = {"axes": [], "count": 3}
    with created_sweep(runs_dir, "s", jobs=1, device="cpu", metric="best.train_loss", search=search):
        pass
    assert "has no parts" in dlrun("slurm", "s-sweep-001").err


def wait_for_rows(run: Run, job: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not (run.metrics.exists() and run.has_rows()):
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_job_whose_time_is_over_saves_and_goes_back_into_the_queue_until_all_is_trained(
    nodes: int, dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path, started: Callable[..., Any]
) -> None:
    script = dlrun("slurm", tiny, "--name", "x", "epochs=600", "--nodes", nodes).out
    run, stated = Run(runs_dir / "x-001"), tmp_path / "stated"
    job = started(script, SLURM_JOB_NUM_NODES=str(nodes))
    wait_for_rows(run, job)
    job.send_signal(signal.SIGUSR1)  # to the batch shell alone
    said, _ = job.communicate(timeout=90)
    assert "stopped by a signal after epoch" in said
    assert stated.read_text().splitlines()[-1] == "requeue 77"
    assert (run.summary()["status"], run.summary()["signal"]) == ("interrupted", signal.SIGUSR1)
    stated.unlink()
    job = started(script, SLURM_JOB_NUM_NODES=str(nodes))
    said, _ = job.communicate(timeout=90)
    assert (job.returncode, run.summary()["status"]) == (0, "finished"), said
    assert not stated.exists() or "requeue" not in stated.read_text()
    assert [path.name for path in runs_dir.iterdir()] == ["x-001"]


@pytest.mark.slow
def test_a_job_that_fails_does_not_go_back_into_the_queue(
    dlrun: Dlrun, tiny: Path, runs_dir: Path, tmp_path: Path, started: Callable[..., Any]
) -> None:
    script = dlrun("slurm", tiny, "--name", "x").out
    tiny.write_text(tiny.read_text().replace("optimizer", "optimiser_of_mine"))
    job = started(script)
    said, _ = job.communicate(timeout=60)
    assert (job.returncode, (tmp_path / "stated").exists()) == (2, False), said


@pytest.mark.slow
def test_the_jobs_of_an_array_train_the_sweep_together(
    dlrun: Dlrun,
    write: Callable[[str, str], Path],
    runs_dir: Path,
    started: Callable[..., Any],
    tmp_path: Path,
) -> None:
    words = ("sweep", write("small.yaml", CONFIG), "optimizer.lr=1e-3,1e-2", "--seeds", 2, "epochs=2")
    assert dlrun(*words, "--name", "whole").code == 0
    whole = only_sweep(runs_dir)
    figures = [timeless(trial.run.rows()) for trial in whole.trials]
    assert dlrun(*words, "--name", "parts", "--create").code == 0
    script = dlrun("slurm", "parts-sweep-001").out
    jobs = [
        started(script, SLURM_ARRAY_TASK_ID=str(task), SLURM_ARRAY_TASK_COUNT="3") for task in range(1, 4)
    ]
    said = [job.communicate(timeout=120)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], said
    parts = runs_dir / "parts-sweep-001"
    assert [timeless(Run(parts / f"parts-00{place}").rows()) for place in range(1, 5)] == figures
    assert ranking_of(read_sweep(parts)) == ranking_of(whole)
    assert not (tmp_path / "stated").exists()
