"""Groups of a model's weights, each with options of the optimizer of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from dlrun.errors import UserError, listed

Named = tuple[str, nn.Parameter]
_RATE, _DECAY = "lr", "weight_decay"
_BIAS, _NORM = "bias", "norm"  # words of `no_decay` that are no patterns
_IS_BIAS = re.compile(r"(^|_)bias(_|$)")
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_BLOCK = re.compile(r"(.*?(?:^|[._])[0-9]+)(?:\.|$)")  # up to the first number: layer1.0, layers.block_3


@dataclass(frozen=True)
class Group:
    """Weights whose names match a pattern, and the options of the optimizer that they have of their own."""

    match: str
    options: dict[str, Any]

    @classmethod
    def of(cls, stated: Mapping[str, Any], rate: float | None) -> Group:
        """A group as a config states it; its lr may be a factor of the optimizer's `rate`, such as 0.1x."""
        options = {name: value for name, value in stated.items() if name != "match"}
        if isinstance(factor := options.get(_RATE), str):
            assert rate is not None, "a factor of no rate is refused with the config"
            options[_RATE] = float(factor.removesuffix("x")) * rate
        return cls(stated["match"], options)


@dataclass(frozen=True)
class WeightGroups:
    """The makers of weight groups: the patterns of a config, the place in the model, and what is frozen."""

    groups: Sequence[Group] = ()
    prefix: str = ""  # of the names of a model's weights, from what dlrun has wrapped around it
    rate: float = 0.0  # the learning rate of the optimizer
    factors: Mapping[str, float] = field(default_factory=dict)  # of the rate, by name (layer_decay)
    undecayed: frozenset[str] = frozenset()  # names of weights without weight decay (no_decay)
    frozen: frozenset[str] = frozenset()  # names of weights that may learn later

    def __bool__(self) -> bool:
        return bool(self.keys)

    @property
    def keys(self) -> list[str]:
        """The keys of a config that have made these groups."""
        made_by = {"groups": self.groups, "layer_decay": self.factors, "no_decay": self.undecayed}
        return [key for key, made in made_by.items() if made]

    def parted(self, weights: Sequence[Named]) -> list[tuple[dict[str, Any], list[Named]]]:
        """The options and the weights of each group that has any; first those of weights in no group.

        Of one pattern those with the highest rate come first. Frozen weights are apart from the others,
        because a fused step takes no group of which some weights have a state already.
        """
        found: dict[tuple[int, float, bool, bool], list[Named]] = {}
        for name, weight in weights:
            factor = self.factors.get(name, 1.0)
            key = (self._place(name), -factor, name in self.undecayed, name in self.frozen)
            found.setdefault(key, []).append((name, weight))
        return [(self._options(*key[:3]), found[key]) for key in sorted(found)]

    def said(self, weights: Sequence[Named]) -> list[tuple[dict[str, Any], list[str]]]:
        """The options and the names of the weights of each group, as the architecture calls them."""
        parted = replace(self, frozen=frozenset()).parted(weights)
        return [(options, [name.removeprefix(self.prefix) for name, _ in some]) for options, some in parted]

    def _place(self, name: str) -> int:
        """The number of the first pattern that matches a name, counted from 1; 0 for none."""
        own = name.removeprefix(self.prefix)
        matching = (n for n, group in enumerate(self.groups, 1) if fnmatchcase(own, group.match))
        return next(matching, 0)

    def _options(self, place: int, less: float, is_undecayed: bool) -> dict[str, Any]:
        own = dict(self.groups[place - 1].options) if place else {}
        if less != -1.0:
            own[_RATE] = own.get(_RATE, self.rate) * -less
        return ({_DECAY: 0.0} if is_undecayed else {}) | own

    def refuse_idle(self, weights: Sequence[Named]) -> None:
        """Raise UserError if a pattern has no weight, because nothing matches or earlier ones have it."""
        names = [name.removeprefix(self.prefix) for name, _ in weights]
        left = names
        for group in self.groups:
            own = [name for name in left if fnmatchcase(name, group.match)]
            if not own:
                is_taken = any(fnmatchcase(name, group.match) for name in names)
                taken = " that no earlier group has" if is_taken else ""
                raise UserError(f"{group.match!r} matches no weight{taken} {listed(left)}")
            left = [name for name in left if name not in own]


def factors_by_depth(model: nn.Module, prefix: str, decay: float) -> dict[str, float]:
    """The factor of each weight's rate, by name: 1 in the last block of a model, `decay` in the one before.

    A block is what has a name of its own in the model, or in a list of layers: `conv1`, `layer1.0`,
    `encoder.layers.3`. Of BEiT (Bao et al. 2021, arXiv 2106.08254).
    """
    blocks = {name: block_of(name.removeprefix(prefix)) for name, _ in model.named_parameters()}
    depths = {block: depth for depth, block in enumerate(reversed(dict.fromkeys(blocks.values())))}
    return {name: decay ** depths[block] for name, block in blocks.items()}


def block_of(name: str) -> str:
    """The block of a weight by its name: `layer1.0` of `layer1.0.conv2.weight`, `fc` of `fc.bias`."""
    numbered = _BLOCK.match(name)
    return numbered[1] if numbered else name.partition(".")[0]


def without_decay(model: nn.Module, prefix: str, wanted: Sequence[str]) -> frozenset[str]:
    """The names of the weights that have no weight decay: `bias`, `norm`, or those that a pattern matches.

    Raises UserError if one of the `wanted` matches none.
    """
    names = {name: name.removeprefix(prefix) for name, _ in model.named_parameters()}
    of_norms = {
        f"{layer}.{own}" if layer else own
        for layer, module in model.named_modules()
        if isinstance(module, _NORMS)
        for own, _ in module.named_parameters(recurse=False)
    }
    found = set[str]()
    for word in wanted:
        if word == _NORM:
            own = of_norms
        elif word == _BIAS:
            own = {name for name, short in names.items() if _IS_BIAS.search(short.rpartition(".")[2])}
        else:
            own = {name for name, short in names.items() if fnmatchcase(short, word)}
        if not own:
            raise UserError(f"{word!r} matches no weight {listed(names.values())}")
        found |= own
    return frozenset(found)
