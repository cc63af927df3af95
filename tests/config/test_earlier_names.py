"""Parts written for an earlier dlrun, whose modules had other names, work as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from small_runs import SIGNS, only_run

from dlrun.config.earlier_names import MOVED, find_earlier_names
from dlrun.config.registry import Parts
from dlrun.system.files import make_folder

Dlrun = Callable[..., Any]
Write = Callable[[str, str], Path]

# A part of each kind as CONTRIBUTING.md described them, with the imports that dlrun's own parts had.
EARLIER = {
    "dataset/bars.py": '''
"""Small random images of two classes, a bright row for each."""
import torch
from dlrun.data import Data, Examples, Preprocessing, unwatched
from dlrun.dataset._images import FITS
from dlrun.errors import UserError
from dlrun.options import Count, Fraction, Normalise
from dlrun.randomness import generator
from ._shared import SIDES


def bars(root, known=None, *, count: Count = 24, normalise: Normalise = "train",
         valid_fraction: Fraction = 0.25):
    """uint8 images of 1×6×6 pixels."""
    if count < 8:
        raise UserError("too few")

    def read():
        splits = {}
        for name in ("train", "test"):
            stream = generator("bars", 0, len(splits))
            targets = torch.arange(count) % 2
            pixels = torch.randint(0, 100, (count, 1, 6, 6), generator=stream, dtype=torch.uint8)
            pixels[torch.arange(count), 0, 3 * targets] += 150
            splits[name] = Examples(pixels, targets)
        return splits

    def fit(training):
        found = FITS[normalise](training)
        assert isinstance(found, Preprocessing)
        return found

    return Data("classification", (1, 6, 6), read, classes=SIDES, fit=fit, valid_fraction=valid_fraction,
                prepare=lambda progress: list(unwatched([], 0, "")), known={"sides": list(SIDES)})
''',
    "dataset/_shared.py": "SIDES = ('top', 'middle')\n",
    "architecture/one_hidden.py": '''
"""One hidden layer."""

from torch import nn

from dlrun.architecture._activations import ACTIVATIONS
from dlrun.options import Activation, Count


def one_hidden(
    shape: tuple[int, ...], outputs: int, *, width: Count = 50, activation: Activation = "relu"
) -> nn.Module:
    """A hidden layer of `width` units: (batch, features) -> (batch, outputs)."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, width), ACTIVATIONS[activation](), nn.Linear(width, outputs)
    )
''',
    "loss/sharp.py": '''
from torch.nn.functional import cross_entropy
from dlrun.loss._classes import one_output_per_class
from dlrun.options import Positive

task = "classification"


def outputs(data):
    return len(data.classes)


def sharp(outputs, targets, *, sharpness: Positive = 1.0):
    """Cross entropy of sharpened outputs."""
    return cross_entropy(outputs * sharpness, targets, reduction="none")
''',
    "metrics/share.py": '''
from dlrun import options

task = "classification"
better = "higher"


def share(outputs, targets, *, of: int = 1):
    """The share of examples whose class is found."""
    return (outputs.argmax(-1) == targets).float()[..., None].expand(-1, 2)


def finish(means):
    return means[0]
''',
    "optimizer/signs.py": SIGNS.replace("dlrun.config.options", "dlrun.options"),
    "schedule/halving.py": '''
from dlrun.options import Count


def halving(progress, *, times: Count = 2):
    """The rate halves so many times."""
    return 0.5 ** int(progress * (times + 1))
''',
    "augmentations/shaken.py": '''
import torch
from dlrun.options import NonNegative


def shaken(inputs, generator, *, sd: NonNegative = 0.1):
    """Noise on every input."""
    return inputs + sd * torch.randn(inputs.shape, generator=generator)
''',
    "plots/reached.py": '''
from matplotlib.figure import Figure

from dlrun.errors import UserError
from dlrun.evaluation import Trained
from dlrun.options import Few
from dlrun.plots._style import CLASS_COLOURS, WIDTH, headline

automatic = True
keeps_weights = 3


def reached(trained: Trained, *, rows: Few = 1) -> Figure:
    """The losses, and how often each class is found."""
    import dlrun.plots._pictures
    from dlrun.evaluation import spread
    from dlrun.plots._style import legend_above, put_title, tidy
    from dlrun.runs import Run

    if not isinstance(trained, Trained) or not isinstance(trained.run, Run):
        raise UserError("reached: these are other classes")
    assert spread([1.0, 3.0]) and [each.epoch for each in trained.moments()]
    figure = Figure(figsize=(WIDTH, 3))
    axes = figure.subplots()
    axes.plot(trained.rows["epoch"], trained.rows["train_loss"], color=CLASS_COLOURS[0], label="train")
    outputs, targets = trained.outputs(trained.split)
    axes.axhline((outputs.argmax(-1) == targets).float().mean(), color=CLASS_COLOURS[1], label="found")
    legend_above(axes, 2)
    tidy(axes)
    put_title(figure, headline(trained, "Loss"))
    return figure
''',
}
CONFIG = """\
dataset: bars
architecture: {name: one_hidden, width: 8}
loss: {name: sharp, sharpness: 2.0}
optimizer: {name: signs, lr: 0.01}
schedule: halving
augmentations: [shaken]
epochs: 4
batch_size: 6
metrics: [share]
plots: [reached]
"""


def test_parts_of_every_kind_written_for_an_earlier_dlrun_train_resume_and_draw(
    dlrun: Dlrun, write: Write, tmp_path: Path, runs_dir: Path
) -> None:
    for name, text in EARLIER.items():
        write(f"mine/{name}", text.lstrip())
    mine = ("--parts", tmp_path / "mine")
    done = dlrun("train", write("own.yaml", CONFIG), "--stop-after", 2, *mine)
    assert (done.code, done.err) == (0, ""), done.err
    run = only_run(runs_dir)
    (run.plots / "reached.png").unlink()
    done = dlrun("resume", "last", "epochs=5", *mine)
    assert (done.code, run.rows()["epoch"][-1], (run.plots / "reached.png").exists()) == (0, 5, True)
    assert "was not drawn" not in done.err, done.err
    done = dlrun("plot", "last", "reached", "--out", tmp_path / "out", *mine)
    assert (done.code, done.err) == (0, "")
    assert "exactly as recorded" in dlrun("eval", "last", "--split", "valid", *mine).out


def test_every_shipped_plot_can_be_had_under_the_name_of_the_module_it_was_once_copied_from(
    tmp_path: Path, write: Write
) -> None:
    lines = "from dlrun.evaluation import Trained, guesses, spread\nfrom dlrun.data import Loaded, Watching\n"
    lines += "from dlrun.dataset._table import Options, file_table, table_data\n"
    write("mine/plots/copied.py", f"{lines}\n\ndef copied(trained):\n    return spread, Options\n")
    from dlrun.data.tabular.encoding import TableOptions
    from dlrun.training.figures import spread

    assert Parts(tmp_path / "mine").find("plots", "copied")(None) == (spread, TableOptions)


def test_a_part_that_names_modules_of_dlrun_as_they_were_called_before_is_imported(
    tmp_path: Path, write: Write
) -> None:
    code = "from dlrun.options import Count\nfrom dlrun.files import make_folder\n\n\n"
    code += "def older(shape, outputs, *, width: Count = 3):\n    return make_folder\n"
    write("architecture/older.py", code)
    assert Parts(tmp_path).find("architecture", "older")((), 1) is make_folder


def test_a_module_that_dlrun_never_had_is_said_to_be_missing(write: Write, tmp_path: Path) -> None:
    write("schedule/older.py", "import dlrun.nonsense\n\n\ndef older(progress):\n    return 1.0\n")
    with pytest.raises(Exception, match=r"No module named 'dlrun\.nonsense'"):
        Parts(tmp_path).find("schedule", "older")


@pytest.mark.parametrize("name", MOVED)
def test_what_was_moved_is_where_it_is_said_to_be(name: str) -> None:
    assert not Path(*name.split(".")).with_suffix(".py").exists()
    assert find_spec(MOVED[name])


def test_earlier_names_are_looked_for_where_there_are_own_parts_alone() -> None:
    code = "from dlrun.config.registry import Parts; Parts(); import dlrun.options"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "No module named 'dlrun.options'" in done.stderr


# What the parts that dlrun 0.1 shipped import from it; a copy of one of them imports the same.
OF_SHIPPED_PARTS = """\
dlrun: runs vision
dlrun.architecture._activations: activation
dlrun.architecture._vectors: vector_size
dlrun.data: Data Examples Watching carve unwatched
dlrun.data.csv_files: MISSING Table is_number number read_table
dlrun.data.images: SUFFIXES at_full_size files_below image_files printable read_image
dlrun.data.texts: read_letters
dlrun.dataset._decoded: Decoded Decoding decoded decoded_once
dlrun.dataset._download: Published cannot_read fetch
dlrun.dataset._idx: idx_dataset
dlrun.dataset._images: FITS
dlrun.dataset._table: Options file_table table_data
dlrun.errors: UserError listed nearest
dlrun.evaluation: Trained guesses
dlrun.images: SUFFIXES files_below image_files is_hidden printable
dlrun.loss._classes: one_hot one_output_per_class one_output_per_class_or_figure same shares_of
dlrun.options: Activation Count Few Fraction Many NonNegative NonNegativeInt Normalise Positive Resize
  Seed
dlrun.plots._convolutions: convolutions
dlrun.plots._dates: date_axis dates_of
dlrun.plots._lines: Look Numbers axis_label by_epoch draw_line epoch_axis measured unit
dlrun.plots._pictures: Captioned EDGE HEAD HEADING SCALE as_pictures as_signed draw_picture draw_scale
  gallery in_one_line letters_in page refuse_other_inputs
dlrun.plots._plane: coloured draw_points draw_square figure_beside_legend grid legend_title
  probabilities_at refuse_other_inputs square
dlrun.plots._style: BLUE CLASS_COLOURS GREY INK LETTER LIGHT_BLUE PALE RED TEXT WIDTH accuracy headline
  legend_above mean_and_spread named_splits over_seeds predicted probability put_title shown some_of
  target_name tidy unit_after
dlrun.runs: Run
dlrun.tables: Table
"""
NAMES = [
    (module, name)
    for line in OF_SHIPPED_PARTS.replace("\n  ", " ").splitlines()
    for module, _, names in [line.partition(": ")]
    for name in names.split()
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_copy_of_a_part_that_dlrun_shipped_finds_all_that_it_imports(module: str, name: str) -> None:
    find_earlier_names()
    if module == "dlrun":
        import_module(f"dlrun.{name}")
    else:
        assert hasattr(import_module(module), name)


def test_a_function_of_today_stays_one_after_a_part_has_imported_the_module_of_that_name() -> None:
    code = """
import dlrun
from dlrun.config.earlier_names import find_earlier_names
find_earlier_names()
import dlrun.runs as module
from dlrun.compare import Comparison
from dlrun.run_folders.run import Run
print(module.Run is Run, dlrun.runs(runs_dir="nowhere"))
try:
    dlrun.compare(runs_dir="nowhere")
except dlrun.UserError as error:
    print(error.what)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\nthere is nothing to compare\n"
