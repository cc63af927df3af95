"""Muon, with AdamW for what is no matrix."""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, optim

from dlrun.config.options import Fraction, NonNegative, Positive

_IS_MUON = "muon"  # in a parameter group: it is one of matrices


def muon(
    parameters: list[Tensor],
    *,
    lr: NonNegative,
    momentum: Fraction = 0.95,
    nesterov: bool = True,
    weight_decay: NonNegative = 0.0,
    adamw_lr: NonNegative | None = None,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.95,
    eps: Positive = 1e-8,
) -> optim.Optimizer:
    """Muon: momentum whose matrices are made orthogonal; weights that are no matrices have AdamW.

    Convolutions, biases and normalisations are no matrices. Source: Jordan et al. 2024.

    Args:
        lr: Learning rate of the matrices, in the scale of AdamW's (Liu et al. 2025, arXiv 2502.16982). The
            schedule multiplies it.
        momentum: Share of the last steps that is kept in the next one.
        nesterov: Look ahead along the momentum.
        weight_decay: Share of each weight, times the rate, that is taken off it in a step.
        adamw_lr: Learning rate of what is no matrix; null: `lr`.
        beta1: Smoothing of the gradient's running mean in AdamW.
        beta2: Smoothing of the squared gradient's running mean in AdamW.
        eps: Number added to the denominator in AdamW.

    Example:
        optimizer: {name: muon, lr: 0.002, weight_decay: 0.1}
    """
    matrices = [each for each in parameters if each.dim() == 2]
    others = [each for each in parameters if each.dim() != 2]
    groups: list[dict[str, Any]] = []
    if matrices:
        of_muon = optim.Muon(
            matrices,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        groups += [group | {_IS_MUON: True} for group in of_muon.param_groups]
    if others:
        rate = lr if adamw_lr is None else adamw_lr
        of_adamw = optim.AdamW(others, lr=rate, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
        groups += [group | {_IS_MUON: False} for group in of_adamw.param_groups]
    return MuonWithAdamW(groups)


class MuonWithAdamW(optim.Optimizer):
    """PyTorch's Muon and AdamW, each for its own parameter groups, with one state."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        nothing = torch.zeros(1, 1)
        self._each = {True: optim.Muon([nothing]), False: optim.AdamW([nothing])}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for is_muon, optimizer in self._each.items():
            optimizer.param_groups = [group for group in self.param_groups if group[_IS_MUON] is is_muon]
            optimizer.state = self.state
            if optimizer.param_groups:
                unwrap(type(optimizer).step)(optimizer)  # PyTorch's wrappers would import its compiler
