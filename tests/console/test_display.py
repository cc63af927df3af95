"""Output suits a terminal, a file or a closed pipe, and never stops a run."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO, TextIOWrapper
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TextIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from dlrun.config.loading import load_config
from dlrun.config.mistakes import ConfigError, Mistake
from dlrun.config.reference import kind_reference, reference_of
from dlrun.config.registry import Parts
from dlrun.config.strict_yaml import Place
from dlrun.console import streams, training_view
from dlrun.console.errors import print_error
from dlrun.console.evaluation import print_evaluation
from dlrun.console.model import print_layers
from dlrun.console.numbers import duration, number, of_seeds
from dlrun.console.parts import print_kind, print_part, print_reference
from dlrun.console.run_list import print_runs
from dlrun.console.streams import (
    _console,
    can_redraw,
    out,
    output_failure,
    print_plainly,
    say,
    say_sentence,
    show_progress,
    warn,
)
from dlrun.console.training_results import print_results, print_what_went_wrong
from dlrun.console.training_view import MOST_ROWS, REFRESH, TrainingDisplay, epochs_table
from dlrun.errors import UserError
from dlrun.run_folders.run import Run
from dlrun.training.hardware import Hardware
from dlrun.training.layers import Layer, Layers
from dlrun.training.plan import Plan
from dlrun.training.plan_making import make_plan

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOSTILE = [
    "[/foo]",
    "[red]x[/red]",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a\rb",
    "\u202ereversed",
    "\x9b31m",
]


class Terminal(StringIO):
    """Remembers what a terminal would be sent."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(training_view, "time", made)
    return made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()


def a_plan(tiny: Path, *words: str) -> Plan:
    return make_plan(load_config(tiny, list(words)), Parts(), Path())


def train(
    plan: Plan, clock: Clock, epochs: int, seconds: float, best: int = 0, on: Terminal | None = None
) -> TrainingDisplay:
    """Show `epochs` epochs of 5 steps that take `seconds` each; epoch `best` is the last best one."""
    with redirect_stdout(on) if on else nullcontext():
        view = TrainingDisplay()
    view.begin(plan, Run(Path("runs/tiny-001")), plan.state(Hardware(plan.device, 1)), 5)
    for epoch in range(1, epochs + 1):
        for _ in range(5):
            clock.now += seconds / 5
            view.tick(12)
        view.row(epoch, a_row(plan, epoch), best=epoch <= best)
    return view


def a_row(plan: Plan, epoch: int) -> dict[str, list[float]]:
    copies = range(len(plan.config.seeds))
    columns = {column: [epoch + copy / 10 for copy in copies] for column in plan.recipe.columns()}
    return columns | {"lr": [0.1 for _ in copies], "seconds": [0.5 for _ in copies]}


def epochs_in(text: str) -> list[int]:
    """The epochs of the last table in what a terminal was sent."""
    plain = CONTROL.sub("", text)
    return [
        int(found[1]) for found in re.finditer(r"^ *(?:★ )?(\d+)  +[\d.e+]+ ", _last_picture(plain), re.M)
    ]


def _last_picture(plain: str) -> str:
    """The rows of the last table."""
    return plain[plain.rfind("──") :]


# --------------------------------------------------------------------------- without a terminal


def test_without_a_terminal_there_are_plain_lines_about_one_a_second(
    tiny: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = a_plan(tiny, "epochs=1000")
    view = train(plan, clock, epochs=1000, seconds=0.02)
    view.end()
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    epochs = [int(line.split()[1].split("/")[0]) for line in lines if line.startswith("epoch")]
    assert harmless(printed)
    assert len(lines) == len(epochs) + 1
    assert 20 <= len(epochs) <= 22  # 20 seconds
    assert epochs[-1] == 1000
    assert all(later - earlier >= 49 for earlier, later in pairwise(epochs[:-1]))
    assert "train_loss 1000" in lines[-1]


def test_slow_epochs_have_a_line_each_and_none_twice(
    tiny: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    train(a_plan(tiny, "epochs=5"), clock, epochs=5, seconds=20).end()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["1/5", "2/5", "3/5", "4/5", "5/5"]


def test_an_epoch_of_minutes_says_every_half_minute_how_far_it_is(
    tiny: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    train(a_plan(tiny, "epochs=3"), clock, epochs=2, seconds=100).end()
    first, *lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["epoch 1/3", "step 2 of 5"],  # steps take 20 seconds
        ["epoch 1/3", "step 4 of 5"],
        ["epoch 1/3", "train_loss 1.0000"],
        ["epoch 2/3", "step 2 of 5"],
        ["epoch 2/3", "step 4 of 5"],
        ["epoch 2/3", "train_loss 2.0000"],
    ]
    assert lines[0].endswith("40 s, about 4:20 min left")
    assert first.startswith("runs/tiny-001")


def test_the_first_line_says_what_is_trained(
    tiny: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = a_plan(tiny)
    train(plan, clock, epochs=0, seconds=0)
    [line] = capsys.readouterr().out.splitlines()
    for words in ("runs/tiny-001", "spiral", "mlp", f"{plan.layers.parameters} parameters", "adam", "seed 0"):
        assert words in line


def test_a_line_is_never_cut_for_want_of_width(
    tiny: Path, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in ("1", "20", "0", "", "wide", "-3", "9" * 30):
        monkeypatch.setenv("COLUMNS", columns)
        train(a_plan(tiny), clock, epochs=1, seconds=20).end()
        printed = capsys.readouterr().out
        assert len(printed.splitlines()) == 2, columns
        assert "test_accuracy 1" in printed


# --------------------------------------------------------------------------- on a terminal


@pytest.mark.parametrize("height", [3, 24])
def test_a_thousand_epochs_fit_on_the_screen(
    height: int, tiny: Path, clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINES", str(height))
    view = train(a_plan(tiny, "epochs=1003"), clock, epochs=1003, seconds=0.05, best=777, on=terminal)
    before = len(terminal.getvalue())
    view.end()
    picture = terminal.getvalue()[before:]
    assert len(_last_picture(CONTROL.sub("", picture)).splitlines()) + 3 <= max(height, 11)
    shown = epochs_in(picture)
    assert {777, 1003} <= set(shown)
    assert shown == sorted(set(shown))
    steps = {epoch for epoch in shown if epoch not in (777, 1003)}
    assert len(steps) >= min(height - 14, 5)
    assert len({later - earlier for earlier, later in pairwise(sorted(steps))}) <= 1


def test_few_epochs_are_all_on_the_screen_with_the_best_marked(
    tiny: Path, clock: Clock, terminal: Terminal
) -> None:
    view = train(a_plan(tiny, "epochs=8"), clock, epochs=8, seconds=1, best=5, on=terminal)
    view.end()
    picture = _last_picture(CONTROL.sub("", terminal.getvalue()))
    assert epochs_in(terminal.getvalue()) == list(range(1, 9))
    assert [int(number) for number in re.findall(r"★ +(\d+)", picture)] == [5]
    assert "epoch 8/8" in picture
    assert "samples/s" in picture
    assert "★ best by training loss" in picture


def test_columns_of_the_training_set_after_an_epoch_are_told_from_those_during_it(
    tiny: Path, clock: Clock, terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "train_*: means over the epoch, while it trained; trainset_*: the training set after it"
    for words in ((), ("evaluate_train_every=2",)):
        train(a_plan(tiny, *words), clock, epochs=3, seconds=1, on=terminal).end()
        picture = _last_picture(CONTROL.sub("", terminal.getvalue()))
        assert (said in " ".join(picture.split())) is bool(words)
    figures = {"train_loss": {"mean": 0.5, "sd": None}, "trainset_loss": {"mean": 0.4, "sd": None}}
    for summary in (SUMMARY, SUMMARY | {"final": figures}):
        print_results(summary, "runs/some-001", "dlrun resume runs/some-001")
        assert (said in " ".join(capsys.readouterr().out.split())) is (summary is not SUMMARY)


@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ("valid_loss", "best valid_loss, epoch 2"),
        ("test_accuracy", "best test_accuracy, epoch 2"),
        ("train_loss", "best by training loss, epoch 2"),
        ("train_mae", "best by training MAE, epoch 2"),
        ("trainset_accuracy", "best by training accuracy, epoch 2"),
    ],
)
def test_a_best_epoch_that_only_training_examples_chose_is_called_so(
    monitor: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    best = SUMMARY["best"] | {"monitor": monitor}
    print_results(SUMMARY | {"best": best}, "runs/some-001", "dlrun resume runs/some-001")
    assert said in capsys.readouterr().out


def test_the_screen_is_refreshed_a_few_times_a_second(tiny: Path, clock: Clock, terminal: Terminal) -> None:
    view = train(a_plan(tiny, "epochs=1000"), clock, epochs=1000, seconds=0.01, on=terminal)
    pictures = terminal.getvalue().count("samples/s")
    assert 10 <= pictures <= 10 / REFRESH + 2
    view.end()
    assert "epoch 1000/1000" in terminal.getvalue()


def test_memory_does_not_grow_with_the_epochs(tiny: Path, clock: Clock, terminal: Terminal) -> None:
    view = train(a_plan(tiny, "epochs=20000"), clock, epochs=20000, seconds=1e-5, on=terminal)
    assert len(view._rows) <= MOST_ROWS
    view.end()


def test_a_bar_leaves_the_cursor_to_whoever_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    file = StringIO()
    monkeypatch.setattr(streams, "err", lambda: Console(file=file, force_terminal=True))
    bar = iter(show_progress("abc", 3, "decoding"))
    assert next(bar) == "a"
    assert file.getvalue().rfind("\x1b[?25h") > file.getvalue().rfind("\x1b[?25l") > -1
    assert list(bar) == ["b", "c"]


def test_what_was_not_measured_is_an_empty_cell() -> None:
    rows = {1: {"train_loss": [0.5]}, 2: {"train_loss": [0.25], "test_loss": [0.75]}}
    table = epochs_table(["train_loss", "test_loss"], rows, best=2, with_rate=False, width=20)
    out = StringIO()
    _console(out).print(table)
    lines = out.getvalue().splitlines()
    [first] = [line for line in lines if line.strip().startswith("1 ")]
    assert first.split() == ["1", "0.5000"]
    assert any(line.split()[-1] == "0.7500" for line in lines if "★" in line)


# --------------------------------------------------------------------------- figures


def test_seeds_are_shown_as_mean_and_standard_deviation() -> None:
    values = [0.91, 0.93, 0.98]
    assert of_seeds(values) == f"{fmean(values):.4f} ± {stdev(values):.4f}"
    assert of_seeds([0.91]) == "0.9100"
    assert of_seeds([]) == of_seeds(None) == number(None) == ""


def test_several_seeds_are_shown_so_in_lines_and_tables(
    tiny: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    train(a_plan(tiny, "seeds=[1, 2, 3]"), clock, epochs=1, seconds=60).end()
    values = a_row(a_plan(tiny, "seeds=[1, 2, 3]"), 1)["train_loss"]
    printed = capsys.readouterr().out
    assert f"train_loss {fmean(values):.4f} ± {stdev(values):.4f}" in printed
    assert "3 seeds" in printed


@pytest.mark.parametrize(
    "value", [0.0, 1e-9, 0.00012345, 0.5, 999.9, 1e6, -1e-7, 1e300, math.nan, math.inf, 7]
)
def test_a_figure_is_short_and_true_to_four_digits(value: float) -> None:
    text = number(value)
    assert len(text) <= 10
    assert float(text) == pytest.approx(value, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.84, "0.8 s"),
        (12.3, "12 s"),
        (59.6, "1:00 min"),
        (185, "3:05 min"),
        (3723, "1:02:03 h"),
    ],
)
def test_a_time_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --------------------------------------------------------------------------- strangers' texts


def harmless(printed: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in printed)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_and_steer_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    seen = re.search(r"[\w/\[\]]+", text[1:])[0]  # type: ignore[index]
    say(text)
    warn(text)
    print_error(UserError(text, where=text, fix=text))
    print_error(ConfigError(text, [Mistake(Place(text), text, text)]))
    print_runs(
        [
            {
                "run": text,
                "status": text,
                "epochs": text,
                "best": {},
                "best_epoch": None,
                "last": {},
                "told": [],
                "seconds": None,
            }
        ]
    )
    layers = Layers([Layer(text, text, (1, 2), 3, 4, text)], (2,), 3, 4)
    print_layers(layers, (1, 2))
    print_results({**SUMMARY, "status": text}, text, text)
    found = {
        **EVALUATION,
        "run": text,
        "per_class": {text: {"precision": None, "recall": 1.0, "f1": 0.5, "examples": 3}},
    }
    print_evaluation(found)
    captured = capsys.readouterr()
    assert harmless(captured.out)
    assert harmless(captured.err)
    assert captured.out.count(seen) >= 8
    assert captured.err.count(seen) >= 6


def test_a_text_of_several_lines_is_one_line_of_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UserError("one\ntwo\x1b[2J"))
    warn("one\r\ntwo")
    assert capsys.readouterr().err == "error: one two\N{REPLACEMENT CHARACTER}[2J\nwarning: one two\n"


SUMMARY: dict[str, Any] = {
    "status": "finished",
    "epochs": 3,
    "seeds": [0, 1],
    "seconds": 1.0,
    "final": {"train_loss": {"mean": 0.5, "sd": 0.1}, "seconds": {"mean": 9.0, "sd": None}},
    "best": {"epoch": 2, "monitor": "train_loss", "figures": {"train_loss": {"mean": 0.25, "sd": 0.1}}},
    "expect": [
        {"column": "train_loss", "claim": "< 0.4", "measured": 0.5, "met": False},
        {"column": "best.train_loss", "claim": "< 0.4", "measured": 0.25, "met": True},
    ],
}
EVALUATION: dict[str, Any] = {
    "run": "some-001",
    "checkpoint": "best.pt",
    "sha256": "0" * 64,
    "epoch": 3,
    "split": "test",
    "examples": 1000,
    "loss": 0.5,
    "metrics": {"accuracy": 0.75},
    "baselines": {"class prior": {"loss": 1.0, "accuracy": 0.3}},
    "per_seed": {"0": {"loss": 0.4, "accuracy": 0.7}, "1": {"loss": 0.6, "accuracy": 0.8}},
    "recorded": {"loss": {"at_training": 0.5, "difference": 0.0}},
    "same_data": True,
}


def test_the_end_of_a_run_shows_final_and_best_and_each_claim(capsys: pytest.CaptureFixture[str]) -> None:
    print_results(SUMMARY, "runs/some-001", "dlrun resume runs/some-001")
    printed = capsys.readouterr().out
    [figures] = [line for line in printed.splitlines() if line.strip().startswith("train_loss  ")]
    assert figures.split() == ["train_loss", "0.5000", "±", "0.1000", "0.2500", "±", "0.1000"]
    [unmet] = [line for line in printed.splitlines() if "train_loss < 0.4" in line and "best" not in line]
    assert unmet.split()[-2:] == ["0.5000", "no"]
    [met] = [line for line in printed.splitlines() if "best.train_loss < 0.4" in line]
    assert met.split()[-2:] == ["0.2500", "yes"]
    assert "mean ± standard deviation over 2 seeds" in printed
    assert printed.splitlines()[-1] == "finished after epoch 3 in 1.0 s: runs/some-001"


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (120, "epoch 4 was stopped after step 120, which is saved: resume goes on there"),
        (0, "epoch 4 was stopped after step 120, and resume trains it again from its beginning"),
        (70, "epoch 4 was stopped after step 120, and resume trains it again from step 71 on"),
    ],
)
def test_a_run_that_was_stopped_amid_an_epoch_says_what_is_trained_again(
    saved: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    within = {"epoch": 4, "steps": 120, "saved": saved}
    claims = [claim | {"met": None, "why": "the run is not complete"} for claim in SUMMARY["expect"]]
    summary = SUMMARY | {"status": "interrupted", "within": within, "expect": claims}
    print_results(summary, "runs/some-001", "dlrun resume runs/some-001")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [said, "resume: dlrun resume runs/some-001"]
    assert "expect: not judged, because the run is not complete" in lines
    print_what_went_wrong(summary, "dlrun resume runs/some-001")
    assert said in capsys.readouterr().err
    for other in ({"within": None}, {"status": "diverged"}):
        print_results(summary | other, "runs/some-001", "dlrun resume runs/some-001")
        assert "epoch 4" not in capsys.readouterr().out


def test_a_figure_is_never_cut_where_four_digits_of_each_have_room() -> None:
    columns = [f"test_{figure}" for figure in ("loss", "mae", "rmse", "r2", "a", "b", "c", "d")]
    row = {column: [-868.07234] for column in columns}
    for width, shown in ((200, "-868.0723"), (80, "-868.1")):
        table = epochs_table(columns, {1: row}, best=None, with_rate=False, width=width)
        with StringIO() as file:
            Console(file=file, width=width).print(table)
            text = file.getvalue()
        assert text.count(shown) == 8 and "…" not in text


def test_what_is_reached_without_a_model_stands_beside_the_figures_or_below_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    baselines = {name: {"loss": 1.25} for name in ("mean", "yesterday", "my [/guess]")}
    summary = SUMMARY | {"baselines": {"train": baselines}}
    for columns, tables in ((200, 1), (60, 2)):
        monkeypatch.setenv("COLUMNS", str(columns))
        print_results(summary, "runs/some-001", "dlrun resume runs/some-001")
        lines = capsys.readouterr().out.splitlines()
        assert sum("1.2500" in line for line in lines) == 1
        assert sum(line.split()[:1] == ["train_loss"] and "<" not in line for line in lines) == tables
        [heading] = [line for line in lines if "yesterday" in line]
        assert "my [/guess]" in heading


def test_an_evaluation_says_whether_it_found_what_was_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation(EVALUATION)
    same = capsys.readouterr().out
    assert "exactly as recorded at training: loss" in same
    print_evaluation({**EVALUATION, "recorded": {}})
    assert "in this epoch: no recorded figures to compare with" in capsys.readouterr().out
    print_evaluation(
        {**EVALUATION, "recorded": {"loss": {"at_training": 0.5, "difference": 0.125}}, "same_data": False}
    )
    other = capsys.readouterr().out
    assert "exactly" not in other
    assert re.search(r"^loss was 0\.5000 at training: .*0\.12$", other, re.M)
    assert "the data is not what the model was trained on" in other
    [loss] = [line for line in other.splitlines() if line.strip().startswith("loss  ")]
    assert loss.split() == ["loss", "0.5000", "±", f"{stdev([0.4, 0.6]):.4f}", "1.0000"]


def test_every_part_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    print_kind(kind_reference(Parts(), "optimizer"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "optimizer"
    assert "      lr: a number >= 0 (required)" in lines
    assert "      beta1: a number >= 0 and < 1 (default 0.9)" in lines


def test_one_part_is_shown_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    part = Parts().part("architecture", "torchvision")
    print_part(part)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "architecture.torchvision"
    model = lines.index("  model: text (required)")
    assert lines[model + 1].startswith("      Its name in torchvision")
    said = " ".join(out.split())
    for text in (part.summary, *part.about.paragraphs, *(option.help for option in part.options.values())):
        assert text in said
    assert "  weights: a run, a file or a name of weights, or null (default null)" in lines, (
        "as each architecture has"
    )
    assert "  architecture: {name: torchvision, model: resnet18, weights: DEFAULT}" in lines
    assert lines[-1] == f"file {part.path}"
    meanings = [line for line in lines[model : lines.index("in a config") - 1] if " (default " not in line]
    assert all(line.startswith(" " * 6) and len(line) <= 72 for line in meanings[1:])
    assert all(line == line.rstrip() for line in lines)


# --------------------------------------------------------------------------- streams that fail


def everything(tiny: Path, clock: Clock) -> None:
    view = train(a_plan(tiny, "epochs=50", "seeds=[0, 1]"), clock, epochs=50, seconds=1)
    view.warn("a warning ü")
    view.end()
    print_results(SUMMARY, "runs/ü★-001", "dlrun resume runs/ü★-001")
    print_evaluation(EVALUATION)
    say("ü★")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_an_encoding_that_lacks_a_sign_stops_nothing(
    encoding: str, tiny: Path, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("w", encoding=encoding) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        everything(tiny, clock)
    text = (tmp_path / "out").read_text(encoding=encoding)
    assert "epoch 50/50" in text
    assert ("±" if encoding != "ascii" else "?") in text


def closed() -> TextIO:
    stream = StringIO()
    stream.close()
    return stream


def full() -> TextIO:
    return open("/dev/full", "w", buffering=1)


def unread() -> TextIO:
    """A pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w")


def breaking() -> TextIO:
    class Breaking(TextIOWrapper):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    return Breaking(open("/dev/null", "wb"), encoding="utf-8")


@pytest.mark.parametrize("stream", [closed, full, unread, breaking, lambda: None])
def test_a_stream_that_fails_stops_nothing(
    stream: Any, tiny: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stdout", "stderr"):
        with monkeypatch.context() as patched:
            made = stream()
            patched.setattr(sys, name, made)
            everything(tiny, clock)
            warn("a warning")
            print_error(UserError("an error"))
            if made is not None and not made.closed:
                made.close()
    output_failure()  # which the next command would tell


def test_what_was_printed_before_a_stream_failed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class FailsOnce(StringIO):
        fails = False

        def write(self, text: str) -> int:
            if self.fails:
                raise BrokenPipeError
            return super().write(text)

    stream = FailsOnce()
    monkeypatch.setattr(sys, "stdout", stream)
    console = out()
    console.print("first")
    stream.fails = True
    console.print("second")
    stream.fails = False
    console.print("third")
    assert stream.getvalue() == "first\n"
    output_failure()  # which the next command would tell


UNWATCHED = [("TERM", "dumb"), ("CI", "true"), ("CI", "1"), ("JPY_PARENT_PID", "7")]


@pytest.mark.parametrize(("name", "value"), UNWATCHED)
def test_a_terminal_that_nobody_watches_gets_lines_as_a_pipe_does(
    name: str, value: str, tiny: Path, clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    train(a_plan(tiny), clock, 3, 2.0, on=terminal)
    assert [line.split("  ")[0] for line in terminal.getvalue().splitlines()[1:]] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]


@pytest.mark.parametrize(("name", "value"), [*UNWATCHED, ("CI", "false")])
def test_no_control_character_is_printed_where_nobody_watches(
    name: str, value: str, tiny: Path, clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, terminal)
    everything(tiny, clock)
    print_error(UserError("an error"))
    warn("a warning")
    assert [*show_progress(range(3), 3, "reading")] == [0, 1, 2]
    has_control = any(not letter.isprintable() and letter != "\n" for letter in terminal.getvalue())
    assert has_control == (value == "false")


def test_colours_that_are_forced_reach_no_file(
    tiny: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", stream := StringIO())
    everything(tiny, clock)
    assert "\x1b" not in stream.getvalue()


def test_every_command_with_a_live_view_prints_plainly_if_it_is_asked(
    dlrun: Callable[..., Any], tiny: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_live() -> bool:
        with redirect_stdout(terminal):
            return can_redraw(out())

    assert dlrun("train", tiny, "--quiet").code == 0
    assert is_live()
    for command, word in (
        *(("train", tiny), ("resume", "last"), ("sweep", tiny), ("reproduce", "last")),
        *(("eval", "last"), ("plot", "last"), ("data", tiny)),
    ):
        dlrun(command, word, "--plain", "nothing=1" if command != "reproduce" else "--quiet")
        assert not is_live(), command
        dlrun(command, word, "nothing=1" if command != "reproduce" else "--quiet")
        assert is_live(), command
    monkeypatch.setenv("DLRUN_PLAIN", "1")
    dlrun("train", tiny, "nothing=1")
    assert not is_live()
    print_plainly(False)


# ------------------------------------------------------------------------ lines and the terminal's width

LONG = "the quick brown fox jumps over the lazy dog " * 4 + "gradient_clip"


def printed(on: StringIO) -> list[str]:
    """Lines that each have more words than fit: parts, keys, an error, a mistake, a warning."""
    parts = Parts()
    path = "/a/path/" + "of/many/folders/" * 8
    with redirect_stdout(on), redirect_stderr(on):
        print_reference(reference_of(parts))
        print_kind(kind_reference(parts, "architecture"))
        print_part(parts.part("architecture", "mlp"))
        print_error(UserError(LONG, where=path, fix=LONG, excerpt=[LONG, " " * 170 + "^"]))
        print_error(ConfigError("x.yaml", [Mistake(Place("x.yaml", 1, 2), "lr", LONG)]))
        warn(LONG)
    return CONTROL.sub("", on.getvalue()).splitlines()


def test_lines_break_at_words_on_a_terminal_and_nowhere_in_a_pipe(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines, piped = printed(terminal), printed(StringIO())
    assert [line for line in piped if LONG in line], "one line each"
    words = {word for line in piped for word in line.split()}
    on_both = [line for line in lines if not line.startswith("dlrun parts ")]  # a hint for a terminal
    assert {word for line in on_both for word in line.split()} == words, "no word is cut in two"
    wide = [line for line in lines if len(line) > 80]
    assert [line.strip()[:5] for line in wide] == ["/a/pa", "the q", "^"], "a path, and an excerpt"
    assert "  gradient_clip" in "\n".join(lines)


def test_an_evaluation_fits_a_terminal_of_80_columns_with_its_baselines_in_a_table_of_their_own(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    guesses = {f"a guess of kind {kind}": {"loss": 2.0 + kind, "accuracy": 0.25} for kind in range(3)}
    pairs = [{"true": "north-east", "predicted": f"south {n}", "count": n} for n in range(5)]
    with redirect_stdout(terminal):
        print_evaluation(EVALUATION | {"baselines": guesses, "most_confused": pairs})
    text = CONTROL.sub("", terminal.getvalue())
    assert max(map(len, text.splitlines())) <= 80
    told = [line for line in text.splitlines() if "north-east" in line]
    assert len(told) > 1 and all(line.startswith(("most", "  ")) for line in told), "broken at words"
    heads = [line for line in text.splitlines() if "without a model" in line]
    assert len(heads) == 1 and "a guess of kind" not in text[: text.index("without a model")]


def test_the_list_of_runs_has_the_best_figure_on_a_terminal_of_80_columns(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    figures = {
        f"{split}_{name}": {"mean": 0.5, "sd": None}
        for split in ("train", "test")
        for name in ("loss", "accuracy")
    }
    row = {
        "run": "spiral_relu-001",
        "status": "finished",
        "epochs": "1000",
        "seconds": 1.8,
        "last": figures,
        "told": [*figures],
        "best": {"test_accuracy": {"mean": 0.94, "sd": None}},
        "best_epochs": "epoch 12",
    }
    with redirect_stdout(terminal):
        print_runs([row])
    assert terminal.getvalue().splitlines() == [
        "run              status    epochs  time",
        "spiral_relu-001  finished  1000    1.8 s",
        "    best test_accuracy 0.9400 at epoch 12; last train_loss 0.5000, train_accura…",
    ]
    monkeypatch.setenv("COLUMNS", "200")
    terminal.truncate(0)
    with redirect_stdout(terminal):
        print_runs([row])
    head, line = terminal.getvalue().splitlines()
    assert head.split()[-2:] == ["best", "last"] and line.endswith("test_accuracy 0.5000")


def test_the_seconds_of_epochs_have_as_many_decimals(terminal: Terminal) -> None:
    rows = {1: {"train_loss": [0.5], "seconds": [0.00083]}, 2: {"train_loss": [0.4], "seconds": [0.0123]}}
    with redirect_stdout(terminal):
        out().print(epochs_table(["train_loss"], rows, best=None, with_rate=False, width=80))
    figures = terminal.getvalue().split()
    assert [figures[-4], figures[-1]] == ["0.0008", "0.0123"]
    for seconds, said in [(3e-5, "3e-05"), (1234.5678, "1235")]:
        with redirect_stdout(terminal):
            out().print(
                epochs_table(
                    ["train_loss"], {1: {"seconds": [seconds]}}, best=None, with_rate=False, width=80
                )
            )
        assert terminal.getvalue().split()[-1] == said


def test_a_sentence_is_broken_at_words_in_a_terminal_and_is_one_line_elsewhere(terminal: Terminal) -> None:
    sentence = "there is no validation split: go on with " + "dlrun train spiral-relu-002 --or-resume " * 3
    sentence = sentence.rstrip()
    for stream, lines in (terminal, 2), (StringIO(), 1):
        with redirect_stdout(stream):
            say_sentence(sentence)
        said = stream.getvalue().splitlines()
        assert len(said) == lines and max(map(len, said[:-1]), default=0) <= 100
        assert " ".join(line.strip() for line in said) == sentence, "no hyphen ends a line"


def test_a_sentence_of_wide_signs_is_broken_before_the_edge(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with redirect_stdout(terminal):
        say_sentence(" ".join(["深層学習の実験"] * 12))
    lines = terminal.getvalue().splitlines()
    assert len(lines) == 3 and max(map(cell_len, lines)) <= 80
    assert "".join(lines).split() == ["深層学習の実験"] * 12


def test_the_paragraphs_of_a_help_fill_the_lines(
    dlrun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    lines = [line.strip() for line in dlrun("predict", "--help").out.splitlines()]
    begun = next(number for number, line in enumerate(lines) if line.startswith("An input that cannot"))
    assert lines[begun + 1].startswith("code is 1, unless the dataset has the option")
