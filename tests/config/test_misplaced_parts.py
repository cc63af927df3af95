"""A part that lies where it is not looked for is found all the same, and said with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import mostly_slow

from dlrun.config.registry import Parts
from dlrun.errors import UserError

Write = Callable[[str, str], Path]
LOSS = "def slip(outputs, targets):\n    return outputs[:, 0]\n"


@pytest.mark.parametrize(
    ("lies", "named", "remedy"),
    [
        (
            "mine/mine/loss/slip.py",
            "mine",
            "name the folder above that of the kind, --parts {here}/mine/mine",
        ),
        ("mine/loss/slip.py", "mine/loss", "name the folder above that of the kind, --parts {here}/mine"),
        ("mine/loss/slip.py", ".", "name the folder above that of the kind, --parts {here}/mine"),
        ("mine/slip.py", "mine", "move it to {here}/mine/loss"),
        ("mine/losses/slip.py", "mine", "move it to {here}/mine/loss"),
        ("mine/loss/slip/slip.py", "mine", "move it to {here}/mine/loss"),
        ("mine/metrics/slip.py", "mine", "which is a part of the kind metrics"),
    ],
)
def test_a_file_in_another_place_is_named_with_the_remedy(
    lies: str, named: str, remedy: str, write: Write, tmp_path: Path
) -> None:
    path, here = write(lies, LOSS), tmp_path.resolve()
    with pytest.raises(UserError) as refused:
        Parts(tmp_path / named).part("loss", "slip")
    assert refused.value.what.startswith(
        f"there is no loss/slip.py in {(here / named).resolve()}, but {path.resolve()}"
    )
    assert refused.value.what.endswith(remedy.format(here=here))


def test_a_name_that_no_part_can_have_is_said(write: Write, tmp_path: Path) -> None:
    write("mine/loss/Slip.py", LOSS)
    with pytest.raises(UserError, match=r"Slip\.py cannot be named in a config: .* small letters"):
        Parts(tmp_path / "mine").part("loss", "Slip")


def test_a_file_is_no_folder_of_parts(write: Write) -> None:
    with pytest.raises(UserError, match="is a file, not a folder of parts") as refused:
        Parts(write("mine/loss/slip.py", LOSS))
    assert "such as my_parts for my_parts/loss/mine.py" in refused.value.fix


def test_the_list_of_parts_warns_of_a_folder_that_holds_none(
    dlrun: Callable[..., Any], write: Write, tmp_path: Path
) -> None:
    write("mine/mine/loss/slip.py", LOSS)
    for named, remedy in (
        ("mine", f"there is {tmp_path}/mine/mine: name that"),
        ("mine/mine/loss", "--parts"),
    ):
        done = dlrun("parts", "loss", "--parts", tmp_path / named)
        assert done.code == 0
        assert done.err.startswith("warning: ")
        assert remedy in done.err
        assert "warning" not in done.out
    assert not dlrun("parts", "loss", "--parts", tmp_path / "mine" / "mine").err


@pytest.mark.parametrize("kind", mostly_slow(["loss", "task", "plots", "metrics"], "loss", "task"))
def test_a_broken_file_is_named_in_the_list_and_makes_no_other_unusable(
    kind: str, dlrun: Callable[..., Any], write: Write, tiny: Path, tmp_path: Path
) -> None:
    write(
        "mine/loss/slip.py",
        "import torch.nn.functional as F\n"
        + LOSS.replace("outputs[:, 0]", "F.cross_entropy(outputs, targets, reduction='none')"),
    )
    broken = write(f"mine/{kind}/broken.py", "def broken(:\n")
    mine = ("--parts", tmp_path / "mine")
    assert dlrun("train", tiny, "loss=slip", "plots=auto", "epochs=1", *mine).code == 0
    assert dlrun("data", tiny, *mine).code == 0
    listed = dlrun("parts", *mine)
    assert listed.code == 0
    [line] = [line for line in listed.out.splitlines() if line.startswith("  broken")]
    assert line.startswith("  broken  cannot be used: this is not Python")
    assert line.endswith(f"({broken}:1)")
    assert "  slip" in listed.out
