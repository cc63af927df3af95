"""`dlrun new`: a part of one's own, begun from a template in dlrun/templates/."""

from __future__ import annotations

import ast
import builtins
import keyword
import os
from pathlib import Path
from typing import Annotated

import typer

from dlrun.console.commands.arguments import PartsDir, kind_named
from dlrun.console.commands.completion import complete_kind
from dlrun.errors import UserError, shortened

MY_PARTS = Path("my_parts")
TRIED_ON = "spiral_relu"  # a config that comes with dlrun, needs no download and suits every template
CHOSEN_BY = {  # the words that choose a part in this config, where they are not KIND=NAME
    "metrics": ("metrics=[accuracy,{name}]",),  # accuracy is what the config expects something of
    "augmentations": ("augmentations=[{name}]",),
    "task": ("task={name}", "plots=[curves]"),  # the config's other picture is for its own task
    "plots": ("plots=[{name}]",),
}
TEMPLATES = Path(__file__).parent.parent.parent / "templates"
MEANT_OTHERWISE = ("outputs", "probabilities", "constant", "finish")  # functions that a file may have besides
PLACEHOLDER = "my_part"  # the name of every template's function


def new(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="dataset, architecture, loss, optimizer, schedule, average, metric, augmentation, task or "
            "plot.",
            autocompletion=complete_kind,
        ),
    ],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name of the part, its file and its function.")
    ],
    parts: PartsDir = MY_PARTS,
) -> None:
    """Write the file of a new part, a small example that runs, into your folder of parts."""
    from dlrun.console.streams import say
    from dlrun.system.files import make_folder, write_atomically
    from dlrun.system.processes import quoted

    folder, kind = parts or MY_PARTS, kind_named(kind)
    source = (TEMPLATES / f"{kind}.py").read_text(encoding="utf-8")
    path = folder / kind / f"{name}.py"
    refuse_name(kind, name, source, path)
    another = "name another folder with --parts"
    make_folder(path.parent, another)
    text = source.replace(PLACEHOLDER, name)
    write_atomically(path, lambda file: file.write(text.encode()), another)
    say(str(path))
    chosen = [word.format(name=name) for word in CHOSEN_BY.get(kind, (f"{kind}={{name}}",))]
    say(f"try: {quoted(['dlrun', 'train', TRIED_ON, 'epochs=100', *chosen, '--parts', str(folder)])}")


def refuse_name(kind: str, name: str, source: str, path: Path) -> None:
    """Raise UserError unless a new part of this name, a function in the file `path`, can be used."""
    from dlrun.config.registry import NAME, Parts
    from dlrun.config.strict_yaml import parse

    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        what = f"{shortened(name)!r} cannot be the name of a part, which is that of a function"
        raise UserError(what, fix="take small letters, digits and _, such as my_part2, and no word of Python")
    is_taken = (kind, name) in (("plots", "auto"), ("metrics", "loss"))
    if is_taken or hasattr(builtins, name) or parse(name, "the name").value != name:
        what = f"the name {name} means something else in Python or in a config"
        raise UserError(what, fix="choose another name, such as my_" + name)
    if name in Parts().names(kind):
        what = f"dlrun has {kind}/{name}.py itself, and yours would stand in for it"
        raise UserError(what, fix="choose another name")
    if name in MEANT_OTHERWISE or name in names_of_file(source):
        what = f"in the file of a {kind} part the name {name} stands for something else"
        raise UserError(what, fix="choose another name")
    if os.path.lexists(path):
        raise UserError(f"{path} exists already", fix="edit it, delete it, or choose another name")


def names_of_file(source: str) -> set[str]:
    """The names that a Python file defines or imports at its top level."""
    from dlrun.config.part_functions import names_in

    return {name for statement in ast.parse(source).body for name in names_in(statement)}
