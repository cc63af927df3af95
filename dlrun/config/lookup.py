"""Lookup of config files: by path, or by the name of one that is shipped with dlrun."""

from __future__ import annotations

from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from dlrun.config.file_kinds import ENDINGS
from dlrun.errors import UserError, in_full, nearest
from dlrun.system.file_names import meant_file
from dlrun.system.files import with_home
from dlrun.system.pipes import receive
from dlrun.system.processes import quoted

OF_EDITORS = "# yaml-language-server: $schema="  # begins the line of a config that names its JSON Schema


def shipped_folder() -> Path:
    """The folder of the configs that are shipped with dlrun."""
    package = Path(__file__).parent.parent
    inside = package / "configs"  # in a wheel
    return inside if inside.is_dir() else package.parent / "configs"


def shipped_names() -> list[str]:
    """The names of the configs that are shipped with dlrun."""
    return sorted(path.stem for path in shipped_folder().glob("*.yaml"))


def shipped_sweeps() -> list[str]:
    """The names of the sweeps that are shipped with dlrun, such as `sweeps/spiral_width`."""
    return sorted(f"sweeps/{path.stem}" for path in shipped_folder().glob("sweeps/*.yaml"))


def first_comment(path: Path) -> str:
    """The comment at the top of a config file, in one line; "" if there is none.

    A line that names the schema is for editors.
    """
    top = takewhile(lambda line: line[:1] == "#", path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in top if not line.startswith(OF_EDITORS))


def find_config(text: str, beside: Path | None = None) -> Path:
    """The config file that `text` names: a path (relative to `beside`), or a shipped name.

    Without `beside` the name is from the command line, and if it is a pipe, the pipe is read. Raises
    UserError if there is no such config.
    """
    if not text:
        raise UserError("no config is named", fix="name a YAML file")
    path = (beside or Path()) / with_home(text)
    with suppress(OSError):  # a name too long for any file
        if path.is_dir() and (path / "config.yaml").exists():
            path = path / "config.yaml"
        if path.is_dir():
            raise UserError(f"{text} is a folder", fix=_in_folder(text, path))
        if path.exists():
            if beside is None:
                receive(path)
            return path
    name = text.removesuffix(".yaml")
    if name in (*shipped_names(), *shipped_sweeps()):
        return shipped_folder() / f"{name}.yaml"
    close = meant_file(path, ENDINGS) or nearest(Path(text).stem, shipped_names())
    raise UserError(f"there is no config {text[:200]}{close}", where=in_full(path)[:200])


def _in_folder(text: str, path: Path) -> str:
    """The remedy for a folder in place of a config."""
    inside = sorted(each.name for each in path.iterdir() if each.suffix in ENDINGS)
    if inside:
        return f"name a YAML file in it, such as {path / inside[0]}"
    return f"if it holds images, {quoted(['dlrun', 'init', text])} writes a config for them"
