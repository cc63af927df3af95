"""Shared style of all plots: colours, text sizes, titles, escaped names; also predictions and accuracy."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from math import floor, log10
from statistics import fmean
from textwrap import fill

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation
from torch import Tensor

from dlrun.data.example_weights import weighted_mean
from dlrun.training.figures import share, spread
from dlrun.training.trained import Trained

TEXT = 11.0  # points: legible if a figure 6.4 inches wide is shown with 600 pixels
TITLE = 12.5
WIDTH = 6.4  # inches
INK, GREY, PALE = "#222222", "#6b6b6b", "#dddddd"
# Colours for the colour-blind: Okabe and Ito's (2008) without black and yellow, then three of Tol's (2021).
CLASS_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#999933",
    "#332288",
    "#666666",
)
MARKERS = "os^DvPX<>p"  # beside the colours, for those who do not see them, and for print
DASHES = ("-", "--", "-.", ":")
BLUE, RED, GREEN, LIGHT_BLUE = CLASS_COLOURS[0], CLASS_COLOURS[1], CLASS_COLOURS[2], CLASS_COLOURS[5]
SOLID = "\u00a0"  # a space at which no line breaks
LETTER = 0.54  # mean width of a letter over its height


def shown(name: object, longest: int = 20) -> str:
    """An untrusted name as text that matplotlib can draw: one short line without mathtext.

    Control and other invisible characters become spaces, `$` is escaped, and long names are cut.
    """
    visible = "".join(" " if unicodedata.category(c).startswith(("C", "Z")) else c for c in str(name))
    text = " ".join(visible.split())
    if len(text) > longest:
        text = text[: longest - 1].rstrip() + "…"
    if text.startswith("_"):  # legends would leave such names out
        text = "\u200a" + text
    return text.replace("$", r"\$")


def both_ends(name: str, longest: int) -> str:
    """An untrusted name as text like `shown`, cut in the middle: names of files differ at their ends."""
    if len(name) > longest:
        name = f"{name[: longest // 3]}…{name[longest // 3 + 1 - longest :]}"
    return shown(name, longest)


def capitalised(text: str) -> str:
    """A text with a capital first letter; the others, as in `MAE`, stay as they are."""
    return text[:1].upper() + text[1:]


def headline(trained: Trained, what: str, *facts: str) -> str:
    """A title in two lines: `what` is shown, then the run, its dataset and all `facts` that are not empty."""
    name = trained.run.name if trained.run else trained.plan.config.name
    averaged = "averaged weights" if trained.weights_taken == "averaged" else ""
    calibrated = "calibrated" if trained.temperatures else ""
    thresholds = _said_thresholds(trained.thresholds)
    augmented = f"tta {trained.tta}" if trained.tta else ""
    said = filter(None, (averaged, calibrated, thresholds, augmented, *facts))
    known = [shown(name, 30), shown(trained.plan.dataset_said, 32), *said]
    return f"{what}\n{' · '.join(known)}"


def _said_thresholds(thresholds: Mapping[str, float]) -> str:
    """Thresholds for a title, of the second of two classes `spam above 0.31`; "" if there are none."""
    if len(thresholds) > 1:
        return "a threshold for each label"
    return "".join(f"{shown(name, 12)} above {share(own)}" for name, own in thresholds.items())


def over_seeds(trained: Trained) -> str:
    """A phrase for titles: mean over so many seeds; "" for one seed."""
    return f"mean ± sd of {len(trained.seeds)} seeds" if len(trained.seeds) > 1 else ""


def if_weighted(trained: Trained) -> str:
    """A phrase for titles with figures over examples that have weights; "" if they have none."""
    return "weighted" if trained.data.weighted else ""


def titled(figure: Figure, text: str) -> str:
    """A title whose facts, behind the first line, take further lines where the layout makes room for them."""
    what, *facts = text.split("\n")
    if figure.get_layout_engine():
        letters = int(_room(figure) / (LETTER * TITLE))
        facts = [
            line.removesuffix(" ·") for fact in facts for line in in_lines(fact, letters, " · ").split("\n")
        ]
    return "\n".join([what, *facts])


def in_lines(words: str, letters: int, joint: str = "; ") -> str:
    """Words in lines of about so many letters, broken only behind a joint."""
    breakable = f"{joint.rstrip().replace(' ', SOLID)} "  # only behind it
    whole = breakable.join(piece.replace(" ", SOLID) for piece in words.split(joint))
    return fill(whole, letters, break_long_words=False, break_on_hyphens=False).replace(SOLID, " ")


def _room(figure: Figure) -> float:
    """The points that a line of a title may take."""
    return 72 * 0.97 * figure.get_figwidth()


def put_title(figure: Figure, text: str) -> Text:
    """Put a title at the top left, its lines as `titled` gives them, in a size in which the longest fits."""
    text = titled(figure, text)
    longest = max(map(len, text.split("\n")))
    size = min(TITLE, _room(figure) / (LETTER * longest))
    return figure.suptitle(text, x=0.012, ha="left", fontsize=size, color=INK, linespacing=1.35)


def tidy(axes: Axes) -> None:
    """Style axes: two spines, a pale grid, legible tick labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(which="both", labelsize=TEXT, colors=GREY, labelcolor=INK)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def legend_above(axes: Axes, columns: int, lines: int = 0) -> None:
    """Put a legend between the axes and the title of the figure, above some lines of text."""
    inches = axes.get_figure(root=True).dpi_scale_trans  # type: ignore[union-attr]
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        bbox_transform=axes.transAxes + ScaledTranslation(0, 1.5 * lines * TEXT / 72, inches),
        ncols=columns,
        frameon=False,
        fontsize=TEXT - 0.5,
        borderaxespad=0.2,
        handlelength=2.1,
        columnspacing=1.4,
    )


def mean_and_spread(values: Sequence[float]) -> str:
    """The mean of a figure over seeds, for several seeds ± its standard deviation to two digits."""
    mean, sd = fmean(values), spread(values)
    if not sd:
        return f"{mean:.4g}" + ("" if sd is None else " ± 0")
    decimals = min(8, max(0, 1 - floor(log10(sd))))
    return f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


def unit_after(trained: Trained) -> str:
    """The unit of a regression's target, to be appended to a number; "" if it has none."""
    unit = shown(trained.data.unit, 12)
    return f" {unit}" if unit else ""


def target_name(trained: Trained, number: int | None = 0) -> str:
    """The name of one of a regression's targets, with its unit; None: of all of them."""
    data = trained.data
    if data.target_names and number is not None:
        name = shown(data.target_names[number])
    else:
        name = (shown(data.target) or "target") + ("" if number is None else data.target_suffix(number))
    return f"{name} ({shown(data.unit, 12)})" if data.unit else name


def class_colours(names: Sequence[str]) -> list[str]:
    """A colour for each class, pale for one called background; from the eleventh other one on they repeat."""
    colours = cycle(CLASS_COLOURS)
    return [PALE if name.lower() == "background" else next(colours) for name in names]


def named_splits(trained: Trained) -> list[str]:
    """The names of the splits, in the order train, valid, test."""
    return [name for name in ("train", "valid", "test") if name in trained.loaded.splits]


@dataclass(frozen=True)
class Predicted:
    """The predictions of a classifier on a split, on the CPU."""

    classes: Tensor  # the predicted class of each example, (copies, n)
    sureness: Tensor  # its probability, (copies, n)
    targets: Tensor  # the true class, (n,)
    weights: Tensor | None = None  # of the examples, (n,)

    def accuracy(self) -> list[float]:
        """The share of correct predictions of each copy."""
        right = (self.classes == self.targets).to(torch.float64)
        return [float(share) for share in weighted_mean(right.T, self.weights)]

    def confident_errors(self, copy: int = 0) -> Tensor:
        """The indices (m,) of a copy's errors, the most probable first; equal ones keep their order."""
        sureness, wrong = self.sureness[copy], (self.classes[copy] != self.targets).nonzero().squeeze(1)
        return wrong[sureness[wrong].argsort(descending=True, stable=True)]

    @property
    def said_count(self) -> str:
        """The number of examples in words: `n = 1,000`, or if they have weights `n = 1,000, weighted`."""
        return f"n = {len(self.targets):,}{', weighted' if self.weights is not None else ''}"


def predicted(trained: Trained, split: str, *, most_probable: bool = False) -> Predicted:
    """The predictions of a classifier on a split, or the `most_probable` classes, whatever its threshold."""
    outputs, targets = trained.outputs(split)
    decision = replace(trained.decision, threshold=None) if most_probable else trained.decision
    classes, shares = decision.decide(outputs), decision.probabilities(outputs)
    sureness = shares.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    return Predicted(classes, sureness, targets, trained.weights(split))


def some_of(n: int, most: int, seed: int = 0) -> Tensor:
    """The sorted indices of at most `most` of n examples, drawn at random by `seed`."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:most].sort().values


def probability(share: Tensor) -> str:
    """A probability with three decimals, never rounded up to 1."""
    return ">0.999" if share >= 0.9995 else f"{float(share):.3f}"
