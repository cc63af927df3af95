"""The closed form of training steps: gradients of fully connected networks without autograd's records.

Autograd records each operation of a forward pass and what its derivative needs, and walks back through these
records. For a chain of fully connected layers and elementwise activations all of this is known before the
run. Here both passes call the kernels that autograd would call, on the same numbers: every bit is the same,
and most activations are computed in place. The derivatives are those of PyTorch's derivatives.yaml;
tests/training/test_closed_form.py holds them against autograd, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from dlrun.training.stacked_layers import chain, is_flatten

# `_op` is the kernel's entry itself, without the Python function around it.
_threshold = torch.ops.aten.threshold_backward.grad_input._op
_sigmoid = torch.ops.aten.sigmoid_backward.grad_input._op
_tanh = torch.ops.aten.tanh_backward.grad_input._op
_leaky_relu = torch.ops.aten.leaky_relu_backward.grad_input._op
_elu = torch.ops.aten.elu_backward.grad_input._op
_gelu = torch.ops.aten.gelu_backward.grad_input._op
_silu = torch.ops.aten.silu_backward.grad_input._op
_softplus = torch.ops.aten.softplus_backward.grad_input._op
_SELU = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # alpha, scale
Masks = Callable[[Tensor], Tensor]  # the inputs of a dropout in a step -> its mask, of their shape


class Layer(Protocol):
    """A layer whose two passes alternate: `backward` is that of the last `forward`."""

    @property
    def weights(self) -> Sequence[Tensor]: ...

    def forward(self, inputs: Tensor) -> Tensor: ...

    def backward(self, gradient: Tensor, is_lowest: bool) -> Tensor:
        """Add to each weight its gradient; return that of the inputs, which the lowest layer leaves out.

        `gradient` may be overwritten.
        """
        ...


class ClosedForm:
    """The training pass of a chain of layers, inputs (batch, …) -> outputs (batch, outputs).

    Of stacked copies both begin with an axis of copies.
    """

    def __init__(self, layers: Sequence[Layer], axes: int, *, flattens: bool) -> None:
        self._layers, self._axes, self._flattens = layers, axes, flattens
        self._outputs: Tensor | None = None
        self.draws = any(isinstance(layer, _Dropout) for layer in layers)  # random numbers in each pass

    def takes(self, inputs: Tensor) -> bool:
        """True of vectors; layers that compute at several places of an example have other kernels."""
        return self._flattens or inputs.dim() == self._axes + 1

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs, valid until the next pass."""
        outputs = inputs.flatten(self._axes) if self._flattens else inputs
        for layer in self._layers:
            outputs = layer.forward(outputs)
        return outputs

    def backward(self, gradient: Tensor) -> None:
        """Add to each weight that learns its gradient, from that of the outputs, which is overwritten."""
        lowest = self._lowest()
        for number in range(len(self._layers) - 1, lowest - 1, -1):
            gradient = self._layers[number].backward(gradient, number == lowest)

    def __call__(self, inputs: Tensor) -> Tensor:
        """The outputs as a leaf of autograd, after whose backward pass `finish` does the rest of it."""
        self._outputs = self.forward(inputs).detach().requires_grad_()
        return self._outputs

    def finish(self) -> None:
        """Add to each weight that learns its gradient, from that which autograd computed of the outputs."""
        outputs, self._outputs = self._outputs, None
        if outputs is not None and outputs.grad is not None:  # None for a loss that does not depend on them
            self.backward(outputs.grad)

    def _lowest(self) -> int:
        """The first layer with a weight that learns: below it no gradient is needed."""
        for number, layer in enumerate(self._layers):
            for weight in layer.weights:
                if weight.requires_grad:
                    return number
        return len(self._layers)


class Linear:
    """A fully connected layer of one copy, y = x Wᵀ + b, that writes into the same tensors in each step.

    They stay in the processor's caches, and nothing is allocated.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weights = [weight] if bias is None else [weight, bias]
        self._weight = weight.detach()  # the same memory, of which autograd knows nothing
        self._transposed, self._bias = self._weight.mT, None if bias is None else self._placed(bias.detach())
        self._rooms = [torch.empty_like(each) for each in self.weights]
        self._inputs = self._outputs = self._of_inputs = self._weight.new_empty(0)

    def _placed(self, bias: Tensor) -> Tensor:
        return bias

    def forward(self, inputs: Tensor) -> Tensor:
        self._inputs = inputs
        if self._outputs.shape[:-1] != inputs.shape[:-1]:
            self._outputs = inputs.new_empty(*inputs.shape[:-1], self._weight.shape[-2])
            self._of_inputs = torch.empty_like(inputs)
        if self._bias is None:
            return torch.mm(inputs, self._transposed, out=self._outputs)
        return torch.addmm(self._bias, inputs, self._transposed, out=self._outputs)

    def backward(self, gradient: Tensor, is_lowest: bool) -> Tensor:
        _learn(self.weights[0], self._rooms[0], torch.mm, gradient.t(), self._inputs)
        if self._bias is not None:
            _learn(self.weights[1], self._rooms[1], torch.sum, gradient, 0)
        if is_lowest:
            return gradient
        return torch.mm(gradient, self._weight, out=self._of_inputs)


class StackedLinear(Linear):
    """A fully connected layer of all copies at once, as `dlrun.training.stacked_layers` computes it."""

    def _placed(self, bias: Tensor) -> Tensor:
        return bias.unsqueeze(1)

    def forward(self, inputs: Tensor) -> Tensor:
        self._inputs = inputs
        if self._outputs.shape[:-1] != inputs.shape[:-1]:
            self._outputs = inputs.new_empty(*inputs.shape[:-1], self._weight.shape[-2])
            self._of_inputs = torch.empty_like(inputs)
        if self._bias is None:
            return torch.bmm(inputs, self._transposed, out=self._outputs)
        return torch.baddbmm(self._bias, inputs, self._transposed, out=self._outputs)

    def backward(self, gradient: Tensor, is_lowest: bool) -> Tensor:
        _learn(self.weights[0], self._rooms[0], _outer, self._inputs.mT, gradient)
        if self._bias is not None:
            _learn(self.weights[1], self._rooms[1], torch.sum, gradient, 1)
        if is_lowest:
            return gradient
        return torch.bmm(gradient, self._weight, out=self._of_inputs)


class _Dropout:
    """A dropout: x times a mask of zeros and 1 / (1 - p)."""

    weights: Sequence[Tensor] = ()

    def __init__(self, masks: Masks) -> None:
        self._masks, self._mask = masks, torch.empty(0)

    def forward(self, inputs: Tensor) -> Tensor:
        self._mask = self._masks(inputs)
        return inputs * self._mask

    def backward(self, gradient: Tensor, is_lowest: bool) -> Tensor:
        return gradient.mul_(self._mask)


class _Activation:
    """An activation and its derivative, an operation on the gradient and on its outputs or its inputs."""

    weights: Sequence[Tensor] = ()

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        derivative: Callable[[Tensor, Tensor], Tensor],
        *,
        of_outputs: bool = False,
    ) -> None:
        self._function, self._derivative, self._of_outputs = function, derivative, of_outputs
        self._kept = torch.empty(0)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self._function(inputs)
        self._kept = outputs if self._of_outputs else inputs
        return outputs

    def backward(self, gradient: Tensor, is_lowest: bool) -> Tensor:
        return self._derivative(gradient, self._kept)


def closed_form(
    model: nn.Module,
    linear: Callable[[str, nn.Linear], Linear],
    masks: Callable[[str, nn.Module], Masks],
    axes: int,
) -> ClosedForm | None:
    """The closed form of a model, or None if one of its layers has none.

    `linear` makes a fully connected layer and `masks` draws those of a dropout, of their names in the model
    and their modules. `axes` are those before the features: 1 is the batch, 2 are copies and batch.
    """
    if any(map(_is_changed, model.modules())):
        return None
    modules = [pair for pair in chain("", model) if type(pair[1]) is not nn.Identity]
    flattens = bool(modules) and is_flatten(modules[0][1])
    layers, behind_linear = list[Layer](), False
    layer: Layer | None
    for name, module in modules[flattens:]:
        if type(module) is nn.Linear:
            layer = linear(name, module)
        elif not layers:  # it would compute in place what the data gave
            return None
        elif type(module) is nn.Dropout:
            layer = _Dropout(masks(name, module))
        else:
            layer = _activation(module, in_place=behind_linear)
        if layer is None:
            return None
        layers.append(layer)
        behind_linear = type(module) is nn.Linear
    return ClosedForm(layers, axes, flattens=flattens) if layers else None


def _is_changed(module: nn.Module) -> bool:
    """True of a module that does more or something else than its class says."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    return any(map(len, hooks)) or bool(module._backward_pre_hooks) or "forward" in vars(module)


def _activation(module: nn.Module, *, in_place: bool) -> _Activation | None:
    """The closed form of an activation; `in_place` it overwrites its inputs, which nothing else needs."""
    match module:
        case nn.ReLU():
            relu = torch.relu_ if in_place else torch.relu
            return _Activation(relu, lambda g, y: _threshold(g, y, 0, grad_input=g), of_outputs=True)
        case nn.Sigmoid():
            sigmoid = torch.sigmoid_ if in_place else torch.sigmoid
            return _Activation(sigmoid, lambda g, y: _sigmoid(g, y, grad_input=g), of_outputs=True)
        case nn.Tanh():
            tanh = torch.tanh_ if in_place else torch.tanh
            return _Activation(tanh, lambda g, y: _tanh(g, y, grad_input=g), of_outputs=True)
        case nn.LeakyReLU(negative_slope=slope):
            return _Activation(module, lambda g, x: _leaky_relu(g, x, slope, False, grad_input=g))
        case nn.ELU(alpha=alpha):
            return _Activation(module, lambda g, x: _elu(g, alpha, 1.0, 1.0, False, x, grad_input=g))
        case nn.SELU():
            return _Activation(module, lambda g, x: _elu(g, *_SELU, 1.0, False, x, grad_input=g))
        case nn.GELU(approximate=how):
            return _Activation(module, lambda g, x: _gelu(g, x, approximate=how, grad_input=g))
        case nn.SiLU():
            return _Activation(module, lambda g, x: _silu(g, x, grad_input=g))
        case nn.Softplus(beta=beta, threshold=most):
            return _Activation(module, lambda g, x: _softplus(g, x, beta, most, grad_input=g))
        case nn.LogSoftmax(dim=-1):
            return _Activation(lambda x: x.log_softmax(-1), _log_softmax, of_outputs=True)
        case nn.Softmax(dim=-1):
            return _Activation(lambda x: x.softmax(-1), _softmax, of_outputs=True)
    return None


def _log_softmax(gradient: Tensor, outputs: Tensor) -> Tensor:
    return torch._log_softmax_backward_data(gradient, outputs, -1, outputs.dtype)


def _softmax(gradient: Tensor, outputs: Tensor) -> Tensor:
    return torch._softmax_backward_data(gradient, outputs, -1, outputs.dtype)


def _outer(inputs: Tensor, gradient: Tensor, out: Tensor | None = None) -> Tensor:
    """The gradient (copies, outputs, features) of weights, of inputs (copies, features, batch)."""
    product = torch.bmm(inputs, gradient).mT
    return product.contiguous() if out is None else out.copy_(product)


def _learn(
    weight: Tensor, room: Tensor, product: Callable[..., Tensor], one: Tensor, other: Tensor | int
) -> None:
    """Add to a weight that learns its gradient, a product, which is written to `room` if it is the first."""
    if not weight.requires_grad:
        return
    if weight.grad is None:
        weight.grad = product(one, other, out=room)
    else:
        weight.grad.add_(product(one, other))
