"""The evaluations and the calibration of a run for its report, each marked if it is of an earlier model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from dlrun.run_folders.run import Run
from dlrun.run_folders.sound_entries import calibration_entries, evaluation_entries
from dlrun.system.files import is_file


@dataclass(frozen=True)
class Calibration:
    """What `dlrun calibrate` has kept beside a checkpoint.

    `found` are the entries of the file, None for one that dlrun does not write. It `is_current` unless the
    checkpoint is another one now.
    """

    path: Path
    checkpoint: Path
    found: dict[str, Any] | None
    is_current: bool

    @property
    def decisions(self) -> tuple[list[float], dict[str, float]]:
        """The temperatures and the thresholds that `dlrun eval` takes; empty where it takes none."""
        if not self.found or not self.is_current:
            return [], {}
        threshold = self.found.get("threshold")
        return self.found["temperatures"], threshold["above"] if threshold else {}


@dataclass(frozen=True)
class Evaluation:
    """A report of `dlrun eval`, None for another file; `outdated` says of which earlier model it is."""

    path: Path
    found: dict[str, Any] | None
    outdated: str = ""

    @property
    def words(self) -> list[str]:
        """The command that evaluates the same again, behind the name of the run."""
        assert self.found, "a file of another form has no command"
        split, on = self.found["split"], self.found.get("on")
        words = ["--on", on] if on else ["--split", split] if split and split != "test" else []
        words += ["--weights", self.found["weights"]] if "weights" in self.found else []
        words += ["--tta", self.found["tta"]] if "tta" in self.found else []
        return words + ["--checkpoint", "last"] * (Path(self.found["checkpoint"]).name == "last.pt")


class Checkpoints:
    """The checkpoints of a run, each read at most once to know its SHA-256."""

    def __init__(self, run: Run) -> None:
        self._paths = {path.name: path for path in (run.best, run.last)}
        self._digests: dict[str, str] = {}

    def named(self, path: str) -> Path | None:
        """The checkpoint of this run that has the file name of a path, which may be from elsewhere."""
        return self._paths.get(Path(path).name)

    def digest(self, path: Path) -> str:
        """The SHA-256 of a checkpoint; "" if there is no file that can be read."""
        if path.name not in self._digests:
            self._digests[path.name] = ""
            with suppress(OSError):
                if is_file(path):
                    with path.open("rb") as file:
                        self._digests[path.name] = file_digest(file, "sha256").hexdigest()
        return self._digests[path.name]

    def calibrations(self) -> list[Calibration]:
        """The calibrations that lie beside the checkpoints."""
        found = []
        for checkpoint in self._paths.values():
            path = checkpoint.with_suffix(".calibration.json")
            if is_file(path) and not path.is_symlink():
                entries = calibration_entries(path)
                is_current = entries is not None and self.digest(checkpoint) in ("", entries["sha256"])
                found.append(Calibration(path, checkpoint, entries, is_current))
        return found


def evaluations_of(
    run: Run, summary: Mapping[str, Any], checkpoints: Checkpoints, calibrations: Sequence[Calibration]
) -> list[Evaluation]:
    """The evaluations in a run's folder."""
    folder = run.folder / "eval"
    paths = [] if folder.is_symlink() else sorted(folder.glob("*.json"))
    found = []
    for path in paths:
        entries = evaluation_entries(path)
        why = _outdated(entries, summary, checkpoints, calibrations) if entries else ""
        found.append(Evaluation(path, entries, why))
    return found


def _outdated(
    found: Mapping[str, Any],
    summary: Mapping[str, Any],
    checkpoints: Checkpoints,
    calibrations: Sequence[Calibration],
) -> str:
    """The earlier state of the run that an evaluation is of, in words; "" if it is of the present one."""
    path = checkpoints.named(found["checkpoint"])
    if path is None:
        return ""
    epochs, last = found.get("epochs") or [found["epoch"]], summary["epochs"]
    low, high = min(epochs), max(epochs)
    if digest := checkpoints.digest(path):
        is_same = digest == found["sha256"]
    else:
        is_same = sorted(epochs) == sorted(_epochs_of(path, summary, len(epochs)))
    if not is_same:
        now = f"the run went on to epoch {last}" if last > high else f"{path.name} is another file now"
        return f"of epoch{'' if low == high else f's {low} to'} {high}; {now}"
    by = next((each.decisions for each in calibrations if _is_for(each, path, found)), ([], {}))
    if (found.get("temperatures", []), found.get("thresholds", {})) != by:
        return "from before dlrun calibrate" if any(by) else "by a calibration that is no longer kept"
    return ""


def _epochs_of(checkpoint: Path, summary: Mapping[str, Any], count: int) -> list[int]:
    """The epochs of a checkpoint by the summary of its run, one for each of `count` seeds if they differ."""
    best = summary["best"] if checkpoint.name == "best.pt" else None
    if not best:
        return [summary["epochs"]] * count
    return [*best["epochs"].values()] if count > 1 else [best["epoch"]]


def _is_for(calibration: Calibration, checkpoint: Path, found: Mapping[str, Any]) -> bool:
    """True if a calibration is of the weights that were evaluated."""
    entries = calibration.found
    is_of_weights = entries is not None and (entries["weights"] or "") == found.get("weights", "")
    return calibration.checkpoint == checkpoint and is_of_weights
