"""The teacher that a config names for its loss: found, and compared with the run that it is to teach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dlrun.blocks.decisions import Decision
from dlrun.blocks.teachers import Taught
from dlrun.config.keys import TEACHER_KEY, Choice, Config
from dlrun.config.registry import TEACHER, Parts
from dlrun.data.examples import Data
from dlrun.data.loaded import Loaded
from dlrun.data.preparation import Preparation
from dlrun.data.trees import Tree, expanded, first_of, joined, main_outputs, mapped
from dlrun.errors import CheckpointRefused, UserError, in_words, shortened
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.copies import Apart
from dlrun.training.plan import Plan
from dlrun.training.trained_on import trained_on_of
from dlrun.training.weights_file import digest_at, found_source, with_weights_found

_CLOSE = 1e-6  # relative tolerance of preprocessing, which another machine may have summed otherwise


def with_runs_found(config: Config, parts: Parts, runs_dir: Path) -> Config:
    """The config with the run or file of its weights and of its teacher as absolute paths.

    Raises ConfigError if nothing is found, or several.
    """
    return with_teacher_found(with_weights_found(config, parts, runs_dir), parts, runs_dir)


def with_teacher_found(config: Config, parts: Parts, runs_dir: Path) -> Config:
    """The config with the run or checkpoint of its teacher as an absolute path, found as weights are."""
    text = teacher_named(config, parts)
    if text is None:
        return config
    found = found_source(config, TEACHER_KEY, text, runs_dir)
    return replace(config, loss=Choice(config.loss.name, config.loss.options | {TEACHER: found}))


def teacher_named(config: Config, parts: Parts) -> str | None:
    """The run or checkpoint that a config names as its loss's teacher; None for a loss without one."""
    has_teacher = TEACHER in parts.part("loss", config.loss.name).takes
    return config.loss.options[TEACHER] if has_teacher else None


def digest_of_teacher(config: Config, parts: Parts) -> str | None:
    """The SHA-256 of the checkpoint of a config's teacher; None for none."""
    text = teacher_named(config, parts)
    return None if text is None else digest_at(text)


def recorded_digest(plan: Plan, saved: Checkpoint, path: Path) -> str:
    """The SHA-256 of the teacher that a run had; "" if its loss has none.

    Raises CheckpointRefused for a checkpoint that does not tell it.
    """
    if plan.loss.teacher is None:
        return ""
    match saved.data.get(TEACHER):
        case {"sha256": str(digest)}:
            return digest
    raise CheckpointRefused("it does not tell which teacher its loss had", where=str(path))


def refuse_another_teacher(source: str, digest: str, recorded: str) -> None:
    """Raise UserError if a file is not the teacher that a run had."""
    if recorded and digest != recorded:
        what = f"{source} is not the teacher that this run had: its SHA-256 is {digest[:12]}…"
        fix = f"bring that checkpoint back, and name its place by {TEACHER_KEY}=PATH"
        raise UserError(f"{what}, and was {shortened(recorded)[:12]}…", fix=fix)


def decision_alike(
    plan: Plan, preprocessing: Preparation, theirs: Plan, prepared: Preparation, source: str
) -> Decision:
    """The rule by which a teacher predicts classes, which have to be those of a run, by the same inputs.

    Raises UserError if the classes are others, or the inputs are, or prepared otherwise.
    """
    if theirs.task.decision is None or theirs.data.places:
        what = f"{source} is of a task {theirs.data.task}, which gives no probabilities of an example's"
        raise UserError(f"{what} classes", fix="name a run of a classification")
    if what := _difference(plan.data, theirs.data):
        raise UserError(f"{source} {what}", fix="train the teacher on the same data, or on data like these")
    if differing := _prepared_otherwise(preprocessing, prepared):
        what = f"{source} was trained on inputs that were prepared otherwise"
        fix = "train both with the same options of the dataset, so that both see the same training examples"
        raise UserError(f"{what}: with another {in_words(differing)}", fix=fix)
    return theirs.task.decision


def _difference(ours: Data, theirs: Data) -> str:
    """The difference of a teacher's data from a run's, in words; "" if they are alike."""
    if ours.classes != theirs.classes:
        here, there = (", ".join(map(shortened, data.classes[:10])) for data in (ours, theirs))
        order = " in another order" if {*ours.classes} == {*theirs.classes} else ""
        return f"tells the classes {there} apart, and this run {here}{order}"
    if ours.plain_shape != theirs.plain_shape:
        return f"takes inputs of {theirs.said_shape}, and this run's are {ours.said_shape}"
    if ours.features != theirs.features:
        here, there = (", ".join(map(shortened, data.features[:10])) for data in (ours, theirs))
        return f"was trained on the features {there}, and this run has {here}"
    if ours.vocabulary != theirs.vocabulary:
        return "was trained on texts of another vocabulary"
    return ""


def _prepared_otherwise(ours: Preparation, theirs: Preparation) -> list[str]:
    """The steps of preprocessing, such as scale, that differ for some input."""
    return list(
        dict.fromkeys(
            step
            for name, own in ours.each.items()
            for step, value in own.state_dict().items()
            if not _alike(value, theirs.each[name].state_dict()[step])
        )
    )


def _alike(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        same_shape = one.shape == other.shape
        return same_shape and torch.allclose(one.cpu().double(), other.cpu().double(), rtol=_CLOSE, atol=0)
    return type(one) is type(other) and one == other


def taught_by(
    decision: Decision, model: Apart, device: torch.device, saved: Checkpoint, path: Path
) -> Taught:
    """A teacher with the trained model of a checkpoint, on a device: each seed is one, and learns nothing."""
    model.eval().requires_grad_(False)

    @torch.no_grad()
    def outputs(inputs: Tree) -> Tensor:
        given = mapped(lambda some: some.to(device), inputs)  # trials before a run are on the CPU
        raw = main_outputs(joined(model(expanded(given, len(model.seeds)))))
        return decision.log_probabilities(raw).to(first_of(inputs).device, raw.dtype)

    return Taught(outputs, saved.digest, saved.data.get("fingerprint"), trained_on_of(saved, path))


def teacher_warnings(plan: Plan, loaded: Loaded) -> Iterator[str]:
    """Yield that a teacher was trained on examples by which a run is judged, or that nobody can tell."""
    if plan.loss.teacher is None:
        return
    taught = plan.loss.teacher.opened()
    if taught.fingerprint == loaded.fingerprint:
        return
    fix, unknown = "train the teacher with the same splits", list[str]()
    for name, split in loaded.splits.items():
        if name == "train":
            continue
        if split.keys is None or taught.trained_on is None:
            unknown.append(name)
        elif seen := int(torch.isin(split.keys.cpu(), taught.trained_on).sum()):
            what = f"the teacher was trained on {seen:,} of the {len(split):,} examples of {name}"
            yield f"{what}, whose figures are no longer those of new examples; {fix}"
    if unknown:
        what = f"the teacher had other data, and may have been trained on examples of {in_words(unknown)}"
        yield f"{what}: the figures there would no longer be those of new examples; {fix}"


def record_of(plan: Plan) -> Mapping[str, str]:
    """The entry of summary.json and of a checkpoint's data: the teacher's source and digest; {} for none."""
    teacher = plan.loss.teacher
    return {"source": teacher.source, "sha256": teacher.opened().digest} if teacher else {}
