"""Gradients in closed form: bit for bit those of autograd, for every layer that has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlrun.training import closed_form
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
    models[1].use_closed_form(reuses=True)
    (theirs, their_gradients), (ours, our_gradients) = (learnt(each, inputs, **options) for each in models)
    assert all(map(torch.equal, ours, theirs))
    assert len(our_gradients) == len(their_gradients) > 0
    for own, other in zip(our_gradients, their_gradients, strict=True):
        assert own is not None and other is not None
        assert own.is_contiguous() and torch.equal(own, other)
    return models[1]


def forms(model: Copies) -> list[Any]:
    return model._closed


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


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize(
    ("activation", "has_one"),
    [
        (lambda: nn.ReLU(inplace=True), True),
        (lambda: nn.LeakyReLU(0.2, inplace=True), False),
        (lambda: nn.ELU(inplace=True), False),
        (lambda: nn.SELU(inplace=True), False),
        (lambda: nn.SiLU(inplace=True), False),
        (lambda: nn.Dropout(0.5, inplace=True), False),
    ],
)
def test_layers_that_compute_in_place_learn_the_same(
    activation: Callable[[], nn.Module], has_one: bool, stacked: bool
) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 4), activation(), nn.Linear(4, 3))

    model = compared(build, torch.randn(2, 7, 5), stacked=stacked)
    assert [form is not None for form in forms(model)] == [has_one] * (1 if stacked else 2)


class Squared(nn.ReLU):
    """An activation of one's own, which a base class helps with."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).square()


class Doubled(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


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
            model.use_closed_form(reuses=True)
        torch.manual_seed(0)
        gradients.append(learnt(model, torch.randn(2, 7, 5))[1])
    plain, closed = gradients
    assert [each is None for each in closed] == [each is None for each in plain]
    assert sum(each is None for each in closed) == len(frozen) * (1 if stacked else len(SEEDS))
    pairs = [pair for pair in zip(closed, plain, strict=True) if pair[0] is not None]
    assert all(torch.equal(*pair) for pair in pairs)  # type: ignore[arg-type]


def test_a_batch_of_another_size_is_computed_as_well() -> None:
    plain, closed = (Apart(lambda: chain(nn.ReLU, SIZES[0]), SEEDS) for _ in range(2))
    closed.use_closed_form(reuses=True)
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
        lambda: nn.Sequential(nn.Linear(5, 4), Squared(), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), Doubled(4, 3)),
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Sigmoid(), nn.ReLU(inplace=True)),
        lambda: nn.Sequential(nn.Flatten()),
    ],
)
def test_models_with_other_layers_have_none(build: Callable[[], nn.Module]) -> None:
    model = Apart(build, SEEDS)
    model.use_closed_form(reuses=True)
    assert forms(model) == [None, None]


def twice(*given: Any) -> Any:
    return 2 * given[-1]


def doubled(weight: Tensor) -> None:
    assert weight.grad is not None
    weight.grad.mul_(2)


def with_hook(kind: str) -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    weight = model[0].weight
    if kind == "forward":
        model[0].register_forward_hook(twice)
    elif kind == "before forward":
        model[2].register_forward_pre_hook(lambda module, given: (2 * given[0],))
    elif kind == "backward":
        model[2].register_full_backward_hook(lambda module, inputs, outputs: (3 * inputs[0],))
    elif kind == "of a weight":
        weight.register_hook(twice)
    elif kind == "after a weight":
        weight.register_post_accumulate_grad_hook(doubled)
    else:
        model[1].forward = lambda inputs: inputs.relu() * 2  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize(
    "kind", ["forward", "before forward", "backward", "of a weight", "after a weight", "an own forward"]
)
def test_a_model_with_a_hook_has_none(kind: str) -> None:
    model = compared(lambda: with_hook(kind), torch.randn(2, 7, 5), stacked=False)
    assert forms(model) == [None, None]


def test_layers_with_a_weight_in_common_have_none() -> None:
    def build() -> nn.Module:
        first, second = nn.Linear(5, 5), nn.Linear(5, 5)
        second.weight = first.weight
        return nn.Sequential(first, nn.Tanh(), second)

    assert forms(compared(build, torch.randn(2, 7, 5), stacked=False, passes=2)) == [None, None]
    layer = nn.Linear(5, 5)
    model = Apart(lambda: nn.Sequential(layer, nn.Tanh(), layer), [0])
    assert model.use_closed_form(reuses=True) == []


@pytest.mark.parametrize("stacked", [False, True])
def test_an_activation_may_be_used_twice(stacked: bool) -> None:
    def build() -> nn.Module:
        relu = nn.ReLU()
        return nn.Sequential(nn.Linear(5, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 3))

    assert all(forms(compared(build, torch.randn(2, 7, 5), stacked=stacked)))


@pytest.mark.parametrize("stacked", [False, True])
def test_weights_whose_memory_is_replaced_are_seen(stacked: bool) -> None:
    learnt_then = []
    for is_closed in (False, True):
        model: Copies = Apart(lambda: chain(nn.ReLU, SIZES[0]), SEEDS)
        model = Stacked(model) if stacked else model
        if is_closed:
            model.use_closed_form(reuses=True)
        inputs = torch.linspace(-1, 1, 70).view(2, 7, 5)
        for _ in range(2):
            _, gradients = learnt(model, inputs)
            for weight in model.parameters():
                weight.data = weight.data - 0.1 * weight.grad  # type: ignore[operator]
                weight.grad = None
        learnt_then.append(gradients)
    for own, other in zip(*learnt_then, strict=True):
        assert torch.equal(own, other)


def test_gradients_are_new_tensors_for_an_optimizer_that_may_keep_them() -> None:
    for reuses in (False, True):
        model = Apart(lambda: chain(nn.ReLU, SIZES[0]), [0])
        model.use_closed_form(reuses=reuses)
        places = []
        for _ in range(2):
            learnt(model, torch.randn(1, 7, 5))
            places.append([weight.grad for weight in model.parameters()])
            for weight in model.parameters():
                weight.grad = None
        same = [one.data_ptr() == other.data_ptr() for one, other in zip(*places, strict=True)]
        assert all(same) if reuses else not any(same)


def test_outputs_are_new_tensors_which_a_loss_may_keep() -> None:
    model = Apart(lambda: chain(nn.ReLU, SIZES[0]), [0])
    model.use_closed_form(reuses=True)
    model.begin(1)
    [first], [second] = model(torch.zeros(1, 7, 5)), model(torch.ones(1, 7, 5))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("top", [nn.Identity, nn.ReLU, nn.GELU, lambda: nn.Dropout(0.5)])
@pytest.mark.parametrize("loss_of", [lambda o: o.t().contiguous().exp().sum(0), lambda o: o.sum(1)])
def test_a_gradient_in_another_layout_is_taken_as_it_is(
    top: Callable[[], nn.Module], loss_of: Callable[[Tensor], Tensor]
) -> None:
    gradients = []
    for is_closed in (False, True):
        model = Apart(lambda: nn.Sequential(nn.Linear(5, 10), top()), [0])
        if is_closed:
            model.use_closed_form(reuses=True)
        model.begin(1)
        [outputs] = model(torch.linspace(-1, 1, 1280).view(1, 256, 5))
        loss = loss_of(outputs)
        model.backward([loss], [torch.ones_like(loss)])
        gradients.append([weight.grad for weight in model.parameters()])
    assert all(torch.equal(own, other) for own, other in zip(*gradients, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("stacked", [False, True])
def test_layers_at_several_places_of_an_example_are_left_to_autograd(stacked: bool) -> None:
    model = compared(lambda: chain(nn.ReLU, SIZES[0]), torch.randn(2, 7, 6, 5), stacked=stacked)
    assert not any(
        form.takes(torch.zeros(2, 7, 6, 5)[0 if not stacked else slice(None)]) for form in forms(model)
    )


def test_nothing_is_left_of_a_pass_whose_loss_does_not_depend_on_the_outputs() -> None:
    model = Apart(lambda: chain(nn.ReLU, SIZES[0]), [0])
    model.use_closed_form(reuses=True)
    model.begin(1)
    model(torch.randn(1, 7, 5))
    free = torch.zeros(1, requires_grad=True)
    model.backward([free * 1], [torch.ones(1)])
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("stacked", [False, True])
def test_tensors_in_another_layout_have_autograds_form_of_the_gradient(
    stacked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms, usual = list[bool](), closed_form.outer_product

    def noting(*words: Any, turned: bool, out: Tensor | None) -> Tensor:
        forms.append(turned)
        return usual(*words, turned=turned, out=out)

    monkeypatch.setattr(closed_form, "outer_product", noting)
    monkeypatch.setattr(closed_form, "is_turned", lambda inputs, _: inputs.is_contiguous() != stacked)
    features = 64 if stacked else 2  # of which the other form is faster
    weight = nn.Parameter(torch.randn(*[2] * stacked, 100, features))
    layer = closed_form.Linear(weight, None, reuses=True)
    inputs = torch.randn(*[2] * stacked, 1000, features)
    gradient = torch.randn(*[2] * stacked, 1000, 100)
    other_layout = inputs.mT.contiguous().mT
    for given, taken in [
        (inputs, gradient),
        (other_layout, gradient),
        (inputs, gradient[..., :1, :].expand_as(gradient)),
    ]:
        weight.grad = None
        layer.forward(given)
        layer.backward(taken, True, False)
        assert weight.grad is not None
        expected = taken.mT @ given if not stacked else (given.mT @ taken).mT
        assert torch.allclose(weight.grad, expected, atol=1e-3)
    assert forms == [not stacked, stacked, stacked]
