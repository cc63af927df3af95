"""Promises of the architectures of this folder, on each kind of input that they take."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import pytest
import torch
from made_data import TOKENS, drawn, numbers, texts, tokens
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from dlrun.architecture.autoencoder import autoencoder
from dlrun.architecture.embedding_bag import embedding_bag
from dlrun.architecture.rnn import rnn
from dlrun.architecture.transformer import transformer
from dlrun.architecture.unet import unet
from dlrun.architecture.vit import vit

BATCH, LENGTH, FEATURES, OUTPUTS = 5, 6, 3, 4


class Case(NamedTuple):
    build: Callable[[], nn.Module]
    inputs: Tensor
    output_shape: tuple[int, ...]


IDS, SERIES = tokens(BATCH, LENGTH), drawn(BATCH, LENGTH, FEATURES)
PADDED = IDS.clone()
for example, length in enumerate((6, 3, 1, 0, 5)):  # one is empty
    PADDED[example, length:] = 0
ONE, EACH = (BATCH, OUTPUTS), (BATCH, OUTPUTS, LENGTH)
SMALL = {"layers": 2, "width": 8, "heads": 2}


def of_sequences(name: str, architecture: Callable[..., nn.Module], **options: object) -> dict[str, Case]:
    """The architecture on ids, padded ids and series, with outputs for an example and for each position."""
    kinds = {
        "ids": ((LENGTH,), texts(), texts(LENGTH), IDS),
        "padded ids": ((LENGTH,), texts(padded=True), texts(LENGTH, padded=True), PADDED),
        "series": ((LENGTH, FEATURES), numbers(), numbers(LENGTH), SERIES),
    }
    cases = {}
    for kind, (shape, pooled, at_each, inputs) in kinds.items():
        for where, data, output_shape in (("", pooled, ONE), (" at each position", at_each, EACH)):

            def build(shape: tuple[int, ...] = shape, data: object = data) -> nn.Module:
                return architecture(shape, OUTPUTS, data, **options)

            cases[f"{name}, {kind}{where}"] = Case(build, inputs, output_shape)
    return cases


def of_numbers(
    architecture: Callable[..., nn.Module], shape: tuple[int, ...], *places: int, **options: object
) -> Case:
    build = lambda: architecture(shape, OUTPUTS, numbers(*places), **options)  # noqa: E731
    return Case(build, drawn(BATCH, *shape), (BATCH, OUTPUTS, *places))


CASES = (
    of_sequences("lstm", rnn, hidden=5, layers=2)
    | of_sequences(
        "gru, both directions", rnn, kind="gru", hidden=5, layers=2, bidirectional=True, dropout=0.1
    )
    | of_sequences("simple rnn", rnn, kind="rnn", hidden=5)
    | of_sequences("transformer", transformer, **SMALL, dropout=0.1)
    | of_sequences("causal transformer", transformer, **SMALL, causal=True, positions="sinusoidal")
    | {
        "transformer, tied": Case(
            lambda: transformer((LENGTH,), TOKENS, texts(LENGTH), tied=True, **SMALL),
            IDS,
            (BATCH, TOKENS, LENGTH),
        ),
        "u-net": of_numbers(unet, (3, 9, 13), 9, 13, channels=2, depth=3),
        "u-net, no batch norm": of_numbers(unet, (1, 8, 8), 8, 8, channels=2, depth=1, batch_norm=False),
        "vit": of_numbers(vit, (3, 8, 12), **SMALL, dropout=0.1),
        "vit, mean": of_numbers(vit, (1, 8, 8), **SMALL, pooling="mean"),
        "autoencoder of vectors": Case(
            lambda: autoencoder((5,), 5, hidden=(4,), code=2), drawn(BATCH, 5), (BATCH, 5)
        ),
        "autoencoder of images": Case(
            lambda: autoencoder((2, 3, 4), 24, hidden=(4,), code=2), drawn(BATCH, 2, 3, 4), (BATCH, 2, 3, 4)
        ),
    }
)
for pooling in ("mean", "sum", "max"):
    for kind, data, inputs in (("", texts(), IDS), (", padded", texts(padded=True), PADDED)):
        CASES[f"embedding bag, {pooling}{kind}"] = Case(
            lambda data=data, pooling=pooling: embedding_bag(
                (LENGTH,), OUTPUTS, data, pooling=pooling, hidden=(6,), dropout=0.1
            ),
            inputs,
            ONE,
        )


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    return CASES[request.param]


def test_outputs_have_classes_on_axis_1_and_then_places(case: Case) -> None:
    outputs = case.build()(case.inputs)
    assert outputs.shape == case.output_shape
    assert outputs.isfinite().all()


def test_it_is_built_and_run_on_the_meta_device(case: Case) -> None:
    with torch.device("meta"):
        model = case.build()
    for each in (model, case.build().to("meta")):
        assert each(case.inputs.to("meta")).shape == case.output_shape


def test_each_example_has_its_outputs_alone(case: Case) -> None:
    model = case.build().double().eval()
    inputs = case.inputs.double() if case.inputs.is_floating_point() else case.inputs
    outputs = model(inputs)
    assert outputs.dtype == torch.float64
    alone = torch.cat([model(inputs[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(alone, outputs, rtol=1e-9, atol=1e-12)
    assert not torch.equal(outputs[0], outputs[1])


def test_all_weights_learn_and_gradients_are_finite(case: Case) -> None:
    model = case.build()
    model(case.inputs).square().mean().backward()
    for name, weights in model.named_parameters():
        assert weights.grad is not None and weights.grad.any(), f"{name} is used by nothing"
        assert weights.grad.isfinite().all(), name


def test_the_inputs_stay_as_they_are(case: Case) -> None:
    inputs = case.inputs.clone()
    case.build()(inputs)
    assert torch.equal(inputs, case.inputs)


def test_the_saved_weights_are_all_of_the_model(case: Case) -> None:
    model, other = case.build().eval(), case.build().eval()
    assert not torch.equal(model(case.inputs), other(case.inputs))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(case.inputs), other(case.inputs))


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(("lstm", "gru", "simple"))])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_two_seeds_run_stacked_as_they_run_apart(name: str) -> None:
    case = CASES[name]
    copies = [case.build().eval() for _ in range(2)]
    weights, buffers = stack_module_state(copies)
    skeleton = deepcopy(copies[0]).to("meta")
    together = torch.vmap(lambda *state: functional_call(skeleton, state, (case.inputs,)))(weights, buffers)
    for copy, outputs in zip(copies, together, strict=True):
        torch.testing.assert_close(outputs, copy(case.inputs), rtol=1e-4, atol=1e-5)
