"""Optimizers that are written here, or put together, make the steps of their papers and of PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_runs import differences, go_on, outcome, planned, trained
from torch import Tensor, nn

from dlrun.config.registry import Parts

PARTS = Parts()


def weights() -> list[nn.Parameter]:
    stream = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=stream)) for shape in ((4, 3), (3,), (2, 3, 2, 2))]


def gradients(step: int, of: list[nn.Parameter]) -> list[Tensor]:
    stream = torch.Generator().manual_seed(1 + step)
    return [torch.randn(weight.shape, generator=stream) for weight in of]


def stepped(optimizer: torch.optim.Optimizer, of: list[nn.Parameter]) -> list[Tensor]:
    """The weights after three steps."""
    for step in range(3):
        for weight, gradient in zip(of, gradients(step, of), strict=True):
            weight.grad = gradient
        optimizer.step()
    return [weight.detach() for weight in of]


def test_lion_makes_the_steps_of_its_paper() -> None:
    ours = weights()
    found = stepped(PARTS.find("optimizer", "lion")(ours, lr=0.01, weight_decay=0.2), ours)
    expected = [weight.detach().clone() for weight in weights()]
    means = [torch.zeros_like(weight) for weight in expected]
    for step in range(3):
        for place, gradient in enumerate(gradients(step, ours)):
            direction = (0.9 * means[place] + 0.1 * gradient).sign()
            expected[place] -= 0.01 * (direction + 0.2 * expected[place])
            means[place] = 0.99 * means[place] + 0.01 * gradient
    for own, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(own, theirs)


def test_lamb_makes_the_steps_of_its_paper() -> None:
    ours = weights()
    found = stepped(PARTS.find("optimizer", "lamb")(ours, lr=0.01, weight_decay=0.2), ours)
    expected = [weight.detach().clone() for weight in weights()]
    means, squares = ([torch.zeros_like(weight) for weight in expected] for _ in range(2))
    for step in range(3):
        for place, gradient in enumerate(gradients(step, ours)):
            means[place] = 0.9 * means[place] + 0.1 * gradient
            squares[place] = 0.999 * squares[place] + 0.001 * gradient**2
            mean, square = means[place] / (1 - 0.9 ** (step + 1)), squares[place] / (1 - 0.999 ** (step + 1))
            direction = mean / (square.sqrt() + 1e-6) + 0.2 * expected[place]
            expected[place] -= 0.01 * expected[place].norm() / direction.norm() * direction
    for own, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(own, theirs)


def test_lamb_takes_a_step_from_weights_of_zero() -> None:
    zero = nn.Parameter(torch.zeros(3))
    zero.grad = torch.ones(3)
    PARTS.find("optimizer", "lamb")([zero], lr=0.01).step()
    torch.testing.assert_close(zero.detach(), torch.full((3,), -0.01))


def test_muon_steps_matrices_as_pytorchs_muon_and_all_else_as_adamw() -> None:
    ours, theirs = weights(), weights()
    options = {"lr": 0.02, "weight_decay": 0.1}
    found = stepped(PARTS.find("optimizer", "muon")(ours, **options, adamw_lr=0.003), ours)
    of_matrices = torch.optim.Muon(theirs[:1], **options, adjust_lr_fn="match_rms_adamw")
    of_others = torch.optim.AdamW(theirs[1:], lr=0.003, weight_decay=0.1, betas=(0.9, 0.95))
    expected = [*stepped(of_matrices, theirs[:1])]
    for step in range(3):
        for weight, gradient in zip(theirs, gradients(step, theirs), strict=True):
            weight.grad = gradient
        of_others.step()
    expected += [weight.detach() for weight in theirs[1:]]
    for own, there in zip(found, expected, strict=True):
        torch.testing.assert_close(own, there)


@pytest.mark.parametrize("name", ["muon", "lion", "lamb", "adafactor", "nadam"])
def test_a_run_with_frozen_weights_groups_and_a_schedule_is_resumed_bit_for_bit(
    name: str, tmp_path: Path
) -> None:
    wanted = {
        "architecture": {"name": "mlp", "hidden": [6, 5]},
        "optimizer": {"name": name, "lr": 0.01, "weight_decay": 0.1},
        "groups": [{"match": "4.*", "lr": "0.5x"}],
        "freeze": ["0.*"],
        "freeze_epochs": 1,
        "schedule": {"name": "cosine", "warmup_epochs": 1.0},
        "seeds": [0, 3],
    }
    whole = trained(planned(**wanted), tmp_path / "a")
    halves = trained(planned(**wanted), tmp_path / "b", stop_after=2)
    go_on(halves, wanted)
    assert not differences(outcome(whole), outcome(halves))


# ------------------------------------------------------------------------------- sharpness


def fourth_powers(of: list[nn.Parameter]) -> Tensor:
    """A loss whose gradient depends on where it is taken."""
    return torch.stack([(weight - 0.3).pow(4).sum() for weight in of]).sum()


def by_closure(optimizer: torch.optim.Optimizer, of: list[nn.Parameter]) -> list[Tensor]:
    """The weights after three steps of an optimizer that calls for loss and gradient."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = fourth_powers(of)
        loss.backward()
        return loss

    for _ in range(3):
        before = fourth_powers(of)
        assert torch.equal(torch.as_tensor(optimizer.step(closure)), before), (
            "the loss is that before the step"
        )
    return [weight.detach() for weight in of]


SHARP = {"sam": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, "sam_adamw": {"weight_decay": 0.1}}


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", SHARP)
def test_sam_steps_along_the_gradient_of_the_point_uphill(name: str, adaptive: bool) -> None:
    ours, theirs = weights(), weights()
    options = {"lr": 0.01, **SHARP[name]}
    found = by_closure(PARTS.find("optimizer", name)(ours, rho=0.5, adaptive=adaptive, **options), ours)
    plain = (torch.optim.SGD if name == "sam" else torch.optim.AdamW)(theirs, **options)  # type: ignore[operator]
    for _ in range(3):
        slopes = torch.autograd.grad(fourth_powers(theirs), theirs)
        scales = [weight.detach().abs() if adaptive else torch.ones_like(weight) for weight in theirs]
        length = torch.cat(
            [(scale * slope).flatten() for scale, slope in zip(scales, slopes, strict=True)]
        ).norm()
        uphill = [
            nn.Parameter(weight.detach() + 0.5 * scale**2 * slope / length)
            for weight, scale, slope in zip(theirs, scales, slopes, strict=True)
        ]
        for weight, slope in zip(theirs, torch.autograd.grad(fourth_powers(uphill), uphill), strict=True):
            weight.grad = slope
        plain.step()
    for own, other in zip(found, theirs, strict=True):
        torch.testing.assert_close(own, other.detach())


@pytest.mark.parametrize("name", SHARP)
def test_sam_leaves_no_trace_of_the_way_uphill(name: str) -> None:
    """Without a rate no bit has changed; where the gradient is 0 nothing becomes nan."""
    ours, flat = weights(), [nn.Parameter(torch.full((3,), 0.3))]
    make = PARTS.find("optimizer", name)
    assert not differences(by_closure(make(ours, lr=0.0), ours), [weight.detach() for weight in weights()])
    assert by_closure(make(flat, lr=0.0), flat)[0].tolist() == pytest.approx([0.3] * 3)


def test_groups_have_a_length_of_their_own_and_frozen_weights_stay(tmp_path: Path) -> None:
    sharp = {"name": "sam", "lr": 0.1, "rho": 0.1}
    still = [{"match": "*.bias", "rho": 1e-20}]
    runs = [
        outcome(trained(planned(optimizer=sharp, **changes), tmp_path / str(place)))["model"][0]
        for place, changes in enumerate(({}, {"groups": still}, {"freeze": ["0.*"]}))
    ]
    assert differences(runs[0], runs[1])
    begun = planned(optimizer=sharp).model().copies[0].state_dict()
    assert [torch.equal(runs[2][name], begun[name]) for name in begun] == [True, True, False, False]
