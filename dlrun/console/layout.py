"""Layout: rich tables without frames, and faster tables of plain lines."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dlrun.console.streams import clean, stdout

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def plain_table(caption: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=caption, caption_justify="left"
    )


def print_figures(
    figures: Sequence[str],
    measured: Mapping[str, Sequence[str]],
    baselines: Mapping[str, Sequence[str]],
    console: Console,
) -> None:
    """Print a table of figures: a column of cells for what was measured and for each baseline.

    Where that is wider than the console, the baselines have a table of their own, without empty rows.
    """
    if not figures:
        return
    wide = console.options.update(max_width=1000)
    together = _table_of("", figures, [*measured.items(), *baselines.items()])
    if console.measure(together, options=wide).maximum <= console.width or not baselines:
        console.print(together)
        return
    rows = [row for row in range(len(figures)) if any(cells[row] for cells in baselines.values())]
    of_rows = [(name, [cells[row] for row in rows]) for name, cells in baselines.items()]
    console.print(
        _table_of("", figures, measured.items()),
        _table_of("without a model", [figures[row] for row in rows], of_rows),
    )


def _table_of(corner: str, rows: Sequence[str], columns: Iterable[tuple[str, Sequence[str]]]) -> Table:
    from rich.text import Text

    table = plain_table()
    table.add_column(corner)
    of_columns = []
    for heading, cells in columns:
        table.add_column(Text(clean(heading)), justify="right")
        of_columns.append(cells)
    for row in zip(rows, *of_columns, strict=True):
        table.add_row(*row)
    return table


def print_lines(lines: Sequence[tuple[str, ...]], *, with_all: bool = False, under: int = 0) -> None:
    """Print a table as plain lines, the first one its head, cut at the terminal's width; `with_all` keeps all
    columns and cuts the long ones. The last `under` columns stand below each line if it would be cut.
    """
    lines = [tuple(" ".join(cell.split()) for cell in line) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    stream = stdout()
    is_terminal = stream.isatty()
    # Without rich, whose import takes as long as a thousand summaries.
    room = shutil.get_terminal_size().columns if is_terminal else sum(widths) + 2 * len(widths)
    if under and is_terminal and sum(widths) + 2 * (len(widths) - 1) > room:
        lines = _with_cells_under(lines, under)
        widths = [
            max(map(len, column)) for column in zip(*(line for line in lines if len(line) > 1), strict=True)
        ]
    if with_all and is_terminal:
        share = max(8, (room - widths[0]) // max(1, len(widths) - 1) - 2)
        widths = [widths[0], *(min(width, share) for width in widths[1:])]
        lines = [tuple(map(_cut, line, widths)) for line in lines]
    text = [_cut("  ".join(map(str.ljust, line, widths)).rstrip(), room) for line in lines]
    stream.write("\n".join(map(clean, text)) + "\n")
    stream.flush()


def _with_cells_under(lines: Sequence[tuple[str, ...]], under: int) -> list[tuple[str, ...]]:
    """The lines without their last columns, each followed by one that has these with their headings."""
    head, *rows = lines
    found = [head[:-under]]
    for row in rows:
        cells = zip(head[-under:], row[-under:], strict=True)
        found += [row[:-under], (f"    {'; '.join(f'{name} {cell}' for name, cell in cells if cell)}",)]
    return [line for line in found if "".join(line).strip()]


def _cut(text: str, room: int) -> str:
    """A text cut to `room` characters."""
    return text if len(text) <= room else f"{text[: max(0, room - 1)]}…"


def headings(keys: Sequence[str]) -> list[str]:
    """Column headings for keys, in two lines: prefix and last name; in one line if no key has a prefix."""
    parts = [clean(key).rpartition(".") for key in keys]
    lines = "\n" if any(dot for _, dot, _ in parts) else ""
    return [f"{kind}{dot}{lines}{name}" for kind, dot, name in parts]


def class_name(name: str) -> str:
    """The name of a class in words; one that would be blank, such as a space or a line end, is quoted."""
    return clean(name) if name.strip() else repr(name)


def short_names(names: Iterable[str], most: int = 40) -> list[str]:
    """Names for a table: a longer one is cut to `most` characters, with … for what is left out.

    Names that differ stay different: where their beginnings are the same, the ends are shown, or all of them.
    """
    every = [class_name(name) for name in names]
    forms = [_forms(name, most) for name in every]
    times = Counter(form for name in dict(zip(every, forms, strict=True)).values() for form in {*name})
    return [next((form for form in own if times[form] == 1), own[-1]) for own in forms]


def _forms(name: str, most: int) -> tuple[str, ...]:
    """A name cut at its end, then in its middle, then whole; a short one as it is."""
    if len(name) <= most:
        return (name,)
    half = (most - 1) // 2
    return _cut(name, most), f"{name[: most - 1 - half]}…{name[-half:]}", name
