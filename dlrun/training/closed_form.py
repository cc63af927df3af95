"""The closed form of training steps: gradients of fully connected networks without autograd's records.

Autograd records each operation of a forward pass and what its derivative needs, and walks back through these
records. For a chain of fully connected layers and elementwise activations all of this is known before the
run. Here both passes call the kernels that autograd would call, on the same numbers: every bit is the same,
and most activations are computed in place. The derivatives are those of PyTorch's derivatives.yaml;
tests/training/test_closed_form.py holds them against autograd, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlrun.training.log_softmax import LogSoftmax
from dlrun.training.outer_products import is_turned, outer_product
from dlrun.training.stacked_layers import chain, is_flatten

DrawMask = Callable[[Tensor], Tensor]  # the inputs of a dropout in a step -> its mask, of their shape
Derivative = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # gradient, what was kept, the tensor to fill
_SELU = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # alpha, scale


class ClosedLayer(Protocol):
    """A layer whose two passes alternate: `backward` is that of the last `forward`."""

    @property
    def weights(self) -> Sequence[Tensor]: ...

    def forward(self, inputs: Tensor) -> Tensor: ...

    def backward(self, gradient: Tensor, is_lowest: bool, is_own: bool) -> Tensor:
        """Add to each weight its gradient; return that of the inputs, which the lowest layer leaves out.

        `gradient` may be overwritten if it `is_own`, a tensor that a layer above has made.
        """
        ...


class ClosedForm:
    """The training pass of a chain of layers, inputs (batch, …) -> outputs (batch, outputs).

    Of stacked copies both begin with an axis of copies.
    """

    def __init__(self, layers: Sequence[ClosedLayer], axes: int, *, flattens: bool) -> None:
        self._layers, self._axes, self._flattens = layers, axes, flattens
        self._outputs: Tensor | None = None
        self._gradient: Tensor | None = None
        self.draws = any(isinstance(layer, _Dropout) for layer in layers)  # random numbers in each pass

    def takes(self, inputs: Tensor) -> bool:
        """True of vectors; layers that compute at several places of an example have other kernels."""
        return self._flattens or inputs.dim() == self._axes + 1

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = inputs.flatten(self._axes) if self._flattens else inputs
        for layer in self._layers:
            outputs = layer.forward(outputs)
        return outputs

    def backward(self, gradient: Tensor) -> None:
        """Add to each weight that learns its gradient, from that of the last outputs."""
        lowest, top = self._lowest(), len(self._layers) - 1
        for number in range(top, lowest - 1, -1):
            gradient = self._layers[number].backward(gradient, number == lowest, number < top)

    def __call__(self, inputs: Tensor) -> Tensor:
        """The outputs as a leaf of autograd, after whose backward pass `finish` does the rest of it."""
        outputs = self.forward(inputs).detach().requires_grad_()
        # A leaf's own .grad would be copied into another layout, whose sums have other last bits.
        outputs.register_hook(self._take)
        self._outputs = outputs  # for as long as its hook
        return outputs

    def _take(self, gradient: Tensor) -> None:
        self._gradient = gradient

    def finish(self) -> None:
        """Add to each weight that learns its gradient, from that which autograd computed of the outputs."""
        gradient, self._gradient, self._outputs = self._gradient, None, None
        if gradient is not None:  # of a loss that depends on the outputs
            self.backward(gradient)

    def _lowest(self) -> int:
        """The first layer with a weight that learns: below it no gradient is needed."""
        for number, layer in enumerate(self._layers):
            for weight in layer.weights:
                if weight.requires_grad:
                    return number
        return len(self._layers)


class Linear:
    """A fully connected layer, y = x Wᵀ + b; of stacked copies W is (copies, outputs, features).

    With `reuses` its outputs and gradients are the same tensors in every step: they stay in the processor's
    caches, and nothing is allocated.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, reuses: bool) -> None:
        self.weights = [weight] if bias is None else [weight, bias]
        self._reuses, self._is_stacked = reuses, weight.dim() == 3
        self._outer_by_autograd = self._outer = partial(outer_product, turned=self._is_stacked)
        self._product = torch.bmm if self._is_stacked else torch.mm
        self._product_and_sum = torch.baddbmm if self._is_stacked else torch.addmm
        self._rooms = [torch.empty_like(each) if reuses else None for each in self.weights]
        self.is_last = False  # of the chain: then its outputs are new ones, which a loss may keep
        self._look()
        self._inputs = self._outputs = self._of_inputs = self._weight.new_empty(0)

    def _look(self) -> None:
        """Take the weights as they lie in memory, of which autograd then knows nothing."""
        self._places = [weight.data_ptr() for weight in self.weights]
        self._weight, *bias = (weight.detach() for weight in self.weights)
        self._transposed = self._weight.mT
        self._bias = (bias[0].unsqueeze(1) if self._is_stacked else bias[0]) if bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        for weight, place in zip(self.weights, self._places, strict=True):
            if weight.data_ptr() != place:  # an optimizer has replaced weight.data
                self._look()
        before, self._inputs = self._inputs, inputs
        if before.shape != inputs.shape or before.stride() != inputs.stride():
            self._outputs = inputs.new_empty(*inputs.shape[:-1], self._weight.shape[-2])
            self._of_inputs = torch.empty_like(inputs)
            self._outer = partial(outer_product, turned=is_turned(inputs, self._weight.shape[-2]))
        room = self._outputs if self._reuses and not self.is_last else None
        if self._bias is None:
            return self._product(inputs, self._transposed, out=room)
        return self._product_and_sum(self._bias, inputs, self._transposed, out=room)

    def backward(self, gradient: Tensor, is_lowest: bool, is_own: bool) -> Tensor:
        if self.weights[0].requires_grad:
            product = self._outer if gradient.is_contiguous() else self._outer_by_autograd
            self._learn(0, product, gradient, self._inputs)
        if self._bias is not None and self.weights[1].requires_grad:
            self._learn(1, torch.sum, gradient, int(self._is_stacked))
        if is_lowest:
            return gradient
        return self._product(gradient, self._weight, out=self._of_inputs)

    def _learn(self, number: int, product: Callable[..., Tensor], one: Tensor, other: Any) -> None:
        """Add a product to the gradient of a weight."""
        weight = self.weights[number]
        if weight.grad is None:
            weight.grad = product(one, other, out=self._rooms[number])
        else:
            weight.grad.add_(product(one, other, out=None))


class _Dropout:
    """A dropout: x times a mask of zeros and 1 / (1 - p)."""

    weights: Sequence[Tensor] = ()

    def __init__(self, draw: DrawMask) -> None:
        self._draw, self._mask = draw, torch.empty(0)

    def forward(self, inputs: Tensor) -> Tensor:
        self._mask = self._draw(inputs)
        return inputs * self._mask

    def backward(self, gradient: Tensor, is_lowest: bool, is_own: bool) -> Tensor:
        return gradient.mul_(self._mask) if is_own else gradient * self._mask


class _Activation:
    """An activation and its derivative, an operation on the gradient and on its outputs or its inputs."""

    weights: Sequence[Tensor] = ()

    def __init__(
        self, function: Callable[[Tensor], Tensor], derivative: Derivative, *, of_outputs: bool = False
    ) -> None:
        self._function, self._derivative, self._of_outputs = function, derivative, of_outputs
        self._kept = torch.empty(0)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self._function(inputs)
        self._kept = outputs if self._of_outputs else inputs
        return outputs

    def backward(self, gradient: Tensor, is_lowest: bool, is_own: bool) -> Tensor:
        return self._derivative(gradient, self._kept, gradient if is_own else None)


def closed_form(
    model: nn.Module,
    linear: Callable[[str, nn.Linear], Linear],
    draw: Callable[[str, nn.Module], DrawMask],
    axes: int,
) -> ClosedForm | None:
    """The closed form of a model, or None if one of its layers has none.

    `linear` makes a fully connected layer and `draw` draws the masks of a dropout, of their names in the
    model and their modules. `axes` are those before the features: 1 is the batch, 2 are copies and batch.
    """
    modules = [pair for pair in chain("", model) if type(pair[1]) is not nn.Identity]
    if any(map(_is_changed, model.modules())) or _has_shared_weights(model):
        return None
    flattens = bool(modules) and is_flatten(modules[0][1])
    layers, behind_linear = list[ClosedLayer](), False
    layer: ClosedLayer | None
    for name, module in modules[flattens:]:
        if type(module) is nn.Linear:
            layer = linear(name, module)
        elif not layers:  # it would compute in place what the data gave
            return None
        elif type(module) is nn.Dropout and not module.inplace:
            layer = _Dropout(draw(name, module))
        else:
            layer = _activation(module, in_place=behind_linear)
        if layer is None:
            return None
        layers.append(layer)
        behind_linear = type(module) is nn.Linear
    if not layers:
        return None
    last = next(each for each in reversed(layers) if isinstance(each, Linear))
    last.is_last = True
    return ClosedForm(layers, axes, flattens=flattens)


def _is_changed(module: nn.Module) -> bool:
    """True of a module that does more than its class says, or whose weights do at their gradients."""
    hooks: list[Any] = [module._forward_hooks, module._forward_pre_hooks]
    hooks += [module._backward_hooks, module._backward_pre_hooks]
    for weight in module.parameters(recurse=False):
        hooks += [weight._backward_hooks, weight._post_accumulate_grad_hooks]
    return any(hooks) or "forward" in vars(module)


def _has_shared_weights(model: nn.Module) -> bool:
    """True if two layers have a weight in common, whose gradients autograd adds in an order of its own."""
    return len(list(model.named_parameters(remove_duplicate=False))) > len(list(model.parameters()))


def _activation(module: nn.Module, *, in_place: bool) -> ClosedLayer | None:
    """The closed form of an activation; `in_place` it overwrites its inputs, which nothing else needs."""
    if type(module).__module__ != nn.ReLU.__module__:  # a subclass, which may compute something else
        return None
    if getattr(module, "inplace", False) and not (in_place and isinstance(module, nn.ReLU)):
        return None
    match module:
        case nn.ReLU():
            relu = torch.relu_ if in_place else torch.relu
            return _Activation(relu, lambda g, y, out: _threshold(out, g, y, 0), of_outputs=True)
        case nn.Sigmoid():
            sigmoid = torch.sigmoid_ if in_place else torch.sigmoid
            return _Activation(sigmoid, lambda g, y, out: _sigmoid(out, g, y), of_outputs=True)
        case nn.Tanh():
            tanh = torch.tanh_ if in_place else torch.tanh
            return _Activation(tanh, lambda g, y, out: _tanh(out, g, y), of_outputs=True)
        case nn.LeakyReLU(negative_slope=slope):
            return _Activation(
                lambda x: F.leaky_relu(x, slope), lambda g, x, out: _leaky_relu(out, g, x, slope, False)
            )
        case nn.ELU(alpha=alpha):
            return _Activation(
                lambda x: F.elu(x, alpha), lambda g, x, out: _elu(out, g, alpha, 1.0, 1.0, False, x)
            )
        case nn.SELU():
            return _Activation(torch.selu, lambda g, x, out: _elu(out, g, *_SELU, 1.0, False, x))
        case nn.GELU(approximate=how):
            return _Activation(
                lambda x: F.gelu(x, approximate=how), lambda g, x, out: _gelu(out, g, x, approximate=how)
            )
        case nn.SiLU():
            return _Activation(F.silu, lambda g, x, out: _silu(out, g, x))
        case nn.Softplus(beta=beta, threshold=most):
            return _Activation(
                lambda x: F.softplus(x, beta, most), lambda g, x, out: _softplus(out, g, x, beta, most)
            )
        case nn.LogSoftmax(dim=-1):
            return LogSoftmax()
        case nn.Softmax(dim=-1):
            return _Activation(lambda x: x.softmax(-1), _softmax, of_outputs=True)
    return None


def _softmax(gradient: Tensor, outputs: Tensor, out: Tensor | None) -> Tensor:
    return torch._softmax_backward_data(gradient, outputs, -1, outputs.dtype)


def _kernel(operation: Any) -> Callable[..., Tensor]:
    """The derivative `operation` of PyTorch as a function of the tensor to fill, if any, and its arguments.

    `_op` is the entry of the kernel itself, without the Python function around it.
    """
    new, filling = operation.default._op, operation.grad_input._op

    def derivative(out: Tensor | None, *arguments: Any, **options: Any) -> Tensor:
        found: Tensor = (
            new(*arguments, **options) if out is None else filling(*arguments, **options, grad_input=out)
        )
        return found

    return derivative


_threshold = _kernel(torch.ops.aten.threshold_backward)
_sigmoid = _kernel(torch.ops.aten.sigmoid_backward)
_tanh = _kernel(torch.ops.aten.tanh_backward)
_leaky_relu = _kernel(torch.ops.aten.leaky_relu_backward)
_elu = _kernel(torch.ops.aten.elu_backward)
_gelu = _kernel(torch.ops.aten.gelu_backward)
_silu = _kernel(torch.ops.aten.silu_backward)
_softplus = _kernel(torch.ops.aten.softplus_backward)
