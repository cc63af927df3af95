"""Earlier names of dlrun's modules, under which parts written for the flat layout import them.

Without them a run that was trained with such parts could not be resumed, evaluated or drawn.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader  # which takes milliseconds to import

MOVED = {
    "dlrun.architecture._activations": "dlrun.blocks.activations",
    "dlrun.architecture._vectors": "dlrun.blocks.vectors",
    "dlrun.checkpoint": "dlrun.training.checkpoint",
    "dlrun.compare": "dlrun.run_folders.comparison",
    "dlrun.components": "dlrun.config.registry",
    "dlrun.data.cells": "dlrun.data.tabular.cells",
    "dlrun.data.csv_files": "dlrun.data.table_files.csv_files",
    "dlrun.data.decoded_images": "dlrun.data.image_files.decoded_images",
    "dlrun.data.idx": "dlrun.data.image_files.idx",
    "dlrun.data.images": "dlrun.data.image_files.reading",
    "dlrun.data.next_tokens": "dlrun.data.text.next_tokens",
    "dlrun.data.pixels": "dlrun.data.image_files.pixels",
    "dlrun.data.series_windows": "dlrun.data.tabular.series_windows",
    "dlrun.data.subwords": "dlrun.data.text.subwords",
    "dlrun.data.table": "dlrun.data.tabular.table",
    "dlrun.data.table_encoding": "dlrun.data.tabular.encoding",
    "dlrun.data.table_refusals": "dlrun.data.tabular.refusals",
    "dlrun.data.text_tables": "dlrun.data.tabular.text_tables",
    "dlrun.data.texts": "dlrun.data.text.texts",
    "dlrun.dataset._alone": "dlrun.system.locks",
    "dlrun.dataset._cells": "dlrun.data.tabular.cells",
    "dlrun.dataset._decoded": "dlrun.data.image_files.decoded_images",
    "dlrun.dataset._download": "dlrun.data.download",
    "dlrun.dataset._idx": "dlrun.data.image_files.idx",
    "dlrun.dataset._images": "dlrun.data.image_files.pixels",
    "dlrun.dataset._table": "dlrun.data.tabular.table",
    "dlrun.evaluation": "dlrun.training.trained",
    "dlrun.files": "dlrun.system.files",
    "dlrun.images": "dlrun.data.image_files.reading",
    "dlrun.loss._classes": "dlrun.blocks.classes",
    "dlrun.options": "dlrun.config.options",
    "dlrun.plots._convolutions": "dlrun.drawing.convolutions",
    "dlrun.plots._dates": "dlrun.drawing.dates",
    "dlrun.plots._lines": "dlrun.drawing.lines",
    "dlrun.plots._pictures": "dlrun.drawing.image_grids",
    "dlrun.plots._plane": "dlrun.drawing.plane",
    "dlrun.plots._style": "dlrun.drawing.style",
    "dlrun.randomness": "dlrun.system.randomness",
    "dlrun.records": "dlrun.run_folders.records",
    "dlrun.runs": "dlrun.run_folders.run",
    "dlrun.signals": "dlrun.system.signals",
    "dlrun.strict_yaml": "dlrun.config.strict_yaml",
    "dlrun.tables": "dlrun.data.table_files.csv_files",
    "dlrun.trainer": "dlrun.training.loop",
    "dlrun.vision": "dlrun.data.torchvision_import",
}
_FUNCTIONS = {"dlrun.compare": "dlrun.api.comparing.compare", "dlrun.runs": "dlrun.api.runs.runs"}
# Names that moved to another module than the rest of theirs, or were renamed.
_RENAMED = {
    "dlrun.architecture._activations.activation": "dlrun.blocks.activations.activation_named",
    "dlrun.compare.Group": "dlrun.run_folders.comparison.SettingResult",
    "dlrun.compare.compare": "dlrun.run_folders.comparison.compare_runs",
    "dlrun.dataset._table.Options": "dlrun.data.tabular.encoding.TableOptions",
    "dlrun.evaluation.baselines": "dlrun.training.baselines.baselines_of",
    "dlrun.evaluation.guesses": "dlrun.training.baselines.guesses",
    "dlrun.evaluation.spread": "dlrun.training.figures.spread",
    **{
        f"dlrun.evaluation.{name}": f"dlrun.training.{home}.{name}"
        for home, names in {
            "checkpoint_entries": ("config_of", "load_weights"),
            "opening": ("open_checkpoint", "open_model", "open_plan"),
        }.items()
        for name in names
    },
    "dlrun.plots._convolutions.convolutions": "dlrun.drawing.convolutions.convolutions_of",
    "dlrun.plots._plane.coloured": "dlrun.drawing.earlier.coloured",
    "dlrun.plots._plane.probabilities_at": "dlrun.drawing.earlier.probabilities_at",
    "dlrun.plots._style.accuracy": "dlrun.drawing.earlier.accuracy",
    "dlrun.plots._style.predicted": "dlrun.drawing.earlier.predicted",
    "dlrun.vision.torchvision": "dlrun.data.torchvision_import.import_torchvision",
    "dlrun.tables.MISSING": "dlrun.data.table_files.columns.MISSING",
    "dlrun.tables.Table": "dlrun.data.table_files.tables.Table",
    "dlrun.tables.is_number": "dlrun.data.table_files.columns.is_number",
    "dlrun.tables.number": "dlrun.data.table_files.columns.number",
    **{
        f"dlrun.{module}.{name}": f"dlrun.data.image_files.{home}.{name}"
        for module in ("images", "data.images")
        for home, names in {
            "finding": ("SUFFIXES", "files_below", "image_files", "is_hidden", "printable"),
            "formats": ("FORMATS",),
            "resizing": ("MOST_BYTES", "at_full_size"),
        }.items()
        for name in names
    },
    **{
        f"dlrun.data.csv_files.{name}": f"dlrun.data.table_files.{home}.{name}"
        for home, names in {
            "columns": ("MISSING", "TooLarge", "is_number", "number"),
            "tables": ("Table",),
        }.items()
        for name in names
    },
    "dlrun.tables.decimals": "dlrun.run_folders.significance.decimals",
}


def find_earlier_names() -> None:
    """Install the finder of earlier names, for the rest of the process.

    Parts and the modules they import may import at any time, a plot for example while it draws.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


class _FunctionToo(ModuleType):
    """A module under its earlier name, which is that of a function today.

    Importing it makes it an attribute of `dlrun`, in the place of the function, so it acts as this too.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        home, _, name = _FUNCTIONS[self.__name__].rpartition(".")
        return getattr(importlib.import_module(home), name)(*arguments, **options)


class _Finder:
    """Finder and loader of modules under their earlier names; the last finder that is asked."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, cast("Loader", self)) if name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """A module that can be called, for a name that is also that of a function; None for a usual one."""
        return _FunctionToo(spec.name) if spec.name in _FUNCTIONS else None

    def exec_module(self, module: ModuleType) -> None:
        """Make the module look up every name in the module of today."""
        earlier, today = module.__name__, importlib.import_module(MOVED[module.__name__])

        def look_up(name: str) -> Any:
            if renamed := _RENAMED.get(f"{earlier}.{name}"):
                home, _, name = renamed.rpartition(".")
                return getattr(importlib.import_module(home), name)
            return getattr(today, name)

        vars(module)["__getattr__"] = look_up
