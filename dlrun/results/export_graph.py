"""A trained model as one graph, from raw inputs to the answers of its task."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dlrun.blocks.tasks import Task
from dlrun.data.preparation import Preparation
from dlrun.data.trees import Tree, joined, mapped
from dlrun.errors import UserError, shortened
from dlrun.results.trained_model import FromRaw
from dlrun.training.calibration import divide
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.checkpoint_entries import load_weights
from dlrun.training.copies import Apart, WithLoss, whole
from dlrun.training.plan import Plan

NO_CLASS = -1
BATCH = "batch"  # the name of the first axis, whose length is left open


class Answering(nn.Module):
    """The models of one or several seeds, from prepared inputs (n, …) to the answers of their task.

    The class of an example whose probabilities are not numbers, as for an input that is none, is NO_CLASS.
    """

    def __init__(self, models: Sequence[nn.Module], task: Task) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self._task = task

    def forward(self, prepared: Tree) -> dict[str, Tensor]:
        answers = self._task.answers(joined([whole(model(prepared)) for model in self.models]))
        if "class" in answers:
            is_known = answers["probabilities"].isfinite().all(1)
            answers["class"] = torch.where(is_known, answers["class"], NO_CLASS)
        return answers


def answering(
    plan: Plan,
    preprocessing: Preparation,
    saved: Checkpoint,
    path: Path,
    seeds: Sequence[int],
    temperatures: Sequence[float],
) -> FromRaw:
    """The model of some seeds of a checkpoint, from raw inputs to answers, on the CPU in evaluation mode.

    The outputs of each seed are divided by its temperature, if the run has temperatures. Images lie in memory
    in the usual layout, whatever the run's was.
    """
    places = [plan.config.seeds.index(seed) for seed in seeds]
    trained = Apart(plan.build, seeds).to(plan.dtype)
    load_weights(trained, [saved.state["model"][place] for place in places], path)
    alone = [copy.model if isinstance(copy, WithLoss) else copy for copy in trained.copies]
    if temperatures:
        divide(Apart.of(alone, seeds), [temperatures[place] for place in places])
    found = FromRaw(Answering(alone, plan.task), preprocessing, plan.dtype)
    for own in (*found.parameters(), *found.buffers()):
        own.data = own.data.clone()  # a part of another tensor's memory would be saved with all of that
    found.eval().requires_grad_(False)
    return found


def traced(model: nn.Module, like: Tree) -> ExportedProgram:
    """The graph of a model for any number of inputs such as some (n, …).

    It holds no path of this machine, and no example. Raises UserError for a model that cannot be traced.
    """
    # A graph keeps the inputs that it was traced with: zeros, and two, for one would fix their number.
    inputs = mapped(lambda own: own.new_zeros(2, *own.shape[1:]), like)
    axes = {0: Dim(BATCH)}
    shapes = axes if isinstance(inputs, Tensor) else dict.fromkeys(inputs, axes)
    try:
        with silence(), torch.no_grad():
            program = torch.export.export(model, (inputs,), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # torch.export raises errors of many kinds
        raise _not_traced(error) from error
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it names the files of whoever traced the model
    return program


@contextmanager
def silence() -> Iterator[None]:
    """Keep what PyTorch says of the working of its exporters off the terminal."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _not_traced(error: Exception) -> UserError:
    said = str(error)
    if BATCH in said and "specialized" in said:
        what = "its graph would be for one number of examples only: the model reads it as a plain number"
        return UserError(what, fix="write x.shape[0] instead of len(x) in its forward")
    reason = next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)
    what = f"torch.export cannot trace the model: {shortened(reason)}"
    return UserError(what, fix="dlrun.load(RUN).model is the same model in Python")
