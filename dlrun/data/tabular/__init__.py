"""Tabular data: the columns of a table as examples."""
