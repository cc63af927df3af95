"""Run: a run's folder for notebooks and programs, and the list of all runs."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dlrun.api.pictures import Pictures, pictures_in
from dlrun.config.keys import with_defaults
from dlrun.config.strict_yaml import read_file
from dlrun.results.config_of_run import ConfigOfRun
from dlrun.results.places import Places, expanded
from dlrun.results.rows import Rows, html_table, rows_of, said
from dlrun.run_folders.listing import names_apart
from dlrun.run_folders.records import chosen_records
from dlrun.run_folders.run import Run as RunFolder
from dlrun.run_folders.sweep_finding import all_runs_in

if TYPE_CHECKING:
    from dlrun.results.places import PathLike
    from dlrun.results.trained_model import TrainedModel


class Run:
    """A run: its folder, its config and what it has measured. In a notebook it shows its figures."""

    def __init__(self, folder: Path, places: Places | None = None) -> None:
        self.folder, self._places = folder.absolute(), places or Places()
        self._run = RunFolder(self.folder)

    @property
    def name(self) -> str:
        """The name of the folder, such as `spiral_relu-001`."""
        return self._run.name

    @property
    def status(self) -> str:
        """`finished`, `stopped early`, `paused`, `interrupted`, `running`, `failed` or `diverged`."""
        return self._run.status(self.summary)

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json as it is now."""
        return self._run.summary()

    @property
    def config(self) -> ConfigOfRun:
        """The config as it is now, nested; `config["optimizer.lr"]` is one value of it."""
        plain = read_file(self._run.config).plain()
        return ConfigOfRun(with_defaults(plain) if isinstance(plain, dict) else {})

    @property
    def warnings(self) -> list[str]:
        """The warnings that were given while it trained."""
        said = self.summary.get("warnings")
        return [str(each) for each in said] if isinstance(said, list) else []

    @property
    def metrics(self) -> Rows:
        """metrics.csv as it is now: a row for each epoch and seed, None for what was not measured.

        Raises UserError if the file is damaged.
        """
        return rows_of(self._run.rows())

    @property
    def final(self) -> dict[str, float]:
        """The figures of the last epoch, as means over seeds."""
        return _means(self.summary.get("final"))

    @property
    def best(self) -> dict[str, float]:
        """The figures of the best epoch by the monitored column, as means over seeds."""
        best = self.summary.get("best")
        return _means(best.get("figures") if isinstance(best, dict) else None)

    @property
    def plots(self) -> Pictures:
        """The pictures that were drawn."""
        return pictures_in(self._run.plots)

    def load(self, *, seed: int | None = None, checkpoint: Literal["best", "last"] = "best") -> TrainedModel:
        """The trained model (see `dlrun.load`)."""
        from dlrun.results.trained_model import load

        return load(
            self.folder,
            seed=seed,
            checkpoint=checkpoint,
            parts=self._places.own_parts().folder,
            data_dir=self._places.data_folder(),
        )

    def evaluate(
        self,
        split: Literal["train", "valid", "test"] | None = None,
        *,
        on: PathLike | None = None,
        checkpoint: Literal["best", "last"] = "best",
    ) -> dict[str, Any]:
        """Measure a split of the run's data, by default test, or other data `on` a file or folder.

        Returns the report of `dlrun eval --json`. Raises as `dlrun.load` does, and UserError for data that
        are not there or have changed.
        """
        from dlrun.results.evaluating import evaluated

        path = self._run.last if checkpoint == "last" else self._run.best
        parts, data_dir = self._places.own_parts(), self._places.data_folder()
        return evaluated(path, self._run, split, on, parts, data_dir)

    def resume(self, *overrides: str, quiet: bool = False) -> Run:
        """Train what is left of it; `epochs=…` may be larger than before. Raises as `dlrun.train` does."""
        from dlrun.api.resuming import resumed

        resumed(self._run, overrides, self._places, quiet=quiet)
        return Run(self.folder, self._places)

    def __repr__(self) -> str:
        figures = ", ".join(f"{column} {said(value)}" for column, value in _telling(self.final).items())
        return f"<Run {self.name}: {self.status}{', ' * bool(figures)}{figures}>"

    def _repr_html_(self) -> str:
        rows = [
            {"": name, **_telling(own)} for name, own in (("last epoch", self.final), ("best", self.best))
        ]
        return f"<p><b>{escape(self.name)}</b>: {escape(self.status)}</p>{html_table(rows)}"


class Runs(list[Run]):
    """Several runs; in a notebook they show themselves as a table."""

    @property
    def table(self) -> Rows:
        """A row for each run: its name, status and last figures."""
        names = names_apart((run.name, run.folder) for run in self)
        rows = [
            {"run": name, "status": run.status, **_telling(run.final)}
            for name, run in zip(names, self, strict=True)
        ]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        return Rows({column: row.get(column) for column in columns} for row in rows)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def runs(
    where: str | None = None,
    *,
    runs_dir: PathLike = "runs",
    data_dir: PathLike | None = None,
    parts: PathLike | None = None,
) -> Runs:
    """The runs in a folder and in the sweeps in it, newest first.

    `where` is a condition as `dlrun runs --where` takes it, such as `optimizer.lr < 0.1 and test_accuracy >
    0.9`. Raises UserError for one that cannot be read, or that names a key that no run has.
    """
    places = Places(parts, data_dir)
    chosen = chosen_records(all_runs_in(expanded(runs_dir)), where)
    return Runs(Run(each.run.folder, places) for each in chosen)


def _means(figures: Any) -> dict[str, float]:
    """The means in a part of summary.json, without entries of another form."""
    found = {
        column: figure.get("mean") if isinstance(figure, Mapping) else None
        for column, figure in (figures.items() if isinstance(figures, Mapping) else ())
    }
    return {column: mean for column, mean in found.items() if isinstance(mean, float | int)}


def _telling(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures without the learning rate and the seconds."""
    return {column: value for column, value in figures.items() if column not in ("lr", "seconds")}
