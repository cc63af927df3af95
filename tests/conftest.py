"""Fixtures of more than one test file: tiny configs, a runs folder, the command line, real data."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml
from places import PROJECT, TINY
from small_configs import BODY

from dlrun.config import strict_yaml

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]
WITH_RUNS_DIR = (
    *("train", "resume", "eval", "plot", "predict", "data", "lr", "runs", "report"),
    *("sweep", "compare", "rm", "diff", "reproduce", "calibrate", "slurm", "export", "log"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Tests whose counts are added up, such as the faults, run in one process."""
    if "faults" in config.option.markexpr:
        config.option.numprocesses, config.option.dist = 0, "no"
    # Hundreds of processes that the tests start would each compile the whole of dlrun anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Do not search for garbage while thousands of tests are read, all of which stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave out of the search for garbage what stays until the end: thousands of tests, and PyTorch."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts the power of the process it runs in, so none has to wait until a disk has written.

    That fsync is called when it has to be is told by tests/faults/watched_disk.py, and shown in processes
    of their own.
    """
    fsync = os.fsync
    os.fsync = lambda descriptor: os.fstat(descriptor) and None  # which fails where it is closed
    yield
    os.fsync = fsync


@pytest.fixture(scope="session", autouse=True)
def git_asked_once() -> Iterator[None]:
    """Git is asked once for each folder: two processes for each of thousands of runs take ten seconds."""
    from dlrun.training import run_summary

    usual = run_summary.git_commit
    asked = cache(lambda folder: usual())
    run_summary.git_commit = lambda: asked(Path.cwd())
    yield
    run_summary.git_commit = usual


@pytest.fixture(scope="session", autouse=True)
def no_seeds_for_no_card() -> None:
    """Without a card, PyTorch keeps each seed for one with the whole stack: a thirtieth of the time."""
    import torch

    for kind in (torch.cuda, torch.xpu):
        if not kind.is_available():
            kind.manual_seed_all = lambda seed: None


@pytest.fixture(scope="session", autouse=True)
def few_dots() -> Iterator[int]:
    """Commands draw a third of the dots: half of the time of a small run is that of its pictures.

    Gives the number of dots per inch that users get.
    """
    from dlrun.training import plot_files

    usual = plot_files.DOTS_PER_INCH
    plot_files.DOTS_PER_INCH = 50
    yield usual
    plot_files.DOTS_PER_INCH = usual


@pytest.fixture(scope="session", autouse=True)
def no_pictures_of_sweeps() -> Iterator[Callable[..., None]]:
    """Sweeps draw nothing in this process, which would take a third of the time of a small one.

    Gives the function that draws them for users.
    """
    from dlrun.sweeps import sweep

    usual = sweep.draw_ranking
    sweep.draw_ranking = lambda *_: None
    yield usual
    sweep.draw_ranking = usual


@pytest.fixture
def pictures_of_sweeps(no_pictures_of_sweeps: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps draw the pictures that users get."""
    from dlrun.sweeps import sweep

    monkeypatch.setattr(sweep, "draw_ranking", no_pictures_of_sweeps)


@pytest.fixture
def all_dots(few_dots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw pictures in the size that users get."""
    from dlrun.training import plot_files

    monkeypatch.setattr(plot_files, "DOTS_PER_INCH", few_dots)


@pytest.fixture
def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after each epoch rather than every few seconds."""
    from dlrun.training import run_writer

    monkeypatch.setattr(run_writer, "SAVE_EVERY", 0)
    monkeypatch.setattr(run_writer, "SAVE_SHARE", 0)


@dataclass(frozen=True)
class Done:
    """The exit code of a command and its output."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output depends on no CI service or notebook in which the tests may run."""
    for theirs in ("CI", "JPY_PARENT_PID", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(theirs, raising=False)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """A folder for runs that does not exist yet."""
    return tmp_path / "runs"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A config that trains in a few milliseconds and draws nothing."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """write(name, text) makes a file below the test's own folder."""

    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return make


@pytest.fixture
def base(write: Callable[[str, str], Path]) -> Path:
    """The file base.yaml with the small config."""
    return write("base.yaml", BODY)


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each promise holds with libyaml and without it."""
    monkeypatch.setattr(strict_yaml, "_Loader", request.param)


@pytest.fixture
def dlrun(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """dlrun("train", config, …) calls the command line in this process, with the test's runs folder."""
    from dlrun.console.commands.app import main

    for theirs in ("COLUMNS", "DLRUN_PARTS", "DLRUN_PLAIN"):  # of whoever runs the tests
        monkeypatch.delenv(theirs, raising=False)

    def call(*words: object) -> Done:
        out, err = StringIO(), StringIO()
        monkeypatch.setattr(sys, "argv", ["dlrun", *_with_runs_dir(words, runs_dir)])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())

    return call


@pytest.fixture
def dlrun_command(dlrun: Callable[..., Done]) -> Callable[..., Done]:
    """The fixture `dlrun`, for tests that import the package of that name."""
    return dlrun


@pytest.fixture
def dlrun_process(runs_dir: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """dlrun_process("train", config, …) starts the same command as a process of its own.

    `before` are the words of a program that starts it.
    """
    started: list[subprocess.Popen[str]] = []

    def start(*words: object, before: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-m", "dlrun", *_with_runs_dir(words, runs_dir)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen(command, cwd=PROJECT, text=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def no_hanging() -> Iterator[None]:
    """A test that would never end fails instead."""

    def give_up(number: int, frame: FrameType | None) -> None:
        pytest.fail("this does not end")  # no Exception, which the code at hand might catch

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def real_mnist() -> Path:
    """The data folder that holds MNIST: DLRUN_DATA, else data/. Skips where its files are missing."""
    folder = Path(os.environ.get("DLRUN_DATA") or PROJECT / "data").resolve()
    names = [
        f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    raw = folder / "MNIST" / "raw"
    missing = [name for name in names if not (raw / name).exists() and not (raw / f"{name}.gz").exists()]
    if missing:
        pytest.skip(f"real MNIST is not in {raw} (set DLRUN_DATA); missing: {', '.join(missing)}")
    return folder


def _with_runs_dir(words: tuple[object, ...], runs_dir: Path) -> list[str]:
    texts = [str(word) for word in words]
    command = next((index for index, text in enumerate(texts) if not text.startswith("-")), None)
    if command is not None and texts[command] in WITH_RUNS_DIR and "--runs-dir" not in texts:
        texts[command + 1 : command + 1] = ["--runs-dir", str(runs_dir)]
    return texts
