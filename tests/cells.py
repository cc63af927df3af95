"""The cells of a table as rows of texts, to be compared in tests."""

from dlrun.data.table_files.tables import Table


def rows_of(table: Table) -> list[list[str]]:
    return [list(row) for row in zip(*map(table.column, table.columns), strict=True)]
