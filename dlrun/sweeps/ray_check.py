"""The look of each node of a Ray cluster at what a sweep needs there, before anything trains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlrun.config.keys import DATA_PATH
from dlrun.config.registry import Parts
from dlrun.errors import RunFailed
from dlrun.run_folders.records import read_record
from dlrun.run_folders.sweep_folder import Sweep
from dlrun.sweeps.ray_cluster import Cluster, Node, load_ray, said
from dlrun.sweeps.ray_node import Sight, look_around

PATIENCE = 60.0  # seconds: a node that has not answered by then is in trouble


def look_at_nodes(cluster: Cluster, sweep: Sweep, parts: Parts, data_dir: Path) -> list[str]:
    """Have each node look for the sweep's folder, the parts and the data; return what to warn of.

    In a cluster of its own the command knows without a look, for which Ray would start a process. Raises
    RunFailed if a node lacks one of them, has other code, or does not answer.
    """
    if cluster.is_own:
        return []
    token = sweep.folder.absolute() / f"seen_by_nodes.{os.getpid()}.tmp"
    wanted = [folder for folder in (parts.folder, data_dir.absolute()) if folder and folder.is_dir()]
    asked = token, parts.folder, [*wanted, *_own_data(sweep)]
    with sweep.lock():
        try:
            token.touch()
            here = look_around(*asked)
            answers = [(node, _ask(node, *asked)) for node in cluster.nodes]
            found = [(node, _answer(node, answer)) for node, answer in answers]
        finally:
            with suppress(OSError):
                token.unlink()
    for node, sight in found:
        _refuse(node, sight, here, sweep.folder.absolute())
    return [warning for node, sight in found for warning in _warnings(node, sight, here)]


def _own_data(sweep: Sweep) -> Iterator[Path]:
    """The file or folder that the first run's dataset names, if it names one that is here."""
    for trial in sweep.unfinished()[:1]:
        path = read_record(trial.run).config.get(DATA_PATH)
        if isinstance(path, str) and Path(path).is_absolute() and Path(path).exists():
            yield Path(path)


def _ask(node: Node, *asked: Any) -> Any:
    """Begin the look on a node; the reference to its answer."""
    ray = load_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(look_around).remote(*asked)


def _answer(node: Node, answer: Any) -> Sight:
    ray = load_ray()
    try:
        sight: Sight = ray.get(answer, timeout=PATIENCE)
    except ray.exceptions.GetTimeoutError:
        what, fix = (
            f"node {node.name} has not answered for {PATIENCE:.0f} seconds",
            "take it out of the cluster",
        )
        raise RunFailed(what, fix=fix) from None
    except Exception as error:  # whatever Python raises there, such as for want of dlrun
        fix = "install the same dlrun there, for the Python that Ray runs in"
        raise RunFailed(f"node {node.name} cannot run dlrun: {said(error)}", fix=fix) from None
    return sight


def _refuse(node: Node, sight: Sight, here: Sight, folder: Path) -> None:
    """Raise RunFailed if runs on a node would not be those that were asked for."""
    if not sight.has_token:
        what = f"node {node.name} does not see the folder of the sweep"
        fix = "name one by --runs-dir that all nodes have under the same path, such as a network disk"
        raise RunFailed(what, where=str(folder), fix=fix)
    if sight.missing:
        what = f"node {node.name} does not have {sight.missing[0]}"
        raise RunFailed(what, fix="put it on a disk that all nodes have under the same path")
    if sight.code != here.code:
        of = "of dlrun" if sight.dlrun_code != here.dlrun_code else "in the folder of parts"
        versions = f" ({sight.dlrun}, here {here.dlrun})" if sight.dlrun != here.dlrun else ""
        what = f"node {node.name} has other code {of}{versions}"
        raise RunFailed(what, fix="bring it there, so that every run is by the same code")


def _warnings(node: Node, sight: Sight, here: Sight) -> Iterator[str]:
    differ = [
        f"{name} {version}, here {here.versions[name]}"
        for name, version in sight.versions.items()
        if version != here.versions[name]
    ]
    if differ:
        yield f"node {node.name} has {'; '.join(differ)}: the last bits of its figures may differ"
    if not sight.is_locked:
        yield f"node {node.name} sees no locks of this folder: train none of the runs by a second command"
