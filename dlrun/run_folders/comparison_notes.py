"""The keys by which settings of a comparison differ, and the notes on what else may explain a difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlrun.config.keys import AVERAGED, FOLDS
from dlrun.run_folders.records import Record, at, some
from dlrun.run_folders.setting_results import SettingResult


def telling(settings: Sequence[Mapping[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """The keys of each setting that differ from others, without those that only follow from another key.

    Options that only one of several parts has follow from the part, and the data follows from the dataset.
    """
    apart = differing(settings)
    keys = dict.fromkeys(key for each in apart for key in each)

    def follows(key: str) -> bool:
        having = [setting for setting in settings if key in setting]
        if key == "data":
            datasets = [repr({k: v for k, v in s.items() if k.startswith("dataset")}) for s in settings]
            both = {(d, repr(s.get(key))) for d, s in zip(datasets, settings, strict=True)}
            return len(set(datasets)) == len(both)
        parts = {repr(setting.get(f"{key.partition('.')[0]}.name")) for setting in settings}
        is_of_some = len(having) < len(settings) and len(parts) > 1
        return is_of_some and len({repr(setting[key]) for setting in having}) == 1

    left = [key for key in keys if not follows(key)]
    if "data" in left:
        notes.append("not all were trained on the same data, though their configs name the same")
    told = [{key: each[key] for key in left if key in each} for each in apart]
    return told if len(set(map(repr, told))) == len(told) else apart


def differing(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The keys of each setting whose values, or whose presence, are not the same in all settings."""
    keys = dict.fromkeys(key for setting in settings for key in setting)
    apart = [key for key in keys if len({repr(s.get(key)) if key in s else "" for s in settings}) > 1]
    # architecture and architecture.name hold the same value
    apart = [key for key in apart if not (key.endswith(".name") and key.removesuffix(".name") in apart)]
    return [{key: setting[key] for key in apart if key in setting} for setting in settings]


def note_other_losses(groups: Sequence[SettingResult], metric: str, notes: list[str]) -> None:
    """Note that figures of a loss are of different losses, of which a lower one need not be better."""
    if said := said_other_losses(groups, metric):
        notes.append(f"{said}; compare by a metric (--metric)")


def said_other_losses(groups: Iterable[SettingResult], column: str) -> str:
    """A line that says for a column of the loss that it is not of the same one everywhere; "" if it is."""
    apart = {key for each in differing([group.setting for group in groups]) for key in each}
    losses = sorted(key for key in apart if key.partition(".")[0] == "loss")
    if not losses or figure_of(column) != "loss":
        return ""
    return f"{column} is another figure where {some(losses)} {'differs' if len(losses) == 1 else 'differ'}"


def note_other_examples(records: Iterable[Record], metric: str, notes: list[str]) -> None:
    """Note that figures are of other examples, as after a change of options that draw the splits anew."""
    split = metric.removeprefix("best.").partition("_")[0]
    if split.startswith("train"):  # figures of training are of what each was trained on
        return
    of_fold: dict[tuple[Any, ...], list[Any]] = {}
    for record in records:
        data = at(record.summary, "data")
        if at(data, "examples", split) is not None:
            fold = () if record.fold is None else (record.config.get(FOLDS), record.fold)
            of_fold.setdefault(fold, []).append(data)
    for data in of_fold.values():
        counts, digests, whole = (
            {str(at(each, *path)) for each in data}
            for path in (("examples", split), ("targets", split), ("fingerprint",))
        )
        if len(counts) > 1 or len(digests - {"None"}) > 1:
            what = f"not all have the same {split} examples in the same order"
            notes.append(f"{what}: differences are those of the examples too")
            return
        if "None" in digests and len(whole) > 1:
            what = f"it is not recorded if all have the same {split} examples"
            notes.append(f"{what}: some runs are of an earlier dlrun")
            return


def note_versions(records: Iterable[Record], notes: list[str]) -> None:
    """Note differences in versions, code and stacking, which may also explain a difference in the figures."""
    for package in ("dlrun", "torch"):
        versions = {str(at(each.summary, "versions", package)) for each in records} - {"None"}
        if len(versions) > 1:
            notes.append(f"not all were trained with the same {package}: {some(sorted(versions))}")
    if len({str(at(each.summary, "code")) for each in records} - {"None"}) > 1:
        notes.append("not all were trained with the same code of dlrun and of your parts")
    if len({each.is_stacked for each in records}) > 1:
        notes.append("the seeds of some were trained as one model, which changes the last bits")


def said_of_training(metric: str, records: Iterable[Record]) -> str:
    """The note of a ranking by figures of training examples, with the remedy."""
    wanted = f"valid_{figure_of(metric)}"
    is_there = any(wanted in record.columns() for record in records)
    fix = f"take --metric {wanted}" if is_there else "set dataset.valid_fraction in new runs"
    return f"{metric} ranks by the training examples, and may choose what learns them by heart; {fix}"


def figure_of(metric: str) -> str:
    """The metric of a column, without its split: `accuracy` for best.test_accuracy_average."""
    return metric.removeprefix("best.").partition("_")[2].removesuffix(AVERAGED)
