"""`dlrun export`: a trained model as one file for other tools, compared with dlrun before it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from dlrun.blocks.tasks import Task
from dlrun.config.registry import Parts
from dlrun.data.trees import Tree
from dlrun.errors import UserError, in_full
from dlrun.results import export_onnx, export_safetensors, export_torch
from dlrun.results.export_check import compared, inputs_to_try, own_answers
from dlrun.results.export_description import description
from dlrun.results.export_graph import answering, traced
from dlrun.results.trained_model import FromRaw
from dlrun.system.files import put_in_place, write_atomically
from dlrun.system.progress import Progress, no_progress
from dlrun.training.calibration import calibration_of
from dlrun.training.checkpoint_entries import WhichWeights, epochs_of
from dlrun.training.named_parts import prefix_of
from dlrun.training.opening import open_plan
from dlrun.training.plan import Plan
from dlrun.training.thresholds import decided_by

Format = Literal["onnx", "torch", "safetensors"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}
_ANOTHER = "name another file with --out"


@dataclass(frozen=True)
class Exported:
    """A file that was written, its description, and the comparison that it has passed."""

    path: Path
    format: Format
    description: dict[str, Any]
    examples: int  # on which it was compared
    split: str  # of which they are; "" for random inputs
    difference: float  # the largest one, see `compared`
    notes: list[str]

    def plain(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        compared = {"examples": self.examples, "split": self.split or None, "difference": self.difference}
        return {
            "file": str(self.path),
            "format": self.format,
            "bytes": self.path.stat().st_size,
            **self.description,
            "compared": compared,
            "notes": self.notes,
        }


def format_of(name: Format | None, out: Path | None) -> Format:
    """The format that is named, or that the ending of a file says; onnx if neither does.

    Raises UserError if they contradict each other, or if the file has an ending that says none.
    """
    by_ending = {suffix: each for each, suffix in SUFFIXES.items()}.get(out.suffix.lower()) if out else None
    if out and not name and not by_ending:
        ending = f"{out.suffix} says no format" if out.suffix else "it has no ending"
        fix = f"end it in {', '.join(SUFFIXES.values())}, or add --format"
        raise UserError(f"{out}: {ending}", where="--out", fix=fix)
    if name and by_ending and name != by_ending:
        what = f"{out} has the ending of --format {by_ending}, and {name} is asked for"
        raise UserError(what, where="command line", fix=f"write --out with the ending {SUFFIXES[name]}")
    return name or by_ending or "onnx"


def export_run(
    path: Path,
    run: str,
    asked: str,
    parts: Parts,
    data_dir: Path,
    format: Format,
    out: Path,
    *,
    seed: int | None = None,
    is_ensemble: bool = False,
    weights: WhichWeights | None = None,
    progress: Progress = no_progress,
) -> Exported:
    """Write the model of a checkpoint into a file, run that file, and compare it with dlrun.

    `run` is the name by which the file calls its origin, `asked` the one by which commands find it. The
    data are read for the comparison alone, and random inputs take their place where they are missing. Of
    several seeds `seed` chooses one, or all are averaged. Raises UserError for a model or a choice that
    cannot be exported, for missing packages, and if the file exists; RunFailed if it does not give
    dlrun's outputs; CheckpointRefused as `open_plan` does.
    """
    if os.path.lexists(out):
        raise UserError(f"{out} exists already", fix=f"{_ANOTHER}, or delete it")
    if not out.parent.is_dir():
        what = f"there is no folder {in_full(out.parent)}"
        raise UserError(what, where="--out", fix="create it, or name another")
    if format == "onnx":
        export_onnx.refuse_missing()
    elif format == "safetensors":
        export_safetensors.refuse_missing()
    plan, preprocessing, saved = open_plan(path, ["device=cpu"], parts, data_dir, weights=weights)
    if not any(epochs_of(saved.state)):
        what = f"{run} has completed no epoch: its model has learnt nothing"
        raise UserError(what, where=str(path), fix="export a run that was trained")
    seeds = chosen_seeds(plan, seed, is_ensemble, format)
    calibration, note = calibration_of(saved, path, plan.task.positives)
    if calibration.thresholds:
        plan = decided_by(plan, calibration.thresholds)
    chosen = (plan, preprocessing, saved, path, seeds, calibration.temperatures)
    tried = inputs_to_try(plan, preprocessing, saved, progress)
    own = own_answers(*chosen, tried.inputs)
    model = answering(*chosen)
    about = description(plan, saved, run, seeds, calibration, tried.inputs, own)
    about |= _of_format(plan, format)
    content, run_file = _written(plan, model, tried.inputs, about, format)

    draft = out.with_name(f"{out.name}.{os.getpid()}.draft")
    try:
        write_atomically(draft, lambda file: file.write(content), _ANOTHER)
        difference = compared(own, partial(run_file, draft), tried)
        put_in_place(draft, out)
    finally:
        draft.unlink(missing_ok=True)
    of_model = note or _as_trained(plan, calibration.temperatures, asked)
    notes = [*plan.data.notes, *filter(None, [of_model, _other_precision(plan), tried.reason])]
    return Exported(out, format, about, len(next(iter(own.values()))), tried.split, difference, notes)


def chosen_seeds(plan: Plan, seed: int | None, is_ensemble: bool, format: Format) -> list[int]:
    """The seeds whose models go into a file. Raises UserError if they are not said, or cannot be averaged."""
    seeds = plan.config.seeds
    if seed is not None:
        if seed not in seeds:
            what = f"the run has no seed {seed}"
            raise UserError(what, where="--seed", fix=f"take one of {', '.join(map(str, seeds))}")
        return [seed]
    if not is_ensemble:
        if len(seeds) > 1:
            what = f"the run has the seeds {', '.join(map(str, seeds))}"
            raise UserError(what, fix="--seed N takes one of them, --ensemble the mean of all")
        return list(seeds)
    refused = partial(UserError, where="--ensemble", fix="take one of them: --seed N")
    if len(seeds) == 1:
        raise refused(f"the run has one seed, {seeds[0]}, and no mean is needed", fix="leave out --ensemble")
    if format == "safetensors":
        raise refused("a file of weights holds those of one seed: no single model has the mean of outputs")
    if plan.task.has_own_space:
        raise refused("each seed has a space of its own, in which a mean is no point")
    if type(plan.task) is Task:
        raise refused(f"the task {plan.data.task} leaves open what outputs mean, and so what their mean is")
    return list(seeds)


def _of_format(plan: Plan, format: Format) -> dict[str, Any]:
    """Further entries of a description that only one format needs."""
    if format == "onnx":
        return {"opset": export_onnx.OPSET}
    if format == "torch" or (plan.data.scaling is None and plan.data.target_transform is None):
        return {}
    return {"scaling": plan.data.scaling or (0.0, 1.0), "target_transform": plan.data.target_transform or ""}


def _written(
    plan: Plan, model: FromRaw, inputs: Tree, about: dict[str, Any], format: Format
) -> tuple[bytes, Callable[[Path, Sequence[Tree]], list[dict[str, Tensor]]]]:
    """The bytes of a file, and the function that gives the answers of a file for pieces of inputs."""
    if format == "safetensors":
        prefix = prefix_of(plan.data, loss_has_weights=False, has_head=plan.loss.head is not None)
        content = export_safetensors.content(model, about, prefix)
        return content, partial(export_safetensors.answers_of, model=model, description=about, prefix=prefix)
    program = traced(model, inputs)
    if format == "torch":
        return export_torch.content(program, about), export_torch.answers_of
    return export_onnx.content(program, about), export_onnx.answers_of


def _as_trained(plan: Plan, temperatures: Sequence[float], asked: str) -> str:
    """A note on probabilities without a temperature where there could be one; "" for all else."""
    if temperatures or plan.task.decision is None or plan.data.places:
        return ""
    return f"probabilities are as trained: dlrun calibrate {asked} fits a temperature first"


def _other_precision(plan: Plan) -> str:
    """A note on a run in mixed precision, which its file does not have; "" for any other."""
    is_mixed = plan.config.precision in ("bfloat16", "float16")
    return f"the file computes in float32, the run in {plan.config.precision}" if is_mixed else ""
