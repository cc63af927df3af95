"""A picture that cannot show a sign says so once, in a line."""

from __future__ import annotations

import warnings
from io import BytesIO

import pytest
from matplotlib.figure import Figure

from dlrun.training.plot_files import boxes_noted


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
