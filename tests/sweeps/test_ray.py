"""A sweep on a Ray cluster is the sweep that it is on one machine, whatever happens to its processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from places import PROJECT
from small_runs import own_parts, timeless
from small_sweeps import CONFIG, listed, only_sweep
from test_cards import SEEING

from dlrun.config.registry import Parts
from dlrun.console.commands.app import with_ray_address
from dlrun.errors import RunFailed, UserError
from dlrun.run_folders.sweep_folder import Sweep
from dlrun.sweeps import ray_address, ray_check, ray_cluster
from dlrun.sweeps.grid import settings_of_grid
from dlrun.sweeps.messages import Message
from dlrun.sweeps.planning import plan_sweep
from dlrun.sweeps.ray_cluster import Cluster, Node, connect
from dlrun.sweeps.ray_node import TOGETHER, NodeWorker, Sight, look_around
from dlrun.sweeps.worker_process import serve_actor
from dlrun.sweeps.workers import start_server
from dlrun.system import children
from dlrun.system.children import HAS_SERVER
from dlrun.system.locks import is_in_use

SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # the first frame of a server of gRPC, with none
Dlrun = Callable[..., Any]
Start = Callable[..., Any]
Write = Callable[[str, str], Path]


def cluster(*cores: int, gpus: tuple[int, ...] = ()) -> Cluster:
    """Nodes with so many cores, the first of them with so many GPUs."""
    each = [*gpus, *[0] * (len(cores) - len(gpus))]
    nodes = [Node(str(i), f"n{i}", n, g) for i, (n, g) in enumerate(zip(cores, each, strict=True))]
    return Cluster("local", tuple(nodes))


# --------------------------------------------------------------------------- the option


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("sweep x lr=1,2 --ray", "sweep x lr=1,2 --ray auto"),
        ("sweep --ray x lr=1,2", "sweep --ray auto x lr=1,2"),
        ("sweep x --ray lr=log(1,2,3)", "sweep x --ray auto lr=log(1,2,3)"),
        ("sweep x --ray --seeds 3", "sweep x --ray auto --seeds 3"),
        ("sweep x --ray local lr=1", "sweep x --ray local lr=1"),
        ("sweep x --ray auto lr=1", "sweep x --ray auto lr=1"),
        ("sweep x --ray 10.0.0.1:6379 lr=1", "sweep x --ray 10.0.0.1:6379 lr=1"),
        ("sweep x --ray=head:6379 lr=1", "sweep x --ray=head:6379 lr=1"),
        ("sweep x lr=1", "sweep x lr=1"),
    ],
)
def test_what_follows_the_option_is_its_address_only_if_it_looks_like_one(words: str, meant: str) -> None:
    assert with_ray_address(words.split()) == meant.split()


def test_a_clusters_token_is_used_only_where_the_cluster_was_joined(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ray gives it to a cluster that it finds itself, and never to an address that it is told."""
    monkeypatch.setattr(ray_address, "JOINED", tmp_path / "ray_current_cluster")
    assert not ray_address._is_joined_here("10.0.0.1:6379")
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:6379")
    joined = ["10.0.0.1:6379", "localhost:6379", "127.0.0.1:6379", "127.0.0.1:6380", "10.0.0.2:6379"]
    assert [ray_address._is_joined_here(address) for address in joined] == [True, True, True, False, False]
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not ray_address._has_token()
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch()
    assert ray_address._has_token()
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "a file")
    assert ray_address._has_token()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "'nowhere' is no address of a Ray cluster"),
        ("10.0.0.1", "'10.0.0.1' is no address of a Ray cluster"),
        ("", "'' is no address of a Ray cluster"),
        ("head:", "'head:' is no address of a Ray cluster"),
        ("head:port", "'head:port' is no address of a Ray cluster"),
        ("ray://10.0.0.1:10001", "dlrun is no Ray client"),
    ],
)
def test_what_is_no_address_is_refused_before_ray_is_asked(address: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        connect(address)


def test_the_address_is_that_of_the_environment_or_the_one_joined_here_that_still_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_address, "JOINED", tmp_path / "ray_current_cluster")
    assert ray_address.known() == "local"
    with answering(SETTINGS[:3], SETTINGS[3:]) as address:
        (tmp_path / "ray_current_cluster").write_text(f"{address}\n")
        assert ray_address.known() == address
    assert ray_address.known() == "local", "that cluster has ended"
    with answering() as address:
        monkeypatch.setattr(ray_address, "_PATIENCE", 0.3)
        (tmp_path / "ray_current_cluster").write_text(address)
        assert ray_address.known() == address, "that cluster is busy"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert ray_address.known() == "head:6379"


@pytest.mark.parametrize(
    ("pieces", "said"), [((), "timed out"), ((b"HTTP/1.1 400\r\n",), "something else listens there")]
)
def test_an_address_at_which_no_cluster_answers_is_given_up_before_ray_asks_it(
    pieces: Sequence[bytes], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_address, "_PATIENCE", 0.3)
    with answering(*pieces) as address, pytest.raises(OSError, match=said):
        ray_address.reach(address)


def test_one_that_answers_byte_by_byte_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "_PATIENCE", 0.25)  # 0.1 between two bytes
    with answering(b"\0", b"\0", b"\0", SETTINGS[3:]) as address, pytest.raises(OSError, match="timed out"):
        ray_address.reach(address)


STATUS = SETTINGS + b"\0\0\x10\1\5\0\0\0\1@\x0bgrpc-status"  # a frame of headers begins


@pytest.mark.parametrize(
    ("pieces", "mode", "said"),
    [
        ((STATUS, b"\x02", b"1", b"6"), None, "asks for a token"),
        ((STATUS + b"\x0216",), "disabled", "asks for a token"),
        ((STATUS + b"\x0216",), "Token", ""),
        ((STATUS, b"\x01", b"0"), None, ""),
        ((STATUS + b"\x010",), "token", "asks for no token"),
        ((STATUS[:9],), "token", "no Ray cluster answers: timed out"),
    ],
)
def test_a_cluster_and_this_machine_have_to_agree_on_a_token(
    pieces: Sequence[bytes], mode: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_address, "_PATIENCE", 0.6)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with answering(*pieces) as address, pytest.raises(RunFailed, match=said) if said else nullcontext():
        ray_address.settle_token(address)


def test_the_token_of_this_machine_is_sent_to_the_cluster_that_it_joined(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # so that it is as before at the end
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a token")
    monkeypatch.setattr(ray_address, "JOINED", tmp_path / "ray_current_cluster")
    with answering(STATUS + b"\x0216") as address:
        (tmp_path / "ray_current_cluster").write_text(address)
        ray_address.settle_token(address)
    assert os.environ["RAY_AUTH_MODE"] == "token"


@contextmanager
def answering(*pieces: bytes) -> Iterator[str]:
    """The address of a server that answers the first message of its one client in these pieces."""

    def serve() -> None:
        with listening.accept()[0] as client:
            client.recv(4096)
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.1)  # so that each is received by itself
            client.recv(4096)  # until the client has gone

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        serving.join()


@pytest.mark.parametrize(
    ("ray", "words"), [(None, ""), ("auto", " --ray"), ("local", " --ray local"), ("h:1", " --ray h:1")]
)
def test_the_command_that_resumes_names_the_cluster_as_it_was_named(ray: str | None, words: str) -> None:
    assert Sweep(Path("runs/s"), {}).resume_command(None, ray) == f"dlrun sweep --resume runs/s{words}"


# --------------------------------------------------------------------------- cores and GPUs


def test_cores_of_several_nodes_are_shared_so_that_each_run_fits_on_any_of_them() -> None:
    assert cluster(2).share(1) == 2
    assert cluster(2).share(2) == cluster(2).share(5) == 1
    assert cluster(64, 64).share(4) == 32
    assert cluster(64, 64).share(5) == 21
    assert cluster(64, 4).share(2) == 4, "more would leave the small node out"
    assert cluster(8, 3).share(3) == 3
    assert cluster(8, 3).share(4) == 2


def test_runs_are_dealt_to_the_nodes_with_gpus_if_there_are_any() -> None:
    mixed = cluster(8, 8, 16, gpus=(2, 1))
    assert [mixed.of(device).at_once(device, None) for device in ("auto", "cuda", "cpu")] == [3, 3, 32]
    assert mixed.of("auto").at_once("auto", 2) == 6
    assert str(mixed.of("cuda")) == "Ray at local: 2 nodes, 16 CPUs, 3 GPUs"
    assert str(replace(cluster(1), is_own=True)) == "Ray started on this machine: 1 node, 1 CPU"
    with pytest.raises(UserError, match="Ray chooses the GPU of each run, and device is cuda:1"):
        mixed.of("cuda:1")
    with pytest.raises(UserError, match="no node of this Ray cluster has a GPU"):
        cluster(8).of("cuda")
    with pytest.raises(UserError, match="the runs train on no GPU: device is cpu"):
        mixed.of("cpu").at_once("cpu", 2)


def test_each_run_asks_for_what_it_did_before(runs_dir: Path, tmp_path: Path) -> None:
    sweep = listed(runs_dir, tmp_path)
    assert cluster(8).demand(sweep, 2, None) == ray_cluster.Demand(4, 0)
    sweep.content.update({"cpus": 3, "runs_per_gpu": 2, "device": "auto"})
    assert cluster(8, gpus=(1,)).demand(sweep, 2, None) == ray_cluster.Demand(3, 1 / 2)
    assert cluster(8, gpus=(1,)).demand(sweep, 2, 4) == ray_cluster.Demand(3, 1 / 4)
    assert cluster(2).demand(sweep, 2, None) == ray_cluster.Demand(2, 0), "no node has three"
    own = replace(cluster(2), is_own=True).of("cpu").demand(sweep, 2, None)
    assert own == ray_cluster.Demand(2, 0, is_here=HAS_SERVER)
    sweep.content.update({"cpus": "many", "runs_per_gpu": -1})
    assert (sweep.cpus, sweep.runs_per_gpu) == (0, 0)


def test_threads_of_a_run_do_not_depend_on_the_node(write: Write, runs_dir: Path) -> None:
    """With `auto` each node would choose by its own cores."""
    path = write("small.yaml", CONFIG)
    wide = "architecture.hidden=[8],[2000,2000]"  # one thread, and several
    planned = plan_sweep(
        settings_of_grid(path, [wide], range(1), None, Parts()),
        4,
        None,
        Parts(),
        Path(),
        cluster=cluster(8, 8, 4),
    )
    threads = [config.threads for setting in planned.settings for config in setting.configs]
    assert (planned.jobs, threads) == (2, ["auto", 4])
    assert planned.make(runs_dir).cpus == 4, "in sweep.json"
    small = settings_of_grid(path, ["epochs=1,2"], range(1), None, Parts())
    planned = plan_sweep(small, 2, None, Parts(), Path(), cluster=cluster(8, 8))
    assert planned.make(runs_dir).cpus == 1, "of eight that it might have"


# --------------------------------------------------------------------------- what a node has to see


def test_a_node_looks_for_the_folder_its_lock_the_parts_and_the_data(runs_dir: Path, tmp_path: Path) -> None:
    sweep = listed(runs_dir, tmp_path)
    token, parts = sweep.folder / "token", own_parts(tmp_path, {"loss/mine.py": "def mine(o, t): ..."})
    seen = look_around(token, parts.folder, [tmp_path])
    assert (seen.has_token, seen.is_locked, seen.missing, seen.code) == (False, False, [], parts.code)
    token.touch()
    with sweep.lock():
        seen = look_around(token, tmp_path / "gone", [tmp_path / "gone"])
    assert (seen.has_token, seen.is_locked, seen.missing) == (True, True, [tmp_path / "gone"])
    assert seen.dlrun_code == Parts().code


HERE = Sight(True, True, [], "0.1.0", "a", "a", {"torch": "2.13.0", "Python": "3.11.7"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"has_token": False}, "node n0 does not see the folder of the sweep"),
        ({"missing": [Path("/my_parts")]}, "node n0 does not have /my_parts"),
        ({"code": "b"}, "node n0 has other code in the folder of parts"),
        ({"code": "b", "dlrun_code": "b", "dlrun": "0.2.0"}, r"other code of dlrun \(0.2.0, here 0.1.0\)"),
    ],
)
def test_a_node_that_would_train_something_else_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RunFailed, match=said):
        ray_check._refuse(cluster(1).nodes[0], replace(HERE, **change), HERE, Path("/runs"))
    ray_check._refuse(cluster(1).nodes[0], HERE, HERE, Path("/runs"))


def test_a_node_that_may_differ_in_the_last_bits_or_sees_no_locks_is_warned_of() -> None:
    node = cluster(1).nodes[0]
    assert list(ray_check._warnings(node, HERE, HERE)) == []
    there = replace(HERE, is_locked=False, versions={"torch": "2.12.0", "Python": "3.11.7"})
    differs, unlocked = ray_check._warnings(node, there, HERE)
    assert differs.startswith("node n0 has torch 2.12.0, here 2.13.0:")
    assert unlocked.startswith("node n0 sees no locks")


def test_no_process_looks_around_on_the_machine_of_the_command_itself(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> None:
        raise AssertionError

    monkeypatch.setattr(ray_check, "load_ray", look)
    sweep, own = listed(runs_dir, tmp_path), replace(cluster(2), is_own=True)
    assert ray_check.look_at_nodes(own.of("cpu"), sweep, Parts(), tmp_path) == []
    with pytest.raises(AssertionError):
        ray_check.look_at_nodes(cluster(2), sweep, Parts(), tmp_path)


# --------------------------------------------------------------------------- the answers of a node


def test_a_node_says_the_rows_of_a_moment_together_and_the_end_at_once() -> None:
    begin, row, end = (Message(kind, Path("run")) for kind in ("begin", "row", "end"))
    worker = NodeWorker.__new__(NodeWorker)  # its process is this one
    worker._connection, process = Pipe()
    worker._process, worker._folder = SimpleNamespace(join=lambda: None, exitcode=-9), Path("run")  # type: ignore[assignment]
    for message in (begin, row, row, end, row):
        process.send(message)
    before = time.monotonic()
    assert [worker.messages(), worker.messages()] == [[begin], [row, row, end]]
    assert time.monotonic() - before < TOGETHER / 2
    assert worker.messages() == [row]
    assert time.monotonic() - before >= TOGETHER
    process.send(row)
    process.close()
    assert worker.messages() == [row, Message("killed", Path("run"), exit_code=-9)]


@pytest.mark.skipif(not HAS_SERVER, reason="this system has no fork server")
@pytest.mark.parametrize("comes", [True, False])
def test_a_process_that_waits_for_an_actor_ends_with_it_or_if_none_will_come(
    tmp_path: Path, comes: bool
) -> None:
    start_server()
    told = tmp_path / "workers.log", "test_loss", None, tmp_path
    process, pipe, address = children.begin_for_another(serve_actor, *told)
    if comes:
        actor = children.connected(address)
        actor.send(None)
        actor.send(tmp_path / "gone")
        assert actor.recv().kind == "end", "it serves"
        actor.close()
    else:
        pipe.close()
    process.join(30)
    assert process.exitcode == 0
    with pytest.raises(ConnectionRefusedError):
        children.connected(address)


# --------------------------------------------------------------------------- on a real cluster

needs_ray = pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes on this machine, one of which offers two GPUs that there are not."""
    if not find_spec("ray"):
        pytest.skip("Ray is not installed")
    os.environ.update(ray_cluster._OF_LOCAL)
    from ray.cluster_utils import Cluster as Simulated

    size = {"num_cpus": 1, "object_store_memory": 10**8}
    simulated = Simulated(initialize_head=True, head_node_args=size | {"include_dashboard": False})
    simulated.add_node(num_gpus=2, **size)
    simulated.wait_for_nodes()
    yield simulated
    simulated.shutdown()


@pytest.fixture
def address(nodes: Any) -> Iterator[str]:
    """Its address; the test leaves the cluster at its end."""
    import ray

    yield nodes.address
    ray.shutdown()


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The figures of the runs of a sweep as LONG says, by worker processes that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.yaml").write_text(CONFIG)
    words = ("sweep", "small.yaml", *LONG, "--jobs", "2", "--quiet")
    subprocess.run([sys.executable, "-m", "dlrun", *words], cwd=folder, env=os.environ | PATH, check=True)
    return figures(only_sweep(folder / "runs"))


PATH = {"PYTHONPATH": str(PROJECT)}
WORDS = ("optimizer.lr=1e-3,1e-2", "device=cpu")
LONG = (*WORDS, "epochs=1500")


def figures(sweep: Sweep) -> dict[str, Any]:
    """The figures of each run, without `seconds`."""
    return {trial.run.name: timeless(trial.run.rows()) for trial in sweep.trials}


def until(true: Callable[[], object]) -> None:
    """Wait until something is true that a process does."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "this does not happen"
        time.sleep(0.01)


def begun(process: Any, runs_dir: Path) -> Sweep:
    """The sweep of a process, once two of its runs train."""

    def training() -> list[Any]:
        with suppress(ValueError):
            return [trial for trial in only_sweep(runs_dir).trials if trial.run.has_rows()]
        return []

    until(lambda: len(training()) >= 2 or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return only_sweep(runs_dir)


def family(pid: int) -> dict[int, str]:
    """The processes that train below a process, and the actors and the fork server, with their commands."""
    below, found = {pid}, dict[int, str]()
    for each in sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        with suppress(OSError):
            if parent(each) in below:
                below.add(each)
                said = Path(f"/proc/{each}/cmdline").read_text()
                if "NodeWorker" in said or "forkserver" in said:
                    found[each] = said
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@pytest.mark.slow
@needs_ray
def test_its_runs_are_bit_for_bit_those_of_worker_processes(
    dlrun: Dlrun, config: Path, address: str, runs_dir: Path, tmp_path: Path
) -> None:
    done = dlrun("sweep", config, *WORDS, "--ray", address)
    assert (done.code, done.err) == (0, "")
    assert f"Ray at {address}: 2 nodes, 2 CPUs, 2 GPUs" in done.out
    assert "4/4 runs are done" in done.out
    here = dlrun("sweep", config, *WORDS, "--jobs", 2, "--runs-dir", tmp_path / "here")
    assert here.code == 0
    there, alike = only_sweep(runs_dir), only_sweep(tmp_path / "here")
    assert figures(there) == figures(alike)
    assert (there.folder / "results.csv").read_text() == (alike.folder / "results.csv").read_text()
    for mine, other in zip(there.trials, alike.trials, strict=True):
        assert mine.run.config.read_text() == other.run.config.read_text()
    assert not list(there.folder.glob("*.tmp"))


AT_ITS_END = """
import atexit, sys, time
slept = []
atexit.register(lambda: print(0.5 in slept, time.monotonic() - before < 1))  # after what comes later
sleep = time.sleep
from dlrun.sweeps.ray_cluster import connect
connect("local")
sleep(2)  # until all of Ray's processes handle signals
time.sleep = lambda seconds: (slept.append(seconds), sleep(seconds))
before = time.monotonic()
sys.exit(3)
"""


@pytest.mark.slow
@needs_ray
def test_a_command_that_fails_leaves_the_cluster_at_once() -> None:
    """Ray would sleep first, and then wait a second for a process that does not end at SIGTERM."""
    words = [sys.executable, "-c", AT_ITS_END]
    ended = subprocess.run(words, env=os.environ | PATH, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (3, "False True\n")


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("killed", ["process", "actor"])
def test_a_killed_process_loses_nothing(
    dlrun_process: Start,
    config: Path,
    address: str,
    runs_dir: Path,
    whole: dict[str, Any],
    killed: str,
) -> None:
    process = dlrun_process("sweep", config, *LONG, "--plain", "--ray", address)
    sweep = begun(process, runs_dir)
    pid = sweep.trials[0].run.summary()["pid"]
    os.kill(pid if killed == "process" else parent(parent(pid)), signal.SIGKILL)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert f"{sweep.trials[0].run.name} lost its process and goes on from its last checkpoint" in out
    assert figures(sweep) == whole
    assert len(sweep.trials[0].run.summary()["resumed"]) == 1


@pytest.mark.slow
@needs_ray
def test_a_node_that_is_lost_gives_its_run_to_another(
    dlrun_process: Start,
    config: Path,
    nodes: Any,
    address: str,
    runs_dir: Path,
    whole: dict[str, Any],
) -> None:
    third = nodes.add_node(num_cpus=1, object_store_memory=10**8)
    nodes.wait_for_nodes()
    process = dlrun_process("sweep", config, *LONG, "--jobs", 3, "--plain", "--ray", address)
    sweep = begun(process, runs_dir)
    until(lambda: sum(trial.run.has_rows() for trial in sweep.trials) >= 3)
    nodes.remove_node(third, allow_graceful=False)
    out, _ = process.communicate(timeout=100)
    nodes.wait_for_nodes()  # until Ray knows of two, as the next test does
    assert process.returncode == 0, out
    assert "lost its process and goes on from its last checkpoint" in out
    assert figures(sweep) == whole


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_ends_the_command_has_its_runs_saved_and_resumed(
    dlrun: Dlrun,
    dlrun_process: Start,
    config: Path,
    address: str,
    runs_dir: Path,
    whole: dict[str, Any],
    number: int,
) -> None:
    process = dlrun_process("sweep", config, *LONG, "--plain", "--ray", address)
    sweep = begun(process, runs_dir)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    until(lambda: not any(is_in_use(trial.run.folder) for trial in sweep.trials))
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert f"resume: dlrun sweep --resume {sweep.folder} --ray {address}" in out
    begun_runs = [trial.run for trial in sweep.trials if trial.run.has_rows()]
    assert {run.summary()["status"] for run in begun_runs} <= {"interrupted", "finished"}
    assert dlrun("sweep", "--resume", sweep.folder, "--ray", address).code == 0
    assert figures(sweep) == whole


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("killed", ["process", "actor", "command"])
def test_in_a_cluster_of_its_own_a_kill_loses_nothing_and_leaves_no_process(
    dlrun: Dlrun, dlrun_process: Start, config: Path, runs_dir: Path, whole: dict[str, Any], killed: str
) -> None:
    process = dlrun_process("sweep", config, *LONG, "--plain", "--jobs", 2, "--ray", "local")
    sweep = begun(process, runs_dir)
    pid, below = sweep.trials[0].run.summary()["pid"], family(process.pid)
    actors = [each for each, said in below.items() if "NodeWorker" in said]
    servers = [each for each, said in below.items() if "forkserver" in said and parent(each) == process.pid]
    assert len(actors) == 2
    assert parent(pid) in servers, "one import of PyTorch"
    os.kill({"process": pid, "actor": actors[0], "command": process.pid}[killed], signal.SIGKILL)
    out, err = process.communicate(timeout=100)
    until(lambda: not any(Path(f"/proc/{each}").exists() for each in below))
    if killed == "command":
        assert {trial.run.summary()["status"] for trial in sweep.trials[:2]} <= {"interrupted", "finished"}
        assert dlrun("sweep", "--resume", sweep.folder, "--jobs", 2).code == 0
    else:
        assert (process.returncode, err) == (0, "")
        assert out.count("lost its process and goes on from its last checkpoint") == 1
        assert ("it was killed (exit code -9)" in out) == (killed == "process")
        assert sum(len(trial.run.summary().get("resumed", ())) for trial in sweep.trials) == 1
    assert figures(sweep) == whole
    assert not list(sweep.folder.glob("sockets*.json"))


CLUSTER = """
import sys
from ray.cluster_utils import Cluster

size = {"num_cpus": 2, "object_store_memory": 10**8, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=size)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@contextmanager
def cluster_apart(**environment: str) -> Iterator[tuple[str, Any]]:
    """A cluster of a process of its own, and its address; it ends when the process's stdin is closed."""
    started = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=os.environ | ray_cluster._OF_LOCAL | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert started.stdout and started.stdin
    try:
        yield started.stdout.readline().strip(), started
    finally:
        started.stdin.close()
        started.wait(60)


@pytest.mark.slow
@needs_ray
def test_a_cluster_that_ends_ends_the_sweep_with_its_runs_saved(
    dlrun: Dlrun, dlrun_process: Start, config: Path, runs_dir: Path, whole: dict[str, Any]
) -> None:
    """Ray itself would end the command after a minute, without a word of what to do."""
    with cluster_apart() as (address, started):
        process = dlrun_process("sweep", config, *LONG, "--plain", "--jobs", 2, "--ray", address)
        sweep = begun(process, runs_dir)
        started.stdin.close()
        _, err = process.communicate(timeout=100)
    lines = [f"  resume: dlrun sweep --resume {sweep.folder} --ray {address}", ""]
    assert process.returncode == 1
    assert "error: the Ray cluster has ended: Connection refused" in err
    assert err.split("\n")[-2:] == lines, "and nothing of Ray's behind it"
    until(lambda: not any(is_in_use(trial.run.folder) for trial in sweep.trials))
    assert dlrun("sweep", "--resume", sweep.folder, "--jobs", 2).code == 0
    assert figures(sweep) == whole


@pytest.mark.slow
@needs_ray
def test_a_cluster_that_asks_for_a_token_is_not_said_to_be_missing(
    dlrun_process: Start, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with cluster_apart(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="a" * 64) as (address, _):
        process = dlrun_process("sweep", config, *WORDS, "--ray", address)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    error, where, fix = err.strip().splitlines()
    assert (error, where) == ("error: this Ray cluster asks for a token", f"  where: --ray {address}")
    assert "set RAY_AUTH_MODE=token" in fix


DEADLY = '''
"""A loss that no process of a sweep survives."""
import multiprocessing
import os
import torch


def deadly(outputs, targets):
    """Cross entropy."""
    if multiprocessing.parent_process():
        os.kill(os.getpid(), 9)
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
'''


@pytest.mark.slow
@needs_ray
def test_a_run_that_loses_its_process_again_and_again_has_failed(
    dlrun: Dlrun, config: Path, address: str, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, {"loss/deadly.py": DEADLY}).folder
    words = ("epochs=1,2", "device=cpu", "loss=deadly", "--seeds", 1)
    done = dlrun("sweep", config, *words, "--parts", parts, "--ray", address)
    assert done.code == 1
    assert done.out.count("small-001 lost its process and goes on") == 2
    assert "it lost its process 3 times without completing an epoch: it was killed (exit code -9)" in done.err


@pytest.mark.slow
@needs_ray
def test_each_run_sees_the_gpu_that_ray_has_chosen(
    dlrun: Dlrun,
    config: Path,
    address: str,
    runs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = own_parts(tmp_path, {"dataset/seeing.py": SEEING}).folder
    words = ("dataset=seeing", "dataset.points=40,41,42,43", "epochs=1", "--seeds", 1)
    words = (*words, "--parts", parts, "--data-dir", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "none")  # of the command itself, which plans
    done = dlrun("sweep", config, *words, "--jobs-per-gpu", 1, "--ray", address)
    assert done.code == 0, done.err
    assert "4 to train, 2 at a time" in done.out
    seen = (tmp_path / "seen").read_text().split()
    assert {*seen} - {"none"} and {*seen} <= {"none", "0", "1"}
    assert only_sweep(runs_dir).runs_per_gpu == 1
