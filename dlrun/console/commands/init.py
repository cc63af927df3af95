"""`dlrun init`: a commented config to begin with, for the user's own data or for an example."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from unicodedata import normalize

import typer

from dlrun.console.commands.arguments import DataDir, expanded
from dlrun.console.commands.folders import DATA
from dlrun.errors import UserError, in_full, shortened
from dlrun.system.file_names import meant_file

if TYPE_CHECKING:
    from dlrun.results.starters import Starter

_EXAMPLE = "spiral"  # the name of a config that is about no data of the user's
_LONGEST = 64  # letters of the name of a run
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_OTHERS = re.compile(r"[^A-Za-z0-9_-]+")  # what a name of a run cannot have


def init(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A table (CSV, Parquet, .xlsx and others), a folder with a folder of images for each class, "
            "or a plain name for an example without data.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of a table that is predicted.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=expanded, help="The file to write (default: NAME.yaml here)."),
    ] = None,
    data_dir: DataDir = DATA,
) -> None:
    """Write a commented config to begin with, for your table, your folder of images, or an example."""
    from dlrun.console.streams import say_line
    from dlrun.system.files import write_atomically
    from dlrun.system.processes import quoted

    found = _found(data, data_dir) if data else None
    path = out or Path(f"{_name(data, found)}.yaml")
    if os.path.lexists(path):
        raise UserError(f"{path} exists already", fix="name another file with --out, or delete it")
    if not path.parent.is_dir():
        what = f"there is no folder {in_full(path.parent)}"
        raise UserError(what, where="--out", fix="create it, or name another")
    starter = _starter(data or "", found, target, path, data_dir)
    write_atomically(path, lambda file: file.write(starter.text.encode()), "name another file with --out")
    say_line(str(path))
    for finding in starter.findings:
        say_line(finding)
    _refuse_untrainable(path, data_dir)
    say_line(f"try: {quoted(['dlrun', 'train', str(path)])}")


def _refuse_untrainable(path: Path, data_dir: Path) -> None:
    """Raise UserError, after a warning, if the config that is written cannot be trained as it stands."""
    from dlrun.config.loading import load_config
    from dlrun.config.registry import Parts
    from dlrun.console.streams import warn
    from dlrun.training.plan_making import make_plan

    parts = Parts()
    try:
        make_plan(load_config(path, ["device=cpu"], parts), parts, data_dir)
    except UserError:
        warn(f"{path} is written, but cannot be trained as it stands")
        raise


def _found(data: str, data_dir: Path) -> Path | None:
    """The file or folder that is named, here or in the data folder, if there is one."""
    from dlrun.config.data_paths import data_places

    try:
        return next((place for place in data_places(data, data_dir) if place.exists()), None)
    except (OSError, ValueError):  # a name that no file can have
        return None


def _name(data: str | None, found: Path | None) -> str:
    """The name of the config. Raises UserError unless `data` is there, or is a plain name."""
    from dlrun.config.lookup import shipped_names
    from dlrun.config.registry import Parts

    if found:
        letters = normalize("NFKD", found.resolve().name.partition(".")[0]).encode("ascii", "ignore").decode()
        return _OTHERS.sub("_", letters).strip("_-")[:_LONGEST] or "mine"
    if data is None:
        return _EXAMPLE
    name = data.removesuffix(".yaml")
    if not _PLAIN.fullmatch(name):
        what = f"there is no table and no folder {shortened(data)}{meant_file(Path(data))}"
        fix = "name one that is there, or a plain name such as trial for an example"
        raise UserError(what, where=in_full(data), fix=fix)
    if name in shipped_names():
        fix = f"dlrun show {name} --yaml > my.yaml writes it out; or choose another name"
        raise UserError(f"{name} is a config that comes with dlrun", fix=fix)
    if name != _EXAMPLE and name in Parts().names("dataset"):
        what = f"{name} is a dataset that dlrun has itself"
        raise UserError(what, fix="dlrun configs lists configs that train on it; or choose another name")
    return name


def _starter(data: str, found: Path | None, target: str | None, path: Path, data_dir: Path) -> Starter:
    """The config for what was found, or for the example."""
    from dlrun.config.data_paths import writable
    from dlrun.data.image_files.finding import printable
    from dlrun.results.starters import image_starter, spiral_starter, table_starter

    if target is not None and (found is None or found.is_dir()):
        raise UserError("only a table has columns", where="--target", fix="leave it out, or name a table")
    if found is None:
        return spiral_starter()
    is_here = path.parent.resolve() == Path().resolve() and not data.startswith("~")
    text = data if is_here else writable(found)  # a config elsewhere needs the whole path
    if (shown := printable(text)) != text or not text:
        raise UserError(f"the name {shown or printable(found)} is no UTF-8 text", fix="give it another")
    return image_starter(text, found) if found.is_dir() else table_starter(text, data_dir, target)
