"""Gathered batches: bit for bit those of the split, in the same memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dlrun.data.examples import Examples
from dlrun.data.gather import Gather
from dlrun.data.loaded import InMemory
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Preprocessing

PIXELS = torch.arange(60, dtype=torch.uint8).view(5, 3, 2, 2)
NUMBERS = torch.linspace(-3, 7, 20).view(5, 4)
STEPS = {
    "nothing": Preprocessing(),
    "an offset": Preprocessing(offset=torch.tensor(127.5)),
    "a scale": Preprocessing(scale=torch.tensor(3.7)),
    "both": Preprocessing(offset=torch.tensor(0.3), scale=torch.tensor(3.7)),
}


def split_of(inputs: torch.Tensor, preprocessing: Preprocessing, **options: Any) -> InMemory:
    examples = Examples(inputs, torch.arange(len(inputs)), **options)
    return InMemory(examples, Preparation.of_single(preprocessing), torch.device("cpu"))


@pytest.mark.parametrize("inputs", [PIXELS, NUMBERS, NUMBERS.double()], ids=["bytes", "float32", "float64"])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_are_those_of_the_split(inputs: torch.Tensor, steps: str, dtype: torch.dtype) -> None:
    split = split_of(inputs, STEPS[steps].to(torch.device("cpu"), dtype))
    gather = split.gather()
    if inputs.dtype == torch.float64 and dtype == torch.float32:
        assert gather is None  # such numbers are prepared before they become float32
        return
    assert gather is not None
    before = inputs.clone()
    for indices in ([4, 0, 2], [1], [3, 3, 1]):
        for own, other in zip(gather(torch.tensor(indices)), split.batch(torch.tensor(indices)), strict=True):
            assert own.dtype == other.dtype and torch.equal(own, other)
    assert torch.equal(inputs, before)


def test_the_next_batch_is_written_over_the_one_before() -> None:
    gather = split_of(PIXELS, STEPS["both"]).gather()
    assert gather is not None
    first, _ = gather(torch.tensor([0, 1]))
    second, _ = gather(torch.tensor([2, 3]))
    assert first.data_ptr() == second.data_ptr()


@pytest.mark.parametrize(
    "split",
    [
        split_of(NUMBERS, Preprocessing(fill=torch.tensor(0.0))),
        split_of(NUMBERS, Preprocessing(), weights=torch.ones(5)),
        split_of(NUMBERS.long(), Preprocessing(dtype=torch.int64)),
        split_of(NUMBERS, Preprocessing(offset=NUMBERS.double().mean(0))),
    ],
    ids=["missing values", "weights", "whole numbers", "steps of more digits"],
)
def test_other_examples_are_not_gathered(split: InMemory) -> None:
    assert split.gather() is None


def test_several_inputs_or_targets_are_not_gathered() -> None:
    both = Preparation({name: Preprocessing() for name in ("left", "right")})
    inputs = {"left": NUMBERS, "right": NUMBERS}
    assert InMemory(Examples(inputs, torch.arange(5)), both, torch.device("cpu")).gather() is None
    targets = {"first": torch.arange(5), "second": torch.arange(5)}
    single = Preparation.of_single(Preprocessing())
    assert InMemory(Examples(NUMBERS, targets), single, torch.device("cpu")).gather() is None
    assert InMemory(Examples(NUMBERS, NUMBERS), single, torch.device("cpu"), True).gather() is None


def test_only_what_is_on_the_cpu_suits() -> None:
    assert Gather.suits(PIXELS, Preprocessing())
    assert not Gather.suits(PIXELS.to("meta"), Preprocessing())
