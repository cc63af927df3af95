"""The kinds of files that are no config, told by their names and their first bytes."""

from __future__ import annotations

from pathlib import Path

from dlrun.system.processes import quoted

NAME_ANOTHER = "name a YAML file, or a config that comes with dlrun"
TABLES = (".csv", ".tsv", ".parquet", ".feather", ".xlsx")
_CODE = (".py", ".ipynb")
ENDINGS = (".yaml", ".yml")  # of a config
ARCHIVE = "a ZIP archive, as checkpoints, .xlsx and .npz files are"
_BEGINNINGS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF file",
    b"PK\x03\x04": ARCHIVE,
    b"\x1f\x8b": "a packed file (gzip)",
    b"PAR1": "a Parquet table",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
}


def refused_kind(raw: bytes, path: Path) -> tuple[str, str] | None:
    """The kind of a file that is no YAML, by its first bytes or its name, and the remedy."""
    if is_table_name(path.name):
        fix = f"{quoted(['dlrun', 'init', str(path)])} writes a config that names it"
        return "this is a table, not a config", fix
    if kind := kind_of_file(raw, path.name):
        return f"this is {kind}, not a config", NAME_ANOTHER
    for beginning in (b"\xff\xfe", b"\xfe\xff"):
        if raw.startswith(beginning):
            return "the file is not UTF-8 text but UTF-16", "save the file as UTF-8"
    if b"\0" in raw[:1000]:
        return "this is not YAML: the file is binary", NAME_ANOTHER
    return None


def kind_of_file(raw: bytes, name: str) -> str:
    """The kind of a file by its name or its first bytes, such as `a table`; "" if it is not known."""
    if is_table_name(name):
        return "a table"
    return kind_by_beginning(raw) or ("Python code" if _suffix(name) in _CODE else "")


def kind_by_beginning(raw: bytes) -> str:
    """The kind of a file by its first bytes, such as `a PNG image`; "" if they are none that is known."""
    return next((kind for beginning, kind in _BEGINNINGS.items() if raw.startswith(beginning)), "")


def is_table_name(name: str) -> bool:
    """True for the name of a file that is a table."""
    return _suffix(name) in TABLES


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower()
