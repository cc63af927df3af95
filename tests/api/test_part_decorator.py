"""`dlrun.part` writes a function of a program into a file that any later command can use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from math import sqrt as root
from pathlib import Path
from random import randint
from typing import Any

import pytest
import torch
from torch import nn, relu

import dlrun
from dlrun.api.own_parts import source_of_part
from dlrun.config.registry import Parts
from dlrun.results import places

SCALES = {"narrow": (0.5, 1)}
TABLE = torch.ones(2)
SIZE = 4


def scaled(x: torch.Tensor) -> torch.Tensor:
    return x * SCALES["narrow"][0] / root(4.0) * math.e


also_scaled = scaled


@cache
def remembered(x: Any) -> Any:
    return [x]


class Scaling(nn.Module):
    """It scales."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # as it stands here
        return scaled(x)


@pytest.fixture(autouse=True)
def nothing_made() -> Iterator[None]:
    yield
    places._made.clear()


def test_a_part_is_trained_resumed_and_evaluated_by_the_command_line_too(
    tiny: Path,
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dlrun_command: Callable[..., Any],
) -> None:
    monkeypatch.chdir(tmp_path)

    @dlrun.part("architecture")
    def own_layers(shape: tuple[int, ...], outputs: int, *, width: int = 5) -> nn.Module:
        """Two layers with a scaling between them."""
        return nn.Sequential(nn.Linear(shape[0], width), Scaling(), nn.Linear(width, outputs))

    text = (tmp_path / "dlrun_parts" / "architecture" / "own_layers.py").read_text()
    assert "# as it stands here" in text
    assert "@dlrun.part" not in text
    assert Parts(tmp_path / "dlrun_parts").part("architecture", "own_layers").defaults == {"width": 5}
    run = dlrun.train(tiny, "architecture={name: own_layers, width: 3}", runs_dir=runs_dir, quiet=True)
    assert run.load().model(torch.zeros(4, 2)).shape[0] == 4
    assert dlrun_command("resume", run.folder, "epochs=9", "--parts", "dlrun_parts").code == 0
    assert dlrun_command("eval", run.folder, "--parts", "dlrun_parts").code == 0


def test_a_part_that_is_made_anew_is_the_one_that_trains(
    tiny: Path, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counts = list[int]()
    path = tmp_path / "dlrun_parts" / "architecture" / "own.py"
    for text in ("bias=True", "bias=None", "bias=True"):  # as many letters

        def own(shape: tuple[int, ...], outputs: int) -> nn.Module:
            """A layer."""
            return nn.Linear(shape[0], outputs, bias=True)

        dlrun.part("architecture")(own)
        assert "bias=True" in path.read_text(), "what was there is replaced"
        path.write_text(path.read_text().replace("bias=True", text))
        run = dlrun.train(tiny, "architecture=own", "epochs=1", runs_dir=runs_dir, quiet=True)
        counts.append(len(list(run.load().model.parameters())))
    assert counts == [2, 1, 2]


def test_constants_of_a_file_are_those_of_the_decorator(tmp_path: Path) -> None:
    @dlrun.part("loss", folder=tmp_path, batchwise=True)
    def whole(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """One figure for a batch."""
        return nn.functional.cross_entropy(outputs, targets)

    assert Parts(tmp_path).part("loss", "whole").constants == {"batchwise": True}


def test_imports_and_definitions_are_written_once_and_before_they_are_used() -> None:
    def layers(shape: Any, outputs: Any) -> Any:
        """Layers."""
        TABLE = [Scaling() for SCALES in range(2)]  # names of its own, whatever the module has
        return nn.Sequential(*TABLE, nn.Linear(root(shape[0]), outputs), partial(scaled))

    text = source_of_part(layers)
    assert text.count("class Scaling") == text.count("def scaled") == 1
    assert (
        text.index("SCALES = ")
        < text.index("def scaled")
        < text.index("class Scaling")
        < text.index("def layers")
    )
    for line in (
        "import math",
        "from math import sqrt as root",
        "from torch import nn",
        "from functools import partial",
    ):
        assert line in text or (line == "from torch import nn" and "import torch.nn as nn" in text)


def test_what_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    def uses(shape: Any, outputs: Any) -> Any:
        """It uses a tensor of this module."""
        return TABLE

    with pytest.raises(dlrun.UserError, match="uses uses TABLE, a Tensor that no file can hold"):
        dlrun.part("architecture", folder=tmp_path)(uses)
    with pytest.raises(
        dlrun.UserError, match="there is no kind of part 'architektur'; did you mean 'architecture'"
    ):
        dlrun.part("architektur")
    mine = tmp_path / "architecture" / "uses.py"
    mine.parent.mkdir()
    mine.write_text("x = 1\n")
    with pytest.raises(dlrun.UserError, match=r"is there, and was not made by dlrun\.part"):
        dlrun.part("architecture", folder=tmp_path)(uses)
    assert mine.read_text() == "x = 1\n"


def test_aliases_and_decorated_helpers_are_written_too() -> None:
    def uses(shape: Any, outputs: Any) -> Any:
        """It uses a name of a helper, and one that remembers."""
        return also_scaled(remembered(shape)), randint(0, 1), relu

    text = source_of_part(uses)
    names: dict[str, Any] = {}
    exec(text, names)
    assert names["also_scaled"] is names["scaled"]
    assert names["remembered"](2) is names["remembered"](2)
    assert "from random import randint" in text
    assert "from torch import relu" in text


def test_what_is_no_function_with_a_name_of_its_own_is_refused(tmp_path: Path) -> None:
    width = 3

    def around(shape: Any, outputs: Any) -> Any:
        """It takes the width of the test around it."""
        return nn.Linear(shape[0], width)

    make: Any = dlrun.part("architecture", folder=tmp_path)
    for wrong, said in (
        (lambda shape, outputs: None, "a part is a function with a name of its own"),
        (partial(scaled), "a part is a function with a name of its own, and this is a partial"),
        (around, "around uses width of the function around it, which no file can hold"),
    ):
        with pytest.raises(dlrun.UserError, match=said):
            make(wrong)
    bare: Any = dlrun.part
    with pytest.raises(dlrun.UserError, match="the decorator names the kind"):
        bare(scaled)
    assert not (tmp_path / "architecture").exists()


def test_what_is_no_part_replaces_nothing_and_parts_lie_in_one_folder(tmp_path: Path) -> None:
    def own(shape: Any, outputs: Any) -> Any:
        """A layer."""
        return nn.Linear(shape[0], outputs)

    dlrun.part("architecture", folder=tmp_path)(own)
    path = tmp_path / "architecture" / "own.py"
    before = path.read_text()

    def wrong(shape: Any, outputs: Any, *, width: int = SIZE) -> Any:
        """Its default is no plain value."""
        return nn.Linear(shape[0], width)

    wrong.__name__ = "own"
    with pytest.raises(dlrun.UserError, match=r"the file must define a function own\(\)"):
        dlrun.part("architecture", folder=tmp_path)(wrong)
    assert path.read_text() == before
    with pytest.raises(dlrun.UserError, match="a run takes those of one folder"):
        dlrun.part("architecture", folder=tmp_path / "other")(own)
