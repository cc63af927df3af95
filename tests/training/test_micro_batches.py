"""Micro-batches: a batch in pieces teaches what the whole batch does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import differences, go_on, outcome, own_parts, planned, run_through, trained, weights
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from dlrun.config.mistakes import ConfigError
from dlrun.errors import Diverged, is_out_of_memory
from dlrun.training.failures import explained
from dlrun.training.meters import DeviceMeter, Meter
from dlrun.training.micro_batches import WHOLE, Piece, piece_sizes
from dlrun.training.plan import Plan
from dlrun.training.plan_trials import try_on
from dlrun.training.recipe import Row
from dlrun.training.state import State
from dlrun.training.traps import trap_warnings

PIECES = {"micro_batch": 5}  # of batches of 16: 4, 4, 4, 4
DROPOUT = {"architecture": {"name": "mlp", "hidden": [8, 6], "dropout": 0.4}}
NORM = {"architecture": {"name": "mlp", "hidden": [8], "batch_norm": True}}
RARE = {"loss": {"name": "cross_entropy", "class_weight": [1.0, 5.0, 0.5]}}
SGD = {"optimizer": {"name": "sgd", "lr": 0.3, "momentum": 0.9}}
DRAWS = '''
"""A model that draws random numbers by a function."""
from torch import nn
from torch.nn import functional as F


class Draws(nn.Module):
    def __init__(self, shape, outputs):
        super().__init__()
        self.layer = nn.Linear(shape[0], outputs)

    def forward(self, inputs):
        return F.dropout(self.layer(inputs), 0.5, self.training)


def draws(shape, outputs):
    """It drops outputs."""
    return Draws(shape, outputs)
'''

ELSEWHERE = '''
"""Models whose dropout is given something else than a batch of equal examples."""
from torch import nn


class Elsewhere(nn.Module):
    def __init__(self, shape, outputs, form):
        super().__init__()
        self.layer, self.dropout, self.form = nn.Linear(shape[0], 8), nn.Dropout(0.5), form
        self.last = nn.Linear(8, outputs)

    def forward(self, inputs):
        hidden = self.layer(inputs)
        if self.form == "time_first":  # (time, n, d)
            return self.last(self.dropout(hidden.expand(3, *hidden.shape)).mean(0))
        if self.form == "one_time_first":  # (1, n, d)
            return self.last(self.dropout(hidden[None])[0])
        if self.form == "places":  # (n · places, d)
            return self.last(self.dropout(hidden.reshape(-1, 4)).reshape(-1, 8))
        longest = 2 + int(inputs.max() > 0.9)
        return self.last(self.dropout(hidden[:, None].expand(-1, longest, -1)).mean(1))


def elsewhere(shape, outputs, *, form: str = "places"):
    """It drops units."""
    return Elsewhere(shape, outputs, form)
'''


def both(**changes: Any) -> list[tuple[State, list[Row]]]:
    """The whole batches of a plan, and those in pieces, learnt from."""
    own = {"micro_batch": changes.get("micro_batch", 5)}
    return [run_through(planned(**changes | SGD | pieces)) for pieces in ({"micro_batch": None}, own)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        DROPOUT,
        DROPOUT | {"seeds": [0, 3]},
        DROPOUT | {"seeds": [0, 3], "stacked": True},
        DROPOUT | {"seeds": [0, 3], "stacked": True, "micro_batch": 12},  # the last batch is one piece
        RARE | {"seeds": [0, 3]},
        RARE | {"seeds": [0, 3], "stacked": True},
        {"gradient_clip": 0.1, "augmentations": ["noise"]},
        {"batch_size": "full", "average": "ema"},
        {"precision": "float64", "metrics": ["accuracy", "top5"]},
    ],
    ids=str,
)
def test_a_batch_in_pieces_teaches_what_the_whole_batch_does(changes: dict[str, Any]) -> None:
    (whole, rows), (parted, rows_of_pieces) = both(**changes)
    for one, other in zip(weights(whole), weights(parted), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    for row, of_pieces in zip(rows, rows_of_pieces, strict=True):
        for column in row.keys() - {"seconds"}:
            assert of_pieces[column] == pytest.approx(row[column], rel=1e-3, abs=1e-4), column
    assert differences(weights(whole), weights(parted)) or changes.get("precision") == "float64"


def test_each_seed_in_pieces_is_bit_for_bit_the_seed_alone() -> None:
    together, _ = run_through(planned(**SGD | DROPOUT | PIECES, seeds=[0, 3]))
    for index, seed in enumerate([0, 3]):
        alone, _ = run_through(planned(**SGD | DROPOUT | PIECES, seeds=[seed]))
        assert not differences(weights(together)[index], weights(alone)[0])


def test_dropouts_draw_for_themselves_again_after_a_step() -> None:
    state, _ = run_through(planned(**DROPOUT | PIECES))
    model = state.model.copies[0].train()
    inputs = torch.ones(2, 50, 2)
    assert not torch.equal(model(inputs[0]), model(inputs[1]))
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_run_in_pieces_goes_on_as_if_it_never_stopped(tmp_path: Path) -> None:
    changes = SGD | DROPOUT | RARE | PIECES
    unbroken = trained(planned(**changes), tmp_path)
    paused = trained(planned(**changes), tmp_path, stop_after=1)
    go_on(paused, changes)
    assert not differences(outcome(unbroken), outcome(paused))


@pytest.mark.parametrize("kind", [Meter, DeviceMeter])
def test_a_meter_counts_pieces_as_their_batch(kind: type[Meter] | type[DeviceMeter]) -> None:
    plan = planned(seeds=[0, 1])
    meter = (
        DeviceMeter(torch.device("cpu"), plan.recipe, plan.model(), 12, "here", 4)
        if kind is DeviceMeter
        else Meter(plan.recipe, plan.model(), 12, "here")
    )
    stream = torch.Generator().manual_seed(1)
    losses, outputs = torch.rand(2, 12, generator=stream), torch.rand(2, 12, 3, generator=stream)
    targets = torch.arange(24).view(2, 12) % 3
    for start, end, piece in (
        (0, 4, Piece(2 / 3, True, False)),
        (4, 6, Piece(1 / 3, False, True)),
        (6, 12, WHOLE),
    ):
        some = slice(start, end)
        meter.add([*losses[:, some]], [*outputs[:, some]], targets[:, some], piece)
    right = (outputs.argmax(-1) == targets).double().mean(1)
    assert meter.means()["loss"] == pytest.approx(losses.double().mean(1).tolist())
    assert meter.means()["accuracy"] == pytest.approx(right.tolist())
    first, rest = Piece(0.5, True, False), Piece(0.5, False, True)
    with pytest.raises(Diverged, match="here, step 3"):
        meter.add([*losses[:, :4]], [*outputs[:, :4]], targets[:, :4], first)
        meter.add([*losses[:, :4] * float("nan")], [*outputs[:, :4]], targets[:, :4], rest)
        meter.means()


def test_pieces_are_few_and_nearly_equal() -> None:
    assert piece_sizes(16, 5) == [4, 4, 4, 4]
    assert piece_sizes(10, 4) == [4, 3, 3]
    assert piece_sizes(8, 8) == piece_sizes(8, 9) == piece_sizes(8, None) == [8]
    assert piece_sizes(3, 1) == [1, 1, 1]
    assert piece_sizes(0, 4) == []


def warned(plan: Plan) -> list[str]:
    return [text for text in trap_warnings(plan, plan.load()) if "not quite the same" in text]


def test_it_is_said_where_a_piece_is_not_its_part_of_the_batch(tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"architecture/draws.py": DRAWS})
    assert warned(planned(**PIECES)) == warned(planned(**PIECES | DROPOUT)) == []
    assert "batch normalisation is by the 5 examples" in warned(planned(**PIECES | NORM))[0]
    assert "draws random numbers" in warned(planned(parts, **PIECES, architecture="draws"))[0]
    assert warned(planned(parts, architecture="draws")) == []
    assert "draws random numbers" in warned(planned(**PIECES | DROPOUT, compile=True))[0]


def test_a_micro_batch_that_holds_every_batch_is_told() -> None:
    def told(**changes: Any) -> list[str]:
        plan = planned(**changes)
        return [text for text in trap_warnings(plan, plan.load()) if "micro_batch" in text]

    line = "micro_batch: 100 parts no batch: the largest has 16 examples"
    assert told(micro_batch=100) == [line]
    assert told(micro_batch=15) == told() == []
    assert told(micro_batch=60, batch_size="full") == [line.replace("100", "60").replace("16", "60")]


@pytest.mark.parametrize("form", ["time_first", "one_time_first", "places", "longest"])
def test_a_dropout_that_does_not_see_a_batch_of_equal_examples_draws_for_itself(
    form: str, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, {"architecture/elsewhere.py": ELSEWHERE})
    plan = planned(parts, **PIECES, architecture={"name": "elsewhere", "form": form})
    _, rows = run_through(plan)
    assert len(rows) == plan.config.epochs
    if form != "longest":  # of which it depends on the examples
        assert "draws random numbers" in warned(plan)[0]


def test_dropouts_are_looked_for_once_in_a_run() -> None:
    def passes(epochs: int, dropout: float) -> int:
        count = 0

        def note(module: nn.Module, *_: object) -> None:
            nonlocal count
            count += isinstance(module, nn.Linear) and module.in_features == 2  # the first layer

        noting = register_module_forward_hook(note)
        mlp = {"name": "mlp", "hidden": [8], "dropout": dropout}
        run_through(planned(**PIECES, epochs=epochs, architecture=mlp))
        noting.remove()
        return count

    few, many = (passes(epochs, 0.4) - passes(epochs, 0.0) for epochs in (1, 3))
    assert few == many == 2


def refused(**changes: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        plan = planned(**changes)
        try_on(plan, plan.load())
    return str(raised.value)


def test_what_cannot_be_computed_in_pieces_is_refused(tmp_path: Path) -> None:
    assert "lbfgs computes the loss of a batch several times" in refused(**PIECES, optimizer="lbfgs")
    said = refused(micro_batch=1, **NORM)
    assert "micro_batch: some micro-batch has a single example" in said and "set micro_batch: 3" in said
    assert "batch_size" in refused(batch_size=59, **NORM)


def test_memory_that_runs_out_is_answered_with_a_micro_batch() -> None:
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
    assert is_out_of_memory(error)
    tried: Callable[..., Plan] = planned
    for changes, said in (({}, "try micro_batch=8"), ({"micro_batch": 6}, "try micro_batch=3")):
        plan = tried(**changes)
        loaded = plan.load()
        found = explained(error, plan, plan.state(plan.hardware()), loaded)
        assert said in f"{found.fix}"  # type: ignore[attr-defined]
