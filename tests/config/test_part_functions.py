"""A slip in the function of a part is found in its source, and said with its line and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.config.part_functions import PASSED
from dlrun.config.registry import FOLDERS, Parts, read_part
from dlrun.errors import UserError

Write = Callable[[str, str], Path]


def refused(write: Write, kind: str, text: str) -> tuple[str, str, str]:
    """The message, the line and the remedy for a part `slip` with such a file."""
    path = write(f"{kind}/slip.py", text)
    with pytest.raises(UserError) as said:
        read_part(kind, path)
    assert said.value.where.startswith(f"{path}:")
    return said.value.what, said.value.where.removeprefix(f"{path}:"), said.value.fix


def test_every_kind_has_its_form() -> None:
    assert {*PASSED} == {*FOLDERS}
    for kind, passed in PASSED.items():
        for name in Parts().names(kind):
            takes = Parts().part(kind, name).takes
            assert len(takes) >= len(passed), f"{kind}/{name}"


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_function_without_a_return_is_named(kind: str, write: Write) -> None:
    takes = ", ".join(PASSED[kind])
    inside = "def inner():\n        return 1\n    found = inner()"
    for ending in ("", "\n    return", "\n    return None", "\n    if found:\n        return None"):
        text = f"def slip({takes}):\n    {inside}{ending}\n"
        what, line, fix = refused(write, kind, text)
        assert what == "slip() ends without a return: it gives None"
        assert int(line) == len(text.splitlines())
        assert re.fullmatch(r"return (a|an|the) \S.+|return Data\(…\)", fix), fix


@pytest.mark.parametrize(
    "ending",
    [
        "raise NotImplementedError",
        "if 1:\n        return 1",
        "yield 1",
        "try:\n        return 1\n    finally:\n        pass",
    ],
)
def test_a_function_that_may_give_something_is_tried(ending: str, write: Write) -> None:
    read_part("schedule", write("schedule/slip.py", f"def slip(progress):\n    {ending}\n"))


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_class_in_place_of_a_function_is_named(kind: str, write: Write) -> None:
    what, line, fix = refused(write, kind, "import os\n\n\nclass slip:\n    pass\n")
    assert what.startswith("slip is a class, but a part is a function")
    form = f"def slip({', '.join(PASSED[kind])}, *, …)"
    assert (line, fix) == (
        "4",
        f"give the class another name, and write {form} that returns {fix.split('returns ')[1]}",
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("from torch.optim import SGD as slip\n", "1"),
        ("\nslip = lambda parameters: 1\n", "2"),
        ("async def slip(parameters):\n    return 1\n", "1"),
    ],
)
def test_a_name_that_is_no_function_is_placed(text: str, line: str, write: Write) -> None:
    what, found, fix = refused(write, "optimizer", text)
    assert what.startswith("slip is no function by def")
    assert (found, fix) == (line, "write def slip(parameters, *, …) that returns a torch.optim.Optimizer")


def test_a_function_with_another_name_than_its_file_is_placed(write: Write) -> None:
    what, line, fix = refused(
        write, "loss", "def _shared():\n    return 1\n\n\ndef slp(outputs, targets):\n    return 1\n"
    )
    assert (what, line) == ("the file must define a function slip()", "5")
    assert fix == "the function and the file have one name: rename slp(), or the file"


@pytest.mark.parametrize("kind", FOLDERS)
def test_an_option_before_the_star_is_named_with_the_line_to_write(kind: str, write: Write) -> None:
    passed = PASSED[kind]
    text = f"def slip({', '.join(passed)},\n         amount=2, rate: Fraction = 0.5):\n    return 1\n"
    what, line, fix = refused(write, kind, text)
    assert what.startswith("slip() has amount and rate before a *, but dlrun passes only ")
    assert all(name in what for name in passed)
    after = f"def slip({', '.join(passed)}, *, amount: int=2, rate: Fraction=0.5)"
    assert (line, fix) == ("2", f"options stand after a *: {after}")
    part = read_part(kind, write(f"{kind}/slip.py", f"{after}:\n    return 1\n"))
    assert part.defaults == {"amount": 2, "rate": 0.5}, "as the remedy says"


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_function_that_takes_too_little_is_named(kind: str, write: Write) -> None:
    few = PASSED[kind][:-1]
    if kind == "loss":
        few = ("outputs",)  # one of none makes an nn.Module
    what, line, fix = refused(
        write, kind, f"def slip({', '.join([*few, '*'])}, rate: float = 1.0):\n    return 1\n"
    )
    assert what.startswith(f"slip() takes {' and '.join(few) or 'nothing'}, but dlrun passes ")
    assert (line, fix) == ("1", f"write def slip({', '.join(PASSED[kind])}, *, rate: float=1.0)")


@pytest.mark.parametrize(
    ("kind", "takes"),
    [
        ("dataset", "root, known"),
        ("architecture", "shape, outputs, data"),
        ("loss", ""),
        ("loss", "data"),
        ("loss", "outputs, targets, /"),
        ("optimizer", "named_parameters"),
        ("schedule", "progress, epochs, figures"),
        ("metrics", "log_probabilities, targets, data"),
        ("metrics", "outputs, targets, weights=None"),
        ("augmentations", "inputs, targets, generator"),
        ("augmentations", "inputs, masks, generator"),
        ("augmentations", "pixels, generator"),
        ("schedule", "*everything"),
    ],
)
def test_every_form_that_dlrun_knows_is_taken(kind: str, takes: str, write: Write) -> None:
    part = read_part(kind, write(f"{kind}/slip.py", f"def slip({takes}):\n    return 1\n"))
    assert part.takes == tuple(n.split("=")[0] for n in takes.split(", ") if n and n[0] not in "/*")
