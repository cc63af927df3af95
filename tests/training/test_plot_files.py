"""Letters that a font lacks: another has them, or one line says what stands for them. Names of files."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from small_runs import own_parts, planned

from dlrun.config.keys import Choice
from dlrun.drawing.fonts import Picture, families_with
from dlrun.training.plot_files import boxes_noted, draw_plots, numbered, picture_name
from dlrun.training.trained import Trained


def drawn(*texts: str) -> list[str]:
    """The notes that drawing some texts leaves."""
    notes: list[str] = []
    figure = Figure()
    for text in texts:
        figure.text(0, 0, text)
    with boxes_noted(notes.append):
        figure.savefig(BytesIO())
        figure.savefig(BytesIO())
    return notes


@pytest.mark.filterwarnings("error")
def test_signs_without_a_glyph_are_noted_once() -> None:
    assert drawn("Größe", "no tumour") == []
    missing = "\U000f0000", "\U000f0001"  # of private use: no font has them
    assert drawn("Größe", missing[0], missing[0] + missing[1]) == ["".join(missing)]


def test_other_warnings_are_those_of_the_picture() -> None:
    with pytest.warns(UserWarning, match="tight"), boxes_noted(pytest.fail):
        warnings.warn("the layout is too tight", stacklevel=1)


CIRCLED = "\u24b6"  # DejaVu Sans lacks it, and STIX has it
RARE = "\U00014400\U00012000\U00017000\U0001b170\U00013000"  # letters of ancient scripts
NAMED = '''
"""Images whose classes have letters of any script."""
import torch
from dlrun.data.examples import Data, Examples


def named(root, *, letters: str = "ab"):
    """Grey images of 4×4 pixels."""
    def read():
        pixels = torch.arange(32 * 16).view(32, 1, 4, 4).to(torch.uint8)
        examples = Examples(pixels, torch.arange(32) % len(letters))
        return {"train": examples, "test": examples}
    return Data("classification", (1, 4, 4), read, classes=tuple(letters))
'''


def pictures_of(letters: str, tmp_path: Path, *names: str) -> tuple[Trained, list[str]]:
    """A model of classes with these names, and the warnings that pictures of it leave."""
    parts = own_parts(tmp_path, {"dataset/named.py": NAMED})
    architecture = {"name": "linear", "flatten": True}
    plan = planned(parts, dataset={"name": "named", "letters": letters}, architecture=architecture)
    loaded = plan.load()
    model = Trained(plan, loaded, plan.hardware(loaded), plan.model(), 0)
    wanted = [(Choice(name, parts.part("plots", name).defaults), tmp_path / f"{name}.png") for name in names]
    said: list[str] = []
    assert all(draw_plots(model, wanted, said.append))
    return model, said


@pytest.fixture
def nowhere() -> str:
    """A letter that no font on this machine has."""
    for letter in RARE:
        if not families_with(frozenset(letter)):
            return letter
    pytest.skip("fonts for ancient scripts are installed")


@pytest.mark.filterwarnings("error")
def test_letters_come_from_another_font_that_has_them(tmp_path: Path, nowhere: str) -> None:
    figure = Picture()
    text = figure.text(0, 0, f"a {CIRCLED} {nowhere}")
    axes = figure.subplots()
    axes.set_xticks([0], [CIRCLED])
    notes: list[str] = []
    with boxes_noted(notes.append):
        figure.savefig(BytesIO())
    assert notes == [nowhere]
    [tick] = axes.get_xticklabels()
    assert len(text.get_fontfamily()) == len(tick.get_fontfamily()) == 2
    assert pictures_of(f"a{CIRCLED}", tmp_path, "confusion_matrix", "predictions")[1] == []


@pytest.mark.filterwarnings("error")
def test_classes_that_no_font_has_are_numbers_and_one_line_says_so(tmp_path: Path, nowhere: str) -> None:
    model, [said] = pictures_of(f"a{nowhere}", tmp_path, "confusion_matrix", "predictions", "mistakes")
    assert said == (
        f"no font here has {nowhere}: pictures say class 1 for {nowhere}; "
        "install one that has, such as Noto Sans"
    )
    assert numbered(model, nowhere).data.classes == ("a", "class 1")
    assert model.data.classes == ("a", nowhere), "only pictures have the numbers"


def test_the_picture_of_another_split_has_a_file_of_its_own(tmp_path: Path) -> None:
    model, _ = pictures_of("ab", tmp_path)
    of = {split: Choice("mistakes", {"split": split}) for split in ("auto", "train", "test")}
    names = {split: picture_name(model, choice) for split, choice in of.items()}
    assert names == {"auto": "mistakes.png", "train": "mistakes_train.png", "test": "mistakes_test.png"}
    assert picture_name(model, Choice("curves", {})) == "curves.png"


def test_a_plot_that_cannot_be_drawn_says_what_to_do_instead(tmp_path: Path) -> None:
    model, _ = pictures_of("ab", tmp_path)
    options = model.plan.parts.part("plots", "occlusion").defaults | {"split": "test", "size": 2, "stride": 3}
    said: list[str] = []
    path = tmp_path / "occlusion.png"
    assert draw_plots(model, [(Choice("occlusion", options), path)], said.append) == [None]
    assert said[0].endswith("3 apart, leave pixels uncovered; choose a stride of at most 2")
    assert not path.exists()
