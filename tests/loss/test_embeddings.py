"""Losses of embeddings have the values and gradients of PyTorch, or of a loop over the pairs of the paper."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlrun.config.registry import Parts

PARTS = Parts()
TRIPLET, CONTRAST = (PARTS.find("loss", name) for name in ("triplet", "supervised_contrastive"))
CLASSES = [
    torch.tensor([0, 1, 2, 0, 1, 0, 2, 0]),
    torch.tensor([0, 1, 2, 0, 3, 0, 4, 0]),  # some are alone in their class
    torch.tensor([0, 0, 1]),
]


def points(n: int, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=stream, dtype=torch.float64).requires_grad_()


def triples(targets: Tensor) -> list[tuple[int, int, int]]:
    """An example, another of its class, and one of another class, in all ways."""
    each = range(len(targets))
    return [
        (a, p, n)
        for a, p, n in product(each, each, each)
        if a != p and targets[a] == targets[p] and targets[a] != targets[n]
    ]


def gradient_of(figure: Tensor, given: Tensor) -> Tensor:
    return torch.autograd.grad(figure, given)[0]


@pytest.mark.parametrize("targets", CLASSES)
@pytest.mark.parametrize("margin", [0.2, 3.0, None])
def test_all_triples_have_the_mean_of_pytorch(targets: Tensor, margin: float | None) -> None:
    given = points(len(targets))
    a, p, n = torch.tensor(triples(targets)).T
    if margin is None:
        away = (given[a] - given[p]).norm(dim=1) - (given[a] - given[n]).norm(dim=1)
        wanted = away.exp().log1p().mean()
    else:
        wanted = nn.TripletMarginLoss(margin, eps=0)(given[a], given[p], given[n])
    found = TRIPLET(given, targets, margin=margin, mining="batch_all")
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient_of(found, given), gradient_of(wanted, given))


@pytest.mark.parametrize("targets", CLASSES)
@pytest.mark.parametrize("margin", [0.2, 3.0, None])
def test_the_hardest_triple_of_each_example_counts(targets: Tensor, margin: float | None) -> None:
    given = points(len(targets))
    hardest: dict[int, Tensor] = {}
    for a, p, n in triples(targets):
        away = (given[a] - given[p]).norm() - (given[a] - given[n]).norm()
        hardest[a] = away if a not in hardest else torch.maximum(hardest[a], away)
    each = torch.stack(list(hardest.values()))
    wanted = (each.exp().log1p() if margin is None else (each + margin).clamp_min(0)).mean()
    found = TRIPLET(given, targets, margin=margin)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient_of(found, given), gradient_of(wanted, given))


@pytest.mark.parametrize("targets", CLASSES)
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_the_contrastive_loss_is_that_of_a_loop_over_pairs(targets: Tensor, temperature: float) -> None:
    given = points(len(targets))
    z = given / given.norm(dim=1, keepdim=True)
    of_each = []
    for i in range(len(targets)):
        positives = [p for p in range(len(targets)) if p != i and targets[p] == targets[i]]
        if not positives:
            continue
        others = torch.stack([(z[i] @ z[a] / temperature).exp() for a in range(len(targets)) if a != i])
        shares = [((z[i] @ z[p] / temperature).exp() / others.sum()).log() for p in positives]
        of_each.append(-torch.stack(shares).mean())
    wanted = torch.stack(of_each).mean()
    head = PARTS.module("loss", "supervised_contrastive").head
    found = CONTRAST(head(given), targets, temperature=temperature)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient_of(found, given), gradient_of(wanted, given))


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("triplet", {}),
    ("triplet", {"margin": None}),
    ("triplet", {"mining": "batch_all"}),
    ("supervised_contrastive", {}),
]


@pytest.mark.parametrize(("name", "options"), SETTINGS)
@pytest.mark.parametrize("targets", [torch.tensor([3]), torch.arange(4), torch.ones(4).long()])
def test_a_batch_in_which_nothing_can_be_compared_moves_nothing(
    name: str, options: dict[str, Any], targets: Tensor
) -> None:
    """One example, each of a class of its own, and for triples all of one class."""
    given = points(len(targets))
    figure = PARTS.find("loss", name)(given, targets, **options)
    gradient = gradient_of(figure, given)
    if name == "triplet" or len(targets.unique()) == len(targets):
        assert float(figure.detach()) == 0 and not gradient.any()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("name", "options"), SETTINGS)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e6])
def test_embeddings_that_coincide_or_lie_far_away_have_finite_gradients(
    name: str, options: dict[str, Any], scale: float
) -> None:
    given = (scale * points(8).detach().float()).requires_grad_()
    head = PARTS.module("loss", name).head
    made = head(given, **({"normalise": True} if name == "triplet" else {}))
    figure = PARTS.find("loss", name)(made, CLASSES[0], **options)
    assert figure.isfinite() and gradient_of(figure, given).isfinite().all()
