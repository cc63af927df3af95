"""The results of `dlrun eval`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlrun.console.layout import class_name, plain_table, print_figures, short_names
from dlrun.console.numbers import number, of_seeds, said_batches, said_temperatures, said_thresholds
from dlrun.console.streams import clean, err, out, print_line, print_warning

_OF_TARGETS = ("mae", "rmse", "r2")
_MOST_TARGETS = 12
_MOST_CLASSES = 20  # in the table of classes
_LONGEST_TARGET = 60  # characters of a name


def print_evaluation(found: Mapping[str, Any]) -> None:
    """Print the results of an evaluation as tables."""
    console = out()
    print_line(about_evaluation(found), console)
    if said := about_seen(found):
        print_line(said, console, "yellow")
    print_figures(*evaluation_cells(found), console)
    for warning in found.get("warnings", ()):
        print_warning(warning, console)
    if why := found.get("no_baselines"):
        print_line(f"no baseline learns from the training data: {why}", console)
    if "loss_of_batches" in found:
        print_line(said_batches(found["loss_of_batches"]), console)
    if "per_class" in found:
        (first, *others), rows, rest = class_cells(found)
        classes = plain_table()
        classes.add_column(first)
        for heading in others:
            classes.add_column(heading, justify="right")
        for name, row in zip(short_names(row[0] for row in rows), rows, strict=True):
            classes.add_row(*map(Text, [name, *row[1:]]))
        console.print(classes)
        if rest:
            print_line(f"{rest}; --json has all, --csv every example", console)
    if said := said_confusions(found):
        print_line(said, console)
    if "per_target" in found:
        console.print(_targets_table(found["per_target"]))
        said = "above are means over all targets: where these differ in unit, their own figures count"
        print_line(said, console)
    if "intervals" in found:
        _print_intervals(found["intervals"], console)
    if "on" not in found:
        _print_recorded(console, found)
    print_line(f"checkpoint sha256 {found['sha256'][:16]}…", console)


def about_evaluation(found: Mapping[str, Any]) -> str:
    """The model that was evaluated, and the number and origin of the examples, in words."""
    epochs = found.get("epochs") or [found["epoch"]]
    of_epoch = f"epoch {epochs[0]}"
    if len(epochs) > 1:
        chosen = f" ({found['chosen']})" if "chosen" in found else ""
        of_epoch = f"epochs {min(epochs)} to {max(epochs)}{chosen}"
    weights = f", {found['weights']} weights" if "weights" in found else ""
    calibrated = f", {said_temperatures(found['temperatures'])}" if "temperatures" in found else ""
    calibrated += f", {said_thresholds(found['thresholds'])}" if "thresholds" in found else ""
    averaged = f", tta {found['tta']}" if "tta" in found else ""
    model = f"{found['run'] or found['checkpoint']}, {of_epoch}{weights}{calibrated}{averaged}"
    return f"{model}, {_examples_of(found)}"


Columns = dict[str, list[str]]  # heading -> a cell for each figure


def evaluation_cells(found: Mapping[str, Any]) -> tuple[list[str], Columns, Columns]:
    """The names of the figures, what was measured of each, and each baseline."""
    unseen = found.get("unseen") if found.get("seen") else None
    figures = ["loss", *found["metrics"]]
    ours = "mean ± sd" if len(found["per_seed"]) > 1 else "model"
    of_views = f"tta {found['tta']}{', mean ± sd' * (len(found['per_seed']) > 1)}" if "tta" in found else ""
    measured = {of_views or ours: found["per_seed"]}
    if unseen:
        measured[f"without them, {unseen['examples']:,}"] = unseen["per_seed"]
    if "without_tta" in found:
        measured["without tta"] = found["without_tta"]["per_seed"]
    return (
        figures,
        {
            heading: [of_seeds([seed[figure] for seed in of_seed.values()]) for figure in figures]
            for heading, of_seed in measured.items()
        },
        {
            name: [number(baseline.get(figure)) for figure in figures]
            for name, baseline in found["baselines"].items()
        },
    )


def class_cells(
    found: Mapping[str, Any], most: int = _MOST_CLASSES
) -> tuple[list[str], list[list[str]], str]:
    """Headings, a row for each class, of more than `most` the worst, and a line that says so."""
    named = found["per_class"]
    weighted = ["weight"] if "weight" in found and "weight" in next(iter(named.values())) else []
    worst = sorted(named, key=lambda name: -1.0 if (f1 := named[name]["f1"]) is None else f1)
    shown = worst[:most] if len(named) > most else list(named)
    rows = []
    for name in shown:
        cells = [number(named[name][figure]) or "–" for figure in ("precision", "recall", "f1")]
        cells += [f"{named[name]['examples']:,}", *(f"{named[name][key]:,.6g}" for key in weighted)]
        rows.append([class_name(name), *cells])
    left_out = len(shown) < len(named)
    rest = f"the {len(shown)} of {len(named):,} classes with the lowest f1" if left_out else ""
    return ["class", "precision", "recall", "f1", _counted(found), *weighted], rows, rest


def _counted(found: Mapping[str, Any]) -> str:
    """The unit that an evaluation counts of each class; earlier ones do not name it."""
    most = max((each["examples"] for each in found["per_class"].values()), default=0)
    return str(found.get("counted") or ("examples" if most <= found["examples"] else "pixels or positions"))


def said_confusions(found: Mapping[str, Any]) -> str:
    """A line on the pairs of classes that are confused most often; "" if there are none."""
    of_pairs = [
        f"{class_name(pair['true'])} as {class_name(pair['predicted'])} {_count(pair['count'])}"
        for pair in found.get("most_confused", ())
    ]
    by = "most often confused, by weight" if "weight" in found else "most often confused"
    return f"{by}: {', '.join(of_pairs)}" if of_pairs else ""


def print_views(tta: str | None) -> None:
    """Print on stderr over which views outputs are averaged, if over any."""
    if tta:
        print_line(f"test-time augmentation {tta}: outputs are means over its views", err())


def _count(mean: float) -> str:
    """A number of examples, or the mean of several."""
    return f"{mean:,.0f}" if mean == int(mean) else f"{mean:,.1f}"


def _examples_of(found: Mapping[str, Any]) -> str:
    """The number of examples and their origin, in words."""
    n = found["examples"]
    examples = "example" if n == 1 else "examples"
    whose = f", whose weights sum to {found['weight']:,.6g}" if "weight" in found else ""
    if "on" in found:
        return f"{n:,} {examples} of {Path(found['on']).name}{whose}"
    return f"{n:,} {found['split']} {examples}{whose}"


def about_seen(found: Mapping[str, Any]) -> str:
    """The examples among those evaluated, or left out, that were trained on, in words; "" for none."""
    n, seen, left_out = found["examples"], found.get("seen"), found.get("left_out")
    if left_out:
        not_ = "not " if found["split"] == "train" else ""
        what = f"{left_out:,} {found['split']} examples that were {not_}trained on are left out"
        return f"{what}: the data have changed since training"
    if seen:
        return f"all {n:,} examples were trained on" if seen == n else f"{seen:,} of them were trained on"
    return "it is not known how many of them were trained on" if "on" in found and seen is None else ""


def _print_recorded(console: Console, found: Mapping[str, Any]) -> None:
    """Print the differences from what training recorded, all of it without test-time augmentation."""
    if not found["same_data"]:
        print_line("warning: the data is not what the model was trained on", console, "yellow")
    recorded = found["recorded"]
    different = {figure: item for figure, item in recorded.items() if item["difference"]}
    if different:
        for figure, item in different.items():
            before, by = number(item["at_training"]), f"{item['difference']:.2g}"
            now = "without tta" if "tta" in found else "measured now"
            text = f"{figure} was {before} at training: the figure {now} differs by {by}"
            print_line(text, console, "yellow")
    elif "temperatures" in found:
        print_line("calibrated probabilities: not compared with the figures recorded at training", console)
    elif not recorded:
        said = (
            f"training did not evaluate {found['split']} in this epoch: no recorded figures to compare with"
        )
        print_line(said, console)
    else:
        plainly = "without tta " * ("tta" in found)
        print_line(f"{plainly}exactly as recorded at training: {', '.join(recorded)}", console)
    if "thresholds" in found and "temperatures" not in found:
        said = "figures of decisions are by the threshold: not compared with those recorded at training"
        print_line(said, console)


def _print_intervals(found: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print how many targets lie where quantiles promise it; of many targets the first."""
    shown = dict(islice(found.items(), _MOST_TARGETS))
    for (first, *others), rows in (interval_cells(shown), quantile_cells(shown)):
        table = plain_table()
        table.add_column(first)
        for heading in others:
            table.add_column(heading, justify="right")
        for name, row in zip(short_names((row[0] for row in rows), _LONGEST_TARGET), rows, strict=True):
            table.add_row(*map(Text, [name, *row[1:]]))
        if rows:
            console.print(table)
    if len(shown) < len(found):
        print_line(f"intervals of the first {len(shown)} of {len(found):,} targets; --json has all", console)


def interval_cells(found: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each predicted interval of each target: the promised and the covered share."""
    rows = []
    for name, own in found.items():
        for each in own["between"]:
            ends = " to ".join(f"{level:.3g}" for level in each["levels"])
            shares = (f"{100 * each[key]:.1f} %" for key in ("promised", "covered"))
            rows.append([clean(name), ends, *shares, number(each["mean_width"])])
    return ["target", "interval", "promised", "covered", "mean width"], rows


def quantile_cells(found: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each predicted quantile of each target: the share that lies below it."""
    rows = [
        [clean(name), f"{each['level']:.3g}", f"{100 * each['share']:.1f} %"]
        for name, own in found.items()
        for each in own["below"]
    ]
    return ["target", "quantile", "lie below it"], rows


def _targets_table(found: Mapping[str, Mapping[str, float | None]]) -> Table:
    """A table of the errors of each target; of many some from the first to the last."""
    table = plain_table()
    table.add_column("target")
    for heading in _OF_TARGETS:
        table.add_column(heading, justify="right")
    names, rows = list(found), min(len(found), _MOST_TARGETS)
    shown = [names[round(row * (len(names) - 1) / max(1, rows - 1))] for row in range(rows)]
    for name, short in zip(shown, short_names(shown, _LONGEST_TARGET), strict=True):
        cells = [number(found[name][figure]) or "–" for figure in _OF_TARGETS]
        table.add_row(Text(short), *cells)
    return table
