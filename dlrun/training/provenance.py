"""Provenance of parts: a checkpoint names the user's parts, so that dlrun's never replace them silently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlrun.config.code_digest import digest_of_file
from dlrun.config.keys import Choice, Config
from dlrun.config.registry import KINDS, Parts
from dlrun.errors import CheckpointRefused, in_words
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.plan import Plan

OWN_PARTS, CODE_OF_PARTS = "own parts", "code of own parts"  # in the environment of a checkpoint
OTHER = "several"  # in place of a digest, if it changed while a run was trained
FOR_EVALUATION = ("dataset", "architecture", "loss", "metrics")
FOR_TRAINING = tuple(kind for kind in KINDS if kind != "plots")
_NAME_THEM = "if it was trained with parts of your own, name their folder with --parts"


def own_parts_of(plan: Plan) -> list[str]:
    """The parts of a plan that are the user's, such as `architecture/mlp`."""
    return [
        f"{kind}/{name}"
        for kind in FOR_TRAINING
        for name in _names(plan.config, kind)
        if not plan.parts.part(kind, name).built_in
    ]


def code_of_own_parts(plan: Plan, saved: Checkpoint | None) -> dict[str, str]:
    """The user's parts of a plan, each with the digest of its code.

    `saved` is the checkpoint that a run goes on from; OTHER stands for a part that has changed since.
    """
    before = _recorded(saved) if saved else {}
    now = {each: _digest(plan.parts, each) for each in own_parts_of(plan)}
    return {each: own if before.get(each, own) == own else OTHER for each, own in now.items()}


def said_of_other_code(
    saved: Checkpoint, config: Config, parts: Parts, kinds: Sequence[str] = FOR_EVALUATION
) -> str:
    """A line if parts of some kinds have other code than at training; "" if none has.

    Older checkpoints do not have the digests of their parts.
    """
    own = _recorded(saved)
    used = [f"{kind}/{name}" for kind in kinds for name in _names(config, kind)]
    changed = [each for each in used if each in own and own[each] != _digest(parts, each)]
    if not changed:
        return ""
    are = "has" if len(changed) == 1 else "have"
    files = in_words([f"{each}.py" for each in changed])
    return f"{files} {are} changed since the run was trained: what it computes now may be something else"


def _recorded(saved: Checkpoint) -> dict[str, Any]:
    """The digests in a checkpoint of the user's parts."""
    found = saved.environment.get(CODE_OF_PARTS)
    return found if isinstance(found, dict) else {}


def _digest(parts: Parts, named: str) -> str:
    """The digest of the code of a part such as `architecture/mlp`."""
    kind, _, name = named.partition("/")
    return digest_of_file(parts.part(kind, name).path)


def refuse_stand_ins(
    saved: Checkpoint, path: Path, config: Config, parts: Parts, kinds: Sequence[str]
) -> None:
    """Raises CheckpointRefused if a part of dlrun would replace a user's part of the same name.

    Older checkpoints do not list the user's parts and are not refused.
    """
    recorded = saved.environment.get(OWN_PARTS)
    own = {each for each in recorded if isinstance(each, str)} if isinstance(recorded, list) else set()
    for kind in kinds:
        for name in _names(config, kind):
            if f"{kind}/{name}" in own and parts.part(kind, name).built_in:
                what = f"it was trained with an own {kind}/{name}.py, not with dlrun's of that name"
                fix = "name the folder of your parts with --parts"
                raise CheckpointRefused(what, where=str(path), fix=fix)


class Misfit(CheckpointRefused):
    """A checkpoint whose weights or data do not match the model and the data of its config."""


@contextmanager
def suspecting_own_parts(parts: Parts) -> Iterator[None]:
    """Add the hint to name --parts to a Misfit raised in this context, if no folder of parts is named."""
    try:
        yield
    except Misfit as misfit:
        if parts.folder is None:
            misfit.fix = _NAME_THEM
        raise


def _names(config: Config, kind: str) -> list[str]:
    """The names of the parts of one kind that a config chooses."""
    chosen: Choice | list[Choice] = getattr(config, kind)
    return [choice.name for choice in (chosen if isinstance(chosen, list) else [chosen])]
