"""`dlrun schema`: JSON Schema of a config, for editors and validators."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from dlrun.console.commands.arguments import PartsDir, expanded, parts_of
from dlrun.errors import UserError, in_full


def schema(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            parser=expanded,
            help="Write it into this file, which a config then names in its first line.",
        ),
    ] = None,
    parts: PartsDir = None,
) -> None:
    """Print the JSON Schema of a config, by which an editor completes, explains and checks one as you write.

    It has every key, and every part with its options, their types, bounds, defaults and meanings, from the
    same source as dlrun's own checks; with --parts your own parts too.
    """
    from dlrun.config.json_schema import schema_of
    from dlrun.config.lookup import OF_EDITORS
    from dlrun.config.misplaced_parts import misplaced
    from dlrun.config.reference import whole_reference_of
    from dlrun.console.streams import say, say_line, warn

    own_parts = parts_of(parts)
    text = json.dumps(schema_of(whole_reference_of(own_parts)), indent=1, ensure_ascii=False)
    for what in misplaced(own_parts.folder) if own_parts.folder else ():
        warn(what)
    if out is None:
        say(text)
        return
    _write(out, text)
    say_line(str(out))
    say_line(f"the first line of a config beside it: {OF_EDITORS}{out.name}")


def _write(path: Path, text: str) -> None:
    """Write a schema into a file, in place of an earlier one. Raises UserError if that is anything else."""
    from dlrun.config.json_schema import MADE_BY
    from dlrun.system.files import is_missing, open_to_read, write_atomically

    another = "name another file with -o"
    if not path.parent.is_dir():
        raise UserError(
            f"there is no folder {in_full(path.parent)}", where="--out", fix="create it, or name another"
        )
    first = b""
    with suppress(OSError), open_to_read(path) as file:
        first = file.read(1000)
    if not is_missing(path) and MADE_BY.encode() not in first:
        what = f"{path} is there already, and is no schema that dlrun schema has written"
        raise UserError(what, where="--out", fix=f"{another}, or move it")
    write_atomically(path, lambda file: file.write(f"{text}\n".encode()), another)
