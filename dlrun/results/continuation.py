"""Texts that a model continues: token after token is drawn from the probabilities of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlrun.blocks.decisions import Decision
from dlrun.data.preparation import Preparation
from dlrun.data.trees import main_outputs
from dlrun.errors import UserError
from dlrun.system.randomness import generator
from dlrun.training.copies import Copies
from dlrun.training.hardware import Hardware
from dlrun.training.plan import Plan
from dlrun.training.trained import outputs_for


@dataclass(frozen=True)
class Sampling:
    """The `length` of what is added to a text, in tokens, and how each of them is drawn.

    Probabilities are raised to the power of 1/`temperature` and scaled to the sum 1; 0 takes the most
    probable token. A text and a `seed` have one continuation, whatever other texts are continued.
    """

    length: int = 200
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Continuations:
    """The ids (n,) of some named texts, and those with which a model goes on, (length,)."""

    plan: Plan
    epoch: int
    digest: str  # of the checkpoint file
    names: list[str]
    prompts: list[Tensor]
    continued: list[Tensor]
    unit: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """A row for each text: its name as `input`, the text itself, and how it goes on."""
        decode = self.plan.data.decode
        assert decode is not None, "a task that continues texts has a dataset that decodes ids"
        each = zip(self.names, self.prompts, self.continued, strict=True)
        return [
            {"input": name, "prompt": decode(prompt), "continuation": decode(continued)}
            for name, prompt, continued in each
        ]


def continued(
    plan: Plan,
    model: Copies,
    preprocessing: Preparation,
    hardware: Hardware,
    prompts: Sequence[Tensor],
    sampling: Sampling,
) -> list[Tensor]:
    """The ids (length,) with which the copies together go on after each prompt (n,).

    They see as many of the last tokens as a window of training has, and their probabilities are averaged.
    Raises UserError for a prompt without tokens.
    """
    decision, (window,) = plan.task.decision, plan.data.places
    assert decision is not None, "the tokens are classes"
    found = []
    for prompt in prompts:
        if not len(prompt):
            raise UserError("the text is empty", fix="give the model a first token to go on from")
        ids, stream = prompt, generator("continuation", sampling.seed, 0)
        for _ in range(sampling.length):
            recent = ids[-window:]
            # No output sees a later place, and a model that takes whole windows alone is given one.
            inputs = torch.nn.functional.pad(recent, (0, window - len(recent))).unsqueeze(0)
            outputs = main_outputs(outputs_for(model, inputs, preprocessing, hardware, 1))
            following = _drawn(decision, outputs[:, 0, :, len(recent) - 1], sampling.temperature, stream)
            ids = torch.cat([ids, following.view(1)])
        found.append(ids[len(prompt) :])
    return found


def _drawn(decision: Decision, outputs: Tensor, temperature: float, stream: torch.Generator) -> Tensor:
    """The next token, from the outputs (copies, k) of all copies."""
    if not temperature:
        return decision.decide_together(outputs)
    logarithms = decision.log_probabilities(outputs.double())
    mean = logarithms.logsumexp(0)
    return torch.multinomial((mean / temperature).softmax(-1), 1, generator=stream)
