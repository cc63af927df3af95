"""MLflow: a run of an experiment, with a child run for each of several seeds."""

from __future__ import annotations

import math
import os
import re

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from dlrun.run_folders.records import written
from dlrun.tracking.run_content import WHOLE, Curves, RunContent

_ID = "dlrun.id"  # the tag by which a run is found again
_AT_ONCE = 1000  # metrics in a request: MLflow's limit
_LONGEST_VALUE = 5000  # characters
_NOT_IN_NAMES = re.compile(r"[^\w. :/-]")
_STATUSES = {"running": "RUNNING", "finished": "FINISHED", "stopped early": "FINISHED"} | {
    "failed": "FAILED",
    "diverged": "FAILED",
}  # others are KILLED


class MLflow:
    """A run in MLflow, found by its tag; MLflow itself says which figures it has.

    The server is that of MLFLOW_TRACKING_URI, the experiment that of MLFLOW_EXPERIMENT_ID or
    MLFLOW_EXPERIMENT_NAME, else "dlrun".
    """

    def __init__(self, content: RunContent) -> None:
        self._client = MlflowClient()
        self._experiment = _experiment(self._client)
        self._runs: dict[str, OneRun] = {}
        self.notes = list[str]()
        self.place = f"{mlflow.get_tracking_uri()}, run {self._run(WHOLE, content).id}"

    def update(self, content: RunContent) -> None:
        for name, curves in content.curves.items():
            self._run(name, content).update(content, curves, self.notes)

    def close(self) -> None: ...  # each request is complete

    def _run(self, name: str, content: RunContent) -> OneRun:
        """The run of some curves, which is made if it is not there."""
        if name not in self._runs:
            parent = self._runs[WHOLE].id if name else ""
            self._runs[name] = OneRun(self._client, self._found(name, content, parent), is_whole=not parent)
        return self._runs[name]

    def _found(self, name: str, content: RunContent, parent: str) -> Run:
        own_id = content.id_of(name)
        if found := self._client.search_runs([self._experiment], f"tags.`{_ID}` = '{own_id}'"):
            return found[0]
        shown = f"{content.name} {name}" if name else content.name
        tags = {_ID: own_id} | ({"mlflow.parentRunId": parent} if parent else {})
        return self._client.create_run(self._experiment, _milliseconds(content.started), tags, shown)


class OneRun:
    """One of MLflow's runs."""

    def __init__(self, client: MlflowClient, found: Run, *, is_whole: bool) -> None:
        self.id: str = found.info.run_id
        self._client, self._is_whole = client, is_whole
        self._status: str = found.info.status
        self._params = dict[str, str](found.data.params)
        self._results = dict[str, float](found.data.metrics)
        self._known = {
            (tag, metric.step)
            for tag in found.data.metrics
            for metric in client.get_metric_history(self.id, tag)
        }
        self._config_text, self._about = "", dict[str, str]()

    def update(self, content: RunContent, curves: Curves, notes: list[str]) -> None:
        """Log the figures that are new; with the run itself its settings, texts and pictures."""
        status = _STATUSES.get(content.status, "KILLED")
        if self._status != status and status == "RUNNING":  # it goes on
            self._client.update_run(self.id, status)
        if self._is_whole:
            self._log_settings(content, notes)
        self._log_metrics(content, curves)
        if content.is_over:
            if self._is_whole:
                for picture in content.pictures():
                    self._client.log_artifact(self.id, str(picture.path), "plots")
            self._client.set_terminated(self.id, status, _milliseconds(content.updated))
        self._status = status

    def _log_settings(self, content: RunContent, notes: list[str]) -> None:
        if content.config_text != self._config_text:
            params = {_name(key): _value(written(value)) for key, value in content.settings.items()}
            new = [Param(key, value) for key, value in params.items() if key not in self._params]
            if new:
                self._client.log_batch(self.id, params=new)
            for key, value in params.items():
                if (before := self._params.setdefault(key, value)) != value:
                    is_now = f"{key} is {before} there, and {value} in the run"
                    notes.append(f"MLflow changes no parameter: {is_now}; its config.yaml is up to date")
            self._client.log_text(self.id, content.config_text, "config.yaml")
            self._config_text = content.config_text
        if content.about != self._about:
            tags = [RunTag(_name(key), _value(text)) for key, text in content.about.items()]
            self._client.log_batch(self.id, tags=tags)
            self._about = content.about
        if content.is_over and content.results:
            self._client.set_tag(self.id, "mlflow.note.content", content.results)

    def _log_metrics(self, content: RunContent, curves: Curves) -> None:
        metrics = [
            Metric(_name(tag), value, _milliseconds(content.times.get(epoch, content.updated)), epoch)
            for epoch, figures in sorted(curves.rows.items())
            for tag, value in figures.items()
            if (_name(tag), epoch) not in self._known
        ]
        if content.is_over:
            last = max(curves.rows, default=0)
            metrics += [
                Metric(_name(tag), value, _milliseconds(content.updated), last)
                for tag, value in curves.results.items()
                if not _is_same(self._results.get(_name(tag)), value)
            ]
        for start in range(0, len(metrics), _AT_ONCE):
            piece = metrics[start : start + _AT_ONCE]
            self._client.log_batch(self.id, metrics=piece)
            self._known |= {(metric.key, metric.step) for metric in piece}
            self._results |= {metric.key: metric.value for metric in piece}


def _experiment(client: MlflowClient) -> str:
    """The id of the experiment, which is made if it is not there."""
    if own_id := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return own_id
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "dlrun"
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _is_same(before: float | None, value: float) -> bool:
    return before is not None and (before == value or (math.isnan(before) and math.isnan(value)))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _name(text: str) -> str:
    """A name with the letters that MLflow takes."""
    return _NOT_IN_NAMES.sub("_", text)


def _value(text: str) -> str:
    """A value of the length that MLflow takes."""
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
