"""Whatever goes wrong is said in five lines or fewer, without a traceback unless --debug asks for it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from small_runs import mostly_slow

from dlrun import errors
from dlrun.config.mistakes import ConfigError, Mistake
from dlrun.config.strict_yaml import Place
from dlrun.console.commands.app import app
from dlrun.errors import CheckpointRefused, Diverged, RunFailed, Unforeseen, UserError
from dlrun.run_folders.listing import runs_in

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]
T = TypeVar("T")
PROJECT = Path(__file__).parent.parent.parent
TRACEBACK = "Traceback (most recent call last)"
LONG_PATH = "a" * 5000
LONG = "".join(f"{number} of many lines \x1b[2J [/foo]\r\n" for number in range(40))


def mistaken(what: str) -> Mistake:
    return Mistake(Place("file.yaml", 1, 1), "loss", what)


# What may be raised, and the exit code of each.
FORESEEN: list[tuple[Callable[[], Exception], int]] = [
    (lambda: UserError("a mistake"), 2),
    (lambda: UserError(LONG, where=LONG, fix=LONG), 2),
    (lambda: ConfigError("file.yaml", [mistaken(each) for each in ("one", "two", "three", "four")]), 2),
    (lambda: ConfigError(LONG, [mistaken(f"mistake {number}: {LONG}") for number in range(40)]), 2),
    (lambda: RunFailed("cannot write", where="there", fix="make room"), 1),
    (lambda: Diverged("the loss is nan"), 3),
    (lambda: CheckpointRefused("it is damaged", where="last.pt", fix="use another"), 4),
]
UNFORESEEN: list[Callable[[], Exception]] = [
    lambda: ZeroDivisionError("division by zero"),
    lambda: KeyError("a key"),
    lambda: RuntimeError(LONG),
    lambda: LookupError(),
    lambda: RecursionError("maximum recursion depth exceeded"),
    lambda: OSError(5, "Input/output error"),
    lambda: AssertionError(),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    lambda: ExceptionGroup("some", [ValueError("one"), TypeError("two")]),
]
# What of each command is made to raise.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "init": ("dlrun.results.starters.spiral_starter", ("init", "--out", "{tiny}.init.yaml")),
    "train": ("dlrun.training.experiment.fit", ("train", "{tiny}")),
    "resume": ("dlrun.training.experiment.fit", ("resume", "tiny-001", "epochs=9")),
    "eval": ("dlrun.training.evaluation.evaluate_run", ("eval", "tiny-001")),
    "calibrate": ("dlrun.results.calibration.calibrate", ("calibrate", "tiny-001")),
    "predict": ("dlrun.results.prediction.new_inputs", ("predict", "tiny-001", "{tiny}")),
    "export": ("dlrun.results.export.description", ("export", "tiny-001", "--out", "{tiny}.pt2")),
    "log": ("dlrun.tracking.trackers.is_installed", ("log", "tiny-001", "--to", "tensorboard")),
    "plot": ("dlrun.training.opening.open_checkpoint", ("plot", "tiny-001", "curves")),
    "data": ("dlrun.results.preview.dataset_facts", ("data", "{tiny}")),
    "show": ("dlrun.training.plan_making.make_plan", ("show", "{tiny}")),
    "lr": ("dlrun.training.rate_range.rate_curves", ("lr", "{tiny}")),
    "configs": ("dlrun.config.lookup.first_comment", ("configs",)),
    "parts": ("dlrun.config.registry.Parts", ("parts",)),
    "schema": ("dlrun.config.json_schema.schema_of", ("schema",)),
    "new": ("dlrun.system.files.write_atomically", ("new", "loss", "my_focal", "--parts", "{tiny}.parts")),
    "runs": ("dlrun.run_folders.listing.overviews", ("runs",)),
    "compare": ("dlrun.run_folders.comparison.compare_runs", ("compare", "tiny-001")),
    "report": ("dlrun.console.run_report.report_of_run", ("report", "tiny-001", "-o", "{tiny}.html")),
    "rm": ("dlrun.run_folders.deletion.describe_folder", ("rm", "tiny-001", "--yes")),
    "diff": ("dlrun.run_folders.differences.differences_between", ("diff", "tiny-001", "tiny-001")),
    "reproduce": ("dlrun.results.reproduction.differences_between", ("reproduce", "tiny-001")),
    "sweep": ("dlrun.sweeps.sweep.train_sweep", ("sweep", "{tiny}", "epochs=1,2")),
    "slurm": ("dlrun.console.batch_script.script_of_run", ("slurm", "{tiny}", "--name", "new")),
}


@pytest.fixture
def trained(dlrun: Dlrun, tiny: Path) -> Path:
    assert dlrun("train", tiny).code == 0
    return tiny


@pytest.fixture
def raising(trained: Path, dlrun: Dlrun, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """raising(error, command, *options) calls a command in which something raises that error."""

    def call(error: Exception, command: str, *options: str) -> Any:
        def broken(*arguments: Any, **named: Any) -> None:
            raise error

        place, words = COMMANDS[command]
        with monkeypatch.context() as patched:
            patched.setattr(place, broken)
            return dlrun(*options, *(word.format(tiny=trained) for word in words))

    return call


def test_every_command_is_tried() -> None:
    registered = {each.name or each.callback.__name__ for each in app.registered_commands}  # type: ignore[union-attr]
    assert registered == set(COMMANDS)


def test_every_kind_of_error_is_tried() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UserError)}
    assert kinds | {ConfigError} == {type(make()) for make, _ in FORESEEN} | {Unforeseen}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_foreseen_is_five_lines_at_most(command: str, raising: Callable[..., Any]) -> None:
    for make, code in of_each(FORESEEN, command):
        error = make()
        done = raising(error, command)
        lines = done.err.splitlines()
        assert done.code == code
        assert 1 <= len(lines) <= (22 if isinstance(error, ConfigError) else 5)  # a line for each mistake
        assert lines[0].startswith("error: ")
        assert all(line.isprintable() for line in lines)
        assert TRACEBACK not in done.out + done.err
        has_run = command in ("train", "resume") and code != 3 and not isinstance(error, ConfigError)
        assert any(line.startswith("  resume: dlrun resume ") for line in lines) == has_run


@pytest.mark.parametrize("command", COMMANDS)
def test_what_nobody_foresaw_is_five_lines_and_exit_code_1(command: str, raising: Callable[..., Any]) -> None:
    for make in of_each(UNFORESEEN, command):
        error = make()
        done = raising(error, command)
        what, where, fix, *rest, debug = done.err.splitlines()
        assert done.code == 1
        assert what.startswith(f"error: {type(error).__name__}")
        assert where == f"  where: in your file {__file__}:{broken_line()}, in broken"
        assert fix.startswith("  fix: ")
        assert debug.startswith(f"  debug: dlrun --debug {command} ")
        assert "shows the whole traceback" in debug
        resumes = [
            line.startswith(("  resume: dlrun resume ", "  resume: dlrun sweep --resume ")) for line in rest
        ]
        assert resumes == ([True] if command in ("train", "resume", "sweep") else [])
        assert TRACEBACK not in done.out + done.err


@pytest.mark.parametrize("command", mostly_slow(COMMANDS, "train", "sweep", "show"))
def test_with_debug_the_traceback_is_printed_too(command: str, raising: Callable[..., Any]) -> None:
    for make in of_each([UNFORESEEN[2], FORESEEN[-1][0], FORESEEN[3][0]], command):
        error = make()
        code = getattr(error, "exit_code", 1)
        done = raising(error, command, "--debug")
        assert done.code == code
        assert TRACEBACK in done.err
        assert "in broken" in done.err
        assert sum(line.startswith("error: ") for line in done.err.splitlines()) == 1
        assert "\x1b" not in done.err


def of_each(errors: list[T], command: str) -> list[T]:
    """All of the errors for the commands that take no time, a third of them for the others."""
    return errors if command in ("runs", "show", "parts") else errors[::3]


def broken_line() -> int:
    """The line of this file at which `broken` raises."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return lines.index("            raise error") + 1


def test_the_command_in_the_message_goes_on_with_the_run(
    raising: Callable[..., Any], dlrun: Dlrun, runs_dir: Path
) -> None:
    for error in (ZeroDivisionError("once"), RunFailed("once")):
        done = raising(error, "train")
        [resume] = [line for line in done.err.splitlines() if line.startswith("  resume: ")]
        run = runs_in(runs_dir)[0]
        assert run.summary()["status"] == "failed"
        assert dlrun(*shlex.split(resume)[2:]).code == 0
        assert run.summary()["status"] == "finished"
        assert run.rows()["epoch"] == [1, 2, 3]


def test_the_log_of_a_run_holds_the_traceback_of_what_nobody_foresaw(
    raising: Callable[..., Any], runs_dir: Path
) -> None:
    done = raising(ZeroDivisionError("division by zero"), "train")
    log = (runs_in(runs_dir)[0].folder / "log.txt").read_text(encoding="utf-8")
    assert "log.txt of the run" in done.err
    assert TRACEBACK in log
    assert "in broken" in log


BROKEN = '''
"""A loss with a mistake."""


def broken(outputs, targets):
    """It has a mistake."""
    return outputs.nothing[targets]
'''


def test_a_mistake_in_a_part_of_ones_own_is_placed_in_it(
    dlrun: Dlrun, tiny: Path, write: Write, tmp_path: Path, runs_dir: Path
) -> None:
    part = write("mine/loss/broken.py", BROKEN)
    mine = ("--parts", tmp_path / "mine")
    done = dlrun("train", tiny, "loss=broken", *mine)
    what, where, fix, *_ = done.err.splitlines()
    assert (done.code, fix) == (1, "  fix: correct this file")
    assert what == "error: AttributeError: 'Tensor' object has no attribute 'nothing'"
    assert where == f"  where: in your file {part}:7, in broken"
    assert not runs_dir.exists()
    part = write("mine/loss/absent.py", f"import nowhere_to_be_found\n{BROKEN.replace('broken', 'absent')}")
    refused = dlrun("train", tiny, "loss=absent", *mine)
    assert (refused.code, refused.err.splitlines()[1]) == (2, f"  where: {part}:1, in <module>")
    part = write("mine/loss/unnamed.py", f"undefined\n{BROKEN.replace('broken', 'unnamed')}")
    refused = dlrun("train", tiny, "loss=unnamed", *mine)
    assert (refused.code, refused.err.splitlines()[1]) == (1, f"  where: in your file {part}:1, in <module>")


INDIRECT = '''
"""A dataset that asks dlrun for examples that are not there."""
import torch
from dlrun.data import Data, Examples


def indirect(root):
    """Points."""
    def read():
        few = Examples(torch.randn(9, 2), torch.arange(9) % 2)
        return {"train": few, "test": few.take(torch.tensor([99]))}
    return Data("classification", (2,), read, classes=("a", "b"))
'''
CUT = '''
"""A model that loses examples of some batches."""
from torch import nn


class Cut(nn.Linear):
    def forward(self, x):
        return super().forward(x)[: 3 if len(x) == 20 else None]


def cut(shape, outputs):
    """A layer."""
    return Cut(shape[0], outputs)
'''
DRAWN = '''
"""A picture with a mistake."""


def drawn(trained):
    """It {how}."""
    return {gives}
'''


def test_nobody_is_asked_to_report_a_mistake_in_a_part_of_ones_own(
    dlrun: Dlrun, tiny: Path, write: Write, tmp_path: Path
) -> None:
    mine = ("--parts", tmp_path / "mine")
    part = write("mine/dataset/indirect.py", INDIRECT)
    done = dlrun("train", tiny, "dataset=indirect", *mine)
    assert done.err.splitlines()[1:3] == [
        f"  where: in your file {part}:11, in read",
        "  fix: correct this file",
    ]
    part = write("mine/architecture/cut.py", CUT)
    done = dlrun("train", tiny, "architecture=cut", "batch_size=20", *mine)
    fix = f"see first if your own {part} gives what it should; if so, please report this"
    assert f"  fix: {fix}" in done.err.splitlines(), done.err


def test_a_picture_of_ones_own_that_fails_is_said_with_its_line(
    dlrun: Dlrun, tiny: Path, write: Write, tmp_path: Path
) -> None:
    for gives, said, line in (
        ("1 / 0", "ZeroDivisionError: division by zero (in your file {}:7, in drawn)", 7),
        ("3", "it gives an int instead of a Figure or an animation (in your file {}:5)", 5),
    ):
        part = write("mine/plots/drawn.py", DRAWN.format(how=f"fails in line {line}", gives=gives))
        done = dlrun("train", tiny, "plots=[drawn]", "--parts", tmp_path / "mine")
        assert done.code == 0
        assert f"warning: the plot drawn was not drawn: {said.format(part)}" in done.out + done.err
        sys.modules.pop(next(name for name in sys.modules if name.endswith(".plots.drawn")))
    write("mine/plots/drawn.py", "import nowhere_to_be_found\n" + DRAWN.format(how="draws", gives="3"))
    refused = dlrun("train", tiny, "plots=[drawn]", "--parts", tmp_path / "mine")
    assert refused.code == 2, "before hours of training"
    assert f"No module named 'nowhere_to_be_found' ({part}:1, in <module>)" in refused.err


def test_a_run_with_parts_of_ones_own_is_resumed_with_them(
    dlrun: Dlrun, tiny: Path, write: Write, tmp_path: Path, runs_dir: Path
) -> None:
    whole = BROKEN.replace(
        "outputs.nothing[targets]", "outputs.logsumexp(-1) - outputs.gather(1, targets[:, None])[:, 0]"
    )
    failing = whole.replace(
        "    return",
        "    if len(outputs) > 2 and outputs.requires_grad and Path('{}').exists(): 1 / 0\n    return",
    )
    flag = tmp_path / "it fails"
    part = failing.format(flag).replace("\ndef", "\nfrom pathlib import Path\n\n\ndef", 1)
    write("mine/loss/broken.py", part)
    words = ("train", tiny, "loss=broken", "--parts", tmp_path / "mine")
    paused = dlrun(*words, "--stop-after", 1)
    assert paused.code == 0
    flag.touch()
    done = dlrun("resume", "last", "--parts", tmp_path / "mine")
    [resume] = [line for line in done.err.splitlines() if line.startswith("  resume: ")]
    assert done.code == 1
    assert resume.strip() in paused.out.splitlines()
    flag.unlink()
    assert dlrun(*shlex.split(resume)[2:]).code == 0
    assert runs_in(runs_dir)[0].summary()["status"] == "finished"


@pytest.mark.parametrize(
    "words",
    [
        ("nothing",),
        ("train",),
        ("train", "--nothing"),
        ("train", "{tiny}", "--seeds", "0"),
        ("train", "{tiny}", "--seed", "two"),
        ("train", "{tiny}", "--stop-after"),
        ("eval", "tiny-001", "--split", "all"),
        ("predict", "tiny-001"),
        ("resume", "\n".join("a name of many lines")),
        ("show", "no\nsuch\nfile\n\n\n\n.yaml"),
        ("--debugging", "runs"),
        ("--debug",),
    ],
    ids=repr,
)
def test_a_word_that_is_none_is_said_in_few_lines_whatever_the_width(
    words: tuple[str, ...], dlrun: Dlrun, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    done = dlrun(*(word.format(tiny=tiny) for word in words))
    lines = done.err.splitlines()
    assert (done.code, done.out) == (2, "")
    assert lines[0].startswith("error: ")
    fixes = [line for line in lines if line.startswith(("  fix: dlrun", "  fix: write --"))]
    assert fixes or words[0] in ("resume", "show")
    assert len(lines) <= 5


def test_of_many_mistakes_the_first_are_shown_and_with_debug_all(dlrun: Dlrun, write: Write) -> None:
    config = write("many.yaml", "".join(f"key_{number}: 1\n" for number in range(20)))
    done = dlrun("show", config)
    first, *_, last = done.err.splitlines()
    count = int(first.split()[-2])
    assert count > 20
    assert len(done.err.splitlines()) == 22
    assert last == f"  and {count - 20} more, which dlrun --debug shows"
    every = dlrun("--debug", "show", config).err
    assert [f"{config}:{number + 1}:1" in every for number in range(20)] == [True] * 20


def test_without_a_word_the_help_is_shown(dlrun: Dlrun) -> None:
    done = dlrun()
    assert (done.code, done.err) == (0, "")
    assert "--debug" in done.out
    assert "train" in done.out


def test_a_process_of_its_own_shows_no_traceback_either(tiny: Path, write: Write, tmp_path: Path) -> None:
    write("mine/loss/unnamed.py", f"undefined\n{BROKEN.replace('broken', 'unnamed')}")
    words = ["show", str(tiny), "loss=unnamed", "--parts", str(tmp_path / "mine")]
    done = subprocess.run(
        [sys.executable, "-m", "dlrun", *words], cwd=PROJECT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: NameError: name 'undefined' is not defined")
    assert TRACEBACK not in done.stderr
    assert len(done.stderr.splitlines()) <= 5


@pytest.mark.parametrize(
    "words",
    [
        *(("eval", LONG_PATH), ("eval", f"{LONG_PATH}.pt"), ("resume", LONG_PATH), ("train", LONG_PATH)),
        *(("predict", "last", LONG_PATH), ("parts", "--parts", LONG_PATH), ("plot", LONG_PATH)),
        ("train", ""),
    ],
)
def test_a_name_too_long_for_a_file_names_none(dlrun: Dlrun, trained: Path, words: tuple[str, ...]) -> None:
    done = dlrun(*words)
    assert done.code == 2
    assert re.match("error: (there is no|no config is named|.* is no (file|folder))", done.err)
    assert len(done.err) < 1200  # the names of all configs among them


def test_a_folder_that_is_gone_is_said_to_be(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    command = "import os; os.rmdir(os.getcwd()); from dlrun.console.commands.app import main; main()"
    words = [sys.executable, "-P", "-c", command, "runs"]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(PROJECT)}
    )
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "error: the working directory no longer exists",
    )


def test_ctrl_c_while_it_starts_is_no_traceback(tmp_path: Path) -> None:
    """The first import is interrupted by Ctrl-C."""
    (tmp_path / "typer.py").write_text(
        "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    )
    paths = os.pathsep.join([str(tmp_path), str(PROJECT)])
    done = subprocess.run(
        [sys.executable, "-m", "dlrun", "runs"],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        # What a shell begins in the background ignores it, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_quiet_says_why_it_ends_with_another_code_than_0(
    dlrun: Dlrun, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = dlrun("train", tiny, "--quiet", "expect={train_accuracy: '> 2'}", "expect_epochs=1")
    assert (done.code, len(done.out.splitlines())) == (5, 1)
    assert "train_accuracy" in done.err and "> 2" in done.err

    def stopped(plan: object, state: object) -> bool:
        signal.raise_signal(signal.SIGTERM)
        return False

    monkeypatch.setattr("dlrun.training.experiment.is_complete", stopped)
    done = dlrun("train", tiny, "--quiet")
    assert (done.code, len(done.out.splitlines())) == (143, 1)
    assert done.err.splitlines() == [
        "stopped by a signal after epoch 0",
        "  epoch 1 was stopped after step 1, which is saved: resume goes on there",
        f"  resume: dlrun resume {done.out.strip()}",
    ]
