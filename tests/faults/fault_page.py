"""Write docs/reliability.md: every promise with its tests and the figures counted last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
from fault_rows import FAMILIES, ROWS, WAITING

from dlrun.system import machine
from dlrun.training.devices import describe_machine, versions

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs"
MEASURED, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"
# Events that must never happen, in any row, by the names under which they are counted.
NEVER = {
    "lost": "epochs lost beyond the last save",
    "different": "different weights after a resume",
    "wrong": "wrong loads",
    "executed": "code executed from a checkpoint or config",
    "outside": "files outside the run folder",
    "tracebacks": "tracebacks shown",
    "too_long": "errors of more than five lines (except the mistakes of a config, a line each)",
}
UNSAID = ("too_long", "messages")  # left out of a row if 0
INTRODUCTION = """\
What dlrun guarantees if something goes wrong, and how often each guarantee was tested. The tests of each
row are in `tests/faults`: `pytest` runs a few rounds of them; `pytest -m faults` runs as many as this
page shows, and writes it. Each test was seen to fail: `tests/faults/README.md` lists what was broken for
that."""
SECURITY = """\
## Untrusted files

**Trusted** are dlrun and its dependencies, the Python files in the folder named with `--parts`, the data
folder, and the working directory: `train` and `resume` ask git for its commit, and git runs the filters
that its `.git/config` names; `python -m dlrun`, unlike `dlrun`, imports from it. A checkpoint, a config,
a dataset, a run folder and every name in them may come from an untrusted source.

**A checkpoint** is read once, by one function: it must be a ZIP file of uncompressed records with correct
checksums; it is loaded by `torch.load` with `weights_only=True`; then all values are checked to be plain
values and tensors of bounded number and depth. Nothing in it is executed. It names parts by plain names,
dlrun's own or those under `--parts`, never by a path. Its weights must fit its architecture before a
model of that size is built.

**A config** is YAML without tags, anchors, merge keys or expressions, of at most a megabyte. It can name
any table, folder of images or base config that you may read, start the download of a known dataset, have
PyTorch compile the model into PyTorch's cache, and take any amount of time. It cannot run code or choose
where files are written: the name of a run consists of letters of any script, digits, `.`, `_` and `-`. The
config inside a checkpoint or a run folder can do no more.

**A dataset** is read and never executed: images as PNG, JPEG, WEBP, BMP, GIF, TIFF, JPEG 2000, AVIF or,
with pillow-heif, HEIC, of at most 2²⁶ pixels and 280 MiB to decode, tables that fit into the memory of
the machine, and only the expected members of an archive. Downloads are compared with pinned SHA-256
checksums. Its names are shown as plain text in terminals, pictures and CSV.

**A run folder** is listed whatever it contains, without a lock and without writing. It cannot make
`resume`, `eval` or `plot` write outside of it, except decoded images and downloads in the data folder: it
is refused if one of its own files or folders is a link or a pipe, and a link in the place of a replaced
file is not followed. A sweep trains only runs that lie in its folder. A new run never uses an existing
folder.

**Not guaranteed**: that PyTorch, Pillow and git have no vulnerabilities (open hostile files in a
container); that a model does what is claimed or comes from whom you think (checksums catch accidents;
`eval` prints the checkpoint's SHA-256, but nothing is signed); protection against somebody who writes to
your runs or data while you use them; the same bits on another machine, number of threads or version of
PyTorch; files saved on a network file system, or on a disk that reports writes before they are done."""


def read() -> dict[str, Any]:
    """The figures counted so far, row -> content."""
    found: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    return found


def lines(measured: dict[str, Any]) -> Iterator[str]:
    """The page as Markdown."""
    yield "# Reliability"
    yield ""
    yield INTRODUCTION
    yield ""
    yield "| over all rows | tested |"
    yield "|---|---|"
    for name, what in NEVER.items():
        rows = [found["figures"][name] for found in measured.values() if name in found["figures"]]
        yield f"| {what} | {f'{sum(rows):g}, in {len(rows)} rows' if rows else 'not tested yet'} |"
    for family, numbers in FAMILIES.items():
        yield ""
        yield f"## {family}"
        yield ""
        yield "| | fault | behaviour of dlrun | goal | tested |"
        yield "|---|---|---|---|---|"
        for row in (f"T{number}" for number in numbers):
            fault = ROWS[row]
            yield f"| {row} | {fault.fault} | {fault.promise} | {fault.target} | {counted(row, measured)} |"
    yield ""
    yield from (f"{machine}." for machine in sorted({found["machine"] for found in measured.values()}))
    yield ""
    yield from SECURITY.splitlines()


def counted(row: str, measured: dict[str, Any]) -> str:
    """`400 kills, 81 runs, 0 different, 71 s (test_x.py)`: what was done and what never happened."""
    if row in WAITING:
        return f"waits: {WAITING[row]}"
    if row not in measured:
        return "not tested yet"
    figures = dict(measured[row]["figures"])
    seconds = figures.pop("seconds")
    done = {name: number for name, number in figures.items() if name not in NEVER and number}
    never = {name: number for name, number in figures.items() if name in NEVER or not number}
    said = [_number(name, number) for name, number in (done | never).items() if name not in UNSAID or number]
    names = sorted({test.split("::")[0].rsplit("/", 1)[-1] for test in measured[row]["tests"]})
    return ", ".join([*said, f"{seconds:,.0f} s"]) + f" ({', '.join(names)})"


def _number(name: str, number: float) -> str:
    words = name.replace("_", " ")
    return f"{number:,.0f} {words.removesuffix('s') if number == 1 else words}"


def counted_on() -> str:
    """The machine and the versions of the count."""
    here = describe_machine(torch.device("cpu"))
    software = [f"{name} {version}" for name, version in versions().items()]
    where = [f"Counted on {here['processor']}", f"{machine.cores()} cores", here["system"]]
    return ", ".join([*where, *software, date.today().isoformat()])
