"""The claims of `expect` that are judged: those that a config makes itself, if it is trained as it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dlrun.config.keys import KEYS, Config, changed_keys
from dlrun.config.merging import COMMAND_LINE
from dlrun.config.mistakes import ConfigError
from dlrun.errors import in_words

_MOST_NAMED = 3  # keys in a reason


def with_judged_claims(
    config: Config, overrides: Sequence[str], read_before: Callable[[], Config], *, check: bool
) -> Config:
    """The config that `overrides` have changed, with the claims that are no longer judged.

    These are all but those on the command line, if another key was changed that its claims depend on.
    `read_before` reads the config without the overrides. With `check` every claim is judged.
    """
    if check:
        return replace(config, not_judged={}, expect_epochs=None)
    if not overrides:
        return config
    changed = _changed(config, overrides, read_before)
    why = _said(changed) if changed else ""
    before = config.not_judged
    reasons = {claim: _together(before.get(claim, ""), why) or shorter(config) for claim in config.expect}
    reasons = {claim: reason for claim, reason in reasons.items() if reason}
    given = {claim for claim in config.expect if {"expect", f"expect.{claim}"} & _keys_of(overrides)}
    without = {claim: reason for claim, reason in reasons.items() if claim in config.expect.keys() - given}
    return replace(config, not_judged=without, expect_epochs=None if given else config.expect_epochs)


def with_inherited_claims(config: Config, overrides: Sequence[str], read: Callable[[Path], Config]) -> Config:
    """The config with those claims of its bases that are not judged, as it differs from the base in question.

    `read` reads the config file at a path. What `overrides` have changed is left to `with_judged_claims`.
    """
    own, differing, reasons = config.tree.place.source, dict[str, list[str]](), dict[str, str]()
    for claim in config.expect:
        source = config.tree.at(("expect", claim)).place.source
        if source in (own, COMMAND_LINE.source):
            continue
        if source not in differing:
            differing[source] = _differing(config, overrides, partial(read, Path(source)))
        if keys := differing[source]:
            reasons[claim] = f"{_listed(keys)} of its base {Path(source).name} changed"
    return replace(config, not_judged=reasons | config.not_judged) if reasons else config


def _differing(config: Config, overrides: Sequence[str], read_base: Callable[[], Config]) -> list[str]:
    """The keys that claims depend on, and that a config itself has set to other values than its base."""
    on_command_line = {key.removesuffix(".name") for key in _keys_of(overrides)}
    try:
        found = changed_keys(read_base(), config)
    except ConfigError:  # it is complete only with what the config states
        own = config.tree.place.source
        found = [key for key, item in config.tree.value.items() if key in KEYS and item.place.source == own]
    return [
        key
        for key in found
        if not KEYS[key.partition(".")[0]].keeps_claims
        and not any(f"{key}.".startswith(f"{each}.") for each in on_command_line)
    ]


def shorter(config: Config) -> str:
    """The reason not to judge a run that has fewer epochs than its claims are of; "" if it has them."""
    if config.expect_epochs and config.epochs < config.expect_epochs:
        return f"it has {config.epochs} epochs, and its claims are of {config.expect_epochs}"
    return ""


def _changed(config: Config, overrides: Sequence[str], read_before: Callable[[], Config]) -> list[str]:
    """The overridden keys that claims depend on, and whose values are other ones than before."""
    try:
        found = changed_keys(read_before(), config)
    except ConfigError:  # complete only with what is overridden
        found = sorted(_keys_of(overrides))
    return [key for key in found if not KEYS[key.partition(".")[0]].keeps_claims]


def _together(before: str, why: str) -> str:
    """The reason of before, such as of a run that is resumed, with that of now."""
    return f"{before}; then {why}" if before and why not in before else before or why


def _keys_of(overrides: Sequence[str]) -> set[str]:
    return {text.partition("=")[0] for text in overrides}


def _said(changed: Sequence[str]) -> str:
    """Keys as the reason of a verdict that is not given: `epochs and optimizer.lr changed`."""
    return f"{_listed(changed)} changed"


def _listed(keys: Sequence[str]) -> str:
    """Keys as a list in words, the first few of them: `epochs, limit and optimizer.lr`."""
    named = list(keys[:_MOST_NAMED])
    if more := len(keys) - len(named):
        named.append(f"{more} more")
    return in_words(named)
