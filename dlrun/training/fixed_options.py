"""Options of a dataset that a trained model has settled: other values are refused, not passed over."""

from __future__ import annotations

from dlrun.config.keys import Config, changed_keys
from dlrun.config.registry import Parts
from dlrun.errors import UserError


def refuse_fixed_options(old: Config, new: Config, parts: Parts) -> None:
    """Raise UserError for changed options of the dataset beside those that its file names `at_evaluation`.

    Each of these is an option, or OPTION=VALUE if only that value has an effect. A dataset without
    `at_evaluation`, such as one of the user's, may have any changed.
    """
    may_change = parts.part("dataset", old.dataset.name).constants.get("at_evaluation")
    if may_change is None or new.dataset.name != old.dataset.name:
        return
    changed = (key.removeprefix("dataset.") for key in changed_keys(old, new) if key.startswith("dataset."))
    fixed = [
        option
        for option in changed
        if not {option, f"{option}={new.dataset.options[option]}"} & {*may_change}
    ]
    if fixed:
        said = ", ".join(f"dataset.{option}" for option in fixed)
        what = f"{said} cannot be changed at evaluation: the checkpoint has settled how examples are encoded"
        others = [each.replace("=", ": ") for each in may_change]
        fix = f"leave it out; {', '.join(others)} may be changed" if others else "leave it out"
        raise UserError(f"{what} and split, so that another value would do nothing", fix=fix)
