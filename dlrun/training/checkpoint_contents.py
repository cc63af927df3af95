"""The content of a run's checkpoints beside its state: config, data, surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dlrun import __version__
from dlrun.config.registry import TEACHER
from dlrun.data.image_files.far_images import IMAGE_RANGES, ranges_of_images
from dlrun.data.loaded import Loaded
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.checkpoint_entries import CLASS_WEIGHTS, INPUT_TYPES, SHOWN, input_types
from dlrun.training.hardware import Hardware
from dlrun.training.initial_weights import RECORDED
from dlrun.training.plan import Plan
from dlrun.training.provenance import CODE_OF_PARTS, OWN_PARTS, code_of_own_parts
from dlrun.training.recipe import Row
from dlrun.training.teachers import record_of
from dlrun.training.trained_on import recorded


class CheckpointContents:
    """The maker of one run's checkpoints: it knows the data and the machine that they are of."""

    def __init__(
        self,
        plan: Plan,
        loaded: Loaded,
        hardware: Hardware,
        weights: Mapping[str, Any] | None,
        saved: Checkpoint | None,
    ) -> None:
        """`weights` is the record of those that the run began with, `saved` is what it goes on from."""
        self._loaded, self._hardware, weights = loaded, hardware, weights or {}
        self._own_parts = code_of_own_parts(plan, saved)
        self._trained_on = recorded(loaded["train"])
        self._input_types = input_types(loaded["train"].raw_tree(torch.zeros(1, dtype=torch.long)))
        self._image_ranges = ranges_of_images(plan.data, loaded["train"])
        self._begun = {key: weights[key] for key in ("source", "sha256") if isinstance(weights.get(key), str)}

    def checkpoint(self, plan: Plan, state: dict[str, Any], figures: Row) -> Checkpoint:
        """The checkpoint of a state, which has the weights, with the figures of its epoch."""
        data, weights_of_classes = plan.data, plan.loss.class_weights
        return Checkpoint(
            config=plan.config.plain(),
            data={
                "task": data.task,
                "input_shape": data.plain_shape,
                "classes": list(data.classes),
                "unit": data.unit,
                INPUT_TYPES: self._input_types,
                "preprocessing": self._loaded.preprocessing.state_dict(),
                "known": dict(data.known),
                "fingerprint": self._loaded.fingerprint,
                **({IMAGE_RANGES: self._image_ranges} if self._image_ranges else {}),
                **({CLASS_WEIGHTS: weights_of_classes.values} if weights_of_classes else {}),
                **({TEACHER: dict(record_of(plan))} if plan.loss.teacher else {}),
                **self._trained_on,
            },
            state=state | ({SHOWN: plan.shown_weights} if plan.recipe.averaging.share else {}),
            figures=figures,
            environment=self._hardware.environment()
            | {OWN_PARTS: list(self._own_parts), CODE_OF_PARTS: self._own_parts}
            | ({RECORDED: self._begun} if self._begun else {}),
            dlrun=__version__,
        )
