"""The rows of a table that stand in each split of dlrun, with their targets, as one line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch import Tensor

from dlrun.config.loading import load_config
from dlrun.config.registry import Parts
from dlrun.data.hold_out import carve
from dlrun.training.plan_making import make_plan

if __name__ == "__main__":
    plan = make_plan(load_config(Path(sys.argv[1]), [], Parts()), Parts(), Path("data"))
    data = plan.data
    splits = dict(data.read())
    if data.valid_fraction and "valid" not in splits:
        by_class = bool(data.classes)
        splits["train"], splits["valid"] = carve(
            splits["train"], data.valid_fraction, data.seed, by_class=by_class
        )
    found = {}
    for name, examples in splits.items():
        if examples.origin is None or not isinstance(examples.targets, Tensor):
            raise SystemExit("the dataset does not say from which rows its examples are")
        targets = examples.targets.flatten().tolist()
        if data.classes:
            targets = [data.classes[target] for target in targets]
        found[name] = {"rows": examples.origin.tolist(), "targets": targets}
    print(json.dumps(found))
