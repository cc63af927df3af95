"""Gradients in closed form: bit for bit those of autograd, for every layer that has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlrun.training.copies import Apart, Copies, Stacked

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": lambda: nn.ELU(0.7),
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu by tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "softplus": lambda: nn.Softplus(2, 0.5),
    "softmax": lambda: nn.Softmax(-1),
    "log_softmax": lambda: nn.LogSoftmax(-1),
    "dropout": lambda: nn.Dropout(0.4),
    "dropout of all": lambda: nn.Dropout(1.0),
}
SIZES = [(7, 5, 4, 3), (1, 1, 1, 1), (64, 2, 100, 3), (256, 784, 200, 10), (3000, 2, 100, 1)]
SEEDS = (3, 8)


def chain(activation: Callable[[], nn.Module], size: Sequence[int], bias: bool = True) -> nn.Module:
    _, features, hidden, outputs = size
    inner = nn.Sequential(nn.Linear(hidden, hidden, bias), activation(), activation())
    return nn.Sequential(nn.Linear(features, hidden, bias), activation(), inner, nn.Linear(hidden, outputs))


def learnt(model: Copies, inputs: Tensor, passes: int = 1) -> tuple[list[Tensor], list[Tensor | None]]:
    """The outputs of some passes of a model in training, and the gradients that they add up to."""
    model.begin(1)
    seen = []
    for _ in range(passes):
        outputs = model(inputs)
        each = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        losses = [(own.exp() * own).sum() for own in each]
        seen += [own.detach().clone() for own in each]
        model.backward(losses, [torch.ones_like(loss) for loss in losses])
    return seen, [None if weight.grad is None else weight.grad.clone() for weight in model.parameters()]


def compared(build: Callable[[], nn.Module], inputs: Tensor, *, stacked: bool, **options: Any) -> Copies:
    """Compare the closed form of copies with autograd, bit for bit; return the copies that have it."""
    plain, closed = (Apart(build, SEEDS).to(inputs.dtype) for _ in range(2))
    models: list[Copies] = [Stacked(plain), Stacked(closed)] if stacked else [plain, closed]
    models[1].use_closed_form()
    (theirs, their_gradients), (ours, our_gradients) = (learnt(each, inputs, **options) for each in models)
    assert all(map(torch.equal, ours, theirs))
    assert len(our_gradients) == len(their_gradients) > 0
    for own, other in zip(our_gradients, their_gradients, strict=True):
        assert own is not None and other is not None
        assert own.is_contiguous() and torch.equal(own, other)
    return models[1]


def forms(model: Copies) -> list[Any]:
    return model._closed if isinstance(model, Apart) else [model._closed]


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_is_autograd_bit_for_bit(activation: str, dtype: torch.dtype, stacked: bool) -> None:
    for size in SIZES[:3]:
        inputs = torch.randn(len(SEEDS), *size[:2], dtype=dtype)
        before = inputs.clone()
        model = compared(lambda size=size: chain(ACTIVATIONS[activation], size), inputs, stacked=stacked)
        assert all(forms(model)) and torch.equal(inputs, before)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_so_for_layers_of_any_size(size: Sequence[int], bias: bool, stacked: bool) -> None:
    inputs = torch.randn(len(SEEDS), *size[:2])
    assert all(forms(compared(lambda: chain(nn.ReLU, size, bias), inputs, stacked=stacked)))


def test_layers_that_compute_in_place_have_one_as_well() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 3))

    assert all(forms(compared(build, torch.randn(2, 7, 5), stacked=False)))


@pytest.mark.parametrize("stacked", [False, True])
def test_gradients_of_several_passes_add_up(stacked: bool) -> None:
    compared(lambda: chain(nn.Tanh, SIZES[0]), torch.randn(2, 7, 5), stacked=stacked, passes=3)


@pytest.mark.parametrize("stacked", [False, True])
def test_images_are_flattened(stacked: bool) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3))

    model = compared(build, torch.randn(2, 7, 3, 2, 2), stacked=stacked)
    assert all(form.takes(torch.zeros(2, 7, 3, 2, 2)) for form in forms(model))


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("frozen", [["0.weight", "0.bias"], ["0.weight"], ["2.0.weight", "3.bias"]])
def test_weights_that_do_not_learn_have_no_gradient(frozen: list[str], stacked: bool) -> None:
    gradients = []
    for is_closed in (False, True):
        model: Copies = Apart(lambda: chain(nn.ReLU, SIZES[0]), SEEDS)
        model = Stacked(model) if stacked else model
        model.freeze(frozen, [], learns=False)
        if is_closed:
            model.use_closed_form()
        torch.manual_seed(0)
        gradients.append(learnt(model, torch.randn(2, 7, 5))[1])
    plain, closed = gradients
    assert [each is None for each in closed] == [each is None for each in plain]
    assert sum(each is None for each in closed) == len(frozen) * (1 if stacked else len(SEEDS))
    pairs = [pair for pair in zip(closed, plain, strict=True) if pair[0] is not None]
    assert all(torch.equal(*pair) for pair in pairs)  # type: ignore[arg-type]


def test_a_batch_of_another_size_is_computed_as_well() -> None:
    plain, closed = (Apart(lambda: chain(nn.ReLU, SIZES[0]), SEEDS) for _ in range(2))
    closed.use_closed_form()
    for n in (7, 3, 7):
        inputs = torch.randn(2, n, 5)
        for model in (plain, closed):
            for weight in model.parameters():
                weight.grad = None
        for own, other in zip(learnt(closed, inputs)[1], learnt(plain, inputs)[1], strict=True):
            assert torch.equal(own, other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.ReLU(), nn.Linear(5, 3)),
        lambda: nn.Sequential(nn.Linear(5, 4), nn.PReLU(), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Softmax(0), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))),
        lambda: nn.ModuleDict({"one": nn.Linear(5, 3)}),
        lambda: nn.Sequential(nn.Flatten()),
    ],
)
def test_models_with_other_layers_have_none(build: Callable[[], nn.Module]) -> None:
    model = Apart(build, SEEDS)
    model.use_closed_form()
    assert forms(model) == [None, None]


def test_a_layer_with_a_hook_has_none() -> None:
    def build() -> nn.Module:
        layer = nn.Linear(5, 3)
        layer.register_forward_hook(lambda module, given, outputs: 2 * outputs)
        return nn.Sequential(layer)

    model = compared(build, torch.randn(2, 7, 5), stacked=False)
    assert forms(model) == [None, None]


@pytest.mark.parametrize("stacked", [False, True])
def test_layers_at_several_places_of_an_example_are_left_to_autograd(stacked: bool) -> None:
    model = compared(lambda: chain(nn.ReLU, SIZES[0]), torch.randn(2, 7, 6, 5), stacked=stacked)
    assert not any(
        form.takes(torch.zeros(2, 7, 6, 5)[0 if not stacked else slice(None)]) for form in forms(model)
    )


def test_nothing_is_left_of_a_pass_whose_loss_does_not_depend_on_the_outputs() -> None:
    model = Apart(lambda: chain(nn.ReLU, SIZES[0]), [0])
    model.use_closed_form()
    model.begin(1)
    model(torch.randn(1, 7, 5))
    free = torch.zeros(1, requires_grad=True)
    model.backward([free * 1], [torch.ones(1)])
    assert all(weight.grad is None for weight in model.parameters())
