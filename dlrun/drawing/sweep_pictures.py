"""The pictures of a sweep: its figure over the swept values, and the training curves of its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dlrun.drawing.fonts import Picture
from dlrun.drawing.lines import Look, Numbers, draw_line, epoch_axis, look_of
from dlrun.drawing.over_many_values import MOST_ROWS, in_rows, parallel
from dlrun.drawing.over_values import over_one, over_two, scattered
from dlrun.drawing.setting_values import as_number, labels_of, number_at, spans_decades, text_of, words_of
from dlrun.drawing.style import (
    CLASS_COLOURS,
    TEXT,
    WIDTH,
    capitalised,
    legend_above,
    mean_and_spread,
    put_title,
    shown,
    tidy,
)
from dlrun.run_folders.comparison import Comparison
from dlrun.run_folders.setting_curves import over_epochs, rows_of
from dlrun.run_folders.setting_results import SettingResult
from dlrun.system.files import make_folder
from dlrun.training.figures import column_name
from dlrun.training.plot_files import boxes_noted, write_picture

ANOTHER_NAME = "name another file"
MOST_LINES = len(CLASS_COLOURS)
MOST_BANDS = 5
MOST_CELLS = 12  # rows or columns of a heat map


def draw_settings(found: Comparison, name: str, path: Path, warn: Callable[[str], None]) -> None:
    """Draw a sweep's figure over the swept values into a PNG file; nothing for a single setting."""
    if figure := settings_figure(found, name):
        save_picture(figure, path, warn)


def draw_curves(found: Comparison, path: Path, warn: Callable[[str], None]) -> bool:
    """Draw the training curves of the settings into a file; False if there are none."""
    figure = curves_figure(found)
    if figure:
        save_picture(figure, path, warn)
    return figure is not None


def save_picture(figure: Figure, path: Path, warn: Callable[[str], None], fix: str = ANOTHER_NAME) -> None:
    """Write a picture atomically, in the format of the path's suffix; warn of letters that no font has.

    Raises RunFailed with the `fix` if the disk refuses.
    """
    make_folder(path.parent, fix)
    with boxes_noted(lambda letters: warn(f"{path.name} has boxes for what no font here has: {letters}")):
        write_picture(figure, path, fix)


def settings_figure(found: Comparison, name: str) -> Figure | None:
    """The picture that suits the swept values; None for a single setting.

    A line over one numeric key (one for each value of another), a heat map or points over two, a row for
    each value of a key that is not numeric, otherwise parallel coordinates.
    """
    groups = [group for group in found.groups if group.values]
    keys = list(dict.fromkeys(key for group in groups for key in group.shown))
    if len(groups) < 2 or not keys:
        return None
    numeric = [key for key in keys if all(as_number(group.shown.get(key)) is not None for group in groups)]
    others = [key for key in keys if key not in numeric]
    counts = [len({text_of(group.shown.get(key)) for group in groups}) for key in keys]
    lines = {words_of(group, others) for group in groups}
    # settings whose values look alike would lie in one place
    on_lines = {(words_of(g, others), *(number_at(g, key) for key in numeric)) for g in groups}
    cells = {tuple(text_of(group.shown.get(key)) for key in keys) for group in groups}
    if len(numeric) == 1 and len(others) <= 1 and len(lines) <= MOST_LINES and len(on_lines) == len(groups):
        figure = over_one(found, groups, numeric[0], others)
    elif (
        len(keys) == 2
        and max(counts) <= MOST_CELLS
        and len(groups) == len(cells) >= 0.5 * counts[0] * counts[1]
    ):
        figure = over_two(found, groups, keys)
    elif len(numeric) == len(keys) == 2:
        figure = scattered(found, groups, keys)
    elif len(keys) == 1 or (len(keys) <= 3 and not numeric and len(groups) <= MOST_ROWS):
        figure = in_rows(found, groups, keys)
    else:
        figure = parallel(found, groups, keys)
    whole = [group for group in groups if group.is_whole] or groups
    best = max(whole, key=lambda g: g.mean if found.higher_is_better else -g.mean)
    reached = mean_and_spread(list(best.values.values()))
    without = sum(bool(group.diverged) for group in found.groups if not group.values)
    in_part = sum(bool(group.diverged) for group in groups)
    facts = [
        shown(name, 40),
        f"{len(groups)} settings",
        how_many_seeds(groups),
        said_epoch(found),
        f"{without} diverged" if without else "",
        f"{in_part} from some of their seeds" if in_part else "",
    ]
    what = f"Best {shown(column_name(found.column), 40)} {reached}: {words_of(best, keys, longest=48)}"
    put_title(figure, f"{what}\n{' · '.join(filter(None, facts))}")
    return figure


def said_epoch(found: Comparison) -> str:
    """The epoch of the figures, like `Comparison.epoch`, with the column in words."""
    is_named = found.is_of_best_epoch and found.monitor
    return f"epoch of best {shown(column_name(found.monitor), 40)}" if is_named else found.epoch


def how_many_seeds(groups: Sequence[SettingResult]) -> str:
    """A phrase for titles: the number of seeds behind each figure."""
    counts = {len(group.values) for group in groups}
    by_fold = any(group.folds for group in groups)
    if counts == {1}:
        return f"one {'fold' if by_fold else 'seed'} each"
    n = f"{counts.pop()}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    several = any(group.over[1] > 1 for group in groups)
    return f"mean ± sd of {n} {'folds and seeds' if by_fold and several else 'folds' if by_fold else 'seeds'}"


def curves_figure(found: Comparison) -> Figure | None:
    """The compared column over the epochs: each setting's mean over seeds in a band of ± 1 sd.

    Of many settings it shows the best. None if the column has one value for a run, such as seconds.
    """
    column = found.column
    if column == "seconds":
        return None
    measured = [group for group in found.groups if group.values]
    best = sorted(measured, key=lambda g: g.mean, reverse=found.higher_is_better)[:MOST_LINES]
    drawn = [group for group in found.groups if group in best]
    keys = list(dict.fromkeys(key for group in drawn for key in group.shown))
    figure = Picture(figsize=(WIDTH, 4.0 + 0.22 * len(drawn)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    longest: Numbers = np.zeros(0)
    reached_values = list[Numbers]()
    for number, (group, said) in enumerate(zip(drawn, labels_of(drawn, keys, 50), strict=True)):
        measured_at, figures = over_epochs(group, rows_of(group), column, is_last=not found.is_of_best_epoch)
        if not measured_at:
            continue
        epochs, values = np.array(measured_at, dtype=np.float64), np.array(figures, dtype=np.float64)
        reached = mean_and_spread(list(group.values.values()))
        label = f"{said}: {reached}"
        # many overlapping bands would hide the lines
        look = look_of(number, label) if len(drawn) > 1 else Look(label, CLASS_COLOURS[number])
        draw_line(axes, look, epochs, values, with_band=len(drawn) <= MOST_BANDS)
        longest = max(longest, epochs, key=len)
        reached_values.append(values.mean(1))
    if not len(longest):
        return None
    if not found.higher_is_better and spans_decades(np.sort(np.concatenate(reached_values)).tolist()):
        axes.set_yscale("log")
    axes.set_ylabel(shown(column_name(column), 40), fontsize=TEXT)
    epoch_axis(axes, longest)
    legend_above(axes, 1)
    named = capitalised(shown(column_name(column), 40))
    what = f"{named} of {len(drawn)} setting{'s' if len(drawn) > 1 else ''}"
    what += f", the best of {len(measured)}" if len(measured) > len(drawn) else ""
    left_out = sum(not group.values for group in found.groups)
    facts = [
        how_many_seeds(drawn),
        f"legend: {said_epoch(found)}" if found.epoch else "",
        f"{left_out} diverged" if left_out else "",
    ]
    put_title(figure, f"{what}\n{' · '.join(filter(None, facts))}")
    return figure
