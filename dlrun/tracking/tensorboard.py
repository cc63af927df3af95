"""TensorBoard: event files in the run's folder, written by TensorBoard's own writer."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from dlrun.errors import UserError
from dlrun.run_folders.records import written
from dlrun.system.files import cannot_write, make_folder
from dlrun.tracking.run_content import WHOLE, Curves, RunContent

FOLDER = "tensorboard"  # in the run's folder
_ENDING = ".dlrun"  # of the files that are dlrun's to replace
_OUTDATED = 86400.0  # seconds after which no TensorBoard has a file open that was emptied
_ELSEWHERE = "copy the run to where you can write"


class TensorBoard:
    """A run as event files: its own in RUN/tensorboard, those of several seeds in a folder each below.

    Each file has the whole run, and replaces the one that an earlier process wrote.
    """

    def __init__(self, content: RunContent) -> None:
        self.place, self.notes = str(content.folder / FOLDER), list[str]()
        self._files = {name: EventFile(content, name) for name in content.curves}

    def update(self, content: RunContent) -> None:
        for name, curves in content.curves.items():
            self._files[name].add(content, curves, is_whole=name == WHOLE)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class EventFile:
    """One event file. Those of earlier processes are emptied once this one has all that they had."""

    def __init__(self, content: RunContent, name: str) -> None:
        folder = content.folder / FOLDER / name
        _refuse_link(content.folder / FOLDER, folder)
        make_folder(folder, _ELSEWHERE)
        # A time by nanoseconds: TensorBoard reads files in the order of their names.
        stem = f"events.out.tfevents.{time.time_ns() / 1e9:020.9f}.{os.getpid()}{_ENDING}"
        self._path = folder / stem
        found = folder.glob(f"events.out.tfevents.*{_ENDING}")
        self._earlier = [path for path in found if path.is_file() and not path.is_symlink()]
        self._known: set[tuple[int, str]] = set()
        self._is_begun = self._is_ended = False
        try:
            self._file: IO[bytes] = self._path.open("xb")
        except OSError as error:
            raise cannot_write(self._path, error, _ELSEWHERE) from None
        self._writer = RecordWriter(self._file)

    def add(self, content: RunContent, curves: Curves, *, is_whole: bool) -> None:
        """Write the figures that are new; with the run itself its texts, settings and pictures."""
        try:
            if not self._is_begun:
                self._begin(content, is_whole=is_whole)
            for epoch, figures in sorted(curves.rows.items()):
                for tag, value in figures.items():
                    self._scalar(tag, value, epoch, content.times.get(epoch, content.updated))
            if content.is_over and not self._is_ended:
                self._end(content, curves, is_whole=is_whole)
            self._writer.flush()
        except OSError as error:
            self.close()
            if self._earlier:  # which have more than a part of this one
                self._path.unlink(missing_ok=True)
            raise cannot_write(self._path, error, _ELSEWHERE) from None
        for path in self._earlier:
            with suppress(OSError):
                _empty(path)
        self._earlier = []

    def close(self) -> None:
        with suppress(OSError):  # `add` has flushed all of it
            self._writer.close()

    def _begin(self, content: RunContent, *, is_whole: bool) -> None:
        self._event(content.started, file_version="brain.Event:2")
        # TensorBoard then forgets an earlier file, which it may have read.
        self._event(content.started, session_log=SessionLog(status=SessionLog.START))
        if is_whole:
            settings = {key: _plain(value) for key, value in content.settings.items()}
            self._summary(hparams_pb(settings, content.id, content.started), 0, content.started)
            self._summary(text_pb("config", _as_code(content.config_text)), 0, content.started)
        self._is_begun = True

    def _end(self, content: RunContent, curves: Curves, *, is_whole: bool) -> None:
        last = max(curves.rows, default=0)
        for tag, value in curves.results.items():
            self._scalar(tag, value, last, content.updated)
        if is_whole:
            about = "\n".join(f"- {name}: {_as_line(text)}" for name, text in content.about.items())
            for tag, text in (("results", content.results), ("about", about)):
                if text:
                    self._summary(text_pb(tag, text), last, content.updated)
            for picture in content.pictures():
                image = Summary.Image(
                    height=picture.height,
                    width=picture.width,
                    colorspace=4,  # RGBA
                    encoded_image_string=picture.content,
                )
                value = Summary.Value(tag=f"plots/{picture.path.stem}", image=image)
                self._summary(Summary(value=[value]), last, content.updated)
            self._summary(_session_end(content), 0, content.updated)
        self._is_ended = True

    def _scalar(self, tag: str, value: float, step: int, moment: float) -> None:
        if (step, tag) not in self._known:
            self._known.add((step, tag))
            self._summary(scalar_pb(tag, value), step, moment)

    def _summary(self, summary: Summary, step: int, moment: float) -> None:
        self._event(moment, step=step, summary=summary)

    def _event(self, moment: float, **content: Any) -> None:
        self._writer.write(Event(wall_time=moment, **content).SerializeToString())


def _refuse_link(*folders: Path) -> None:
    """Raise UserError for a link, which leads to a place that the author of the folder chose."""
    for folder in folders:
        if folder.is_symlink():
            what = f"{folder.name} of the run is not a folder, but a link"
            raise UserError(what, where=str(folder), fix="replace it by the folder itself")


def _empty(path: Path) -> None:
    """Empty a file, and delete one that was emptied long ago.

    A TensorBoard that has it open reads on in the next file only if this one is still there.
    """
    status = path.stat()
    if status.st_nlink > 1:  # the other links, such as a backup by `cp -al`, keep the content
        path.unlink()
    elif status.st_size:
        os.truncate(path, 0)
    elif time.time() - status.st_mtime > _OUTDATED:
        path.unlink()


def _session_end(content: RunContent) -> Summary:
    """The end of the run for the table of hyper-parameters."""
    has_failed = content.status in ("failed", "diverged")
    status = api_pb2.STATUS_FAILURE if has_failed else api_pb2.STATUS_SUCCESS
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=content.updated)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    about = hparams.create_summary_metadata(data)
    value = Summary.Value(tag=hparams.SESSION_END_INFO_TAG, metadata=about, tensor=hparams.NULL_TENSOR)
    return Summary(value=[value])


def _plain(value: Any) -> bool | int | float | str:
    """A value of a config as the table of hyper-parameters takes it."""
    if isinstance(value, bool | str) or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    return written(value)


def _as_code(text: str) -> str:
    """A text that TensorBoard shows as it is: Markdown takes indented lines for code."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def _as_line(text: str) -> str:
    return "; ".join(text.splitlines())
