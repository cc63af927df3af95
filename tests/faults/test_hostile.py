"""T21 to T27: whatever a file by the name of a checkpoint holds, it is loaded as it was saved or refused."""

from __future__ import annotations

import ast
import csv
import json
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from small_runs import (
    FULL,
    OPTIMIZER_OPTIONS,
    WITH_CLOSURES,
    changed,
    contents,
    differences,
    go_on,
    little_memory,
    mostly_slow,
    own_parts,
    planned,
    trained,
    written,
)
from strangers import (
    BOMBS,
    DAMAGES,
    DEEP,
    FOREIGN,
    FORGERIES,
    LARGE,
    UNRESUMABLE,
    doubled,
    forged,
    opened_in_child,
    payloads,
    peak,
    with_pickle,
)

import dlrun as package
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused, UserError
from dlrun.run_folders.run import Run
from dlrun.training import checkpoint as checkpoints
from dlrun.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dlrun.training.experiment import train_run
from dlrun.training.opening import open_plan
from dlrun.training.views import HiddenTraining

if TYPE_CHECKING:
    from conftest import Fault

Dlrun = Callable[..., Any]
SOURCES = sorted(Path(package.__file__).parent.rglob("*.py"))
NOWHERE = Path("no-data")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small real run of two seeds."""
    return trained(planned(seeds=[0, 1]), tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def good(run: Run) -> Path:
    """Its last checkpoint."""
    return run.last


def content(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        name: getattr(checkpoint, name)
        for name in ("config", "data", "state", "figures", "environment", "dlrun")
    }


def assert_refused(lines: list[str], path: Path) -> None:
    """Few lines that say what is wrong and where, none of which leads to opening the file all the same."""
    text = "\n".join(lines)
    assert len(text.splitlines()) <= 5 and "Traceback" not in text, text
    assert lines[0].startswith("error: ")
    assert all(line.startswith(("  where: ", "  fix: ", "  resume: ")) for line in lines[1:]), text
    assert str(path) in text
    assert all(len(line) < 2000 and line.isprintable() for line in lines), text
    assert "weights_only" not in text


def assert_command_refuses(fault: Fault, dlrun: Dlrun, path: Path) -> None:
    """`dlrun eval` of the file ends so."""
    done = dlrun("eval", path)
    fault.never(wrong=done.code == 0)
    assert (done.code, done.out) == (4, ""), done.err
    assert_refused(done.err.splitlines(), path)


# ------------------------------------------------------------------------ T21: damage


@pytest.mark.row("T21")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_or_unchanged(
    fault: Fault, good: Path, tmp_path: Path, damage: Callable[..., bytearray]
) -> None:
    whole = content(load_checkpoint(good))
    path, refused, raw = tmp_path / "damaged.pt", 0, good.read_bytes()
    times = fault.times(80, 1000)
    for _ in range(times):
        path.write_bytes(damage(bytearray(raw), fault.random))
        try:
            loaded = load_checkpoint(path)
        except CheckpointRefused as error:
            refused += 1
            assert error.exit_code == 4
            assert error.what.startswith(("checkpoint is damaged (", "this is not a dlrun checkpoint"))
            assert_refused(error.lines(), path)
        else:
            fault.never(wrong=bool(differences(whole, content(loaded))))
        fault.count(mutations=1)
    fault.count(refused=refused)
    assert refused > times / 2


@pytest.mark.row("T21")
def test_every_flipped_bit_of_a_weight_is_noticed(fault: Fault, tmp_path: Path) -> None:
    weights = torch.full((16,), 1.25)
    save_checkpoint(tmp_path / "a.pt", Checkpoint({}, {}, {"model": weights}, {}, {}, "0"))
    raw = (tmp_path / "a.pt").read_bytes()
    start, refused = raw.index(weights.numpy().tobytes()), 0
    for offset in range(start, start + 64):
        damaged = bytearray(raw)
        damaged[offset] ^= 1 << offset % 8
        (tmp_path / "a.pt").write_bytes(damaged)
        fault.count(mutations=1)
        try:
            load_checkpoint(tmp_path / "a.pt")
        except CheckpointRefused as error:
            refused += 1
            assert re.search(r"damaged \(.*data/0\)", error.what)
    fault.count(refused=refused)
    fault.never(wrong=64 - refused)


@pytest.mark.row("T21")
def test_no_bit_of_the_directory_changes_what_is_loaded(fault: Fault, good: Path, tmp_path: Path) -> None:
    raw, whole = good.read_bytes(), content(load_checkpoint(good))
    path, refused = tmp_path / "damaged.pt", 0
    entries = [match.start() for match in re.finditer(b"PK\x01\x02", raw)]
    # Of a record its attributes are among these bits: as a folder it would be loaded as anything whatever.
    bits = [8 * (entries[1] + 38) + bit for bit in range(32)]
    every = range(8 * entries[0], 8 * len(raw))
    for place in [*bits, *fault.random.sample(every, fault.times(200, 2000))]:
        damaged = bytearray(raw)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            loaded = load_checkpoint(path)
        except CheckpointRefused:
            refused += 1
        else:
            fault.never(wrong=[place] if differences(whole, content(loaded)) else [])
        fault.count(mutations=1)
    assert refused > 100
    fault.count(refused=refused)


@pytest.mark.row("T21")
def test_a_command_says_that_the_file_is_damaged(
    fault: Fault, good: Path, tmp_path: Path, dlrun: Dlrun
) -> None:
    path, raw, times = tmp_path / "damaged.pt", good.read_bytes(), fault.times(8, 40)
    for index in range(times):
        damage = DAMAGES[index % len(DAMAGES)]
        path.write_bytes(damage(bytearray(raw), fault.random))
        with suppress(CheckpointRefused):
            load_checkpoint(path)
            continue
        assert_command_refuses(fault, dlrun, path)
        fault.count(commands=1)


# ------------------------------------------------------------------------ T22: code


@pytest.mark.row("T22")
@pytest.mark.parametrize("forced", [False, True])
def test_nothing_in_a_checkpoint_is_ever_executed(
    fault: Fault, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forced: bool
) -> None:
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    canary = tmp_path / "canary.npy"
    zipped, raw = tmp_path / "zipped.pt", tmp_path / "raw.pt"
    found = payloads(canary)
    assert len(found) >= 40
    for name, payload in found.items():
        raw.write_bytes(payload)
        fault.count(payloads=1)
        for path in (with_pickle(good, zipped, payload), raw):
            try:
                with pytest.raises(CheckpointRefused) as refused:
                    load_checkpoint(path)
            finally:
                fault.never(executed=[name] if os.path.lexists(canary) else [])
            assert_refused(refused.value.lines(), path)


@pytest.mark.row("T22")
def test_code_among_good_values_is_not_executed_either(
    fault: Fault, good: Path, tmp_path: Path, dlrun: Dlrun
) -> None:
    canary = tmp_path / "canary.npy"
    call = pickle.dumps(Calling(str(canary)), protocol=2)[2:-1]  # without its first and last instruction
    whole = content(load_checkpoint(good))
    places = {
        "a value": b"\x80\x02}U\x06config" + call + b"s.",
        "a key": b"\x80\x02}" + call + b"K\x01s.",
        "in a list": b"\x80\x02]" + call + b"a.",
        "forgotten": b"\x80\x02" + call + b"0}.",
        "the state of an object": b"\x80\x02ccollections\nOrderedDict\n)R}U\x01a" + call + b"sb.",
    }
    assert whole
    for place, pickled in places.items():
        path = with_pickle(good, tmp_path / "zipped.pt", pickled)
        fault.count(payloads=1)
        try:
            assert_command_refuses(fault, dlrun, path)
        finally:
            fault.never(executed=[place] if canary.exists() else [])
        with suppress(Exception):
            pickle.loads(pickled)
        assert canary.exists(), f"{place}: this would be executed without a guard"
        canary.rmdir()


class Calling:
    """Pickles as a call of os.mkdir."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.row("T22")
def test_each_payload_does_work_where_the_door_is_open(fault: Fault, tmp_path: Path) -> None:
    for number, name in enumerate(payloads(tmp_path / "names.npy")):
        canary = tmp_path / f"canary{number}.npy"
        with suppress(Exception):
            pickle.loads(payloads(canary)[name])
        assert os.path.lexists(canary), name
        fault.count(payloads_that_work=1)


# ------------------------------------------------------------------------ T23: bombs


@pytest.mark.row("T23")
@pytest.mark.slow
def test_what_unpacks_to_too_much_is_refused_soon_and_in_little_memory(
    fault: Fault, good: Path, tmp_path: Path
) -> None:
    paths = []
    for number, make in enumerate(BOMBS.values()):
        paths.append(tmp_path / f"bomb{number}.pt")
        make(good, paths[-1])
    for name, path, told in zip(BOMBS, paths, opened_in_child(good, paths, tmp_path), strict=True):
        fault.count(bombs=1, above_a_second=int(told["seconds"] > 1))
        assert told["code"] == 4, (name, told)
        assert_refused(told["lines"], path)
        assert told["mebibytes"] <= 2 * path.stat().st_size / 2**20 + 50, (name, told)


@pytest.mark.row("T23")
def test_what_doubles_at_every_level_is_looked_at_for_a_while_and_no_longer(fault: Fault) -> None:
    looked_at = 0
    with pytest.raises(CheckpointRefused, match="nested too deeply or too large"):
        for _ in checkpoints._walk(doubled(30)):
            looked_at += 1
            assert looked_at <= 1_000_000
    fault.count(bombs=1)


@pytest.mark.row("T23")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("compressed records", "a record is compressed"),
        ("a record twice", "a record occurs twice"),
        ("overlapping records", "records overlap"),
        ("two directories", "its directory"),
        ("many records", "its directory"),
        ("nested lists", "nested too deeply or too large"),
        ("ten million dicts", "its content is too large"),
        ("a tensor larger than its storage", "larger than its storage"),
        ("a tensor without storage", "without values"),
        ("a set", "is a set"),
    ],
)
def test_a_bomb_is_called_what_it_is(fault: Fault, good: Path, tmp_path: Path, name: str, said: str) -> None:
    BOMBS[name](good, tmp_path / "bomb.pt")
    with little_memory(), pytest.raises(CheckpointRefused) as refused:
        load_checkpoint(tmp_path / "bomb.pt")
    assert said in refused.value.what


@pytest.mark.row("T23")
def test_lists_that_are_deeper_than_python_goes_are_refused(
    fault: Fault, good: Path, tmp_path: Path, dlrun: Dlrun
) -> None:
    assert_command_refuses(fault, dlrun, with_pickle(good, tmp_path / "deep.pt", DEEP))
    fault.count(commands=1)


# ------------------------------------------------------------------------ T24: other files


@pytest.mark.row("T24")
@pytest.mark.usefixtures("no_hanging")
@pytest.mark.parametrize("make", FOREIGN)
def test_what_is_no_checkpoint_is_refused(
    fault: Fault, tmp_path: Path, dlrun: Dlrun, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "x.pt"
    make(path)
    with little_memory(), pytest.raises(CheckpointRefused) as refused:
        load_checkpoint(path)
    fault.count(files=1)
    assert_refused(refused.value.lines(), path)
    assert_command_refuses(fault, dlrun, path)
    fault.never(executed=path.is_dir() and (path / "canary").exists())


@pytest.mark.row("T24")
def test_a_link_to_a_checkpoint_is_that_checkpoint(fault: Fault, good: Path, tmp_path: Path) -> None:
    (tmp_path / "link.pt").symlink_to(good)
    linked = load_checkpoint(tmp_path / "link.pt")
    whole = load_checkpoint(good)
    fault.count(files=1)
    fault.never(wrong=differences(content(whole), content(linked)))
    assert linked.digest == whole.digest


# ------------------------------------------------------------------------ T25: false claims


@pytest.mark.row("T25")
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_checkpoint_that_does_not_fit_what_it_says_is_refused(
    fault: Fault, good: Path, tmp_path: Path, forgery: str, dlrun: Dlrun
) -> None:
    path = forged(good, tmp_path / "forged.pt", FORGERIES[forgery])
    fault.count(forgeries=1)
    assert_command_refuses(fault, dlrun, path)


@pytest.mark.row("T25")
@pytest.mark.slow
def test_a_claim_of_any_size_is_refused_before_anything_of_that_size_is_made(
    fault: Fault, good: Path, tmp_path: Path
) -> None:
    claims = list(LARGE)
    if not fault.thorough:
        claims.remove("nine hundred thousand layers")  # as four hundred thousand, in twice the time
    paths = [forged(good, tmp_path / f"large{number}.pt", LARGE[name]) for number, name in enumerate(claims)]
    for name, path, told in zip(claims, paths, opened_in_child(good, paths, tmp_path), strict=True):
        fault.count(forgeries=1, above_a_second=int(told["seconds"] > 1))
        fault.never(wrong=told["code"] == 0)
        fault.said("\n".join(told["lines"]))
        assert told["code"] == (2 if name in ("a billion points", "a billion classes") else 4), (name, told)
        assert all(len(line) < 3000 for line in told["lines"]), (name, told)
        assert told["mebibytes"] <= 2 * path.stat().st_size / 2**20 + 50, (name, told)


@pytest.mark.row("T25")
def test_an_image_that_a_convolution_would_make_huge_is_never_made(fault: Fault, tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    cnn = {"name": "cnn", "channels": [3], "kernel_size": 3, "padding": 1}
    run = trained(planned(parts, dataset="dots", architecture=cnn), tmp_path)
    # Pooled to the size that it had before, so that all weights fit.
    wide, wider = {"padding": 3_000, "pool": 1501}, {"padding": 100_000, "pool": 50_001}
    path = forged(run.last, tmp_path / "x.pt", lambda c, d, s: c["architecture"].update(wide))
    open_plan(run.last, [], parts, NOWHERE)
    before = peak(anew=True)
    open_plan(path, [], parts, NOWHERE)
    assert peak() - before < 200, "an image of 6,006 × 6,006 pixels was made, of 3 channels, twice"
    path = forged(run.last, tmp_path / "x.pt", lambda c, d, s: c["architecture"].update(wider))
    with little_memory(), pytest.raises(CheckpointRefused, match="GiB for a single example"):
        open_plan(path, [], parts, NOWHERE)
    crop = {"name": "crop", "padding": 10**5}
    path = forged(run.last, tmp_path / "y.pt", lambda c, d, s: c.update(augmentations=[crop]))
    with little_memory(), pytest.raises(CheckpointRefused, match="more than the image has"):
        open_plan(path, [], parts, NOWHERE)
    fault.count(forgeries=3)


@pytest.mark.row("T25")
@pytest.mark.parametrize(
    ("forgery", "said"),
    [
        ("a weight that is not a number", "its weights 2.bias of seed 0 are not all finite numbers"),
        ("a weight without end", "its weights 2.bias of seed 1 are not all finite numbers"),
        ("a copy missing", "it has 1 copies of them for 2 seeds"),
        ("an unknown architecture", "there is no architecture/resnet9000.py"),
        ("an unknown option", "architecture.layers: mlp has no such option"),
        ("weights of another shape", "size mismatch for 0.weight"),
        ("an epoch of five hundred digits", "it lacks an entry: epoch"),
    ],
)
def test_a_false_claim_is_named(fault: Fault, good: Path, tmp_path: Path, forgery: str, said: str) -> None:
    path = forged(good, tmp_path / "forged.pt", FORGERIES[forgery])
    with pytest.raises(CheckpointRefused) as refused:
        open_plan(path, [], Parts(), NOWHERE)
    assert said in refused.value.what


@pytest.mark.row("T25")
def test_a_part_of_ones_own_is_named_so_that_its_folder_can_be_given(fault: Fault, tmp_path: Path) -> None:
    parts = own_parts(tmp_path)
    run = trained(planned(parts, dataset="uneven"), tmp_path)
    with pytest.raises(CheckpointRefused, match="uneven") as refused:
        open_plan(run.best, [], Parts(), NOWHERE)
    assert "--parts" in refused.value.fix
    assert open_plan(run.best, [], parts, NOWHERE)
    fault.count(forgeries=1)


@pytest.mark.row("T25")
@pytest.mark.parametrize("figures", [5, "text", [1.0], ["a", "b"], [10**400] * 2, [None] * 2, {"a": 1}])
def test_figures_that_are_none_are_not_compared_with(
    fault: Fault, good: Path, tmp_path: Path, figures: Any, dlrun: Dlrun
) -> None:
    saved = load_checkpoint(good)
    for name in saved.figures:
        saved.figures[name] = figures
    save_checkpoint(tmp_path / "forged.pt", saved)
    done = dlrun("eval", tmp_path / "forged.pt")
    assert (done.code, done.err) == (0, "")
    fault.count(forgeries=1)
    fault.never(wrong="training did not evaluate test in this epoch" not in done.out)


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two seeds after two of its three epochs."""
    return trained(planned(seeds=[0, 1]), tmp_path_factory.mktemp("paused"), stop_after=2)


WEIGHTS = [
    *("weights of another shape", "a weight missing", "a copy missing", "a copy too many", "no weights"),
    *("weights that are text", "weights that are whole numbers", "a weight that is not a number"),
    *("no preprocessing", "preprocessing of another kind", "preprocessing of another shape"),
    *("preprocessing with complex numbers", "an epoch that is a tensor", "no epoch", "a dotted path"),
]


@pytest.mark.row("T25")
@pytest.mark.parametrize("forgery", [*UNRESUMABLE, *WEIGHTS])
def test_a_run_goes_on_from_nothing_that_it_could_not_have_saved(
    fault: Fault, paused: Run, tmp_path: Path, forgery: str
) -> None:
    run = Run(Path(shutil.copytree(paused.folder, tmp_path / "small-001")))
    forged(run.last, run.last, (UNRESUMABLE | FORGERIES)[forgery])
    before = contents(run.folder)
    with warnings.catch_warnings(action="error"), pytest.raises(CheckpointRefused) as refused:
        train_run(planned(seeds=[0, 1]), run, HiddenTraining())
    fault.count(forgeries=1)
    fault.never(wrong=changed(before, contents(run.folder)))
    fault.said("\n".join(refused.value.lines()))
    assert_refused(refused.value.lines(), run.last)


@pytest.mark.row("T25")
@pytest.mark.parametrize("optimizer", mostly_slow(Parts().names("optimizer"), "adam", "lbfgs", "muon", "sgd"))
@pytest.mark.parametrize("precision", mostly_slow(["float32", "float16"], "float32"))
def test_what_a_run_saved_fits_it_whatever_its_optimizer(
    fault: Fault, tmp_path: Path, optimizer: str, precision: str
) -> None:
    if optimizer in WITH_CLOSURES and precision == "float16":
        pytest.skip("refused: it computes the loss several times in a step")
    options = {"name": optimizer, "lr": 0.01} | OPTIMIZER_OPTIONS.get(optimizer, {})
    changes: dict[str, Any] = FULL | {"optimizer": options, "precision": precision}
    run = trained(planned(**changes), tmp_path, stop_after=2)
    go_on(run, changes)
    assert run.summary()["status"] == "finished"
    fault.never(wrong=run.summary()["epochs"] != 3)


IDLE = '''
"""A weight that nothing depends on."""
from torch import nn


class Idle(nn.Module):
    def __init__(self, size, outputs):
        super().__init__()
        self.idle, self.used = nn.Linear(3, 3), nn.Linear(size, outputs)

    def forward(self, inputs):
        return self.used(inputs)


def idle(shape, outputs):
    return Idle(shape[0], outputs)
'''
OWN_ADAM = '''
"""Adam with more to keep."""
import torch
from dlrun.config.options import NonNegative


class OwnAdam(torch.optim.Adam):
    pass


def own_adam(parameters, *, lr: NonNegative):
    return OwnAdam(parameters, lr=lr)
'''


@pytest.mark.row("T25")
def test_a_weight_without_a_gradient_has_nothing_kept_and_a_subclass_is_looked_at_too(
    fault: Fault, tmp_path: Path
) -> None:
    parts = own_parts(tmp_path, {"architecture/idle.py": IDLE, "optimizer/own_adam.py": OWN_ADAM})
    changes: dict[str, Any] = {"architecture": "idle", "optimizer": {"name": "own_adam", "lr": 0.01}}
    run = trained(planned(parts, **changes), tmp_path, stop_after=2)
    whole = run.last.read_bytes()
    cut = forged(
        run.last, run.last, lambda c, d, s: s["optimizer"]["state"][2].update(exp_avg=torch.zeros(1))
    )
    with pytest.raises(CheckpointRefused, match="the optimizer's exp_avg of weight 2 has the shape"):
        train_run(planned(parts, **changes), run, HiddenTraining())
    cut.write_bytes(whole)
    train_run(planned(parts, **changes), run, HiddenTraining())
    fault.count(forgeries=1)
    fault.never(wrong=run.summary()["epochs"] != 3)


@pytest.mark.row("T21")
def test_rows_that_were_written_over_are_noticed(fault: Fault, tmp_path: Path) -> None:
    run = trained(planned(), tmp_path, stop_after=2)
    size = run.metrics.stat().st_size
    run.metrics.write_bytes(fault.random.randbytes(size))
    with pytest.raises(CheckpointRefused, match=r"metrics\.csv has other columns") as refused:
        go_on(run, {})
    fault.count(mutations=1, refused=1)
    fault.said("\n".join(refused.value.lines()))


# ------------------------------------------------------------------------ T26: the source

MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "runpy",
    "code",
}
CALLS = {"eval", "exec", "__import__", "compile"}
DOTTED = {
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.UnsafeLoader", "yaml.Loader"),
    *("os.system", "os.popen", "os.execv", "os.spawnv", "pty.spawn", "importlib.reload"),
    *(
        "torch.jit.load",
        "torch.hub.load",
        "torch.package",
        "torch.distributed.checkpoint",
        "torch.export.load",
    ),
    *("torch.storage._load_from_bytes", "tempfile.mktemp", "numpy.load", "np.load"),
}
LAST_NAMES = {name.rsplit(".")[-1] for name in DOTTED}  # asked first, as taking a name apart takes time


def unsafe(tree: ast.AST) -> list[str]:
    """The calls in a source that could run code from a file, as `line name`."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                bad = any(alias.name.split(".")[0] in MODULES for alias in imported)
            case ast.ImportFrom(module=module, names=imported):
                names = {f"{module}.{alias.name}" for alias in imported}
                bad = (module or "").split(".")[0] in MODULES or bool(names & {*DOTTED, "torch.load"})
            case ast.Call(func=ast.Name(id=name)):
                bad = name in CALLS
            case ast.Attribute(attr="extractall" | "allow_pickle" | "add_safe_globals" | "unsafe_globals"):
                bad = True
            case ast.Attribute(attr=name) if name in LAST_NAMES:
                bad = ast.unparse(node) in DOTTED
            case ast.keyword(
                arg="shell" | "trust_remote_code" | "allow_pickle", value=ast.Constant(value=True)
            ):
                bad = True
            case ast.keyword(arg="weights_only", value=value):
                bad = ast.unparse(value) != "True"
            case _:
                bad = False
        if bad:
            found.append(f"{getattr(node, 'lineno', '?')} {ast.unparse(node)}")
    loads = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "load"]
    loads = [n for n in loads if ast.unparse(n).endswith(("torch.load", "serialization.load"))]
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.func in loads]
    guarded = [n for n in calls if "weights_only=True" in map(ast.unparse, n.keywords)]
    return found + [f"{n.lineno} torch.load" for n in loads][len(guarded) :]


@pytest.mark.row("T26")
def test_there_is_no_unsafe_call_in_the_source(fault: Fault) -> None:
    found = [f"{path}:{what}" for path in SOURCES for what in unsafe(ast.parse(path.read_text()))]
    fault.count(files=len(SOURCES))
    fault.never(unsafe=found)
    loads = [path.name for path in SOURCES if "torch.load" in path.read_text()]
    assert loads == ["checkpoint.py"], "there is one door"


@pytest.mark.row("T26")
@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import dill as plain",
        "from pickle import loads",
        "from joblib import load",
        "eval('1')",
        "exec(text)",
        "__import__(name)",
        "compile(text, '', 'exec')",
        "yaml.load(text, Loader=yaml.Loader)",
        "from yaml import load",
        "from yaml import unsafe_load as load",
        "os.system(words)",
        "from os import system",
        "subprocess.run(words, shell=True)",
        "archive.extractall(folder)",
        "model(name, trust_remote_code=True)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "torch.load(path, **options)",
        "from torch import load",
        "load = torch.load",
        "torch.serialization.load(path)",
        "torch.serialization.add_safe_globals([x])",
        "torch.jit.load(path)",
        "torch.hub.load(path, 'x')",
    ],
)
def test_an_unsafe_call_would_be_found(fault: Fault, source: str) -> None:
    assert unsafe(ast.parse(source))
    fault.count(unsafe_calls_that_are_found=1)


@pytest.mark.row("T26")
def test_what_is_imported_by_name_is_a_part_and_nothing_else(fault: Fault) -> None:
    importing = [path.name for path in SOURCES if "import_module(" in path.read_text()]
    assert importing == [
        "__init__.py",
        "earlier_names.py",
        "registry.py",
    ]  # the first two have tables of names
    for name in ("os.system", "../x", "a/b", "_style", "", "x\0", ".", "torch.nn.Linear", "A", "x\n"):
        for kind in ("architecture", "plots"):
            with pytest.raises(UserError):
                Parts().find(kind, name)
            fault.count(names_refused=1)


# ------------------------------------------------------------------------ T27: names

NAMES = (
    *(
        "[/]",
        "[red]x[/red]",
        "\x1b[31mred\x1b[0m",
        r"$\bad$",
        "two\nlines",
        "y" * 5000,
        "=cmd|' /C calc'!A0",
        "+1",
    ),
    *("@SUM(A1)", "-2", "\ttab", "\u202ereversed", "\x9b31m", "\x1b]0;title\x07", "{}", "%s%n", "^_{}", "_x"),
)
DATASET = '''
"""Points of classes whose names steer terminals, pictures and tables."""
import torch
from dlrun.data.examples import Data, Examples

NAMES = HERE


def stranger(root):
    """Two points of each class."""

    def read():
        targets = torch.arange(2 * len(NAMES)) % len(NAMES)
        examples = Examples(torch.stack([targets.float(), targets.float().sin()], 1), targets)
        return {"train": examples, "test": examples}

    return Data("classification", (2,), read, classes=NAMES)
'''


@pytest.fixture(scope="module", params=[NAMES[:9], NAMES[9:]], ids=["some", "others"])
def names(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """So many hostile names as one picture has colours for."""
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture(scope="module")
def strangers(names: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """The folder of a part whose classes have hostile names, and a run of it."""
    folder = tmp_path_factory.mktemp("stranger")
    parts = own_parts(folder, {"dataset/stranger.py": DATASET.replace("HERE", repr(names))})
    return folder / "parts", trained(planned(parts, dataset="stranger", epochs=1, batch_size="full"), folder)


def assert_shown(printed: str, names: tuple[str, ...]) -> None:
    """A text steers nothing, and has what can be seen of the names in it."""
    assert all(letter.isprintable() or letter == "\n" for letter in printed)
    for name in names:
        for seen in re.findall(r"[!-~]+", name):
            assert seen[:20] in printed, name


@pytest.mark.row("T27")
def test_hostile_class_names_are_text_on_a_console(
    fault: Fault, names: tuple[str, ...], strangers: tuple[Path, Run], tmp_path: Path, dlrun: Dlrun
) -> None:
    parts, run = strangers
    points = tmp_path / "points.csv"
    points.write_text("x,y\n1,2\n3,4\n")
    (tmp_path / "stranger.yaml").write_text(run.config.read_text())
    done = dlrun("eval", run.folder, "--parts", parts)
    assert (done.code, done.err) == (0, "")
    assert_shown(done.out, names)
    done = dlrun("data", tmp_path / "stranger.yaml", "--parts", parts)
    assert done.code == 0, done.err
    assert_shown(done.out, names)
    done = dlrun("predict", run.folder, points, "--parts", parts)
    assert (done.code, done.err) == (0, "")
    assert all(letter.isprintable() or letter == "\n" for letter in done.out)
    fault.count(names=len(names), outputs=1)


@pytest.mark.row("T27")
def test_hostile_class_names_cannot_become_formulas(
    fault: Fault, names: tuple[str, ...], strangers: tuple[Path, Run], tmp_path: Path, dlrun: Dlrun
) -> None:
    parts, run = strangers
    points = tmp_path / "=points.csv"
    points.write_text("x,y\n" + "".join(f"{n},{n}\n" for n in range(20)))
    done = dlrun("predict", "--csv", "--parts", parts, "--", run.folder, points, points)
    assert (done.code, done.err) == (0, "")
    rows = list(csv.reader(StringIO(done.out)))
    assert len(rows) == 41 and {len(row) for row in rows} == {4 + len(names)}
    numbers = re.compile(r"[0-9.e-]+")
    for cell in (cell for row in rows for cell in row if not numbers.fullmatch(cell)):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell[:40]
    assert all(letter.isprintable() or letter == "\n" for letter in done.out)
    fault.count(names=len(names), outputs=1)


@pytest.mark.row("T27")
def test_hostile_class_names_come_through_json_as_they_are(
    fault: Fault, names: tuple[str, ...], strangers: tuple[Path, Run], dlrun: Dlrun
) -> None:
    parts, run = strangers
    done = dlrun("eval", run.folder, "--json", "--parts", parts)
    assert tuple(json.loads(done.out)["per_class"]) == names
    assert len(done.out.splitlines()) == 1 and done.out.strip().isprintable()
    fault.count(names=len(names), outputs=1)


@pytest.mark.row("T27")
def test_pictures_of_hostile_class_names_are_drawn(
    fault: Fault, names: tuple[str, ...], strangers: tuple[Path, Run], tmp_path: Path, dlrun: Dlrun
) -> None:
    parts, run = strangers
    plots = ("confusion_matrix", "decision_regions", "points", "calibration", "curves")
    done = dlrun("plot", run.folder, *plots, "--out", tmp_path / "out", "--parts", parts)
    assert (done.code, done.err) == (0, "")
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(plots)
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as picture:
            assert picture.width < 1600 and picture.height < 3000, path.name
    fault.count(names=len(names), outputs=1)


@pytest.mark.row("T27")
@pytest.mark.parametrize(
    "name",
    mostly_slow(
        [
            "[red]",
            "\x1b[31mred",
            r"$\bad$",
            "two\nlines",
            "y" * 250,
            "=cmd",
            "-rf",
            "[bold]",
            "\udcff",
            "a b",
        ],
        *("[red]", "\x1b[31mred", r"$\bad$", "two\nlines", "\udcff"),
    ),
)
def test_a_run_folder_of_a_hostile_name_is_shown_as_text(
    fault: Fault, run: Run, tmp_path: Path, runs_dir: Path, name: str, dlrun: Dlrun
) -> None:
    folder = runs_dir / name
    shutil.copytree(run.folder, folder)
    points = tmp_path / "points.csv"
    points.write_text("x,y\n1,2\n")
    outputs = [
        dlrun("runs"),
        dlrun("eval", folder),
        dlrun("eval", "--json", "--", folder),
        dlrun("predict", "--csv", "--", folder, points),
        dlrun("resume", folder),
    ]
    if draws := fault.thorough or name in (r"$\bad$", "y" * 250):  # which is what takes time
        outputs.append(dlrun("plot", "--out", tmp_path / "out", "--", folder, "points"))
    for done in outputs:
        assert (done.code, done.err) == (0, ""), done
        assert all(letter.isprintable() or letter == "\n" for letter in done.out), done
    fault.count(names=1, outputs=len(outputs))
    assert [path.name for path in tmp_path.glob("out/*")] == ["points.png"] * draws
    assert {path.name for path in runs_dir.iterdir()} == {name}
    fault.never(outside={path.name for path in tmp_path.iterdir()} - {"out", "runs", "points.csv"})


@pytest.mark.row("T27")
@pytest.mark.parametrize("name", ["a\nfix: run this", "\x1b[2J", "b" * 5000, "[/]"])
def test_a_hostile_name_in_a_message_is_one_line_of_it(
    fault: Fault, run: Run, tmp_path: Path, name: str, dlrun: Dlrun
) -> None:
    path = tmp_path / "forged.pt"
    changes: list[Any] = [
        lambda c, d, s: c.update({name: 1}),
        lambda c, d, s: c.update(loss=name),
        lambda c, d, s: c["architecture"].update({name: 1}),
        lambda c, d, s: c.update(monitor=name),
        lambda c, d, s: c.update(expect={name: "> 1"}),
        lambda c, d, s: c.update(device=name),
        lambda c, d, s: c.update(name=name),
        lambda c, d, s: d.update(preprocessing={name: 1}),
        lambda c, d, s: s["model"][0].update({name: torch.zeros(1)}),
    ]
    for change in changes:
        forged(run.last, path, change)
        done = dlrun("eval", path)
        assert done.code == 4, done
        assert_refused(done.err.splitlines(), path)
    fault.count(names=1, outputs=len(changes))


@pytest.mark.row("T27")
def test_entries_that_are_written_by_a_stranger_are_shown_as_text(
    fault: Fault, tmp_path: Path, dlrun: Dlrun
) -> None:
    for name in NAMES:
        done = dlrun("eval", written(tmp_path / "x.pt", format=99, dlrun=name))
        assert done.code == 4
        assert_refused(done.err.splitlines(), tmp_path / "x.pt")
    fault.count(names=len(NAMES), outputs=1)
