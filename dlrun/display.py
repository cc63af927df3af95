"""All that is printed: tables, the live view, errors. The only module that knows rich."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, TextIO

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dlrun.data.csv_files import cell
from dlrun.errors import UserError, one_line, shortened
from dlrun.run_folders.run import DONE
from dlrun.run_folders.significance import decimals

if TYPE_CHECKING:
    from dlrun.config.registry import Part
    from dlrun.results.reproduction import Reproduction
    from dlrun.run_folders.comparison import Comparison
    from dlrun.run_folders.comparison import SettingResult as Setting
    from dlrun.run_folders.differences import Differences
    from dlrun.run_folders.records import Record
    from dlrun.run_folders.run import Run
    from dlrun.run_folders.sweep_folder import Sweep
    from dlrun.sweeps.estimate import Estimate
    from dlrun.sweeps.planning import SweepPlan
    from dlrun.sweeps.sweep import SweepOutcome
    from dlrun.sweeps.views import RunProgress
    from dlrun.training.layers import Layers
    from dlrun.training.plan import Plan
    from dlrun.training.recipe import Row
    from dlrun.training.state import State

REFRESH = 0.25  # seconds between refreshes of the live view, at least
REFRESH_SHARE = 40  # and at least this many times what the last one took
LINE_EVERY = 1.0  # seconds between the lines of a run without a terminal
MOST_FAILURES = 3  # different errors of a sweep that are said
MOST_ROWS = 200  # more epochs than any terminal shows at once
STEPS = [d * 10**n for n in range(9) for d in (1, 5)]  # 1, 5, 10, 50, …: each divides the next


_lost: list[OSError] = []  # what kept stdout from saying all


class _Stream:
    """A stream that never stops the program: what it cannot say it leaves out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._broken = False

    def write(self, text: str) -> int:
        if not self._broken:
            try:
                self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        if not self._broken:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def isatty(self) -> bool:
        try:
            return not self._broken and self._stream.isatty()
        except ValueError:  # closed
            return False

    def fileno(self) -> int:
        return self._stream.fileno()

    def _give_up(self, error: OSError | ValueError) -> None:
        """Nobody reads any more (`| head`), or the disk is full: let nothing complain at exit either."""
        self._broken = True
        if isinstance(error, OSError) and error.errno != errno.EPIPE and self._stream is sys.stdout:
            _lost.append(error)
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        except (OSError, ValueError):
            pass


def _console(stream: TextIO | None) -> Console:
    file = _Stream(StringIO() if stream is None else stream)  # None: closed before Python started
    columns = os.environ.get("COLUMNS", "")
    # Into a file or a pipe lines are as long as they are; a narrow table would be cut for no reader.
    width = None if file.isatty() else int(columns) if columns.isdecimal() and int(columns) else 120
    return Console(file=file, highlight=False, soft_wrap=False, width=width)  # type: ignore[arg-type]


def out() -> Console:
    """The console on stdout as it is now."""
    return _console(sys.stdout)


def err() -> Console:
    """The console on stderr as it is now."""
    return _console(sys.stderr)


def lost() -> OSError | None:
    """What kept stdout from saying all since this was asked last; None where it did, or nobody listened."""
    out().file.flush()
    first = _lost[0] if _lost else None
    _lost.clear()
    return first


def complain(error: UserError, raised: Exception | None = None) -> None:
    """Print an error as it stands in its lines; with what was `raised`, all of it and its traceback."""
    console = err()
    if raised is not None:
        console.print(Text(_clean("".join(traceback.format_exception(raised)))), soft_wrap=True)
    for line in error.lines(debug=raised is not None):
        style = "bold red" if line.startswith("error:") else ""
        console.print(Text(line, style), soft_wrap=True)


def say(text: str) -> None:
    """Print one line on stdout as it is."""
    out().print(Text(_clean(text)), soft_wrap=True)


def say_line(text: str) -> None:
    """Print one line on stdout, whatever a name in it holds."""
    say(one_line(text))


def warn(text: str) -> None:
    """Print a warning on stderr."""
    err().print(Text(f"warning: {one_line(text)}", "yellow"), soft_wrap=True)


def agreed(question: str) -> bool:
    """Whether the answer to a question is yes, asked on stderr and read from stdin."""
    console = err()
    console.file.write(f"{question} [y/N]: ")
    console.file.flush()
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):
        answer = ""
    return answer.strip().lower() in ("y", "yes")


def say_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object and nothing else."""
    out().print(Text(json.dumps(content, allow_nan=False)), soft_wrap=True)


def number(value: float | None, spread: float | None = None) -> str:
    """A figure to four decimals, or four digits where it is small or large; with its spread if any."""
    if value is None:
        return ""
    if abs(value) < 1e-12:  # what rounding leaves of a zero
        value = 0.0
    form = ".4f" if 1e-3 <= abs(value) < 1e3 or value == 0 else ".4g"
    return f"{value:{form}}" if spread is None else f"{value:{form}} ± {spread:{form}}"


def of_setting(mean: float, spread: float | None) -> str:
    """A figure of a setting: a large one as a person writes it, with two digits of its spread."""
    if not 1e3 <= abs(mean) < 1e12:
        return number(mean, spread)
    places = decimals(spread) if spread else 1
    return f"{mean:,.{places}f}" if spread is None else f"{mean:,.{places}f} ± {spread:,.{places}f}"


def of_seeds(values: Sequence[float] | None) -> str:
    """One column of a row: the figure, or mean ± standard deviation over seeds."""
    if not values:
        return ""
    return number(fmean(values), stdev(values) if len(values) > 1 else None)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 0.8 s, 12 s, 3:05 min, 1:02:03 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours}:{minutes:02d}:{whole % 60:02d} h" if hours else f"{minutes}:{whole % 60:02d} min"


def compact(value: float) -> str:
    """A large count in three digits: 169k, 2.4M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def _clean(text: str) -> str:
    """Text from anywhere, without what could steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def _table(caption: str | None = None) -> Table:
    return Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=caption, caption_justify="left"
    )


def progress(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """The items one by one, with a bar that shows how many are done; without a terminal, a line."""
    console = err()
    if not console.is_terminal:
        console.print(Text(f"{what}: {total:,}"), soft_wrap=True)
        yield from items
        return
    with Progress(console=console, transient=True) as bar:
        console.show_cursor(True)  # Ctrl-C ends the process at once: nobody would bring it back
        yield from bar.track(items, total=total, description=what)


class Training:
    """What a run shows while it trains: a table of epochs that stays, and a bar with the time left.

    Without a terminal: plain lines, at most one a second.
    """

    def __init__(self) -> None:
        self.console = out()
        self._live: Live | None = None
        self._rows: dict[int, Row] = {}  # the epochs that may be shown: thinned as they grow
        self._every = 1
        self._best: tuple[int, Row] | None = None
        self._last: tuple[int, Row] | None = None
        self._next = self._examples = self._step = 0.0

    def begin(self, plan: Plan, run: Run, state: State, steps: int) -> None:
        self.steps, self.epochs = steps, plan.config.epochs
        self.with_rate = plan.rate_depends_on_length
        self._epoch = self._first_epoch = state.epoch
        self.columns = plan.recipe.columns()
        self._started = time.monotonic()
        layers = plan.layers
        seeds = plan.config.seeds
        about = f"{run.folder}: {plan.config.dataset.name}, {plan.config.architecture.name}"
        about += f" with {layers.parameters:,} parameters, {plan.config.optimizer.name}, {plan.device}"
        about += f", {len(seeds)} seeds" if len(seeds) > 1 else f", seed {seeds[0]}"
        about += f", from epoch {state.epoch + 1}" if state.epoch else ""
        self.console.print(Text(_clean(about)), soft_wrap=not self.console.is_terminal)
        if self.console.is_terminal and state.epoch < self.epochs:
            self._live = Live(self._picture(), console=self.console, auto_refresh=False, transient=False)
            self._live.start()
        self._next = time.monotonic() + REFRESH

    def tick(self, examples: int) -> None:
        self._examples += examples
        self._step += 1
        if time.monotonic() >= self._next:
            self._refresh()

    def row(self, epoch: int, row: Row, best: bool) -> None:
        self._epoch, self._step = epoch, 0
        self._last = (epoch, row)
        if best:
            self._best = (epoch, row)
        if epoch % self._every == 0:
            self._rows[epoch] = row
            if len(self._rows) > MOST_ROWS:
                self._every = next(step for step in STEPS if step > self._every)
                self._rows = {e: r for e, r in self._rows.items() if e % self._every == 0}
        if time.monotonic() >= self._next:
            self._refresh()

    def warn(self, text: str) -> None:
        self.console.print(Text(f"warning: {one_line(text)}", "yellow"), soft_wrap=True)

    def end(self) -> None:
        if self._live:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()
            self._live = None
        elif self._last and not self.console.is_terminal:
            self._line()

    def _refresh(self) -> None:
        started = time.monotonic()
        if self._live:
            self._live.update(self._picture(), refresh=True)
            self._next = started + max(REFRESH, REFRESH_SHARE * (time.monotonic() - started))
        elif self._last:
            self._line()
            self._next = started + LINE_EVERY

    def _line(self) -> None:
        assert self._last is not None
        epoch, row = self._last
        figures = "  ".join(f"{column} {of_seeds(row[column])}" for column in self.columns if column in row)
        self.console.print(Text(f"epoch {epoch}/{self.epochs}  {figures}"), soft_wrap=True)
        self._last = None

    def _picture(self) -> Group:
        height = self.console.size.height
        room = max(3, height - 8)  # what the table's head, the bar and the lines around them leave
        best = self._best[0] if self._best else None
        table = epochs_table(self.columns, self._shown(room), best, self.with_rate, self.console.width)
        return Group(table, self._bar())

    def _shown(self, room: int) -> dict[int, Row]:
        """The epochs in the table: every so many, the best one and the last one."""
        for every in STEPS:
            shown = {epoch: row for epoch, row in self._rows.items() if epoch % every == 0}
            if len(shown) <= room - 2:
                break
        for extra in (self._best, self._last):
            if extra:
                shown[extra[0]] = extra[1]
        return dict(sorted(shown.items()))

    def _bar(self) -> Table:
        done = self._epoch + self._step / max(self.steps, 1)
        elapsed = time.monotonic() - self._started
        here = done - self._first_epoch
        left = elapsed / here * (self.epochs - done) if here > 0 else None
        line = Table.grid(padding=(0, 2))
        line.add_row(
            f"epoch {self._epoch}/{self.epochs}",
            ProgressBar(total=self.epochs, completed=done, width=20),
            duration(elapsed),
            f"{duration(left)} left" if left else "",
            f"{compact(self._examples / elapsed)} samples/s" if elapsed > 0 else "",
        )
        return line


def epochs_table(
    columns: Sequence[str], rows: Mapping[int, Row], best: int | None, with_rate: bool, width: int
) -> Table:
    """A row for each epoch: what was measured, side by side, the best one marked.

    Where the width is short, the time of an epoch, the rate, then the spreads and at last all but four
    digits of each figure are left out.
    """
    several = any(len(values) > 1 for row in rows.values() for values in row.values())
    marked = len("★ ") + max([5, *(len(str(epoch)) for epoch in rows)])
    cell, first = 17 if several else 10, marked + 2
    shown = list(columns)
    for extra in ["lr"] * with_rate + ["seconds"]:
        if first + cell * len(columns) + 10 * (len(shown) - len(columns) + 1) <= width:
            shown.append(extra)
    with_spread = first + cell * len(columns) <= width
    whole = first + 10 * len(columns) <= width
    table = _table(caption="means over seeds" if several and not with_spread else None)
    table.add_column("\nepoch", justify="right", no_wrap=True, min_width=marked)
    for column in shown:
        split, _, figure = column.partition("_")
        table.add_column(f"{split}\n{figure}" if figure else f"\n{split}", justify="right", no_wrap=True)
    for epoch, row in rows.items():
        cells = []
        for column in shown:
            values = row.get(column, [])
            alone = column in ("lr", "seconds") or not with_spread
            if values and not whole and abs(fmean(values)) >= 10:
                cells.append(f"{fmean(values):.4g}")
            else:
                cells.append(number(fmean(values)) if alone and values else of_seeds(values))
        mark, style = ("★ ", "bold") if epoch == best else ("", "")
        table.add_row(f"{mark}{epoch}", *cells, style=style)
    return table


def results(summary: Mapping[str, Any], folder: str, resume_command: str) -> None:
    """The end of a run: final and best figures, the claims, and what to do next."""
    console = out()
    wide = console.options.update(max_width=1000)
    beside = _measured_table(summary, with_baselines=True)
    if beside.row_count and console.measure(beside, options=wide).maximum <= console.width:
        console.print(beside)
    elif beside.row_count:
        console.print(_measured_table(summary), _baselines_table(summary))
    if len(summary["seeds"]) > 1:
        console.print(f"mean ± standard deviation over {len(summary['seeds'])} seeds")
    verdicts(console, summary)
    words = {
        "interrupted": "stopped by a signal",
        "paused": "paused",
        "finished": "finished",
        "stopped early": "stopped early: patience ran out",
    }
    status = words.get(summary["status"], summary["status"])
    console.print(
        Text(_clean(f"{status} after epoch {summary['epochs']} in {duration(summary['seconds'])}: {folder}")),
        soft_wrap=True,
    )
    if summary["status"] in ("interrupted", "paused"):
        console.print(Text(_clean(f"resume: {resume_command}")), soft_wrap=True)


def what_went_wrong(summary: Mapping[str, Any], resume_command: str) -> None:
    """Of a run that shows nothing else, why its exit code is not 0."""
    console = err()
    if summary["status"] == "interrupted":
        console.print(f"stopped by a signal after epoch {summary['epochs']}")
        console.print(Text(_clean(f"  resume: {resume_command}")), soft_wrap=True)
    if any(verdict["met"] is False for verdict in summary["expect"]):
        verdicts(console, summary)


def _measured_table(summary: Mapping[str, Any], *, with_baselines: bool = False) -> Table:
    """The final and the best figures of each column, and what is reached without a model beside them."""
    final, best = summary["final"], summary["best"] or {}
    baselines = _baselines(summary) if with_baselines else {}
    table = _table()
    table.add_column("")
    table.add_column(f"final, epoch {summary['epochs']}", justify="right")
    if best:
        table.add_column(f"best {best['monitor']}, epoch {best['epoch']}", justify="right")
    for name in baselines:
        table.add_column(Text(_clean(name)), justify="right")
    for column in final:
        if column in ("lr", "seconds"):
            continue
        figures = [final[column], *([best["figures"].get(column)] if best else [])]
        cells = [number(figure["mean"], figure["sd"]) if figure else "" for figure in figures]
        table.add_row(column, *cells, *(number(of_columns.get(column)) for of_columns in baselines.values()))
    return table


def _baselines_table(summary: Mapping[str, Any]) -> Table:
    """What is reached without a model, by itself."""
    baselines = _baselines(summary)
    table = _table()
    table.add_column("without a model")
    for name in baselines:
        table.add_column(Text(_clean(name)), justify="right")
    for column in summary["final"]:
        if any(column in of_columns for of_columns in baselines.values()):
            table.add_row(column, *(number(of_columns.get(column)) for of_columns in baselines.values()))
    return table


def _baselines(summary: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What is reached without a model: baseline -> column -> value."""
    found: dict[str, dict[str, float]] = {}
    for split, of_split in summary.get("baselines", {}).items():
        for name, figures in of_split.items():
            for figure, value in figures.items():
                found.setdefault(name, {})[f"{split}_{figure}"] = value
                if split == "train":
                    found[name][f"trainset_{figure}"] = value
    return found


def verdicts(console: Console, summary: Mapping[str, Any]) -> None:
    """The claims of `expect`: what was measured, and whether it is as claimed."""
    claims = summary["expect"]
    if not claims:
        return
    if all(claim["met"] is None for claim in claims):
        console.print("expect: not judged, for the run is shorter than what its claims are about")
        return
    table = _table()
    for heading in ("expected", "measured", "met"):
        table.add_column(heading, justify="left" if heading != "measured" else "right")
    for claim in claims:
        missed = f", missed by {number(claim['missed_by'])}" if claim.get("missed_by") is not None else ""
        met = Text("yes", "green") if claim["met"] else Text(f"no{missed}", "bold red")
        table.add_row(f"{claim['column']} {claim['claim']}", number(claim["measured"]), met)
    console.print(table)


def evaluation(found: Mapping[str, Any]) -> None:
    """What `dlrun eval` found, as tables."""
    console = out()
    per_seed, baselines = found["per_seed"], found["baselines"]
    about = f"{found['run'] or found['checkpoint']}, epoch {found['epoch']}"
    about += f", {found['examples']:,} {found['split']} examples"
    console.print(Text(_clean(about)), soft_wrap=True)
    table = _table()
    table.add_column("")
    table.add_column("mean ± sd" if len(per_seed) > 1 else "model", justify="right")
    for name in baselines:
        table.add_column(Text(_clean(name)), justify="right")
    for figure in ("loss", *found["metrics"]):
        cells = [of_seeds([seed[figure] for seed in per_seed.values()])]
        cells += [number(baseline.get(figure)) for baseline in baselines.values()]
        table.add_row(figure, *cells)
    console.print(table)
    if "per_class" in found:
        classes = _table()
        classes.add_column("class")
        for heading in ("precision", "recall", "f1", "examples"):
            classes.add_column(heading, justify="right")
        for name, figures in found["per_class"].items():
            cells = [number(figures[figure]) or "–" for figure in ("precision", "recall", "f1")]
            classes.add_row(Text(_clean(name[:40])), *cells, str(figures["examples"]))
        console.print(classes)
    if not found["same_data"]:
        console.print(Text("warning: the data is not what the model was trained on", "yellow"))
    recorded = found["recorded"]
    different = {figure: item for figure, item in recorded.items() if item["difference"]}
    if different:
        for figure, item in different.items():
            before, by = number(item["at_training"]), f"{item['difference']:.2g}"
            text = f"{figure} was {before} at training: what was measured now differs by {by}"
            console.print(Text(text, "yellow"), soft_wrap=True)
    elif not recorded:
        console.print(f"nothing was measured of {found['split']} at this epoch of training to compare with")
    else:
        console.print(f"exactly as recorded at training: {', '.join(recorded)}")
    console.print(Text(f"checkpoint sha256 {found['sha256'][:16]}…"), soft_wrap=True)


def predictions(rows: Sequence[Mapping[str, Any]], unit: str) -> None:
    """What a model says of each input; of many classes the three most probable."""
    table = _table()
    flat = [_without_probabilities(row) for row in rows]
    for heading in flat[0]:
        words = heading.replace("_", " ") + (f", {unit}" if unit and heading not in ("input", "sd") else "")
        table.add_column(Text(_clean(words)), justify="left" if heading in ("input", "class") else "right")
    of_classes = "probabilities" in rows[0]
    if of_classes:
        table.add_column("next")
    for row, cells in zip(rows, flat, strict=True):
        texts = [number(cell) if isinstance(cell, float) else str(cell) for cell in cells.values()]
        if of_classes:
            ranked = sorted(row["probabilities"].items(), key=lambda item: -item[1])[1:3]
            texts.append(", ".join(f"{name} {number(share)}" for name, share in ranked))
        table.add_row(*(Text(_clean(text)) for text in texts))
    out().print(table)


def predictions_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """What a model says of each input as CSV, with a column for the probability of each class."""
    lines = StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    classes = list(rows[0].get("probabilities", ()))
    writer.writerow(
        map(cell, [*_without_probabilities(rows[0]), *(f"probability of {name}" for name in classes)])
    )
    for row in rows:
        shares = row.get("probabilities", {})
        writer.writerow(
            map(cell, [*_without_probabilities(row).values(), *(shares[name] for name in classes)])
        )
    out().file.write(_clean(lines.getvalue()))


def _without_probabilities(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "probabilities"}


def preview(found: Mapping[str, Any]) -> None:
    """What `dlrun data` found, as tables."""
    console = out()
    counts = ", ".join(f"{split['examples']:,} {name}" for name, split in found["splits"].items())
    shape, unit = _shape(found["input_shape"]), f" in {found['unit']}" if found["unit"] else ""
    about = f"{found['dataset']}: {found['task']}, inputs of {shape}, {counts}"
    console.print(Text(_clean(about)), soft_wrap=True)
    if found["task"] == "classification":
        balance = _table()
        balance.add_column("class")
        for name in found["splits"]:
            balance.add_column(name, justify="right")
        for name in found["classes"]:
            cells = [f"{split['classes'][name]:,}" for split in found["splits"].values()]
            balance.add_row(Text(_clean(name[:40])), *cells)
        console.print(balance)
    ranges = _table()
    ranges.add_column("training split")
    for heading in ("min", "mean", "sd", "max"):
        ranges.add_column(heading, justify="right")
    rows = {"all inputs, raw": found["ranges"], "all inputs, as the model gets them": found["prepared"]}
    rows |= found["features"]
    for name, split in found["splits"].items():
        if "target" in split:
            rows[f"{found['target'] or 'target'}{unit}, {name}"] = split["target"]
    for name, figures in rows.items():
        ranges.add_row(
            Text(_clean(name[:60])), *(number(figures[key]) for key in ("min", "mean", "sd", "max"))
        )
    console.print(ranges)
    for text in found["warnings"]:
        console.print(Text(f"warning: {_clean(text)}", "yellow"), soft_wrap=True)


def layers_table(layers: Layers, input_shape: tuple[int, ...]) -> None:
    """The layers of a model: output shape, parameters, multiply-adds for one example."""
    console = out()
    console.print(f"input {_shape(input_shape)}, one example")
    table = _table()
    formulas = any(layer.formula for layer in layers.layers)
    for heading, justify in (
        ("layer", "left"),
        ("kind", "left"),
        ("output", "left"),
        ("parameters", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("multiply-adds", justify="right")
    if formulas:
        table.add_column("side")
    for layer in layers.layers:
        cells = [
            layer.name,
            layer.kind,
            _shape(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
        ]
        cells += [layer.formula] if formulas else []
        table.add_row(*(Text(_clean(cell)) for cell in cells))
    table.add_section()
    table.add_row("in all", "", "", f"{layers.parameters:,}", f"{layers.multiply_adds:,}")
    console.print(table)


def parts_table(kind: str, parts: Sequence[Part], describe: Callable[[Any], str], required: object) -> None:
    """The parts of one kind with their options, types and defaults."""
    console = out()
    console.print(Text(kind, "bold"))
    for part in parts:
        console.print(Text.assemble("  ", (part.name, "bold"), f"  {_clean(part.summary)}"), soft_wrap=True)
        for option in part.options.values():
            default = "required" if option.default is required else f"default {_yaml(option.default)}"
            console.print(Text(f"      {option.name}: {describe(option.type)} ({default})"), soft_wrap=True)


def keys_table(rows: Iterable[tuple[str, str, str]]) -> None:
    """The top-level keys of a config: what each does, and its default."""
    console = out()
    console.print(Text("keys of a config", "bold"))
    for key, help_text, default in rows:
        console.print(Text(f"  {key}: {help_text}{f' [{default}]' if default else ''}"), soft_wrap=True)


def runs_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """The runs, newest first. Plain lines, for a table of a thousand rows takes rich half a second."""
    lines = [("run", "status", "epochs", "time", "last", "best")]
    for row in rows:
        best = f"{_figures(row['best'])} at {row['best_epoch']}" if row["best"] else ""
        seconds = duration(row["seconds"]) if row["seconds"] is not None else ""
        lines.append(
            (
                row["run"],
                row["status"],
                row["epochs"],
                seconds,
                _figures(row["last"]),
                best,
            )
        )
    _print_lines(lines)


def columns_table(records: Iterable[Record], keys: Sequence[str]) -> None:
    """What runs say at some keys; of what was measured the mean ± standard deviation over seeds."""

    def text(each: Record, key: str) -> str:
        if key == "run":
            return each.name
        if key not in each.config and (values := each.of_seeds(key)):
            return of_seeds(list(values.values()))
        try:
            return _yaml(each.at(key))
        except KeyError:
            return ""

    _print_lines([tuple(keys), *(tuple(text(each, key) for key in keys) for each in records)])


def sweeps_table(found: Iterable[Sweep]) -> None:
    """The sweeps, newest first: how many runs of each are done."""
    lines = [("sweep", "done", "of")]
    for sweep in found:
        left = len(sweep.unfinished())
        lines.append((sweep.name, str(len(sweep.trials) - left), f"{len(sweep.trials)} runs"))
    _print_lines(lines)


def difference(found: Differences) -> None:
    """What is not the same in two runs."""
    both = (found.first, found.second)
    lines: list[tuple[str, ...]] = [("", *(record.run.name for record in both))]
    for key in found.settings:
        lines.append((key, *(_yaml(record.config[key]) if key in record.config else "–" for record in both)))
    for name, values in found.surroundings.items():
        lines.append((name, *("–" if value is None else _yaml(value) for value in values)))
    for text in found.unknown:
        warn(text)
    if len(lines) > 1:
        _print_lines(lines, with_all=True)
    elif not found.unknown:
        say("settings, data, machine and versions are the same")
    say(f"curves: {found.parting}")


def reproduction(found: Reproduction) -> None:
    """How near a run that was trained again came to itself, and what was not the same."""
    difference(found.differences)
    say(reproduced(found))


def not_reproduced(found: Reproduction) -> None:
    """On stderr: of a run that was trained again and shows nothing else, why its exit code is not 0."""
    err().print(Text(_clean(reproduced(found))), soft_wrap=True)


def reproduced(found: Reproduction) -> str:
    """How near a run that was trained again came to itself, in a line."""
    line = f"{one_line(found.differences.first.run.name)}: {found.verdict}"
    return f"{line}: {found.why}" if found.why else line


def _print_lines(lines: Sequence[tuple[str, ...]], *, with_all: bool = False) -> None:
    """A table of plain lines, the first one its head, cut where the terminal ends; `with_all` its columns,
    each of the long ones cut.
    """
    lines = [tuple(" ".join(cell.split()) for cell in line) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    console = out()
    room = console.width if console.is_terminal else sum(widths) + 2 * len(widths)
    if with_all and console.is_terminal:
        share = max(8, (room - widths[0]) // max(1, len(widths) - 1) - 2)
        widths = [widths[0], *(min(width, share) for width in widths[1:])]
        lines = [tuple(map(_cut, line, widths)) for line in lines]
    text = [
        _cut("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), room)
        for line in lines
    ]
    console.file.write("\n".join(map(_clean, text)) + "\n")
    console.file.flush()


def _cut(text: str, room: int) -> str:
    """A text in so many characters."""
    return text if len(text) <= room else f"{text[: max(0, room - 1)]}…"


class Sweeping:
    """What a sweep shows while it trains: a row for each setting, and a bar with the time left.

    Without a terminal: a line for each run that ends.
    """

    def __init__(self) -> None:
        self.console = out()
        self._live: Live | None = None
        self._next = 0.0

    def begin(self, sweep: Sweep, progress: Sequence[RunProgress], jobs: int) -> None:
        self._all, self._started, self._metric = progress, time.monotonic(), sweep.metric
        self._before = sum(map(_share_done, progress))
        self._count = sweep.wanted  # settings, where they are searched
        left = sum(each.status == "waiting" for each in progress)
        what = f"a search of {self._count} settings" if self._count else f"{len(progress)} runs"
        words = (
            f"{sweep.folder}: {what}, {left} to train"
            if left or not self._count
            else f"{sweep.folder}: {what}"
        )
        self.console.print(Text(_clean(f"{words}, {jobs} at a time")), soft_wrap=True)
        if self.console.is_terminal and (left or self._count):
            self._live = Live(self._picture(), console=self.console, auto_refresh=False, transient=True)
            self._live.start()

    def ended(self, progress: RunProgress) -> None:
        done = sum(each.status not in ("waiting", "training", "interrupted") for each in self._all)
        figure = f", {self._metric} {number(progress.figure)}" if progress.figure is not None else ""
        at = f" at epoch {progress.epoch}/{progress.epochs}" if progress.status == "interrupted" else ""
        line = f"{progress.trial.run.name} {progress.status}{at}{figure}: {done}/{self._expected()} runs"
        if not self._live:
            self.console.print(Text(_clean(line)), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.console.print(Text(f"warning: {one_line(text)}", "yellow"), soft_wrap=True)

    def refresh(self) -> None:
        if self._live and time.monotonic() >= self._next:
            started = time.monotonic()
            self._live.update(self._picture(), refresh=True)
            self._next = started + max(REFRESH, REFRESH_SHARE * (time.monotonic() - started))

    def end(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _picture(self) -> Group:
        settings: dict[str, list[RunProgress]] = {}
        for each in self._all:
            settings.setdefault(repr((each.trial.number, each.trial.values)), []).append(each)
        rows = list(settings.values())
        room = max(1, self.console.size.height - 8)  # what the head, the caption and the bar leave
        first = 0
        if len(rows) > room:  # those that train, and what is next to them
            first = next((i for i, runs in enumerate(rows) if _is_open(runs)), len(rows) - room)
            first = max(0, min(first - room // 3, len(rows) - room))
        shown = rows[first : first + room]
        caption = f"settings {first + 1} to {first + len(shown)} of {len(rows)}" if shown != rows else None
        table = _table(caption=caption)
        keys = list(shown[0][0].trial.values) if shown else []
        most = max(6, (self.console.width - 48) // max(1, len(keys)))  # what the figures leave to each
        heads = _headings([*keys, "runs", "epoch", self._metric])
        for head in heads[: len(keys)]:
            table.add_column(Text(head), no_wrap=True, overflow="ellipsis", max_width=most)
        for head in heads[len(keys) :]:
            table.add_column(Text(head), justify="right", no_wrap=True)
        for runs in shown:
            table.add_row(
                *(Text(_clean(_short(value))) for value in runs[0].trial.values.values()),
                _counted(runs, ""),
                _epochs([each for each in runs if each.status == "training"]),
                of_seeds([each.figure for each in runs if each.figure is not None]),
                style="bold" if any(each.status == "training" for each in runs) else "",
            )
        return Group(*([table] if shown else []), self._bar())

    def _expected(self) -> int:
        """How many runs there will be, with those of settings that are not drawn yet."""
        drawn = len({each.trial.number for each in self._all})
        return round(len(self._all) / drawn * max(drawn, self._count)) if drawn else 0

    def _bar(self) -> Table:
        done, count = sum(map(_share_done, self._all)), self._expected()
        elapsed = time.monotonic() - self._started
        left = elapsed / (done - self._before) * (count - done) if done > self._before else None
        line = Table.grid(padding=(0, 2))
        line.add_row(
            _counted(self._all, " runs", count),
            ProgressBar(total=count, completed=done, width=20),
            duration(elapsed),
            f"{duration(left)} left" if left else "",
        )
        return line


def _share_done(progress: RunProgress) -> float:
    if progress.status in ("waiting", "training", "interrupted"):
        return progress.epoch / max(1, progress.epochs)
    return 1.0


def _is_open(runs: Iterable[RunProgress]) -> bool:
    return any(each.status in ("waiting", "training") for each in runs)


def _headings(keys: Sequence[str]) -> list[str]:
    """Keys, each over two lines: what it belongs to, and its own name; over one where none belongs."""
    parts = [_clean(key).rpartition(".") for key in keys]
    lines = "\n" if any(dot for _, dot, _ in parts) else ""
    return [f"{kind}{dot}{lines}{name}" for kind, dot, name in parts]


def _short(value: Any) -> str:
    """A value in few letters."""
    return f"{value:.4g}" if isinstance(value, float) else _yaml(value)


def _epochs(training: Sequence[RunProgress]) -> str:
    """How far the runs are that train now: `120/300`, of several `120, 80/300`."""
    known = [each for each in training if each.epochs]
    if not known:
        return ""
    done = sorted({each.epoch for each in known}, reverse=True)
    words = ", ".join(map(str, done)) if len(done) <= 2 else f"{done[-1]} to {done[0]}"
    return f"{words}/{known[0].epochs}"


def _counted(runs: Sequence[RunProgress], what: str = " runs are done", of: int | None = None) -> str:
    """How many of the runs are done, given up and failed: `3/8 runs, 1 failed`."""
    done = sum(each.status in DONE for each in runs)
    words = [f"{done}/{of or len(runs)}{what}"]
    for name, statuses in (
        ("given up", ["given up"]),
        ("diverged", ["diverged"]),
        ("failed", ["failed", "broken"]),
    ):
        count = sum(each.status in statuses for each in runs)
        words += [f"{count} {name}"] if count else []
    return ", ".join(words)


def comparison(found: Comparison) -> None:
    """Settings side by side, each held against one of them.

    Where what tells them apart needs more room than there is, they are numbered and told below.
    """
    console = out()
    wide = console.options.update(max_width=1000)
    keys = list(dict.fromkeys(key for group in found.groups for key in group.shown))
    short = [key.rpartition(".")[2] for key in keys]
    headed = [(keys, found.metric, False), (short, found.metric, False)]
    headed.append((short, found.metric.replace("best.", "best.\n", 1), True))
    if len({*short, found.metric}) <= len(keys):  # two keys with the same last word
        del headed[1:]
    tables = (_comparison_table(found, keys, *heads) for heads in headed)
    fitting = (table for table in tables if console.measure(table, options=wide).maximum <= console.width)
    table = next(fitting, None)
    console.print(table or _comparison_table(found, [], [], found.metric, is_narrow=True))
    if not table:
        told = Table.grid(padding=(0, 2, 0, 0))
        for number, group in enumerate(found.groups, 1):
            settings = (f"{shortened(key)} {_value(value)}" for key, value in group.shown.items())
            words = one_line(", ".join(settings)) or _runs_of(group)
            told.add_row(Text(str(number)), Text(words, overflow="fold"))
        console.print(told)
        console.print()
    if found.meaning:
        console.print(Text(found.meaning), soft_wrap=not console.is_terminal)
    for note in found.notes:
        warn(note)


def _comparison_table(
    found: Comparison, keys: Sequence[str], heads: Sequence[str], metric: str, is_narrow: bool
) -> Table:
    """A row for each setting with its values at some keys; without keys its number, or alone its runs.

    A narrow one says how many pairs were compared only where that is not the number of seeds.
    """
    table, several = _table(), len(found.groups) > 1
    for head in heads or (["setting"] if several else ["runs"]):
        table.add_column(Text(one_line(shortened(head))), overflow="fold")
    table.add_column(Text("\n".join(map(one_line, shortened(metric).split("\n")))), justify="right")
    table.add_column("seeds", justify="right")
    words = [
        ", ".join(filter(None, [found.verdict(g), f"{len(g.diverged)} diverged" if g.diverged else ""]))
        for g in found.groups
    ]
    if is_narrow:
        counts = [f" (n = {len(group.values)})" for group in found.groups]
        words = [text.replace(count, "") for text, count in zip(words, counts, strict=True)]
    with_words = several or any(words)
    if with_words:
        table.add_column(("beside the best" if found.is_ranked else "beside the first") if several else "")
    for place, (group, said) in enumerate(zip(found.groups, words, strict=True), 1):
        cells = [_value(group.shown[key]) if key in group.shown else "" for key in keys]
        cells = cells or [str(place) if several else _runs_of(group)]
        figure = of_setting(group.mean, group.sd) if group.values else ""
        row = [*map(Text, cells), Text(figure), Text(str(len(group.values))), *[Text(said)] * with_words]
        table.add_row(*row)
    return table


def _runs_of(group: Setting) -> str:
    names = [run.name for run in group.runs] + group.diverged
    return one_line(", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""))


def _value(value: Any) -> str:
    """A value of a config from anywhere in one short line."""
    return one_line(shortened(_yaml(value)))


def dry_run(prepared: SweepPlan, found: Estimate) -> None:
    """The runs that a sweep would train, or what it would draw from, and about how long that would take."""
    runs, space = prepared.runs, prepared.space
    table = _table()
    if space:
        for head in ("key", "drawn from"):
            table.add_column(head, overflow="fold")
        for axis in space.axes:
            table.add_row(Text(_clean(axis.key)), Text(_clean(str(axis))))
    else:
        *heads, last = _headings([*runs[0][0], "seeds"])
        for head in heads:
            table.add_column(Text(head), overflow="fold")
        table.add_column(last, justify="right")
        for setting in prepared.settings:
            seeds = [seed for config in setting.configs for seed in config.seeds]
            is_stacked = any(config.is_stacked for config in setting.configs)
            words = f"{_seeds(seeds)}{' as one model' if is_stacked else ''}"
            table.add_row(*(Text(_clean(_yaml(value))) for value in setting.values.values()), words)
    out().print(table)
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    if space:
        count = f"{prepared.times} settings of {count}"
    if found.answered:
        count += f", {found.answered} of them answered by finished runs"
    about = f"{'at most ' if space else ''}about {duration(found.seconds)} of training"
    of = f"{found.tried} settings" if found.tried > 1 else "the first"
    say(f"{count}, {found.jobs} at a time: {about} beside start-up and pictures, by the first steps of {of}")
    say(f"ranked by {found.metric}")


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds in few letters: `0 … 7` where they follow each other."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} … {seeds[-1]}"
    return ", ".join(map(str, seeds))


def sweep_results(ended: SweepOutcome, ranked: Comparison | None, command: str) -> None:
    """The end of a sweep: the ranked settings, what failed, and what to do next."""
    if ranked:
        comparison(ranked)
    what_failed(ended, "")
    stopped = "stopped by a signal: " if ended.signal else ""
    say(f"{stopped}{_counted(ended.progress)}: {ended.sweep.folder}")
    for words in _given_up(ended):
        say_line(words)
    if ended.undrawn > 0:
        say(f"{ended.undrawn} of {ended.sweep.wanted} settings are still to be drawn")
    if met := ended.expectations:
        say(f"expectations of the config met by {sum(met)} of {len(met)} runs")
    if ended.is_open:
        say(f"resume: {command}")


def _given_up(ended: SweepOutcome) -> Iterator[str]:
    """The settings that a search went no further with, a line each."""
    settings: dict[int | None, list[RunProgress]] = {}
    for each in ended.progress:
        if each.trial.number in ended.sweep.given_up:
            settings.setdefault(each.trial.number, []).append(each)
    for first, *_ in settings.values():
        values = ", ".join(f"{key} {_short(value)}" for key, value in first.trial.values.items())
        yield f"given up after epoch {first.epoch}/{first.epochs}: {values}"


def what_failed(ended: SweepOutcome, command: str) -> None:
    """Which runs of a sweep failed, on stderr, those of one error together; with a command how to go on."""
    console = err()
    together: dict[tuple[str, ...], list[tuple[RunProgress, list[str]]]] = {}
    for each in ended.failed:
        own = str(each.trial.run.folder)  # which would tell apart what is one error
        what = [line.removeprefix("error: ").replace(f"{own}/", "") for line in each.lines[:1]]
        lines = what + [line for line in each.lines[1:] if own not in line]
        alike = (  # whichever the seed and the epoch
            each.status,
            *(re.sub(r"\d+", "0", line) for line in lines[:3]),
        )
        together.setdefault(alike, []).append((each, lines[:3]))
    shown = list(together.values())[:MOST_FAILURES]
    for found in shown:
        failed, lines = [each for each, _ in found], found[0][1]
        status = failed[0].status
        names = ", ".join(each.trial.run.name for each in failed[:3])
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        console.print(Text(one_line(f"{status}: {names}{more}"), "bold red"), soft_wrap=True)
        for line in filter(None, lines):
            console.print(Text(f"  {one_line(line.strip())}"), soft_wrap=True)
    if len(together) > len(shown):
        left = len(together) - len(shown)
        console.print(
            f"and {left} other error{'s' * (left != 1)}, each in the log.txt of its run", soft_wrap=True
        )
    if command and ended.is_open:
        console.print(Text(one_line(f"resume: {command}")), soft_wrap=True)


def comparison_csv(found: Comparison) -> None:
    """Settings side by side as CSV: what differs, mean, sd, n, the difference and its margin."""
    out().file.write(_clean(found.csv()))


def _figures(figures: Mapping[str, Any]) -> str:
    """The last two columns that are no losses, or else losses: `test_accuracy 0.94`."""
    names = [name for name in figures if not name.endswith("_loss")] or list(figures)
    shown = [(name, figures[name]) for name in names[-2:] if figures[name]]
    return ", ".join(f"{name} {number(figure['mean'], figure['sd'])}" for name, figure in shown)


def _yaml(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool | list | dict) else str(value)


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
