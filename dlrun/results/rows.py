"""Tables: rows of figures that a notebook shows as a table and that become a data frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib.util import find_spec
from typing import Any

from dlrun.errors import UserError

_MOST_SHOWN = 20  # rows: the first half and the last


class Rows(list[dict[str, Any]]):
    """Rows of a table as dicts, all with the same keys."""

    def frame(self) -> Any:
        """The rows as a DataFrame of pandas, or of polars where only that is installed.

        Raises UserError where neither is.
        """
        if find_spec("pandas"):
            import pandas

            return pandas.DataFrame(list(self))
        if find_spec("polars"):
            import polars

            return polars.DataFrame(list(self), infer_schema_length=None)
        raise UserError("neither pandas nor polars is installed", fix="pip install pandas")

    def _repr_html_(self) -> str:
        return html_table(self)


def rows_of(columns: Mapping[str, list[Any]]) -> Rows:
    """The rows of a table that is given as columns of the same length."""
    return Rows(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def html_table(rows: Iterable[Mapping[str, Any]], most: int = _MOST_SHOWN) -> str:
    """Rows as an HTML table; of many the first and the last, with the number of those between."""
    every = list(rows)
    columns = list(dict.fromkeys(key for row in every for key in row))
    left_out = len(every) - most if len(every) > most else 0
    shown = [*every[: most // 2], None, *every[-(most // 2) :]] if left_out else every
    head = "".join(f'<th scope="col">{escape(str(column))}</th>' for column in columns)
    body = ""
    for row in shown:
        if row is None:
            body += f'<tr><td colspan="{len(columns)}">… {left_out:,} more …</td></tr>'
        else:
            body += "<tr>" + "".join(f"<td>{escape(said(row.get(key)))}</td>" for key in columns) + "</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def said(value: Any) -> str:
    """A value of a cell: numbers with four significant digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said(own)}" for name, own in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
