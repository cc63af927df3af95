"""Format figures, durations and config values for the console."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlrun.console.layout import class_name
from dlrun.errors import one_line, shortened

_LARGE = 1e6  # a float from which its zeros are not written


def number(value: float | None, spread: float | None = None) -> str:
    """A figure with four decimals, or four digits if it is small or large; with its spread if given."""
    if value is None:
        return ""
    if abs(value) < 1e-12:  # a zero after rounding errors
        value = 0.0
    form = ".4f" if 1e-3 <= abs(value) < 1e3 or value == 0 else ".4g"
    return f"{value:{form}}" if spread is None else f"{value:{form}} ± {spread:{form}}"


def of_setting(mean: float, spread: float | None) -> str:
    """The mean figure of a setting with its spread to two digits; a large mean without exponent."""
    if not 1e3 <= abs(mean) < 1e12:
        return number(mean, spread)
    from dlrun.run_folders.significance import decimals

    places = decimals(spread) if spread else 1
    return f"{mean:,.{places}f}" if spread is None else f"{mean:,.{places}f} ± {spread:,.{places}f}"


def of_seeds(values: Sequence[float] | None) -> str:
    """The figure of one seed, or mean ± standard deviation over seeds."""
    if not values:
        return ""
    from math import isfinite, nan
    from statistics import fmean, stdev

    spread = stdev(values) if len(values) > 1 and all(map(isfinite, values)) else nan
    return number(fmean(values), spread if len(values) > 1 else None)


def said_temperatures(temperatures: Sequence[float]) -> str:
    """Temperatures in words: `temperature 1.53`, of several seeds `temperatures 1.48 to 1.57`."""
    low, high = f"{min(temperatures):.3g}", f"{max(temperatures):.3g}"
    return f"temperature {low}" if low == high else f"temperatures {low} to {high}"


def said_thresholds(thresholds: Mapping[str, float]) -> str:
    """Thresholds in words, such as `spam above a probability of 0.31`; of several labels their range."""
    from dlrun.training.figures import share

    low, high = share(min(thresholds.values())), share(max(thresholds.values()))
    if len(thresholds) == 1:
        return f"{class_name(*thresholds)} above a probability of {low}"
    bounds = f"a probability of {low}" if low == high else f"probabilities of {low} to {high}"
    return f"{len(thresholds)} labels above {bounds}"


def duration(seconds: float) -> str:
    """A duration: 0.8 s, 12 s, 3:05 min, 1:02:03 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours}:{minutes:02d}:{whole % 60:02d} h" if hours else f"{minutes}:{whole % 60:02d} min"


def compact(value: float) -> str:
    """A count with three digits: 169k, 2.4M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def short_text(value: Any) -> str:
    """A value shortened for a table."""
    return f"{value:.4g}" if isinstance(value, float) else yaml_text(value)


def value_text(value: Any) -> str:
    """A config value, perhaps of a hostile file, in one short line."""
    return one_line(shortened(yaml_text(value)))


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds, shortened to `0 … 7` if they are consecutive."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} … {seeds[-1]}"
    return ", ".join(map(str, seeds))


def yaml_text(value: Any) -> str:
    if isinstance(value, float) and abs(value) >= _LARGE and float(short := f"{value:.6g}") == value:
        return short  # 1e+09 for 1000000000.0
    is_plain = value is not None and value != "" and not isinstance(value, bool | list | dict)
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)


def shape_text(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def inputs_text(shape: Sequence[int] | Mapping[str, Sequence[int]]) -> str:
    """The shape of an input, or of several by their names."""
    if not isinstance(shape, Mapping):
        return shape_text(shape)
    return ", ".join(f"{name} {shape_text(own)}" for name, own in shape.items())


def said_batches(size: int | str) -> str:
    """A remark on a loss that judges batches as a whole, for tables."""
    of = "the full batch" if size == "full" else f"batches of {size:,}"
    return f"the loss is that of {of}: only losses at the same batch size can be compared"


def said_trainset(columns: Iterable[str]) -> str:
    """A line that tells the columns `trainset_*` from `train_*`; "" if there are none."""
    if not any(column.startswith("trainset_") for column in columns):
        return ""
    return "train_*: means over the epoch, while it trained; trainset_*: the training set after it"
