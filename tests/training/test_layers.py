"""The layer table: shapes, parameters and multiply-adds, against sums by hand."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from small_runs import mostly_slow
from torch import Tensor, nn

from dlrun.architecture.cnn import cnn
from dlrun.architecture.lenet import lenet
from dlrun.architecture.linear import linear
from dlrun.architecture.mlp import mlp
from dlrun.architecture.mlp_scratch import mlp_scratch
from dlrun.architecture.softmax_scratch import softmax_scratch
from dlrun.architecture.torchvision import models, torchvision
from dlrun.errors import UserError
from dlrun.training.layers import layers_of


def test_linear_layers_are_inputs_times_outputs() -> None:
    table = layers_of(partial(mlp, (784,), 10, hidden=[200, 60]), (784,))
    rows = [(layer.kind, layer.output_shape, layer.parameters, layer.multiply_adds) for layer in table.layers]
    assert rows == [
        ("Linear", (200,), 784 * 200 + 200, 784 * 200),
        ("ReLU", (200,), 0, 0),
        ("Linear", (60,), 200 * 60 + 60, 200 * 60),
        ("ReLU", (60,), 0, 0),
        ("Linear", (10,), 60 * 10 + 10, 60 * 10),
    ]
    assert table.parameters == sum(layer.parameters for layer in table.layers)
    assert table.multiply_adds == sum(layer.multiply_adds for layer in table.layers)
    assert table.output_shape == (10,)


def test_a_convolution_is_a_kernel_for_each_place_and_pair_of_channels() -> None:
    table = layers_of(partial(cnn, (1, 28, 28), 10), (1, 28, 28))
    convolutions = [layer for layer in table.layers if layer.kind == "Conv2d"]
    assert [layer.output_shape for layer in convolutions] == [(16, 28, 28), (32, 14, 14)]
    assert [layer.parameters for layer in convolutions] == [16 * (1 * 25 + 1), 32 * (16 * 25 + 1)]
    assert [layer.multiply_adds for layer in convolutions] == [16 * 28 * 28 * 25, 32 * 14 * 14 * 16 * 25]
    assert convolutions[0].formula == "⌊(28 + 2·2 - 5)/1⌋ + 1 = 28"
    pools = [layer for layer in table.layers if layer.kind == "MaxPool2d"]
    assert pools[0].formula == "⌊(28 + 2·0 - 2)/2⌋ + 1 = 14"
    assert [layer.output_shape for layer in pools] == [(16, 14, 14), (32, 7, 7)]
    assert table.layers[-1].parameters == 32 * 7 * 7 * 10 + 10


@pytest.mark.parametrize(("n", "k", "s", "p"), [(28, 5, 1, 2), (7, 3, 2, 0), (11, 4, 3, 1), (9, 1, 1, 0)])
def test_the_formula_of_a_side_is_what_pytorch_computes(n: int, k: int, s: int, p: int) -> None:
    build = partial(cnn, (2, n, n), 3, channels=[4], kernel_size=k, stride=s, padding=p, pool=1)
    layer = layers_of(build, (2, n, n)).layers[0]
    side = (n + 2 * p - k) // s + 1
    assert layer.output_shape == (4, side, side) == tuple(build()[0](torch.zeros(1, 2, n, n)).shape[1:])
    assert layer.formula == f"⌊({n} + 2·{p} - {k})/{s}⌋ + 1 = {side}"


def test_sides_that_differ_are_said_both() -> None:
    build = partial(cnn, (1, 8, 6), 3, channels=[4], kernel_size=3, padding=0, pool=1)
    assert (
        layers_of(build, (1, 8, 6)).layers[0].formula
        == "⌊(8 + 2·0 - 3)/1⌋ + 1 = 6; ⌊(6 + 2·0 - 3)/1⌋ + 1 = 4"
    )


@pytest.mark.parametrize(
    ("scratch", "library"),
    [
        (partial(mlp_scratch, (12,), 3, hidden=[7, 5]), partial(mlp, (12,), 3, hidden=[7, 5])),
        (partial(softmax_scratch, (12,), 3), partial(linear, (12,), 3)),
    ],
)
def test_raw_tensors_are_counted_as_layers_are(scratch: Any, library: Any) -> None:
    by_hand, of_library = layers_of(scratch, (12,)), layers_of(library, (12,))
    assert by_hand.parameters == of_library.parameters
    assert by_hand.multiply_adds == of_library.multiply_adds
    assert by_hand.output_shape == of_library.output_shape
    assert len(by_hand.layers) == 1


def test_a_model_of_any_size_is_counted_without_making_it() -> None:
    table = layers_of(partial(mlp, (1000,), 10, hidden=[10**9]), (1000,))
    assert table.parameters == 10**12 + 10**9 + 10**10 + 10


@pytest.mark.parametrize(
    ("shape", "channels", "where"),
    [((3, 32, 32), 64, "cpu"), ((3, 1024, 1024), 64, "meta"), ((3, 32, 32), 12_000, "meta")],
)
def test_what_would_take_much_memory_is_run_without_any(
    shape: tuple[int, ...], channels: int, where: str
) -> None:
    seen = set()

    class Convolution(nn.Conv2d):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.add(inputs.device.type)
            return super().forward(inputs)

    found = layers_of(lambda: Convolution(3, channels, 3, padding=1), shape)
    assert found.output_shape == (channels, *shape[1:])
    assert seen == {where}


def test_counting_leaves_the_random_numbers_of_others_alone() -> None:
    before = torch.get_rng_state()
    layers_of(lambda: nn.Linear(4, 3), (4,))
    assert torch.equal(before, torch.get_rng_state())


def test_inputs_that_do_not_fit_are_refused_with_their_shape() -> None:
    with pytest.raises(UserError, match="inputs of shape 1×4×4"):
        layers_of(lambda: nn.Linear(3, 2), (1, 4, 4))


# ------------------------------------------------------------------------ known networks


@pytest.mark.parametrize(("side", "padding"), [(28, 2), (32, 0)])
def test_lenet_has_the_sizes_and_the_61706_parameters_that_it_is_known_for(side: int, padding: int) -> None:
    table = layers_of(partial(lenet, (1, side, side), 10, padding=padding), (1, side, side))
    shapes = [layer.output_shape for layer in table.layers if layer.parameters or "Pool" in layer.kind]
    assert shapes == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,), (10,)]
    assert table.parameters == 61_706


def test_lenet_says_how_large_an_image_must_be() -> None:
    assert layers_of(partial(lenet, (3, 12, 40), 10), (3, 12, 40)).output_shape == (10,)
    with pytest.raises(UserError, match="nothing is left of images of 11×40 pixels") as refused:
        lenet((3, 11, 40), 10)
    assert refused.value.fix == "they need 12×12"
    with pytest.raises(UserError, match="it takes images"):
        lenet((784,), 10)


MODELS = ["resnet18", "mobilenet_v3_small", "vgg11", "densenet121", "regnet_x_400mf", "vit_b_32", "googlenet"]


@pytest.mark.parametrize("model", mostly_slow(MODELS, "resnet18", "vit_b_32", "googlenet"))
def test_a_model_of_torchvision_is_the_published_one_and_gives_one_tensor(model: str) -> None:
    build = partial(torchvision, (3, 224, 224), 1000, model=model)
    table, published = layers_of(build, (3, 224, 224)), models.get_model_weights(model).DEFAULT.meta
    assert table.parameters == published["num_params"]
    assert table.multiply_adds / 1e9 == pytest.approx(published["_ops"], abs=6e-4)
    with torch.device("meta"):
        assert build().train()(torch.empty(2, 3, 224, 224)).shape == (2, 1000)


def test_small_images_give_a_resnet_the_first_layer_of_he_et_al() -> None:
    table = layers_of(partial(torchvision, (3, 32, 32), 10, model="resnet18", small_images=True), (3, 32, 32))
    assert table.parameters == 11_173_962
    assert table.layers[0].formula == "⌊(32 + 2·1 - 3)/1⌋ + 1 = 32"
    sides = [layer.output_shape[1] for layer in table.layers if layer.kind == "Conv2d"]
    assert (sides[0], max(sides), sides[-1]) == (32, 32, 4)
    assert not [layer for layer in table.layers if layer.kind == "MaxPool2d"]
    large = layers_of(partial(torchvision, (3, 32, 32), 10, model="resnet18"), (3, 32, 32))
    assert large.layers[0].output_shape == (64, 16, 16)


@pytest.mark.parametrize("small_images", [False, True])
def test_the_first_convolution_takes_the_channels_of_the_images(small_images: bool) -> None:
    torch.manual_seed(0)
    build = partial(torchvision, outputs=4, model="resnet18", small_images=small_images)
    spreads = []
    for channels in (1, 3, 5):
        shape = (channels, 28, 28)
        assert layers_of(partial(build, shape), shape).output_shape == (4,)
        weight = build(shape).conv1.weight
        assert weight.shape[1] == channels
        spreads.append(weight.std().item())
    assert spreads == pytest.approx([spreads[1]] * 3, rel=0.1)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((3, 32, 32), {"model": "resnet81"}, "did you mean 'resnet18'?"),
        ((3, 32, 32), {"model": "vgg11", "small_images": True}, "vgg11 has no first layer for large images"),
        ((1, 28, 28), {"model": "vit_b_16"}, "vit_b_16 does not take images of 28×28 pixels"),
        ((3, 32, 64), {"model": "vit_b_16"}, "they must be square"),
        ((3, 32, 32), {"model": "maxvit_t"}, "maxvit_t does not take images of 32×32 pixels"),
        ((3, 32, 32), {"model": "alexnet"}, "the model does not take inputs of shape 3×32×32"),
        ((784,), {"model": "resnet18"}, "it takes images"),
    ],
)
def test_what_torchvision_has_not_or_does_not_take_is_refused(
    shape: tuple[int, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as refused:
        layers_of(partial(torchvision, shape, 10, **options), shape)
    assert said in refused.value.what
    if "small_images" in options:
        assert "resnet18" in refused.value.fix and "wide_resnet50_2" in refused.value.fix


def kinds(model: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in model.children()]


def test_batch_normalisation_stands_between_a_layer_without_bias_and_its_activation() -> None:
    network = mlp((12,), 3, hidden=[7], batch_norm=True, dropout=0.5)
    assert kinds(network) == ["Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    convolutional = cnn((1, 8, 8), 3, channels=[4], hidden=[6], batch_norm=True)
    assert kinds(convolutional) == [
        *["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Flatten"],
        *["Linear", "BatchNorm1d", "ReLU", "Linear"],
    ]
    for model in (network, convolutional):
        layers = list(model.children())
        for layer, after in pairwise(layers):
            if isinstance(layer, nn.Linear | nn.Conv2d):
                assert (layer.bias is None) == isinstance(after, nn.BatchNorm1d | nn.BatchNorm2d)
        assert layers[-1].bias is not None
    # What normalising is: mean 0 and standard deviation 1 over the batch, whatever comes in.
    inputs = 5 + 3 * torch.randn(200, 12)
    normalised = network[:2](inputs)
    torch.testing.assert_close(normalised.mean(0), torch.zeros(7), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(7), atol=1e-3, rtol=0)


# ------------------------------------------------------------------------ a convolution by hand


def test_the_worked_convolution_is_0_plus_2_plus_0_plus_1() -> None:
    """A 7×7×3 input and two 3×3×3 kernels: an inner product per channel, summed, plus the bias."""
    build = partial(
        cnn, (3, 7, 7), 2, channels=[2], kernel_size=3, stride=2, padding=0, pool=1, activation="identity"
    )
    convolution = build()[0]
    image, kernels, biases = torch.zeros(3, 7, 7), torch.zeros(2, 3, 3, 3), torch.tensor([1.0, 0.0])
    image[0, 0, 0], kernels[0, 0, 0, 0], kernels[0, 0, 0, 1] = 2, 0, 5  # red: 2·0 + 0·5 = 0
    image[1, 1, 1], image[1, 2, 0] = 1, 2
    kernels[0, 1, 1, 1], kernels[0, 1, 2, 0] = -2, 2  # green: 1·(-2) + 2·2 = 2
    image[2, 2, 2], image[2, 0, 1], kernels[0, 2, 2, 2], kernels[0, 2, 0, 1] = 1, 1, 1, -1  # blue: 1 - 1 = 0
    with torch.no_grad():
        convolution.weight.copy_(kernels)
        convolution.bias.copy_(biases)
    per_channel = [float((image[c, :3, :3] * kernels[0, c]).sum()) for c in range(3)]
    assert per_channel == [0.0, 2.0, 0.0]
    assert sum(per_channel) + 1 == 3.0
    assert convolution(image.unsqueeze(0))[0, 0, 0, 0].item() == 3.0


def test_every_value_of_a_convolution_is_such_a_sum() -> None:
    torch.manual_seed(0)
    convolution = cnn((3, 7, 7), 2, channels=[2], kernel_size=3, stride=2, padding=0)[0].double()
    image = torch.randn(3, 7, 7, dtype=torch.float64)
    found = convolution(image.unsqueeze(0))[0].detach()
    assert found.shape == (2, 3, 3)
    for kernel in range(2):
        for row in range(3):
            for column in range(3):
                window = image[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
                per_channel = [(window[c] * convolution.weight[kernel, c]).sum() for c in range(3)]
                by_hand = (sum(per_channel) + convolution.bias[kernel]).item()
                assert float(found[kernel, row, column]) == pytest.approx(by_hand, rel=1e-12)


# ------------------------------------------------------------------------ recurrent layers and attention


class Recurrent(nn.Module):
    """A recurrent layer over 5 positions of 8 figures, and the classes by its last output."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.rnn = kind(8, 16, batch_first=True, **options)
        self.head = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.rnn(inputs)[0][:, -1])
        return outputs


class Attending(nn.Module):
    """Attention over 5 positions with weights of its own for each of them."""

    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(5, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.weights = weights

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs + self.positions
        outputs: Tensor = self.attention(inputs, inputs, inputs, need_weights=self.weights)[0].mean(1)
        return outputs


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_recurrent_layer_is_counted_at_every_position(
    kind: type[nn.RNNBase], gates: int, layers: int
) -> None:
    table = layers_of(lambda: Recurrent(kind, num_layers=layers), (5, 8))
    first, head = table.layers
    assert (first.kind, first.output_shape, head.kind) == (kind.__name__, (5, 16), "Linear")
    inputs_of_layers = [8, *[16] * (layers - 1)]
    assert first.multiply_adds == sum(5 * gates * 16 * (inputs + 16) for inputs in inputs_of_layers)
    assert first.parameters == sum(gates * 16 * (inputs + 16 + 2) for inputs in inputs_of_layers)
    assert table.parameters == first.parameters + head.parameters


@pytest.mark.parametrize("weights", [True, False])
def test_attention_is_its_projections_and_the_products_of_all_positions(weights: bool) -> None:
    table = layers_of(lambda: Attending(weights), (5, 8))
    attention, own = table.layers
    assert (attention.kind, attention.output_shape) == ("MultiheadAttention", (5, 8))
    assert attention.parameters == 4 * 8 * 8 + 4 * 8
    assert attention.multiply_adds == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8
    assert (own.kind, own.parameters, own.multiply_adds) == ("Attending", 5 * 8, 0)
    assert table.parameters == attention.parameters + own.parameters


def test_a_transformer_is_counted_layer_by_layer() -> None:
    block = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True)
    table = layers_of(lambda: nn.Sequential(block.to("meta").to_empty(device="cpu"), nn.Flatten()), (5, 8))
    kinds = [layer.kind for layer in table.layers]
    assert kinds.count("MultiheadAttention") == 1
    assert kinds.count("Linear") == 2
    of_block = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 32
    assert table.multiply_adds == sum(layer.multiply_adds for layer in table.layers) == of_block


def test_counting_leaves_the_kernels_as_they_were() -> None:
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    layers_of(lambda: Attending(False), (5, 8))
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == before
