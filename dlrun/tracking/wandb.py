"""Weights & Biases: a run of a project, of several seeds a group of runs."""

from __future__ import annotations

import os
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import wandb

from dlrun.tracking.run_content import Curves, RunContent

_PROJECT = "dlrun"
_PICTURES = "dlrun_pictures"  # the entry of a summary that identifies the pictures that are there


class Wandb:
    """A run in Weights & Biases, whose own variables say where: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE.

    Of several seeds each is a run, and the run is their group, of which Weights & Biases computes the means.
    Offline each call writes all of it anew into a folder of its own, and deletes the one that it replaces.
    """

    def __init__(self, content: RunContent) -> None:
        self.notes, self._has_all = list[str](), False
        self._runs = {name: OneRun(content, name) for name in _shown(content)}
        self.place = ", ".join(run.place for run in self._runs.values())

    def update(self, content: RunContent) -> None:
        self._has_all = False
        for name, curves in _shown(content).items():
            self._runs[name].update(content, curves)
        self._has_all = True

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()
        wandb.teardown()  # a process of its own that writes: only then it has written all
        if self._has_all:
            for run in self._runs.values():
                run.delete_replaced()


def _shown(content: RunContent) -> dict[str, Curves]:
    """The curves that are runs: of several seeds those of the seeds."""
    has_seeds = len(content.curves) > 1
    return {name: curves for name, curves in content.curves.items() if bool(name) is has_seeds}


class OneRun:
    """One of the runs of Weights & Biases."""

    def __init__(self, content: RunContent, name: str) -> None:
        own_id = content.id_of(name)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or _PROJECT,
            id=own_id,
            name=f"{content.name} {name}" if name else content.name,
            group=content.name if name else content.sweep or None,
            resume="allow",
            reinit="create_new",
            settings=_of_this_process_nothing(),
        )
        folder = Path(self._run.dir).parent
        self.place = str(folder if self._run.offline else self._run.url)
        self._replaced = _earlier(folder, own_id) if self._run.offline else []
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("*", step_metric="epoch")
        summary = dict(self._run.summary)
        self._last = int(summary.get("epoch") or 0)  # the last epoch that is there, and its figures
        self._of_last = {tag for tag in summary if self._last}
        self._pictures = summary.get(_PICTURES)

    def update(self, content: RunContent, curves: Curves) -> None:
        """Log the epochs that are new, the settings, and at the end results and pictures."""
        self._run.config.update(_nested(content.config), allow_val_change=True)
        for epoch, figures in sorted(curves.rows.items()):
            known = self._of_last if epoch == self._last else set()
            new = {tag: value for tag, value in figures.items() if tag not in known}
            if epoch < self._last or not new:
                continue
            self._run.log(new | {"epoch": epoch})
            self._last, self._of_last = epoch, known | set(figures)
        if content.is_over:
            self._run.summary.update(curves.results | {f"about/{k}": v for k, v in content.about.items()})
            self._log_pictures(content)

    def finish(self) -> None:
        self._run.finish()

    def delete_replaced(self) -> None:
        """Delete the folders that earlier calls have written offline."""
        for folder in self._replaced:
            shutil.rmtree(folder, ignore_errors=True)

    def _log_pictures(self, content: RunContent) -> None:
        pictures = list(content.pictures())
        digest = sha256(b"".join(sha256(picture.content).digest() for picture in pictures)).hexdigest()[:16]
        if pictures and digest != self._pictures:
            images = {f"plots/{each.path.stem}": wandb.Image(str(each.path)) for each in pictures}
            self._run.log(images | {"epoch": self._last})
            self._run.summary[_PICTURES] = self._pictures = digest


def _earlier(folder: Path, own_id: str) -> list[Path]:
    """The folders beside one in which earlier calls have written the same run offline."""
    named = re.compile(rf"offline-run-\w+-{re.escape(own_id)}(-\d+)?")  # several in a second are numbered
    others = (each for each in folder.parent.glob("offline-run-*") if named.fullmatch(each.name))
    return [each for each in others if each != folder and not each.is_symlink()]


def _of_this_process_nothing() -> Any:
    """Settings by which the process that logs is not taken for the one that trained."""
    return wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
    )


def _nested(config: dict[str, Any]) -> dict[str, Any]:
    """A flat config with the options of each part below its kind, as Weights & Biases shows it."""
    nested = dict[str, Any]()
    for key, value in config.items():
        kind, _, option = key.partition(".")
        if option:
            below = nested.setdefault(kind, {})
            if not isinstance(below, dict):
                below = nested[kind] = {}
            below[option] = value
        else:
            nested[kind] = value
    return nested
