"""Shared code of losses: the number of outputs they need, and class numbers as one-hot rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.blocks.decisions import two_sigmoids
from dlrun.data.examples import Data
from dlrun.data.trees import Tree, main_outputs
from dlrun.errors import UserError


def one_output_per_class(data: Data) -> int:
    """The number of outputs: one for each class. Raises UserError if there is only one class."""
    if len(data.classes) < 2:
        raise UserError(f"it needs two or more classes, but the dataset has {len(data.classes)}")
    return len(data.classes)


def one_output_per_class_or_figure(data: Data) -> int:
    """The number of outputs: one for each class, or if there are none one for each target."""
    return one_output_per_class(data) if data.classes else data.targets


def one_hot(targets: Tensor, like: Tensor) -> Tensor:
    """One-hot rows (n, classes) of class numbers (n,), with the type of `like`; rows are left as they are."""
    if targets.dim() > 1:
        return targets.to(like.dtype)
    return F.one_hot(targets, like.shape[1]).to(like.dtype)


def smoothed(targets: Tensor, share: float, alternatives: int, outputs: Tree) -> Tensor:
    """Targets of which a share is spread evenly over the alternatives (Szegedy et al., arXiv 1512.00567).

    Class numbers (n,) become shares of classes (n, classes); rows of shares, or of labels, which have the
    alternatives 0 and 1, keep their shape. The type is that of the outputs.
    """
    like = main_outputs(outputs)
    least = share / alternatives
    if targets.dim() > 1:
        return targets.to(like.dtype) * (1 - share) + least
    shares = like.new_full((len(targets), alternatives), least)
    return shares.scatter_(1, targets.unsqueeze(1), 1 - share + least)


def shares_of(outputs: Tensor) -> Tensor:
    """Turn outputs (…, classes) that approximate probabilities into some: none below 0, their sum 1.

    If no output is above 0, the softmax takes their place; its largest entry is at the same class.
    """
    positive = outputs.clamp_min(0)
    total = positive.sum(-1, keepdim=True)
    return (positive / total).where(total > 0, outputs.softmax(-1))


def one_logit_for_two_classes(data: Data) -> int:
    """The number of logits of sigmoids: one for two classes, else one for each class."""
    classes = one_output_per_class(data)
    return 1 if classes == 2 else classes


def true_sigmoids(targets: Tensor, outputs: Tensor) -> Tensor:
    """The true values (n, k), 0, 1 or shares between, of the sigmoids of logits (n, k).

    `targets` are class numbers (n,), shares of classes (n, classes) or labels (n, labels).
    """
    if targets.dim() == 1 and outputs.shape[1] == 1:
        return targets.to(outputs.dtype).unsqueeze(1)
    if outputs.shape[1] == 1 and targets.shape[1] == 2:  # shares of two classes, of which class 1 counts
        return targets[:, 1:]
    return one_hot(targets, outputs)


def sigmoid_probabilities(outputs: Tensor) -> Tensor:
    """The probabilities (…, 2) of two classes, or the sigmoids (…, classes) divided by their sum."""
    if outputs.shape[-1] == 1:
        return two_sigmoids(outputs)
    return F.logsigmoid(outputs).softmax(-1)  # the same quotient, stable even if every sigmoid is 0


def sigmoid_shares(shares: Tensor) -> Tensor:
    """The logits (k,) of class shares (classes,): one for two classes, else one for each class."""
    return torch.logit(shares[1:] if len(shares) == 2 else shares, eps=1e-6)


def same(shares: Tensor) -> Tensor:
    """Return the class shares (classes,): they are the constant outputs nearest to one-hot targets."""
    return shares
