"""Several seeds as one model, each of them as if it were alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dlrun.copies import Apart, each, stacked


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2))


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach() for p in module.parameters()]


def test_a_copy_starts_from_its_seed_as_plain_pytorch_would() -> None:
    model = Apart(build, [4, 0])
    for copy, seed in zip(model.copies, [4, 0], strict=True):
        torch.manual_seed(seed)
        assert all(torch.equal(*pair) for pair in zip(weights(copy), weights(build()), strict=True))
    assert not torch.equal(weights(model.copies[0])[0], weights(model.copies[1])[0])


def test_building_the_copies_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    Apart(build, [0, 1])
    assert torch.equal(before, torch.get_rng_state())


def test_axis_0_is_the_seed() -> None:
    model = Apart(build, [4, 0]).eval()
    inputs = torch.randn(2, 7, 3)
    outputs = model(inputs)
    assert outputs.shape == (2, 7, 2)
    for index, copy in enumerate(model.copies):
        assert torch.equal(outputs[index], copy(inputs[index]))


def test_one_seed_is_no_special_case() -> None:
    alone, among = Apart(build, [3]), Apart(build, [1, 3])
    inputs = torch.randn(1, 7, 3)
    alone.begin(1)
    among.begin(1)
    for _ in range(3):
        outputs = alone(inputs)
        assert outputs.shape == (1, 7, 2)
        assert torch.equal(outputs[0], among(inputs.expand(2, 7, 3))[1])


def test_dropout_is_a_function_of_seed_and_epoch() -> None:
    inputs = torch.randn(1, 50, 3).expand(2, 50, 3)

    def drawn(seeds: list[int], epoch: int, noise: int) -> list[Tensor]:
        model = Apart(build, seeds)
        torch.manual_seed(noise)
        model.begin(epoch)
        first = model(inputs[: len(seeds)])
        torch.manual_seed(noise + 1)  # what others draw in between changes nothing
        return [first, model(inputs[: len(seeds)])]

    one, two = drawn([3, 8], 2, noise=0)
    again = drawn([3, 8], 2, noise=5)
    assert torch.equal(one, again[0])
    assert torch.equal(two, again[1])
    assert not torch.equal(one, two), "each step is drawn anew"
    assert not torch.equal(one, drawn([3, 8], 3, noise=0)[0]), "each epoch too"
    alone = drawn([8], 2, noise=7)
    assert torch.equal(alone[0][0], one[1])
    assert torch.equal(alone[1][0], two[1])


def test_copies_do_not_share_their_dropout() -> None:
    model = Apart(lambda: nn.Dropout(0.5), [0, 1])
    model.begin(1)
    zero, one = model(torch.ones(2, 100))
    assert not torch.equal(zero, one)


def test_evaluating_draws_nothing() -> None:
    model = Apart(build, [0, 1])
    model.begin(1)
    model.eval()
    before = torch.get_rng_state()
    assert torch.equal(model(torch.ones(2, 4, 3)), model(torch.ones(2, 4, 3)))
    assert torch.equal(before, torch.get_rng_state())


def test_each_takes_one_copy_at_a_time() -> None:
    a, b = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    seen = []

    def distance(x: Tensor, y: Tensor) -> Tensor:
        seen.append(x.shape)
        return (x - y).norm(dim=1)

    assert torch.equal(each(distance, a, b), (a - b).norm(dim=2))
    assert seen == [(5, 2)] * 3
    with pytest.raises(ValueError, match="zip"):
        each(distance, a, b[:2])


def test_a_single_copy_is_not_copied() -> None:
    tensor = torch.randn(4)
    assert stacked([tensor]).data_ptr() == tensor.data_ptr()
    assert stacked([tensor]).shape == (1, 4)
