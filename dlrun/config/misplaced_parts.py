"""Files of parts that lie where dlrun does not look for them: too deep, or in the folder of another kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dlrun.config.part_functions import PASSED
from dlrun.errors import first_few

_MOST_SAID = 3
_LONGEST_NAME = 100


def said_elsewhere(folder: Path, kind: str, name: str) -> str:
    """The file of a part that lies elsewhere in its folder, with the remedy; "" if there is none."""
    if not name or Path(name).name != name or len(name) > _LONGEST_NAME:
        return ""
    if (folder / kind / f"{name}.py").is_file():
        named = "small letters, digits and _, and begins with a letter"
        return f"{folder / kind / name}.py cannot be named in a config: the name of a part has {named}"
    patterns = (f"{name}.py", f"*/{name}.py", f"*/*/{name}.py")
    for path in (path for pattern in patterns for path in sorted(folder.glob(pattern))):
        there = path.parent.name
        what = f"there is no {kind}/{name}.py in {folder}, but {path}"
        if path.parent.parent == folder and there in PASSED:
            return f"{what}, which is a part of the kind {there}"
        if there == kind:
            return f"{what}: name the folder above that of the kind, --parts {path.parent.parent}"
        return f"{what}: move it to {folder / kind}"
    return ""


def folder_here(kind: str, name: str) -> Path | None:
    """The folder for --parts that holds a part: where we are, or inside; None if there is none."""
    if not name.isidentifier() or len(name) > _LONGEST_NAME:
        return None
    here = (Path(), *sorted(each.parent.parent for each in Path().glob(f"*/{kind}/{name}.py")))
    return next((folder for folder in here if (folder / kind / f"{name}.py").is_file()), None)


def misplaced(folder: Path) -> Iterator[str]:
    """Yield what is wrong with a folder of parts in which none is found, with the remedy."""
    if any((folder / kind).is_dir() for kind in PASSED):
        return
    if folder.name in PASSED and any(folder.glob("*.py")):
        yield f"{folder} is the folder of one kind: name the folder above it, --parts {folder.parent}"
        return
    deeper = sorted({path.parent.parent for kind in PASSED for path in folder.glob(f"*/{kind}/*.py")})
    if deeper:
        said = first_few([str(each) for each in deeper], _MOST_SAID)
        yield f"{folder} has no folder of a kind, such as {folder / 'loss'}, but there is {said}: name that"
