"""Initial weights from another run or a file (`architecture.weights`): what fits the model is taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dlrun.config.keys import WEIGHTS
from dlrun.errors import UserError, one_line, shortened
from dlrun.run_folders.records import some
from dlrun.system.progress import Progress, no_progress
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.copies import Copies
from dlrun.training.layers import skeleton
from dlrun.training.plan import Plan
from dlrun.training.weights_file import SavedWeights, read_weights

RECORDED = "weights"  # in summary.json, and in the environment of a checkpoint
_DEEPEST = 8  # wrappers around a model whose names were saved
_LOSS = "loss."  # the names of a loss that has weights begin with it


@dataclass(frozen=True)
class Match:
    """The weights of a model that are in a file, by their names in the model: name in the file, or reason.

    Those that are reshaped are weights of three colours, summed for the one channel that the model has.
    """

    taken: dict[str, str]
    reshaped: dict[str, str]
    new: dict[str, str]
    left: list[str]  # names in the file of which the model has none


@dataclass(frozen=True)
class InitialWeights:
    """Saved weights and which of them a plan's model takes."""

    saved: SavedWeights
    match: Match
    seeds: list[int]
    prefix: str  # of an architecture's names among those of a copy

    def put_into(self, model: Copies) -> None:
        """Set the weights and buffers that are taken in the copy of each seed."""
        for seed, copy in zip(model.seeds, model.copies, strict=True):
            theirs = self.saved.each[self.saved.place(seed)]
            ours = _named(copy.state_dict(), self.prefix)
            for name, name_there in self.match.taken.items():
                ours[name].copy_(theirs[name_there])
            for name, name_there in self.match.reshaped.items():
                ours[name].copy_(theirs[name_there].sum(1, keepdim=True))

    def plain(self) -> dict[str, Any]:
        """The entry of summary.json: source, digest, seeds, and the names of all weights."""
        saved, match = self.saved, self.match
        of_seeds = {str(seed): saved.seeds[saved.place(seed)] for seed in self.seeds} if saved.seeds else {}
        return {
            "source": saved.source,
            "sha256": saved.digest,
            "seeds": of_seeds,
            "taken": list(match.taken),
            **({"reshaped": list(match.reshaped)} if match.reshaped else {}),
            "new": match.new,
            "left": [_readable(name) for name in match.left],
        }


def initial_weights(plan: Plan, progress: Progress = no_progress) -> InitialWeights | None:
    """The weights with which a plan's model begins, read and compared with it; None if it names none.

    Raises ConfigError if they cannot be read, if none of them fits, or if one is not finite.
    """
    prefix = plan.optimizer.groups.prefix
    former = plan.parts.part("architecture", plan.config.architecture.name).constants.get("former_names", {})
    is_grey = isinstance(shape := plan.data.input_shape, tuple) and len(shape) == 3 and shape[0] == 1
    try:
        saved = read_weights(plan.config, plan.parts, plan.data_dir, progress)
        if saved is None:
            return None
        model = skeleton(plan.build)
        ours = _named(model.state_dict(), prefix)
        learnt = {name.removeprefix(prefix) for name, _ in model.named_parameters()}
        used = {saved.place(seed): saved.each[saved.place(seed)] for seed in plan.config.seeds}
        matches = [_matched(ours, theirs, former, is_grey=is_grey) for theirs in used.values()]
        found = matches[0].taken | matches[0].reshaped
        if not learnt & found.keys():
            raise UserError(
                f"nothing in {saved.source} fits the model by name and shape: it holds "
                f"{_said(saved.each[0])}; the model has {_said(ours)}"
            )
        if any(match != matches[0] for match in matches):
            raise UserError(f"the seeds of {saved.source} have weights of different names or shapes")
        for theirs in used.values():
            for name in learnt & found.keys():
                if not theirs[found[name]].isfinite().all():
                    there = _readable(found[name])
                    raise UserError(f"the weights {there} in {saved.source} are not all finite numbers")
    except UserError as error:
        raise plan.config.refuse([plan.config.mistake(WEIGHTS, error.inline, error.fix)]) from None
    return InitialWeights(saved, matches[0], plan.config.seeds, prefix)


def recorded_weights(saved: Checkpoint, summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a resumed run's initial weights: of its summary, else what its checkpoint has of it."""
    if isinstance(of_run := summary.get(RECORDED), dict):
        return of_run
    of_file = saved.environment.get(RECORDED)
    known = of_file.items() if isinstance(of_file, dict) else ()
    return {key: value for key, value in known if isinstance(value, str)} or None


def said_source(weights: Mapping[str, Any]) -> str:
    """The source of the weights in a record, and which seed takes those of which, in words."""
    seeds = weights["seeds"]
    groups = dict[str, list[str]]()  # whose weights -> the seeds that take them
    for seed, of in seeds.items():
        groups.setdefault("the same seed" if seed == str(of) else f"seed {of}", []).append(seed)
    words = [f"weights of {weights['source']}"]
    for of, takers in groups.items():
        several = f"seeds {', '.join(takers)} take" if len(groups) > 1 else "each seed takes"
        words.append(f"{several if len(takers) > 1 else f'seed {takers[0]} takes'} those of {of}")
    return ", ".join(words)


def rows_of(weights: Mapping[str, Any], most: int = 6) -> list[tuple[str, int, str]]:
    """A row for what was taken, reshaped, is new or left over in a record: how many, and which."""
    summed = [f"{name} (sum of the three colours)" for name in weights.get("reshaped", [])]
    new = [f"{name} ({reason})" for name, reason in weights["new"].items()]
    named = {"taken": weights["taken"], **({"reshaped": summed} if summed else {})}
    named |= {"new": new, "left over": weights["left"]}
    return [(kind, len(names), some(names, most)) for kind, names in named.items()]


def said_weights(weights: Mapping[str, Any]) -> str:
    """A record of initial weights in one line, for the log."""
    rows = [f"{count} {kind}{f': {which}' if which else ''}" for kind, count, which in rows_of(weights)]
    return f"{said_source(weights)}; {'; '.join(rows)}"


def _matched(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], former: Mapping[str, str], *, is_grey: bool
) -> Match:
    """The match of a model and a file by name and shape, without the prefix of names that fits best.

    `former` replaces patterns of names that an earlier version of the model had. If the images are grey, the
    first convolution may be one of three colours in the file.
    """

    def fitting(names: Mapping[str, str]) -> int:
        return sum(not _misfit(ours[own], theirs[there]) for own, there in names.items() if own in ours)

    names = max(_renamed(theirs, former), key=fitting)  # the first of equally good ones
    first = next((own for own, tensor in ours.items() if tensor.dim() == 4), "") if is_grey else ""
    taken, reshaped, new = dict[str, str](), dict[str, str](), dict[str, str]()
    for own, tensor in ours.items():
        reason = _misfit(tensor, theirs[names[own]]) if own in names else "not in the file"
        if not reason:
            taken[own] = names[own]
        elif own == first and own in names and _has_colours(theirs[names[own]], tensor):
            reshaped[own] = names[own]
        else:
            new[own] = reason
    return Match(taken, reshaped, new, [there for own, there in names.items() if own not in ours])


def _has_colours(theirs: Tensor, ours: Tensor) -> bool:
    """True if the kernels of a convolution are those of another one but for three channels instead of one."""
    return theirs.dim() == 4 and theirs.shape[1] == 3 and not _misfit(ours, theirs[:, :1])


def _renamed(theirs: Mapping[str, Tensor], former: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the names in a file, each with its name there: whole, then without what they all begin with.

    `module.`, `model.` and `_orig_mod.` come from wrappers, `0.` from a model that standardises its outputs.
    The names of a loss beside a model do not begin as the others do, and stay.
    """
    names = {_present(name, former): name for name in theirs}
    yield names
    for _ in range(_DEEPEST):
        first = {name.partition(".")[0] for name in names if not name.startswith(_LOSS)}
        if len(first) != 1 or not all("." in name for name in names):
            return
        [shared] = first
        names = {name.removeprefix(f"{shared}."): there for name, there in names.items()}
        yield names


def _present(name: str, former: Mapping[str, str]) -> str:
    """The present name of a weight, in which the patterns of former names are replaced."""
    for pattern, replacement in former.items():
        name = re.sub(pattern, replacement, name)
    return name


def _misfit(ours: Tensor, theirs: Tensor) -> str:
    """The reason why a tensor of a file cannot be one of the model; "" if it can."""
    if ours.shape != theirs.shape:
        return f"another shape: {_shape(theirs)} → {_shape(ours)}"
    if ours.is_floating_point() != theirs.is_floating_point() or ours.is_complex() != theirs.is_complex():
        return f"another type: {theirs.dtype} → {ours.dtype}".replace("torch.", "")
    return ""


def _named(state: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """The tensors of a copy's state by their names in the architecture."""
    return {name.removeprefix(prefix): value for name, value in state.items() if isinstance(value, Tensor)}


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "1"


def _said(weights: Mapping[str, Tensor]) -> str:
    """The first names of some weights, with their shapes."""
    return some([f"{_readable(name)} {_shape(tensor)}" for name, tensor in weights.items()], 4)


def _readable(name: str) -> str:
    """A name from an untrusted file for messages."""
    return one_line(shortened(name))
