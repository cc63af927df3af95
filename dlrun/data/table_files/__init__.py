"""Table files: CSV, Excel, Parquet and Feather, read into columns."""
