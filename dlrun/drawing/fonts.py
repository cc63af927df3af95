"""Fonts for letters of any script: installed ones that have what the usual font lacks."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.font_manager import (
    FontEntry,
    FontProperties,
    findfont,
    findSystemFonts,
    fontManager,
    get_font,
)
from matplotlib.text import Text

_BOXES = "Last Resort"  # the start of a font's name that has a box for every letter
_UPRIGHT, _REGULAR = "normal", 400


class Picture(Figure):
    """A figure whose texts are in fonts that have their letters, as far as any installed font has them."""

    def draw(self, renderer: RendererBase) -> None:
        give_fonts(self)
        super().draw(renderer)


def give_fonts(figure: Figure) -> None:
    """Let the texts of a figure fall back on further fonts for the letters that their own lacks."""
    for axes in figure.findobj(Axes):
        assert isinstance(axes, Axes)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_ticklabels()  # matplotlib writes them when they are asked for
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if unusual := frozenset(letter for letter in text.get_text() if not letter.isascii()):
            own = text.get_fontfamily()[0]
            further = families_with(_lacking(findfont(FontProperties(family=[own])), unusual))
            if further:
                text.set_fontfamily([own, *further])


@cache
def families_with(letters: frozenset[str]) -> tuple[str, ...]:
    """The names of a few installed fonts that have some letters between them, as far as there are any."""
    found = list[str]()
    while letters:
        left = {font.name: _lacking(font.fname, letters) for font in _installed()}
        best = min(left, key=lambda name: len(left[name]), default="")
        if not best or len(left[best]) == len(letters):
            break
        found.append(best)
        letters = left[best]
    return tuple(found)


@cache
def _lacking(path: str, letters: frozenset[str]) -> frozenset[str]:
    """Those of some letters that the font in a file does not have; all if nothing can be drawn with it."""
    with suppress(RuntimeError, OSError):  # such as for a font of coloured bitmaps
        font = get_font(path)
        return frozenset(letter for letter in letters if not font.get_char_index(ord(letter)))
    return letters


@cache
def _installed() -> tuple[FontEntry, ...]:
    """The installed fonts that are upright and neither bold nor light, those without serifs first."""
    known = {font.fname for font in fontManager.ttflist}
    for path in findSystemFonts():
        if path not in known:  # matplotlib knows those of its first start alone
            with suppress(RuntimeError, OSError):
                fontManager.addfont(path)
    regular = [font for font in fontManager.ttflist if (font.style, font.weight) == (_UPRIGHT, _REGULAR)]
    usable = [font for font in regular if not font.name.startswith(_BOXES)]
    return tuple(sorted(usable, key=lambda font: ("Sans" not in font.name, font.name)))
