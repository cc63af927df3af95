"""The calibration of a trained model: temperatures are fitted, and with thresholds kept and applied."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlrun.blocks.decisions import Decision, softmax, two_sigmoids
from dlrun.data.example_weights import weighted_mean
from dlrun.data.trees import MAIN, Tree
from dlrun.errors import CheckpointRefused, UserError
from dlrun.system.bounds import SUMMARY
from dlrun.system.files import read_bounded, write_atomically
from dlrun.system.strict_json import finite
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.checkpoint_entries import which_weights
from dlrun.training.copies import Copies, Stacked
from dlrun.training.thresholds import decided_by
from dlrun.training.trained import Trained

THRESHOLD = "threshold"  # the entry of the file that has the thresholds
_ANEW = "delete the file (dlrun calibrate RUN --remove), and calibrate again"


def fitted_temperatures(
    outputs: Tensor, targets: Tensor, decision: Decision, weights: Tensor | None = None
) -> list[float]:
    """The temperature of each copy by which its log loss on some examples is smallest.

    From outputs (copies, n, k) and classes (n,), with weights (n,) of the examples. The probabilities are the
    softmax of outputs / T: the predicted class stays. Raises UserError if the outputs are no logits, and if
    no T above 0 has the smallest loss. Source: Guo et al. 2017, arXiv 1706.04599.
    """
    reference = two_sigmoids if decision.outputs == 1 else softmax
    made_up = torch.linspace(-3, 3, 4 * decision.outputs).view(4, -1)
    shares = decision.probabilities(made_up)
    if shares.shape[-1] != decision.classes or not torch.allclose(shares, reference(made_up), atol=1e-6):
        what = "the loss has probabilities of its own, which no temperature scales"
        raise UserError(what, fix="train with a loss of logits, such as cross_entropy or bce")
    if weights is not None:
        counted = weights > 0
        outputs, targets, weights = outputs[:, counted], targets[counted], weights[counted]
    return [_fitted(decision.scores(own.double()), targets, weights) for own in outputs]


def _fitted(logits: Tensor, targets: Tensor, weights: Tensor | None) -> float:
    """The temperature with the smallest log loss for logits (n, classes), float64, and classes (n,)."""
    true = logits.gather(1, targets.unsqueeze(1))
    # The loss is convex in 1/T, and has no minimum if it falls for ever, or from 0 on only rises.
    if bool((true >= logits.amax(1, keepdim=True)).all()):
        what = f"all {len(targets):,} validation examples are classified correctly: no temperature is best"
        raise UserError(what, fix="hold out more examples: dataset.valid_fraction")
    if float(weighted_mean(logits.mean(1, keepdim=True) - true, weights)) >= 0:
        what = "the outputs tell nothing of the classes of the validation examples: no temperature is best"
        raise UserError(what, fix="train on, or look for a mistake in the labels")
    inverse_log = torch.zeros((), dtype=torch.float64, requires_grad=True)  # log 1/T
    search = torch.optim.LBFGS(
        [inverse_log],
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        search.zero_grad()
        log_shares = (logits * inverse_log.exp()).log_softmax(1)
        mean = weighted_mean(-log_shares.gather(1, targets.unsqueeze(1)), weights).squeeze(0)
        mean.backward()
        return mean

    with torch.enable_grad():
        search.step(loss)
    return math.exp(-inverse_log.item())


def calibration_file(path: Path) -> Path:
    """The file beside a checkpoint that has its temperatures and thresholds."""
    return path.with_suffix(".calibration.json")


def identity_of(saved: Checkpoint) -> dict[str, Any]:
    """The model that a calibration belongs to: the checkpoint's SHA-256, and which of its weights."""
    return {"sha256": saved.digest, "weights": which_weights(saved)}


@dataclass(frozen=True)
class Calibration:
    """The temperature of each copy, and the thresholds of a task's positives; empty where there are none."""

    temperatures: list[float] = field(default_factory=list)
    thresholds: dict[str, float] = field(default_factory=dict)


def calibration_of(saved: Checkpoint, path: Path, positives: Sequence[str]) -> tuple[Calibration, str]:
    """The temperatures and thresholds that are kept beside a checkpoint; without a file there are none.

    If those there belong to other weights, they are not taken, and a note says so. Raises CheckpointRefused
    for a damaged file, and for one without a threshold for each of the `positives`.
    """
    file = calibration_file(path)
    try:
        kept = kept_calibration(path)
        found = Calibration(kept["temperatures"], kept[THRESHOLD]["above"] if THRESHOLD in kept else {})
        if type(found.temperatures) is not list or not all(
            type(each) is float and 0 < each < math.inf for each in found.temperatures
        ):
            raise TypeError("temperatures")
        if bool(found.thresholds) is not (THRESHOLD in kept) or not all(
            type(each) is float and 0 < each < 1 for each in found.thresholds.values()
        ):
            raise TypeError("thresholds")
        own = {key: kept[key] for key in identity_of(saved)}
    except FileNotFoundError:
        return Calibration(), ""
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        what = "the calibration beside the checkpoint cannot be read"
        raise CheckpointRefused(what, where=str(file), fix=_ANEW) from None
    copies = {len(found.temperatures), len(saved.state["model"])} - {0}
    if own != identity_of(saved) or len(copies) > 1:
        whose = f"its {kept['weights']} weights" if own["sha256"] == saved.digest else "another checkpoint"
        return Calibration(), _not_taken(found, kept, file.name, whose)
    if found.thresholds and {*found.thresholds} != {*positives}:
        what = "the thresholds beside the checkpoint are not of its classes"
        raise CheckpointRefused(what, where=str(file), fix=_ANEW)
    return found, ""


def _not_taken(found: Calibration, kept: dict[str, Any], file: str, whose: str) -> str:
    """The note on temperatures and thresholds in a file that belong to other weights."""
    states, things, commands = [], [], []
    if found.temperatures or not found.thresholds:
        states, things, commands = ["probabilities"], ["the temperatures"], ["dlrun calibrate RUN"]
    if found.thresholds:
        states.append("decisions")
        things.append("the thresholds" if len(found.thresholds) > 1 else "the threshold")
        commands.append(f"dlrun calibrate RUN --threshold {metric_of(kept[THRESHOLD])}")
    are = "is" if things == ["the threshold"] else "are"
    again = f"run {' and then '.join(commands)} again"
    return (
        f"{' and '.join(states)} are as trained: {' and '.join(things)} in {file} {are} of {whose}; {again}"
    )


def metric_of(chosen: Mapping[str, Any]) -> str:
    """The name of the metric by which the thresholds of a report were chosen; METRIC if it tells none."""
    match chosen:
        case {"metric": str(name)} | {"metric": {"name": str(name)}} if name.isidentifier():
            return name
    return "METRIC"


def kept_calibration(path: Path) -> dict[str, Any]:
    """The content of the file beside a checkpoint. Raises FileNotFoundError if there is none."""
    try:
        found: dict[str, Any] = json.loads(read_bounded(calibration_file(path), SUMMARY))
    except NotADirectoryError as error:
        raise FileNotFoundError from error
    return found


def keep_calibration(path: Path, content: dict[str, Any]) -> None:
    """Write the file beside a checkpoint."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=True, allow_nan=False)
    write_atomically(calibration_file(path), lambda file: file.write(f"{text}\n".encode()))


class Divided:
    """A hook that divides the outputs of a module by a temperature, or (copies, 1, 1) of them."""

    def __init__(self, temperature: Tensor) -> None:
        self.temperature = temperature

    def __call__(self, module: nn.Module, inputs: Any, outputs: Tree) -> Tree:
        if isinstance(outputs, Tensor):
            return outputs / self.temperature.to(outputs)
        return {**outputs, MAIN: outputs[MAIN] / self.temperature.to(outputs[MAIN])}


def divide(model: Copies, temperatures: list[float]) -> None:
    """Let every copy divide its outputs by its temperature from now on."""
    each = torch.tensor(temperatures, dtype=torch.float64)
    for copy, temperature in zip(model.copies, each, strict=True):
        copy.register_forward_hook(Divided(temperature))
    if isinstance(model, Stacked):  # it runs the layers of its copies itself
        model.register_forward_hook(Divided(each.view(-1, 1, 1)))


def take_calibration(trained: Trained, saved: Checkpoint, path: Path) -> Trained:
    """The same model with the temperatures and thresholds that are kept beside its checkpoint."""
    found, note = calibration_of(saved, path, trained.plan.task.positives)
    if note:
        trained.data.notes.append(note)
    if found.temperatures:
        divide(trained.model, found.temperatures)
    plan = decided_by(trained.plan, found.thresholds) if found.thresholds else trained.plan
    return replace(trained, plan=plan, temperatures=found.temperatures, thresholds=found.thresholds)
