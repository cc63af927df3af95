"""A report as one HTML file, or as a README.md with pictures beside it (`dlrun report`)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from dlrun.console.report_blocks import Charts, Pictures, Report, Section, Warnings
from dlrun.errors import UserError
from dlrun.run_folders.pictures import Picture
from dlrun.system.files import is_missing, make_folder, open_to_read, size_text, write_atomically

_FILES = Path(__file__).with_name("report_files")
_ANOTHER_FILE, _ANOTHER_FOLDER = "name another file with -o", "name another folder with -o"
MOST_OF_PICTURES = 1_800_000  # bytes, in the page 2.4 MB: with text and curves it stays below 3 MB
CARD = "README.md"
_CARD_MARK = "<!-- written by dlrun report -->"
_PAGE_MARK = '<meta name="generator" content="dlrun'  # earlier ones go on with the version, not with report
_WITHIN = 1000  # bytes of a page in which its mark stands
_SPACES = re.compile(r"\s+")
_JOINTS = re.compile(r"(?<=[^\W\d])([_.])(?=[^\W\d])")  # in names such as optimizer.weight_decay
_MARKS = re.compile(r"([\\`*_\[\]<>|~$&#])")  # signs that Markdown takes for more than letters


def write_page(report: Report, path: Path) -> list[str]:
    """Write a report as one HTML file; give a line for each picture that is left out for its size.

    Raises UserError if a file is there that `dlrun report` has not written.
    """
    _refuse_other_page(path)
    report, left_out = _within_size(report)
    content = page_of(report).encode(errors="replace")
    make_folder(path.parent, _ANOTHER_FILE)
    _put(path, content, _ANOTHER_FILE)
    return left_out


def _put(path: Path, content: bytes, fix: str) -> None:
    write_atomically(path, lambda file: file.write(content), fix)


def page_of(report: Report) -> str:
    """The report as HTML that loads nothing: whatever is of a run is text in it, not markup."""
    environment = Environment(
        loader=FileSystemLoader(_FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    style, script = (Markup((_FILES / name).read_text("utf-8")) for name in ("page.css", "curves.js"))
    digest = b64encode(sha256(script.encode()).digest()).decode()  # the only script that a browser may run
    return environment.get_template("page.html").render(
        report=report, style=style, script=script, digest=digest, mark=Markup(_PAGE_MARK)
    )


def _breakable(text: str) -> Markup:
    """A name as text of HTML that a browser may break behind a dot or an underscore, and nowhere else."""
    return Markup(_JOINTS.sub(r"\1<wbr>", str(escape(text))))


def write_card(report: Report, folder: Path) -> Path:
    """Write a report as README.md in a folder, with its pictures beside it; give its path.

    Raises UserError if a file of these names is there that is not of `dlrun report`.
    """
    path = folder / CARD
    named = _names(report.pictures)
    _refuse_other_files(folder, named)
    make_folder(folder, _ANOTHER_FOLDER)
    for name, picture in named.items():
        _put(folder / name, picture.content, _ANOTHER_FOLDER)
    content = card_of(report, {id(picture): name for name, picture in named.items()})
    _put(path, content.encode(errors="replace"), _ANOTHER_FOLDER)
    return path


def card_of(report: Report, names: dict[int, str]) -> str:
    """The report as Markdown; `names` are those of its pictures' files, by their ids."""
    environment = Environment(
        loader=FileSystemLoader(_FILES),
        autoescape=False,  # `finalize` escapes for Markdown instead
        finalize=_escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["verbatim"] = Markup
    return environment.get_template("card.md").render(
        report=report, mark=Markup(_CARD_MARK), file_of=lambda picture: Markup(names[id(picture)])
    )


def _escaped(value: object) -> object:
    """A value as text in a line of Markdown, without marks; Markup stays as it is."""
    if isinstance(value, Markup):
        return value
    return _MARKS.sub(r"\\\1", _SPACES.sub(" ", str(value)))


def _refuse_other_page(path: Path) -> None:
    """Raises UserError if there is a file that is neither a report nor empty."""
    try:
        with open_to_read(path) as file:
            start = file.read(_WITHIN).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):  # what writing says of a folder
        return
    except OSError as error:
        raise _other(path.name, path, _ANOTHER_FILE) from error
    if start and _PAGE_MARK not in start:
        raise _other(path.name, path, _ANOTHER_FILE)


def _other(name: str, path: Path, fix: str) -> UserError:
    what = f"there is a {name} that dlrun report did not write"
    return UserError(what, where=str(path), fix=f"{fix}, or move the file")


def _refuse_other_files(folder: Path, names: Iterable[str]) -> None:
    """Raises UserError if a file of these names is there, unless the folder is an earlier report."""
    first = b""
    with suppress(OSError), open_to_read(folder / CARD) as file:
        first = file.readline(200)
    if first.decode(errors="replace").strip() == _CARD_MARK:
        return
    if there := next((name for name in (CARD, *names) if not is_missing(folder / name)), None):
        raise _other(there, folder / there, _ANOTHER_FOLDER)


def _names(pictures: list[Picture]) -> dict[str, Picture]:
    """A file name for each picture: its own in plain letters, numbered if another has it."""
    named: dict[str, Picture] = {}
    for picture in pictures:
        plain = re.sub(r"[^\w.-]+", "_", picture.path.stem, flags=re.ASCII).strip(".") or "picture"
        name, number = f"{plain}{picture.path.suffix.lower()}", 1
        while name in named:
            number += 1
            name = f"{plain}_{number}{picture.path.suffix.lower()}"
        named[name] = picture
    return named


def _within_size(report: Report) -> tuple[Report, list[str]]:
    """The report without its largest pictures if all would be too many bytes, and lines that say so."""
    kept = sorted(report.pictures, key=lambda picture: len(picture.content))
    left_out = list[Picture]()
    while sum(len(picture.content) for picture in kept) > MOST_OF_PICTURES:
        left_out.append(kept.pop())
    if not left_out:
        return report, []
    gone = {id(picture) for picture in left_out}
    said = [
        f"{picture.name} is left out of the report, for its {size_text(len(picture.content))}: {picture.path}"
        for picture in left_out
    ]
    sections = [_without(section, gone) for section in report.sections]
    first, *others = sections
    noted = replace(first, blocks=[*first.blocks, Warnings(said)])
    return replace(report, sections=[noted, *others]), said


def _without(section: Section, gone: set[int]) -> Section:
    """A section without some pictures, by their ids."""
    blocks = []
    for block in section.blocks:
        if isinstance(block, Pictures):
            block = replace(block, pictures=[each for each in block.pictures if id(each) not in gone])
        elif isinstance(block, Charts) and block.picture and id(block.picture) in gone:
            block = replace(block, picture=None)
        blocks.append(block)
    return replace(section, blocks=blocks)
