"""Event files, as TensorBoard itself reads them."""

from __future__ import annotations

import math
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_runs import made, with_rows
from small_runs import go_on, planned, trained

from dlrun.errors import UserError
from dlrun.run_folders.pictures import read_picture
from dlrun.run_folders.run import Run
from dlrun.tracking.run_content import content_of
from dlrun.tracking.trackers import log_run, open_tracker

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

ALL = 0  # of the events of a tag are kept


def seen(folder: Path) -> EventAccumulator:
    """All that TensorBoard reads in a folder."""
    return EventAccumulator(str(folder), size_guidance={"tensors": ALL}).Reload()


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> figure."""
    found = seen(folder)
    points: dict[str, dict[int, float]] = {}
    for tag in found.Tags()["tensors"]:
        if found.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            tensors = found.Tensors(tag)
            assert len({each.step for each in tensors}) == len(tensors), f"{tag} has a step twice"
            points[tag] = {each.step: float(make_ndarray(each.tensor_proto)) for each in tensors}
    return points


def text(folder: Path, tag: str) -> str:
    [tensor] = seen(folder).Tensors(tag)
    return str(make_ndarray(tensor.tensor_proto).item().decode())


def event_files(run: Run) -> list[Path]:
    """The event files that are not empty."""
    every = sorted((run.folder / "tensorboard").rglob("*tfevents*"))
    return [path for path in every if path.stat().st_size]


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let the system refuse what any file would have beyond so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_every_figure_of_every_seed_is_there_and_their_means(tmp_path: Path) -> None:
    run = trained(planned(seeds=[3, 1], epochs=4, evaluate_every=2), tmp_path)
    log_run(run, "tensorboard")
    content, folder = content_of(run), run.folder / "tensorboard"
    assert len(event_files(run)) == 3
    for name, curves in content.curves.items():
        found = scalars(folder / name)
        for epoch, figures in curves.rows.items():
            for tag, value in figures.items():
                assert found[tag][epoch] == pytest.approx(value, rel=1e-6)
        assert found["best/train/loss"] == {4: pytest.approx(curves.results["best/train/loss"], rel=1e-6)}
        assert found["test/loss"].keys() == {2, 4}
    times = {each.step: each.wall_time for each in seen(folder).Tensors("train/loss")}
    assert times == pytest.approx(content.times)


def test_config_results_surroundings_and_pictures_are_there(tmp_path: Path) -> None:
    run = trained(planned(plots=[{"name": "curves"}]), tmp_path)
    log_run(run, "tensorboard")
    folder = run.folder / "tensorboard"
    config = text(folder, "config")
    assert [line.removeprefix("    ") for line in config.splitlines()] == run.config.read_text().splitlines()
    assert text(folder, "results").startswith("| figure | last epoch | best epoch | class prior |")
    assert "- torch: 2." in text(folder, "about")
    picture = read_picture(run.plots / "curves.png", "")
    assert picture
    [image] = seen(folder).Tensors("plots/curves")
    width, height, content = make_ndarray(image.tensor_proto)[:3]
    assert (int(width), int(height), content) == (picture.width, picture.height, picture.content)


def test_runs_are_rows_of_the_table_of_hyper_parameters(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    for lr in (0.25, 0.5):
        optimizer = {"name": "sgd", "lr": lr}
        log_run(trained(planned(seeds=[0, 1], epochs=1, optimizer=optimizer), tmp_path), "tensorboard")
    there = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    there.Reload()

    class Given:
        logdir, flags, plugin_name = str(tmp_path), None, "hparams"
        data_provider = MultiplexerDataProvider(there, str(tmp_path))

    request, context = RequestContext(), Context(Given())
    asked = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=10)
    asked.allowed_statuses.extend([api_pb2.STATUS_SUCCESS])
    groups = Handler(request, context, "", asked).run().session_groups
    assert sorted(group.hparams["optimizer.lr"].number_value for group in groups) == [0.25, 0.5]
    for group in groups:
        assert "best/train/loss" in {metric.name.tag for metric in group.metric_values}
        assert group.hparams["optimizer.name"].string_value == "sgd"
        assert group.hparams["seeds"].string_value == "[0, 1]"
        assert group.hparams["channels_last"].bool_value is False
        assert "plots" not in group.hparams, "on which no figure depends"


def test_a_run_that_is_logged_again_is_there_once_and_one_that_went_on_has_its_new_epochs(
    tmp_path: Path,
) -> None:
    run = trained(planned(), tmp_path)
    log_run(run, "tensorboard")
    once = scalars(run.folder / "tensorboard")
    log_run(run, "tensorboard")
    assert scalars(run.folder / "tensorboard") == once
    go_on(run, {"epochs": 5})
    log_run(run, "tensorboard")
    more = scalars(run.folder / "tensorboard")
    assert more["train/loss"].keys() == {1, 2, 3, 4, 5}
    assert {step: more["train/loss"][step] for step in (1, 2, 3)} == once["train/loss"]
    assert len(event_files(run)) == 1


def test_a_tensorboard_that_is_open_forgets_what_an_earlier_file_said(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    log_run(run, "tensorboard")
    open_one = seen(run.folder / "tensorboard")
    go_on(run, {"epochs": 5})
    log_run(run, "tensorboard")
    steps = [each.step for each in open_one.Reload().Tensors("train/loss")]
    assert steps == [1, 2, 3, 4, 5]


def test_rows_that_come_while_it_is_open_are_added_and_those_that_are_completed_are_filled_in(
    tmp_path: Path,
) -> None:
    header = "epoch,seed,train_loss,test_loss,lr,seconds"
    run = made(tmp_path, {"seeds": [3]}, status="running", host="of another machine")
    tracker = open_tracker("tensorboard", content_of(run))
    folder = run.folder / "tensorboard"
    for rows in ([], ["1,3,0.5,,0.1,2"], ["1,3,0.5,,0.1,2", "2,3,nan,,inf,2"]):
        tracker.update(content_of(with_rows(run, rows, header)))
    assert scalars(folder)["train/loss"].keys() == {1, 2} and math.isnan(scalars(folder)["train/loss"][2])
    assert scalars(folder)["lr"][2] == math.inf and "test/loss" not in scalars(folder)
    run.write_json("summary.json", run.summary() | {"status": "finished"})
    tracker.update(content_of(with_rows(run, ["1,3,0.5,,0.1,2", "2,3,nan,0.25,inf,2"], header)))
    tracker.close()
    assert scalars(folder)["test/loss"] == {2: 0.25}
    assert len(event_files(run)) == 1


@pytest.mark.parametrize("size", [0, 100, 1500])
def test_a_full_disk_leaves_what_an_earlier_call_wrote(tmp_path: Path, size: int) -> None:
    run = trained(planned(), tmp_path)
    with no_file_beyond(size), pytest.raises(UserError, match=r"cannot write .*tfevents"):
        log_run(run, "tensorboard")
    log_run(run, "tensorboard")
    once = scalars(run.folder / "tensorboard")
    [written] = event_files(run)
    with no_file_beyond(size), pytest.raises(UserError, match=r"cannot write .*tfevents"):
        log_run(run, "tensorboard")
    assert event_files(run) == [written]
    assert scalars(run.folder / "tensorboard") == once


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    (run.folder / "tensorboard").write_text("no folder")
    with pytest.raises(UserError, match="is not a folder"):
        log_run(run, "tensorboard")


def test_nothing_is_written_where_a_link_leads_and_links_of_a_backup_keep_their_content(
    tmp_path: Path,
) -> None:
    run, elsewhere = trained(planned(seeds=[0, 1]), tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = run.folder / "tensorboard"
    folder.symlink_to(elsewhere)
    with pytest.raises(UserError, match="tensorboard of the run is not a folder, but a link"):
        log_run(run, "tensorboard")
    folder.unlink()
    folder.mkdir()
    (folder / "seed_1").symlink_to(elsewhere)
    with pytest.raises(UserError, match="seed_1 of the run is not a folder, but a link"):
        log_run(run, "tensorboard")
    assert list(elsewhere.iterdir()) == []
    (folder / "seed_1").unlink()
    log_run(run, "tensorboard")
    precious, written = elsewhere / "precious", event_files(run)[0]
    precious.write_text("mine")
    (written.parent / "events.out.tfevents.0.dlrun").symlink_to(precious)
    os.link(written, elsewhere / "backup")
    content = written.read_bytes()
    log_run(run, "tensorboard")
    assert precious.read_text() == "mine" and (elsewhere / "backup").read_bytes() == content


def test_event_files_of_others_stay(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    other = run.folder / "tensorboard" / "events.out.tfevents.1.elsewhere"
    other.parent.mkdir()
    other.write_bytes(b"theirs")
    log_run(run, "tensorboard")
    log_run(run, "tensorboard")
    assert other.read_bytes() == b"theirs" and len(event_files(run)) == 2


def test_files_that_were_emptied_long_ago_are_deleted(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path)
    for _ in range(2):
        log_run(run, "tensorboard")
    emptied, whole = sorted((run.folder / "tensorboard").iterdir())
    assert (emptied.stat().st_size, whole.stat().st_size > 0) == (0, True)
    os.utime(emptied, (0, 0))
    log_run(run, "tensorboard")
    assert not emptied.exists()


def test_the_command_logs_runs_wherever_they_were_moved(
    dlrun: Callable[..., Any], tiny: Path, runs_dir: Path, tmp_path: Path
) -> None:
    dlrun("train", tiny)
    dlrun("train", tiny)
    done = dlrun("log", "tiny", "last", "--to", "tensorboard")
    folders = [runs_dir / f"tiny-00{number}/tensorboard" for number in (1, 2)]
    assert done.code == 0
    assert done.out.splitlines() == [
        f"tiny-00{number}: epoch 3 in TensorBoard, {folder}" for number, folder in enumerate(folders, 1)
    ]
    moved = Path(shutil.move(runs_dir / "tiny-001", tmp_path / "moved"))
    assert dlrun("log", moved, "--to", "tensorboard").code == 0
    assert len(event_files(Run(moved))) == 1
