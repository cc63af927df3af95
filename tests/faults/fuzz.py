"""`python -m tests.faults.fuzz yaml|checkpoint [--seconds 60] [--seed 0]`: look for what nobody thought of.

Guided by coverage: an input that leads the readers along a way that none went before is kept, and changed
again. What must never happen ends the search with exit code 1 and leaves the input in a file: an exception
that is none of dlrun's own, a process, a write or a connection that a checkpoint started, or a read that
takes seconds.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import yaml

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from small_runs import planned, trained  # noqa: E402
from strangers import payloads, with_pickle  # noqa: E402

from dlrun.config import strict_yaml  # noqa: E402
from dlrun.config.loading import load_config  # noqa: E402
from dlrun.config.lookup import shipped_folder  # noqa: E402
from dlrun.errors import UserError  # noqa: E402
from dlrun.training import checkpoint as checkpoints  # noqa: E402
from dlrun.training.checkpoint import load_checkpoint  # noqa: E402

LONGEST = 2000  # bytes of an input
SLOW = 5.0  # seconds: no input so short may take so long, traced as it is
Edges = set[tuple[str, int, int]]
# Python's own events of what no reader may do (sys.addaudithook).
FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn"),
    *("socket.connect", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink"),
)
TOKENS = {
    "yaml": [
        *(
            b": ",
            b"- ",
            b"\n  ",
            b"{",
            b"}",
            b"[",
            b"]",
            b"&a ",
            b"*a",
            b"!!",
            b"<<: ",
            b"|",
            b">",
            b"'",
            b'"',
        ),
        *(b"#", b"\t", b"?", b"1e-3", b"010", b"\xef\xbb\xbf", b"\xc2\x85", b"---\n", b"...", b"%YAML"),
    ],
    "checkpoint": [
        *(b"}", b"]", b"(", b")", b"t", b"R", b"b", b"Q", b"\x81", b"\x85", b"K\x01", b"q\x00", b"h\x00"),
        *(
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"ctorch._utils\n_rebuild_parameter\n",
            b"ctorch\nTensor\n",
        ),
        *(b"ccollections\nOrderedDict\n", b"cos\nsystem\n", b"\x8a\x08" + b"\xff" * 8, b"X\xff\xff\xff\x7f"),
        *(b"r\xff\xff\xff\xff", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x07"),
    ],
}


class Found(Exception):
    """An input did what none may do."""


def main(words: Sequence[str]) -> int:
    """Search for as long as asked for; 0 where nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--inputs", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        read, files, corpus = TARGETS[asked.target](Path(folder))
        limits, chance = (asked.inputs, asked.seconds), random.Random(asked.seed)
        found = search(read, files, corpus, TOKENS[asked.target], limits, chance)
    if found is None:
        return 0
    raw, error = found
    path = Path(tempfile.mkdtemp()) / f"{asked.target}.input"
    path.write_bytes(raw)
    print(f"{type(error).__name__}: {error}\n  where: {path}\n  fix: make it a test, and mend the reader")
    return 1


def search(
    read: Callable[[bytes], object],
    files: set[str],
    corpus: list[bytes],
    tokens: Sequence[bytes],
    limits: tuple[int, float],
    chance: random.Random,
) -> tuple[bytes, BaseException] | None:
    """The first input, of so many or in so many seconds, that did what none may, with what it did."""
    seen: Edges = set()
    kept, tried, end = list(corpus), 0, time.monotonic() + limits[1]
    first, pending = len(corpus), list(corpus)
    while time.monotonic() < end and tried < limits[0]:
        raw = pending.pop() if pending else changed(chance.choice(kept), kept, tokens, chance)
        started = time.monotonic()
        try:
            edges = followed(read, raw, files)
            if time.monotonic() - started > SLOW:
                raise Found(f"it took {time.monotonic() - started:.1f} s")
        except BaseException as error:  # whatever it is: to find it is what this is for
            if isinstance(error, KeyboardInterrupt):
                raise
            return raw, error
        tried += 1
        if edges - seen:
            seen |= edges
            if tried > first:
                kept.append(raw)
    new = len(kept) - first
    print(f"{tried:,} inputs, {new:,} of them kept for new ways from line to line, of {len(seen):,}")
    return None


def followed(read: Callable[[bytes], object], raw: bytes, files: set[str]) -> Edges:
    """The ways from line to line that reading takes within some files."""
    edges: Edges = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if name not in files:
            return None
        last = 0

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            edges.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        read(raw)
    finally:
        sys.settrace(None)
    return edges


def changed(raw: bytes, kept: Sequence[bytes], tokens: Sequence[bytes], chance: random.Random) -> bytes:
    """An input with a few changes: bits, pieces of itself and of others, and what means something."""
    new = bytearray(raw)
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        place = chance.randrange(len(new) + 1)
        length = min(chance.choice([1, 1, 2, 4, 16, 64]), len(new) - place)
        match chance.randrange(6):
            case 0 if length:
                new[place] ^= 1 << chance.randrange(8)
            case 1:
                del new[place : place + length]
            case 2:
                new[place:place] = new[place : place + length]
            case 3:
                new[place:place] = chance.choice(tokens)
            case 4:
                other = chance.choice(kept)
                start = chance.randrange(len(other) + 1)
                new[place : place + length] = other[start : start + chance.choice([1, 4, 16, 64])]
            case _:
                new[place : place + length] = bytes([chance.choice([0, 1, 9, 10, 13, 32, 127, 128, 255])])
    return bytes(new[:LONGEST])


Target = tuple[Callable[[bytes], object], set[str], list[bytes]]


def of_yaml(folder: Path) -> Target:
    """The reader of YAML, in pure Python, so that its ways can be followed, and what checks a config."""
    strict_yaml._Loader = yaml.SafeLoader
    path = folder / "drawn.yaml"

    def read(raw: bytes) -> None:
        path.write_bytes(raw)
        try:
            load_config(path)
        except UserError as error:
            assert error.exit_code == 2 and error.lines()

    inside = Path(yaml.__file__).parent
    names = ("scanner", "parser", "reader", "composer", "resolver")
    ours = map(str, Path(strict_yaml.__file__).parent.glob("*.py"))
    files = {*ours, *(str(inside / f"{name}.py") for name in names)}
    return read, files, [path.read_bytes()[:600] for path in sorted(shipped_folder().glob("*.yaml"))]


def of_checkpoints(folder: Path) -> Target:
    """The reader of checkpoints: of the bytes as they are, and as the content of a whole archive."""
    good = trained(planned(), folder).last
    raw_path, zipped = folder / "raw.pt", folder / "zipped.pt"
    reading = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if reading and (event in FORBIDDEN or writes):
            raise Found(f"{event} {arguments!r:.200}")

    sys.addaudithook(watch)

    def read(raw: bytes) -> None:
        nonlocal reading
        raw_path.write_bytes(raw)
        with_pickle(good, zipped, raw)
        for path in (raw_path, zipped):
            reading = True
            try:
                load_checkpoint(path)
            except UserError as error:
                assert error.exit_code == 4 and len(error.lines()) <= 5
            finally:
                reading = False

    import zipfile

    inside = Path(torch.__file__).parent
    files = {checkpoints.__file__, zipfile.__file__, str(inside / "_weights_only_unpickler.py")}
    with zipfile.ZipFile(good) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        content = archive.read(name)
    some = [content, content[: len(content) // 2], good.read_bytes()[-LONGEST:]]
    return read, files, [*some, *payloads(folder / "canary.npy").values()]


TARGETS: dict[str, Callable[[Path], Target]] = {"yaml": of_yaml, "checkpoint": of_checkpoints}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
