"""One file, one guarded door: what is saved comes back, and nothing else comes in."""

from __future__ import annotations

import ast
import builtins
import functools
import io
import os
import pickle
import random
import runpy
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import differences, little_memory, planned, trained
from torch import nn

import dlrun
from dlrun import checkpoint as checkpoints
from dlrun.checkpoint import FORMAT, Checkpoint
from dlrun.errors import CheckpointRefused, RunFailed

SOURCES = sorted(Path(dlrun.__file__).parent.rglob("*.py"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a small real run."""
    return trained(planned(), tmp_path_factory.mktemp("good")).last


def content(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        name: getattr(checkpoint, name)
        for name in ("config", "data", "state", "figures", "environment", "dlrun")
    }


def written(path: Path, **changes: Any) -> Path:
    """A checkpoint file with some entries of another content, made without `save` and its checks."""
    plain = {
        "format": FORMAT,
        "dlrun": "0.1.0",
        "config": {},
        "data": {},
        "state": {},
        "figures": {},
        "environment": {},
    }
    torch.save(plain | changes, path)
    return path


def with_pickle(good: Path, path: Path, pickled: bytes) -> Path:
    """A good checkpoint with another data.pkl, its records whole and its sums right."""
    with zipfile.ZipFile(good) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as after:
        for record in before.infolist():
            after.writestr(
                record.filename, pickled if record.filename.endswith("data.pkl") else before.read(record)
            )
    return path


# ------------------------------------------------------------------------ there and back


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = Checkpoint(
        config={"seeds": [0, 2**62], "name": "x [/foo] π", "nothing": None, "yes": True},
        data={"scale": torch.tensor(255.0), "offset": None, "classes": ["a", "b"]},
        state={
            "model": [{"w": torch.randn(3, 4), "i": torch.arange(5)}],
            "epoch": 3,
            "optimizer": {0: {"step": 1.5}},
        },
        figures={"loss": [0.1, float("nan"), float("inf")]},
        environment={"torch": "2"},
        dlrun="9.9",
    )
    path = tmp_path / "a.pt"
    checkpoints.save(path, saved)
    loaded = checkpoints.load(path)
    assert not differences(content(saved), content(loaded))
    assert len(loaded.digest) == 64
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"], "no temporary file is left"


def test_a_checkpoint_of_a_run_says_all_that_is_needed_to_use_it(good: Path) -> None:
    saved = checkpoints.load(good)
    assert saved.config["architecture"]["name"] == "mlp"
    assert saved.data["classes"] == ["arm 1", "arm 2", "arm 3"]
    assert set(saved.data) >= {"task", "input_shape", "preprocessing", "fingerprint", "unit"}
    assert set(saved.state) >= {"model", "optimizer", "epoch", "best", "rows_end"}
    assert saved.environment["torch"] == torch.__version__
    assert saved.dlrun == dlrun.__version__


def test_saving_over_a_checkpoint_replaces_it_or_leaves_it(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(good.read_bytes())
    broken = Checkpoint({}, {}, {"model": lambda: None}, {}, {}, "0")
    with pytest.raises(RunFailed, match=r"state\.model is a function"):
        checkpoints.save(path, broken)
    assert path.read_bytes() == good.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


# ------------------------------------------------------------------------ damage


def truncated(raw: bytearray, chance: random.Random) -> bytearray:
    return raw[: chance.randrange(len(raw))]


def flipped(raw: bytearray, chance: random.Random) -> bytearray:
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return raw


def zeroed(raw: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(raw))
    length = min(chance.randint(1, 512), len(raw) - start)
    raw[start : start + length] = bytes(length)
    return raw


def spliced(raw: bytearray, chance: random.Random) -> bytearray:
    start, source = chance.randrange(len(raw)), chance.randrange(len(raw))
    length = chance.randint(1, 400)
    raw[start : start + length] = raw[source : source + length]
    return raw


@pytest.mark.parametrize("damage", [truncated, flipped, zeroed, spliced])
def test_a_damaged_file_is_refused_or_unchanged(
    good: Path, tmp_path: Path, damage: Callable[[bytearray, random.Random], bytearray]
) -> None:
    whole = content(checkpoints.load(good))
    path, refused = tmp_path / "damaged.pt", 0
    for seed in range(80):
        path.write_bytes(damage(bytearray(good.read_bytes()), random.Random(seed)))
        try:
            loaded = checkpoints.load(path)
        except CheckpointRefused as error:
            refused += 1
            assert error.exit_code == 4
            assert len(error.lines()) <= 5
            assert "weights_only" not in " ".join(error.lines())
        else:
            assert not differences(whole, content(loaded))
    assert refused > 40


def test_every_flipped_bit_of_a_weight_is_noticed(tmp_path: Path) -> None:
    weights = torch.full((16,), 1.25)
    saved = Checkpoint({}, {}, {"model": weights}, {}, {}, "0")
    checkpoints.save(tmp_path / "a.pt", saved)
    raw = (tmp_path / "a.pt").read_bytes()
    start = raw.index(weights.numpy().tobytes())
    for offset in range(start, start + 64):
        damaged = bytearray(raw)
        damaged[offset] ^= 1 << offset % 8
        (tmp_path / "a.pt").write_bytes(damaged)
        with pytest.raises(CheckpointRefused, match=r"damaged \(.*data/0\)"):
            checkpoints.load(tmp_path / "a.pt")


# ------------------------------------------------------------------------ hostility


class Gadget:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def gadgets(canary: Path) -> dict[str, Any]:
    """Payloads that make a file `canary` when they are executed, or would do other harm."""
    touch = f"open({str(canary)!r}, 'w').close()"
    script = canary.with_suffix(".py")
    script.write_text(touch)
    return {
        "os.system": Gadget(os.system, f"touch {canary}"),
        "os.popen": Gadget(os.popen, f"touch {canary}"),
        "subprocess": Gadget(subprocess.check_call, ["touch", str(canary)]),
        "eval": Gadget(builtins.eval, touch),
        "exec": Gadget(builtins.exec, touch),
        "getattr": Gadget(getattr, Gadget(__import__, "os"), "system"),
        "open": Gadget(open, str(canary), "w"),
        "partial": Gadget(functools.partial(os.system, f"touch {canary}")),
        "runpy": Gadget(runpy.run_path, str(script)),
        "torch.load": Gadget(torch.load, str(script)),
        "torch.hub": Gadget(torch.hub.load, str(canary.parent), "x"),
        "torch.save": Gadget(torch.save, 1, str(canary)),
        "numpy.save": Gadget(np.save, str(canary), 1),
        "numpy.tofile": Gadget(np.ndarray.tofile, np.zeros(1), str(canary)),
        "module": nn.Linear(2, 2),
        "pathlib": Gadget(Path.touch, canary),
    }


GADGETS = [
    "os.system",
    "os.popen",
    "subprocess",
    "eval",
    "exec",
    "getattr",
    "open",
    "partial",
    "runpy",
    "torch.load",
    "torch.hub",
    "torch.save",
    "numpy.save",
    "numpy.tofile",
    "module",
    "pathlib",
]


@pytest.mark.parametrize("name", GADGETS)
@pytest.mark.parametrize("forced", [False, True])
def test_nothing_in_a_checkpoint_is_ever_executed(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, forced: bool
) -> None:
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    canary = tmp_path / "canary"
    payload = pickle.dumps({"format": FORMAT, "config": gadgets(canary)[name]}, protocol=2)
    raw = tmp_path / "raw.pt"
    raw.write_bytes(payload)
    for path in (with_pickle(good, tmp_path / "zipped.pt", payload), raw):
        with pytest.raises(CheckpointRefused) as refused:
            checkpoints.load(path)
        assert not canary.exists()
        assert "weights_only" not in " ".join(refused.value.lines())


def test_the_payloads_do_work_when_the_door_is_open(good: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = with_pickle(good, tmp_path / "zipped.pt", pickle.dumps(gadgets(canary)["os.system"], protocol=2))
    torch.load(path, weights_only=False)
    assert canary.exists()


def nested(depth: int) -> Any:
    inner: Any = 0
    for _ in range(depth):
        inner = [inner]
    return inner


def doubled(times: int) -> Any:
    inner: Any = (0,)
    for _ in range(times):
        inner = (inner, inner)
    return inner


BOMBS: dict[str, Any] = {
    "nested lists": nested(40),
    "nested tuples": doubled(25),
    "a tensor larger than its storage": torch.zeros(1).expand(10**9),
    "a sparse tensor": torch.eye(2).to_sparse(),
    "a key that is a tuple": {(1, 2): 3},
    "a key that is a number with a point": {0.5: 3},
    "bytes": b"x",
    "a set": {1},
    "a dtype": torch.float32,
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_not_plain_or_too_large_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "bomb.pt", state={"model": BOMBS[name]})
    with pytest.raises(CheckpointRefused, match="damaged"):
        checkpoints.load(path)


def test_what_doubles_at_every_level_is_looked_at_for_a_while_and_no_longer() -> None:
    looked_at = 0
    with pytest.raises(CheckpointRefused, match="nested too deeply or too large"):
        for _ in checkpoints._walk(doubled(30)):
            looked_at += 1
            assert looked_at <= 1_000_000


def test_a_hundred_thousand_nested_lists_are_refused(good: Path, tmp_path: Path) -> None:
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    with pytest.raises(CheckpointRefused, match="damaged"):
        checkpoints.load(with_pickle(good, tmp_path / "deep.pt", deep))


def test_compressed_records_are_refused(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "deflated.pt"
    with zipfile.ZipFile(good) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as after:
        for record in before.infolist():
            after.writestr(record.filename, before.read(record))
        after.writestr("archive/bomb", bytes(50_000_000))
    with pytest.raises(CheckpointRefused, match="compressed"):
        checkpoints.load(path)


def test_duplicate_records_are_refused(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.pt"
    with zipfile.ZipFile(good) as before, zipfile.ZipFile(path, "w") as after:
        for record in before.infolist():
            after.writestr(record.filename, before.read(record))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            after.writestr(record.filename, before.read(record))
    with pytest.raises(CheckpointRefused, match="twice"):
        checkpoints.load(path)


def test_overlapping_records_are_refused(tmp_path: Path) -> None:
    """A record whose data holds other whole records, which the directory lists as well."""
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("inner", bytes(10_000))
    path = tmp_path / "overlapping.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("outer", inside.getvalue())
        inner = zipfile.ZipInfo("inner")
        with zipfile.ZipFile(inside) as source:
            listed = source.getinfo("inner")
        inner.file_size = inner.compress_size = listed.file_size
        inner.CRC = listed.CRC
        inner.header_offset = 30 + len("outer")
        archive.filelist.append(inner)
        archive.NameToInfo["inner"] = inner
    with zipfile.ZipFile(path) as archive:
        assert sum(record.file_size for record in archive.infolist()) > path.stat().st_size
    with pytest.raises(CheckpointRefused, match="overlap"):
        checkpoints.load(path)


def test_a_record_that_claims_to_be_huge_is_refused(good: Path, tmp_path: Path) -> None:
    raw = bytearray(good.read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    (tmp_path / "claims.pt").write_bytes(raw)
    with pytest.raises(CheckpointRefused):
        checkpoints.load(tmp_path / "claims.pt")


# ------------------------------------------------------------------------ what is no checkpoint


def make_text(path: Path) -> None:
    path.write_text("weights: none\n")


def make_empty(path: Path) -> None:
    path.touch()


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello", "world")


def make_bare_weights(path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), path)


def make_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def make_legacy(path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)


def make_torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


def make_missing(path: Path) -> None: ...


@pytest.mark.parametrize(
    "make",
    [
        make_text,
        make_empty,
        make_folder,
        make_fifo,
        make_endless,
        make_dangling,
        make_zip,
        make_bare_weights,
        make_tensor,
        make_legacy,
        make_torchscript,
        make_missing,
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "x.pt"
    make(path)
    with little_memory(), pytest.raises(CheckpointRefused) as refused:
        checkpoints.load(path)
    assert str(path) in " ".join(refused.value.lines())


@pytest.mark.parametrize("entry", ["config", "data", "state", "figures", "environment", "dlrun"])
def test_an_entry_that_is_not_what_it_must_be_is_named(tmp_path: Path, entry: str) -> None:
    with pytest.raises(CheckpointRefused, match=entry):
        checkpoints.load(written(tmp_path / "a.pt", **{entry: [1]}))


def test_entries_too_many_or_too_few_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="no dlrun checkpoint"):
        checkpoints.load(written(tmp_path / "a.pt", more=1))
    torch.save({"format": FORMAT}, tmp_path / "b.pt")
    with pytest.raises(CheckpointRefused, match="no dlrun checkpoint"):
        checkpoints.load(tmp_path / "b.pt")


# ------------------------------------------------------------------------ the source


def test_every_torch_load_says_weights_only() -> None:
    nodes = [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))]
    mentioned = [
        n
        for n in nodes
        if isinstance(n, ast.Attribute) and ast.unparse(n).endswith(("torch.load", "serialization.load"))
    ]
    calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "torch.load"]
    safe = [n for n in calls if "weights_only=True" in map(ast.unparse, n.keywords)]
    assert len(mentioned) == len(calls) == len(safe) >= 1


def test_there_is_no_unsafe_call_in_the_source() -> None:
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy"}
    names = {"eval", "exec", "__import__", "compile"}
    dotted = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen", "torch.jit.load",
              "torch.hub.load", "torch.package", "torch.distributed.checkpoint"}  # fmt: skip
    unsafe = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=imported):
                    bad = any(alias.name.split(".")[0] in modules for alias in imported)
                case ast.ImportFrom(module=module):
                    bad = (module or "").split(".")[0] in modules
                case ast.Call(func=ast.Name(id=name)):
                    bad = name in names
                case ast.Attribute(attr="extractall" | "allow_pickle" | "add_safe_globals"):
                    bad = True
                case ast.Attribute():
                    bad = ast.unparse(node) in dotted
                case ast.keyword(
                    arg="shell" | "trust_remote_code" | "allow_pickle", value=ast.Constant(value=True)
                ):
                    bad = True
                case ast.keyword(arg="weights_only", value=value):
                    bad = ast.unparse(value) != "True"
                case _:
                    bad = False
            if bad:
                unsafe.append(f"{path.name}:{getattr(node, 'lineno', '?')} {ast.unparse(node)}")
    assert not unsafe
