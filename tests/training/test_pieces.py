"""A piece for which memory runs out is halved: no example is lost or counted twice, and it is said."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small_runs import Listening, differences, go_on, outcome, own_parts, planned, trained

from dlrun.config.dumping import dump_config
from dlrun.config.registry import Parts
from dlrun.errors import is_out_of_memory
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.loop import evaluate, predictions
from dlrun.training.meters import DeviceMeter
from dlrun.training.opening import open_checkpoint
from dlrun.training.pieces import Pieces
from dlrun.training.plan import Plan
from dlrun.training.trained import Trained

FITS, FIRST, HALVED = 100, 600, 75  # examples that memory suffices for; 600, 300, 150, 75 are tried

# Parts that take the memory: each asks for 4 PiB if it is given more than 100 examples.
NARROW = {
    "architecture/narrow.py": '''
"""A layer that fits into memory for few examples."""
import torch
from torch import nn
from dlrun.config.options import Count


class Narrow(nn.Module):
    def __init__(self, shape, outputs, most):
        super().__init__()
        self.layer, self.most = nn.Linear(shape[0], outputs), most

    def forward(self, inputs):
        if not self.training and len(inputs) > self.most:
            torch.empty(2**50)
        return self.layer(inputs)


def narrow(shape, outputs, *, most: Count = 100):
    """One layer."""
    return Narrow(shape, outputs, most)
''',
    "loss/narrow_loss.py": '''
"""A loss that fits into memory for few examples."""
import torch


def narrow_loss(outputs, targets):
    """Cross entropy."""
    if len(outputs) > 100:
        torch.empty(2**50)
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
''',
    "metrics/narrow_metric.py": '''
"""A metric that fits into memory for few examples."""
import torch


def narrow_metric(outputs, targets):
    """The share of first classes."""
    if len(outputs) > 100:
        raise MemoryError
    return (outputs.argmax(1) == 0).float()
''',
}
LARGE: dict[str, dict[str, Any]] = {
    "the model": {"architecture": "narrow"},
    "the loss": {"loss": "narrow_loss"},
    "a metric": {"metrics": ["accuracy", "narrow_metric", "f1"]},
}


def wide(parts: Parts, **changes: Any) -> Plan:
    """A plan with six hundred examples to test on."""
    return planned(parts, **({"dataset": {"name": "spiral", "points": 200}} | changes))


@pytest.mark.parametrize("part", LARGE)
@pytest.mark.parametrize("stacked", [False, True])
def test_the_figures_are_those_of_the_size_that_fits(part: str, stacked: bool, tmp_path: Path) -> None:
    parts, seeds = own_parts(tmp_path, NARROW), {"seeds": [0, 1], "stacked": stacked}
    measured, said = [], list[str]()
    for size in ("auto", HALVED):
        plan = wide(parts, evaluation_batch_size=size, **seeds, **LARGE[part])
        loaded = plan.load()
        hardware = plan.hardware(loaded)
        object.__setattr__(hardware, "warn", said.append)
        measured.append(evaluate(plan.model(), loaded["test"], plan.recipe, hardware))
    assert not differences(*measured)
    # Stacked seeds have their examples together in a loss or a metric: 150 and then 76 of two are too many.
    halved = 38 if stacked and part != "the model" else HALVED
    line = f"memory does not suffice for 600 examples at once: from here on evaluation_batch_size is {halved}"
    assert said[:1] == [line]


def test_every_example_is_computed_once_in_its_order_whenever_memory_runs_out() -> None:
    pieces, short, said, done = Pieces(), iter([False, True, True, False, False, True]), list[str](), []

    def compute(piece: slice) -> list[int]:
        if next(short, False):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return list(range(piece.start, piece.stop))

    for found in pieces.each(range(27), 10, compute, said.append):
        done.append(found)
    assert [number for found in done for number in found] == list(range(27))
    assert [len(found) for found in done] == [10, 3, 3, 2, 2, 2, 2, 2, 1]
    assert [text.split(":")[0].split("for ")[1] for text in said] == [
        "10 examples at once",
        "3 examples at once",
    ]
    assert pieces.most == 2


def test_a_single_example_that_does_not_fit_ends_it_with_the_error() -> None:
    sizes, said = list[int](), list[str]()

    def compute(piece: slice) -> None:
        sizes.append(piece.stop - piece.start)
        torch.empty(2**50)

    with pytest.raises(RuntimeError, match="can't allocate") as error:
        list(Pieces().each(range(100), 1024, compute, said.append))
    assert is_out_of_memory(error.value)
    assert sizes == [100, 50, 25, 13, 7, 4, 2, 1]
    assert not said


@pytest.mark.parametrize("error", [ValueError("a mistake"), RuntimeError("shapes do not fit")])
def test_another_error_is_raised_at_once(error: Exception) -> None:
    calls = []

    def compute(piece: slice) -> None:
        calls.append(piece)
        raise error

    with pytest.raises(type(error)):
        list(Pieces().each(range(8), 8, compute, calls.append))
    assert calls == [slice(0, 8)]


def test_nothing_of_the_failed_piece_is_in_memory_when_its_half_is_tried() -> None:
    held = list[weakref.ref[torch.Tensor]]()

    def compute(piece: slice) -> int:
        assert all(other() is None for other in held)
        large = torch.ones(piece.stop - piece.start)
        held.append(weakref.ref(large))
        if len(large) > 2:
            torch.empty(2**50)
        return len(large)

    assert list(Pieces().each(range(8), 8, compute, print)) == [2, 2, 2, 2]


def test_a_loss_of_whole_batches_is_never_given_half_of_one(tmp_path: Path) -> None:
    text = NARROW["loss/narrow_loss.py"].replace("import torch", "import torch\nbatchwise = True", 1)
    text = text.replace('reduction="none"', 'reduction="mean"')
    plan = wide(own_parts(tmp_path, {"loss/narrow_loss.py": text}), loss="narrow_loss", batch_size=120)
    loaded = plan.load()
    with pytest.raises(RuntimeError, match="can't allocate"):
        evaluate(plan.model(), loaded["test"], plan.recipe, plan.hardware(loaded))


@pytest.mark.parametrize("part", LARGE)
def test_a_meter_of_an_accelerator_has_room_for_more_pieces_than_planned(part: str, tmp_path: Path) -> None:
    plan = wide(own_parts(tmp_path, NARROW), **LARGE[part])
    loaded, model = plan.load(), plan.model()
    found = []
    for size in (FIRST, HALVED):
        hardware = plan.hardware(loaded)
        meter = DeviceMeter(hardware.device, plan.recipe, model, FIRST, "evaluation", size)
        for _ in predictions(model, loaded["test"], hardware, size, meter.measure):
            pass
        found.append(meter.means())
    assert not differences(*found)
    assert not differences(found[0], evaluate(model, loaded["test"], plan.recipe, plan.hardware(loaded)))


# ------------------------------------------------------------------------ in runs


@pytest.mark.usefixtures("save_always")
def test_the_smaller_size_is_recorded_said_and_kept_by_a_resume(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, NARROW)
    plan, view = wide(parts, architecture="narrow"), Listening()
    unbroken = trained(plan, tmp_path, view=view)
    [said] = view.warnings
    assert (
        said == "memory does not suffice for 600 examples at once: from here on evaluation_batch_size is 75"
    )
    assert said in (unbroken.folder / "log.txt").read_text()
    assert yaml.safe_load(unbroken.config.read_text())["evaluation_batch_size"] == HALVED
    for path in (unbroken.last, unbroken.best):
        assert load_checkpoint(path).config["evaluation_batch_size"] == HALVED
    paused, again = trained(plan, tmp_path, stop_after=1), Listening()
    go_on_with(parts, paused, again, size=HALVED)
    assert not differences(outcome(unbroken), outcome(paused))
    assert again.warnings == ["evaluation_batch_size is 75, no longer 1024: memory did not suffice"]
    direct = trained(wide(parts, architecture="narrow", evaluation_batch_size=HALVED), tmp_path)
    assert not differences(outcome(unbroken), outcome(direct))


@pytest.mark.usefixtures("save_always")
def test_a_run_that_ended_before_its_config_was_written_goes_on_all_the_same(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, NARROW)
    plan = wide(parts, architecture="narrow")
    run = trained(plan, tmp_path, stop_after=1)
    run.write_config(dump_config(plan.config))
    with pytest.raises(Exception, match="another evaluation_batch_size"):
        go_on_with(parts, run, Listening(), size=80)
    go_on_with(parts, run, Listening(), size="auto")
    assert yaml.safe_load(run.config.read_text())["evaluation_batch_size"] == HALVED
    assert not differences(outcome(trained(plan, tmp_path)), outcome(run))


def go_on_with(parts: Parts, run: Any, view: Listening, size: int | str) -> None:
    """Go on with a run of the narrow layer."""
    changes = {"dataset": {"name": "spiral", "points": 200}, "architecture": "narrow"}
    go_on(run, changes | {"evaluation_batch_size": size}, parts, view=view)


def test_pictures_and_reports_have_what_they_have_in_pieces_of_that_size(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, NARROW)
    run, found, said = trained(wide(parts, architecture="narrow"), tmp_path), list[Any](), list[str]()
    uses: list[Callable[[Trained], Any]] = [
        lambda model: model.outputs("test"),
        lambda model: model.outputs_at(model.loaded["test"].raw()),
        lambda model: model.judged("test", torch.arange(FIRST)),
        lambda model: evaluate_run(model, load_checkpoint(run.best), run.best, "test")["confusion"],
    ]
    for words in ([], ["evaluation_batch_size=600"]):
        for use in uses:
            model, _ = open_checkpoint(run.best, run, words, parts, tmp_path, warn=said.append)
            found.append(use(model))
    assert not differences(found[:4], found[4:])
    assert len(said) == 4
    assert {text.split(":")[0] for text in said} == {"memory does not suffice for 600 examples at once"}


def test_a_prediction_counts_each_row_once_and_says_it(
    dlrun: Any, tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    parts = own_parts(tmp_path, NARROW)
    run = trained(planned(parts, architecture="narrow"), tmp_path / "runs")  # 60 examples to test on fit
    rows = [f"{x},{y}" for x, y in torch.rand(FIRST, 2).tolist()]
    every = write("rows.csv", "\n".join(["x,y", *rows]) + "\n")
    done = dlrun("predict", run.folder, every, "--csv", "--parts", tmp_path / "parts")
    assert done.code == 0, done.err
    [line] = done.err.splitlines()
    assert "memory does not suffice for 600 examples at once" in line
    predicted = [text.split(",", 1)[1] for text in done.out.splitlines()[1:]]
    pieces = [
        write(f"{start}.csv", "\n".join(["x,y", *rows[start : start + HALVED]]) + "\n")
        for start in range(0, FIRST, HALVED)
    ]
    done = dlrun("predict", run.folder, *pieces, "--csv", "--parts", tmp_path / "parts")
    assert predicted == [text.split(",", 1)[1] for text in done.out.splitlines()[1:]]
    assert not done.err
