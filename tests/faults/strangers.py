"""Files that a stranger may send as a checkpoint: damaged, with code, bombs, other formats, false claims."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import random
import resource
import signal
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from small_runs import child, written
from torch import nn

from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.training.checkpoint import FORMAT, load_checkpoint
from dlrun.training.opening import open_plan

DEEP = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."  # a hundred thousand lists in each other


def with_pickle(good: Path, path: Path, pickled: bytes) -> Path:
    """A good checkpoint with another data.pkl, its records whole and its sums right."""
    with zipfile.ZipFile(good) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as after:
        for record in before.infolist():
            is_content = record.filename.endswith("data.pkl")
            after.writestr(record.filename, pickled if is_content else before.read(record))
    return path


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


DAMAGES: list[Callable[[bytearray, random.Random], bytearray]] = [truncated, flipped, zeroed, spliced]


# ------------------------------------------------------------------------ code


class Gadget:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class ByName:
    """Pickles as a call of what stands in a module by a name."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.module, self.name, self.arguments = module, name, arguments

    def __reduce__(self) -> Any:
        found: Any = __import__(self.module, fromlist=["_"])
        for part in self.name.split("."):
            found = getattr(found, part)
        return found, self.arguments


def payloads(canary: Path) -> dict[str, bytes]:
    """Pickles, each of which makes the file `canary` when it is opened without a guard."""
    touch, path = f"open({str(canary)!r}, 'w').close()", str(canary)
    script = canary.with_suffix(".py")
    script.write_text(touch)
    source = canary.with_suffix(".source")
    source.touch()
    inner = pickle.dumps(Gadget(os.mkdir, path), protocol=2)
    legacy = io.BytesIO()
    torch.save(Gadget(os.mkdir, path), legacy, _use_new_zipfile_serialization=False)
    calls: dict[str, Any] = {
        "os.system": Gadget(os.system, f"touch {path}"),
        "os.mkdir": Gadget(os.mkdir, path),
        "os.makedirs": Gadget(os.makedirs, path),
        "os.mkfifo": Gadget(os.mkfifo, path),
        "os.symlink": Gadget(os.symlink, "/", path),
        "os.link": Gadget(os.link, str(source), path),
        "os.rename": Gadget(os.rename, str(source), path),
        "os.open": Gadget(os.open, path, os.O_CREAT | os.O_WRONLY),
        "subprocess.call": ByName("subprocess", "call", ["touch", path]),
        "subprocess.run": ByName("subprocess", "run", ["touch", path]),
        "subprocess.check_output": ByName("subprocess", "check_output", ["touch", path]),
        "subprocess.getoutput": ByName("subprocess", "getoutput", f"touch {path}"),
        "eval": ByName("builtins", "eval", touch),
        "exec": ByName("builtins", "exec", touch),
        "open": Gadget(open, path, "w"),
        "functools.reduce": ByName("functools", "reduce", os.makedirs, [path, 0o700]),
        "runpy.run_path": ByName("runpy", "run_path", str(script)),
        "timeit.timeit": ByName("timeit", "timeit", touch, "pass", time.perf_counter, 1),
        "cProfile.run": ByName("cProfile", "run", touch, os.devnull),
        "logging.FileHandler": ByName("logging", "FileHandler", path),
        "sqlite3.connect": ByName("sqlite3", "connect", path),
        "gzip.open": ByName("gzip", "open", path, "wb"),
        "bz2.open": ByName("bz2", "open", path, "wb"),
        "lzma.open": ByName("lzma", "open", path, "wb"),
        "tarfile.open": ByName("tarfile", "open", path, "w"),
        "zipfile.ZipFile": ByName("zipfile", "ZipFile", path, "w"),
        "shutil.copyfile": ByName("shutil", "copyfile", str(source), path),
        "shutil.move": ByName("shutil", "move", str(source), path),
        "io.FileIO": ByName("io", "FileIO", path, "w"),
        "codecs.open": ByName("codecs", "open", path, "w"),
        "pathlib.Path.touch": Gadget(Path.touch, canary),
        "pathlib.Path.write_text": Gadget(Path.write_text, canary, "x"),
        "numpy.save": ByName("numpy", "save", f"{path}", 1),
        "numpy.savetxt": ByName("numpy", "savetxt", path, [1.0]),
        "numpy.memmap": ByName("numpy", "memmap", path, "uint8", "w+", 0, (1,)),
        "torch.save": Gadget(torch.save, 1, path),
        "torch.load": Gadget(
            functools.partial(torch.load, io.BytesIO(legacy.getvalue()), weights_only=False)
        ),
        "torch.storage": Gadget(torch.storage._load_from_bytes, legacy.getvalue()),
        "pickle.loads": ByName("pickle", "loads", inner),
    }
    pickles = {name: pickle.dumps(call, protocol=2) for name, call in calls.items()}
    code = json.dumps(path).encode()
    pickles["protocol 0"] = b"cos\nmkdir\n(S" + code + b"\ntR."
    pickles["the instruction INST"] = b"(S" + code + b"\nios\nmkdir\n."
    pickles["the instruction OBJ"] = b"(cos\nmkdir\nS" + code + b"\no."
    pickles["protocol 4"] = pickle.dumps(calls["os.mkdir"], protocol=4)
    pickles["protocol 5"] = pickle.dumps(calls["os.mkdir"], protocol=5)
    pickles["before a good end"] = pickles["protocol 0"][:-1] + b"0}."
    return pickles


# ------------------------------------------------------------------------ bombs


def nested(depth: int) -> Any:
    inner: Any = 0
    for _ in range(depth):
        inner = [inner]
    return inner


def doubled(times: int, kind: type = tuple) -> Any:
    inner: Any = kind([0])
    for _ in range(times):
        inner = kind([inner, inner])
    return inner


CONTENTS: dict[str, Any] = {
    "nested lists": nested(40),
    "tuples that double": doubled(25),
    "lists that double": doubled(25, list),
    "a tensor larger than its storage": torch.zeros(1).expand(10**9),
    "a tensor of many axes larger than its storage": torch.zeros(1).expand([2] * 40),
    "a sparse tensor": torch.eye(2).to_sparse(),
    "a tensor without storage": torch.empty(10**12, device="meta"),
    "a key that is a tuple": {(1, 2): 3},
    "a key that is a number with a point": {0.5: 3},
    "bytes": b"x",
    "a set": {1},
    "a dtype": torch.float32,
}


def deflated(good: Path, path: Path) -> None:
    with zipfile.ZipFile(good) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as after:
        for record in before.infolist():
            after.writestr(record.filename, before.read(record))
        after.writestr("archive/bomb", bytes(100_000_000))


def duplicated(good: Path, path: Path) -> None:
    with zipfile.ZipFile(good) as before, zipfile.ZipFile(path, "w") as after:
        for record in before.infolist():
            after.writestr(record.filename, before.read(record))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            after.writestr(record.filename, before.read(record))


def overlapping(good: Path, path: Path) -> None:
    """A record whose data holds other whole records, which the directory lists as well."""
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("inner", bytes(10_000))
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


def claiming(good: Path, path: Path) -> None:
    """A record that claims to have 2³¹ bytes."""
    raw = bytearray(good.read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(raw)


def claiming_more(good: Path, path: Path) -> None:
    """A record that claims to have 2⁶² bytes, as a file of more than 4 GiB would say it."""
    raw = good.read_bytes()
    end, name = raw.rindex(b"PK\x05\x06"), b"archive/data.pkl"
    extra = struct.pack("<HHQQ", 1, 16, 2**62, 2**62)
    sizes = (2**32 - 1, 2**32 - 1, len(name), len(extra))
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, 0, 0, *sizes, 0, 0, 0, 0, 0)
    entry += name + extra
    path.write_bytes(raw[:end] + entry + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(entry), end, 0))


def with_two_directories(good: Path, path: Path) -> None:
    """A directory where the end is, and another one, of a record that unpacks to much, where the end says."""
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(good) as before:
        for record in before.infolist():
            archive.writestr(record.filename, before.read(record))
        archive.writestr(record.filename.split("/")[0] + "/data/999", bytes(100_000_000))
    hidden = bomb.getvalue()
    first = hidden.rindex(b"PK\x05\x06")
    size, start = struct.unpack_from("<II", hidden, first + 12)
    count = struct.unpack_from("<H", hidden, first + 10)[0]
    elsewhere = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, start)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive, zipfile.ZipFile(good) as before:
        for record in before.infolist():
            archive.writestr(record.filename, before.read(record))
    shown = bytearray(whole.getvalue())
    last = shown.rindex(b"PK\x05\x06")
    seen_size, seen_start = struct.unpack_from("<II", shown, last + 12)
    seen_count = struct.unpack_from("<H", shown, last + 10)[0]
    here = struct.pack(
        "<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, seen_count, seen_count, seen_size, seen_start
    )
    before_end = hidden[:first] + elsewhere + bytes(shown[:last]) + here
    locator = struct.pack("<IIQI", 0x07064B50, 0, first, 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(before_end + locator + end)


def of_many_records(good: Path, path: Path) -> None:
    """A directory of four hundred thousand records without a name."""
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, *[0] * 16)
    size = 400_000 * len(entry)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 2**16 - 1, 2**16 - 1, size, 0, 0)
    path.write_bytes(entry * 400_000 + end)


def pickled_as(pickled: bytes) -> Callable[[Path, Path], None]:
    return lambda good, path: (with_pickle(good, path, pickled), None)[1]


def holding(value: Any) -> Callable[[Path, Path], None]:
    return lambda good, path: (written(path, state={"model": value}), None)[1]


BOMBS: dict[str, Callable[[Path, Path], None]] = {
    **{name: holding(value) for name, value in CONTENTS.items()},
    "a config that doubles": lambda good, path: (written(path, config={"dataset": doubled(25, list)}), None)[
        1
    ],
    "a hundred thousand nested lists": pickled_as(DEEP),
    "ten million dicts": pickled_as(b"\x80\x02](" + b"}" * 10_000_000 + b"e."),
    "a text that claims to be endless": pickled_as(b"\x80\x02X\xff\xff\xff\x7fabc."),
    "a place in memory far out": pickled_as(b"\x80\x02}r\xff\xff\xff\xff."),
    "compressed records": deflated,
    "a record twice": duplicated,
    "overlapping records": overlapping,
    "a record that claims 2 GiB": claiming,
    "a record that claims 4 EiB": claiming_more,
    "two directories": with_two_directories,
    "many records": of_many_records,
}


# ------------------------------------------------------------------------ other files


def make_text(path: Path) -> None:
    path.write_text("weights: none\n")


def make_empty(path: Path) -> None:
    path.touch()


def make_folder(path: Path) -> None:
    path.mkdir()


def make_distributed(path: Path) -> None:
    """A folder as torch.distributed.checkpoint writes it: its .metadata is a pickle."""
    path.mkdir()
    (path / ".metadata").write_bytes(pickle.dumps(Gadget(os.mkdir, str(path / "canary")), protocol=2))
    (path / "__0_0.distcp").write_bytes(bytes(100))


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello", "world")


def make_exported(path: Path) -> None:
    """An archive as torch.export writes it (.pt2)."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/archive_format", "pt2")
        archive.writestr("archive/version", "0")
        archive.writestr("archive/models/model.json", "{}")


def make_safetensors(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def make_bare_weights(path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), path)


def make_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def make_legacy(path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)


def make_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"format": FORMAT}))


def make_torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


def make_missing(path: Path) -> None: ...


FOREIGN: list[Callable[[Path], None]] = [
    make_text,
    make_empty,
    make_folder,
    make_distributed,
    make_fifo,
    make_endless,
    make_terminal,
    make_dangling,
    make_loop,
    make_zip,
    make_exported,
    make_safetensors,
    make_bare_weights,
    make_tensor,
    make_legacy,
    make_pickle,
    make_torchscript,
    make_missing,
]


# ------------------------------------------------------------------------ false claims

Change = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], object]


def forged(good: Path, path: Path, change: Change) -> Path:
    """A good checkpoint of two seeds after `change(config, data, state)`."""
    saved = load_checkpoint(good)
    change(saved.config, saved.data, saved.state)
    entries = ("config", "data", "state", "figures", "environment", "dlrun")
    return written(path, **{name: getattr(saved, name) for name in entries})


def poisoned(state: dict[str, Any], copy: int, value: float) -> None:
    state["model"][copy]["2.bias"][1] = value


FORGERIES: dict[str, Change] = {
    "weights of another shape": lambda c, d, s: s["model"][0].update({"0.weight": torch.zeros(9, 2)}),
    "a weight missing": lambda c, d, s: s["model"][0].pop("2.bias"),
    "a weight too many": lambda c, d, s: s["model"][0].update(more=torch.zeros(1)),
    "a copy missing": lambda c, d, s: s["model"].pop(),
    "a copy too many": lambda c, d, s: s["model"].append(s["model"][0]),
    "weights that are text": lambda c, d, s: s["model"][0].update({"0.weight": "zeros"}),
    "weights that are whole numbers": lambda c, d, s: s["model"][0].update(
        {"0.weight": torch.zeros(8, 2, dtype=torch.int64)}
    ),
    "weights that no arithmetic takes": lambda c, d, s: s["model"][0].update(
        {"0.weight": torch.zeros(8, 2).to(torch.float8_e4m3fn)}
    ),
    "no list of copies": lambda c, d, s: s.update(model=3),
    "no copies": lambda c, d, s: s.update(model=[]),
    "copies that are text": lambda c, d, s: s.update(model=["a", "b"]),
    "copies that are tensors": lambda c, d, s: s.update(model=[torch.zeros(3), torch.zeros(3)]),
    "copies that are numbers": lambda c, d, s: s.update(model=[{"w": 1}, 2]),
    "no weights": lambda c, d, s: s.pop("model"),
    "a weight that is not a number": lambda c, d, s: poisoned(s, 0, float("nan")),
    "a weight without end": lambda c, d, s: poisoned(s, 1, float("-inf")),
    "other classes": lambda c, d, s: d.update(classes=["a", "b", "c"]),
    "classes that are a number": lambda c, d, s: d.update(classes=3),
    "classes that are tensors": lambda c, d, s: d.update(classes=[torch.zeros(2)] * 3),
    "another input shape": lambda c, d, s: d.update(input_shape=[3]),
    "an input shape that is a tensor": lambda c, d, s: d.update(input_shape=[torch.zeros(2)]),
    "no preprocessing": lambda c, d, s: d.pop("preprocessing"),
    "preprocessing of another kind": lambda c, d, s: d.update(preprocessing={"mean": 1.0}),
    "preprocessing that is text": lambda c, d, s: d.update(preprocessing={"offset": "x", "scale": None}),
    "preprocessing with complex numbers": lambda c, d, s: d.update(
        preprocessing={"offset": torch.zeros(2, dtype=torch.complex64), "scale": None}
    ),
    "preprocessing of another shape": lambda c, d, s: d.update(
        preprocessing={"offset": torch.zeros(7), "scale": None}
    ),
    "preprocessing that would make inputs grow": lambda c, d, s: d.update(
        preprocessing={"offset": torch.zeros(1000, 2), "scale": None}
    ),
    "no epoch": lambda c, d, s: s.pop("epoch"),
    "an epoch without end": lambda c, d, s: s.update(epoch=float("inf")),
    "an epoch that is a tensor": lambda c, d, s: s.update(epoch=torch.zeros(2)),
    "an epoch of five hundred digits": lambda c, d, s: s.update(epoch=10**500),
    "nothing known": lambda c, d, s: d.pop("known"),
    "known what is a tensor": lambda c, d, s: d.update(known=torch.zeros(3)),
    "an unknown architecture": lambda c, d, s: c.update(architecture="resnet9000"),
    "a module's name": lambda c, d, s: c.update(architecture="os.system"),
    "a dotted path": lambda c, d, s: c.update(architecture={"name": "torch.nn.Linear"}),
    "a target": lambda c, d, s: c.update(architecture={"_target_": "os.system"}),
    "a path to a part": lambda c, d, s: c.update(loss="../../evil"),
    "a private part": lambda c, d, s: c.update(dataset="_images"),
    "an unknown option": lambda c, d, s: c["architecture"].update(layers=3),
    "a wrong type": lambda c, d, s: c["architecture"].update(hidden="8"),
    "a tensor for an option": lambda c, d, s: c["architecture"].update(hidden=torch.ones(3)),
    "a number for a key": lambda c, d, s: c.update({5: 1}),
    "a number for an option's name": lambda c, d, s: c["architecture"].update({5: 1}),
    "an unknown key": lambda c, d, s: c.update(parts="/evil"),
    "a key that goes on in lines": lambda c, d, s: c.update({"a\nfix: run this\n\x1b[2J" * 9: 1}),
    "a part that goes on in lines": lambda c, d, s: c.update(loss="a\nfix: run this\n" * 9),
    "another architecture": lambda c, d, s: c.update(architecture={"name": "linear"}),
    "a layer too many": lambda c, d, s: c["architecture"].update(hidden=[8, 8]),
    "a layer too few": lambda c, d, s: c["architecture"].update(hidden=[]),
    "a nested config": lambda c, d, s: c.update(dataset=nested(20)),
}


def moments(state: dict[str, Any]) -> dict[str, Any]:
    """The state that Adam keeps for the first weights, of shape (8, 2)."""
    found: dict[str, Any] = state["optimizer"]["state"][0]
    return found


def group(state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = state["optimizer"]["param_groups"][0]
    return found


# What a run cannot go on from: eval looks at none of it. Of a run of two seeds, three epochs of which two are
# done, and Adam, whose fast functions look at no shape: some of these once wrote where they pleased.
UNRESUMABLE: dict[str, Change] = {
    "moments that are too short": lambda c, d, s: moments(s).update(exp_avg=torch.zeros(3)),
    "moments of one number": lambda c, d, s: moments(s).update(exp_avg_sq=torch.zeros(())),
    "moments that lie on top of one another": lambda c, d, s: moments(s).update(
        exp_avg=torch.zeros(16).as_strided((8, 2), (0, 0), 15)
    ),
    "moments the other way round": lambda c, d, s: moments(s).update(exp_avg=torch.zeros(2, 8).t()),
    "moments of another type": lambda c, d, s: moments(s).update(exp_avg=torch.zeros(8, 2).double()),
    "moments that are none": lambda c, d, s: moments(s).update(exp_avg=None),
    "moments that are text": lambda c, d, s: moments(s).update(exp_avg="zeros"),
    "moments that are missing": lambda c, d, s: moments(s).pop("exp_avg"),
    "moments too many": lambda c, d, s: moments(s).update(more=torch.zeros(8, 2)),
    "steps that are many": lambda c, d, s: moments(s).update(step=torch.zeros(8)),
    "moments of no weight": lambda c, d, s: s["optimizer"]["state"].clear(),
    "moments of a weight that is not there": lambda c, d, s: s["optimizer"]["state"].update({99: moments(s)}),
    "moments of the weights in another order": lambda c, d, s: group(s)["params"].reverse(),
    "moments of a tensor": lambda c, d, s: s["optimizer"].update(state=torch.zeros(3)),
    "another weight decay": lambda c, d, s: group(s).update(weight_decay=0.5),
    "betas that are none": lambda c, d, s: group(s).update(betas=None),
    "betas that are a tensor": lambda c, d, s: group(s).update(betas=torch.zeros(2)),
    "uphill": lambda c, d, s: group(s).update(maximize=True),
    "a rate that is text": lambda c, d, s: group(s).update(lr="fast"),
    "a rate that is no number": lambda c, d, s: group(s).update(lr=float("nan")),
    "no group": lambda c, d, s: s["optimizer"].update(param_groups=[]),
    "no optimizer": lambda c, d, s: s.pop("optimizer"),
    "an entry too many": lambda c, d, s: s.update(more=1),
    "loss scales": lambda c, d, s: s.update(scaler={"factors": [1.0, 1.0], "steady": [0, 0]}),
    "an epoch after the last": lambda c, d, s: s.update(epoch=2**70),
    "an epoch before the first": lambda c, d, s: s.update(epoch=-5),
    "an epoch that is half": lambda c, d, s: s.update(epoch=1.5),
    "an epoch that is true": lambda c, d, s: s.update(epoch=True),
    "an epoch of which there are no rows": lambda c, d, s: s.update(epoch=1),
    "the epoch before all rows": lambda c, d, s: s.update(epoch=0),
    "no rows": lambda c, d, s: s.update(rows_end=0),
    "rows that end within the first line": lambda c, d, s: s.update(rows_end=3),
    "rows that end within the last line": lambda c, d, s: s.update(rows_end=s["rows_end"] - 3),
    "rows that end a line before": lambda c, d, s: s.update(rows_end=s["rows_end"] - 60),
    "rows that end nowhere": lambda c, d, s: s.update(rows_end=10**12),
    "rows that end before they begin": lambda c, d, s: s.update(rows_end=-1),
    "rows that end in a list": lambda c, d, s: s.update(rows_end=[]),
    "rows that are true": lambda c, d, s: s.update(rows_end=True),
    "last rows of no epoch": lambda c, d, s: s.update(last_rows="rm -rf\n"),
    "last rows that are no numbers": lambda c, d, s: s.update(
        last_rows="".join(f"{s['epoch']},{seed},=1+1\n" for seed in c["seeds"])
    ),
    "last rows that are a number": lambda c, d, s: s.update(last_rows=1),
    "a time that never ends": lambda c, d, s: s.update(seconds=float("inf")),
    "a time that is text": lambda c, d, s: s.update(seconds="long"),
    "a best epoch to come": lambda c, d, s: s["best"][0].update(epoch=2**70),
    "a best epoch that is text": lambda c, d, s: s["best"][0].update(epoch="two"),
    "a best figure that is none": lambda c, d, s: s["best"][0].update(value=None),
    "best figures that are lists": lambda c, d, s: s["best"][0]["figures"].update(train_loss=[0.5]),
    "the best epochs of too few seeds": lambda c, d, s: s.update(best=s["best"][1:]),
    "a best epoch as of all seeds, with figures of each": lambda c, d, s: s.update(best=s["best"][0]),
    "a stop to come": lambda c, d, s: s.update(stopped=[2**70 for _ in s["stopped"]]),
    "stops of too many seeds": lambda c, d, s: s["stopped"].append(None),
    "a stop that is text": lambda c, d, s: s.update(stopped=["never" for _ in s["stopped"]]),
    "best of nothing": lambda c, d, s: s.update(best={}),
    "a best that is a tensor": lambda c, d, s: s.update(best=torch.zeros(3)),
    "no fingerprint": lambda c, d, s: d.pop("fingerprint"),
    "preprocessing that loses everything": lambda c, d, s: d.update(
        preprocessing={"offset": torch.full((2,), float("nan")), "scale": None, "fill": None}
    ),
    "preprocessing that divides by nothing": lambda c, d, s: d.update(
        preprocessing={"offset": None, "scale": torch.zeros(2), "fill": None}
    ),
    "a config that is none": lambda c, d, s: c.clear(),
}
# Those that would take much time or memory if they were believed.
LARGE: dict[str, Change] = {
    "a billion units": lambda c, d, s: c["architecture"].update(hidden=[10**9]),
    "more units than there are numbers": lambda c, d, s: c["architecture"].update(hidden=[10**30]),
    "a billion units in the first of two layers": lambda c, d, s: c["architecture"].update(hidden=[10**9, 8]),
    "nine thousand layers": lambda c, d, s: c["architecture"].update(hidden=[8] * 9_000),
    "nine hundred thousand layers": lambda c, d, s: c["architecture"].update(hidden=[1] * 900_000),
    "four hundred thousand layers": lambda c, d, s: c["architecture"].update(hidden=[1] * 400_000),
    "nine thousand raw layers": lambda c, d, s: c.update(
        architecture={"name": "mlp_scratch", "hidden": [1] * 9_000}
    ),
    "nine thousand seeds": lambda c, d, s: c.update(seeds=list(range(9_000))),
    "a billion points": lambda c, d, s: c["dataset"].update(points=10**9),
    "a billion classes": lambda c, d, s: c["dataset"].update(classes=10**9),
    "a billion threads": lambda c, d, s: c.update(threads=10**9),
    "a hundred thousand keys": lambda c, d, s: c.update({f"key{n}": n for n in range(100_000)}),
    "nine thousand keys": lambda c, d, s: c.update({f"key{n}": n for n in range(9_000)}),
    "a key of ten million letters": lambda c, d, s: c.update({"k" * 10_000_000: 1}),
    "a part of ten million letters": lambda c, d, s: c.update(loss="k" * 10_000_000),
}


# ------------------------------------------------------------------------ what opening costs


def opened_in_child(good: Path, paths: list[Path], folder: Path) -> list[dict[str, Any]]:
    """Open each file in a separate process that may use at most 2 GiB more than it has.

    `code` and `lines` as `dlrun eval` would end, `seconds` of work, and `mebibytes` more at most than before.
    A file that takes ten seconds ends the process.
    """
    report = folder / "report.jsonl"
    process = child(_open_all, str(good), [str(path) for path in paths], str(report))
    process.join()
    told = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    broken = (
        "" if len(told) == len(paths) else f"{paths[len(told)].name} ended the process: {process.exitcode}"
    )
    assert not broken, broken
    return told


def _open_all(good: str, paths: list[str], report: str) -> None:
    open_plan(Path(good), [], Parts(), Path("no-data"))  # what is imported but once
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2**31
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for path in paths:
        before, started = peak(anew=True), time.process_time()
        signal.alarm(10)
        code, lines = 0, []
        try:
            open_plan(Path(path), [], Parts(), Path("no-data"))
        except UserError as error:
            code, lines = error.exit_code, error.lines()
        signal.alarm(0)
        told = {"code": code, "lines": lines, "seconds": time.process_time() - started}
        with open(report, "a", encoding="utf-8") as file:
            file.write(json.dumps(told | {"mebibytes": peak() - before}) + "\n")


def peak(*, anew: bool = False) -> float:
    """The most memory that this process has had, in MiB; `anew` from this moment on."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
