"""docs/reliability.md: every promise with the test that shows it and the figure that was last counted."""

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
# What may never happen, in any row: counted under these names.
NEVER = {
    "lost": "epochs lost beyond the last save",
    "different": "different weights after a resume",
    "wrong": "wrong loads",
    "executed": "code executed from a checkpoint or config",
    "outside": "files outside the run folder",
    "tracebacks": "tracebacks shown",
    "too_long": "errors of more than five lines (the mistakes of a config aside, a line each)",
}
UNSAID = ("too_long", "messages")  # in a row, where there was none
INTRODUCTION = """\
What dlrun promises where something goes wrong, and how often that was tried. Each row has its tests in
`tests/faults`: `pytest` runs a few rounds of each, `pytest -m faults` as many as stand here and writes this
page. Each test was seen to fail: `tests/faults/README.md` lists what was broken for it."""
SECURITY = """\
## What a stranger's file can and cannot do

**Trusted** are dlrun and what it is installed with, the Python files of the folder that you name with
`--parts`, the data folder, and the folder you are in: `train` and `resume` ask git for its commit, and git
runs the filters that its `.git/config` names; `python -m dlrun`, unlike `dlrun`, imports from it. A
checkpoint, a config, a data set, a run folder and every name in them may come from anyone.

**A checkpoint** is read once and through one function: a ZIP file of records that are not compressed and
whose sums are checked, then `torch.load` with `weights_only=True` written out, then a walk over plain
values and tensors with bounds on their number and depth. Nothing in it is executed. It names parts by plain
names, dlrun's own or those under `--parts`, never by a path; its weights must fit its architecture before a
model of that size is made.

**A config** is YAML without tags, anchors, merge keys or expressions, a megabyte at most. It can name any
table, folder of images or base config that you may read, ask for a data set that is then downloaded, have
PyTorch compile the model into a cache of PyTorch's own, and take as long as it likes. It cannot run code of
its own or say where anything is written: the name of a run is letters, digits, `.`, `_` and `-`. The config
inside a checkpoint or a run folder can do no more.

**A data set** is read and never run: images as PNG, JPEG, WEBP or BMP of at most 2²⁶ pixels, tables of at
most 256 MiB unpacked, of an archive the expected members alone. What is downloaded is compared with
pinned SHA-256 sums. Its names are shown as text in terminals, pictures and CSV.

**A run folder** is listed whatever is in it, without a lock and without writing. It cannot make `resume`,
`eval` or `plot` leave anything outside of it, but for decoded images and downloads in the data folder: it
is refused where one of its own files or folders is a link or a pipe, and a link in the place of a file that
is replaced is not followed. A sweep's folder has no run trained that does not lie in it. A new run never goes
into a folder that is there already.

**Not promised**: that PyTorch, Pillow and git have no holes (open hostile files in a container); that a
model is honest or from whom you think (sums catch accidents; `eval` prints the checkpoint's SHA-256, and
nothing is signed); anything against someone who writes to your runs or your data while you use them; the
same bits on another machine, number of threads or version of PyTorch; what was saved on a network file
system, or on a disk that says too early that it has written."""


def read() -> dict[str, Any]:
    """Row -> what was counted, so far."""
    found: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    return found


def lines(measured: dict[str, Any]) -> Iterator[str]:
    """The page as Markdown."""
    yield "# Hard to break"
    yield ""
    yield INTRODUCTION
    yield ""
    yield "| over all rows | counted |"
    yield "|---|---|"
    for name, what in NEVER.items():
        rows = [found["figures"][name] for found in measured.values() if name in found["figures"]]
        yield f"| {what} | {f'{sum(rows):g}, in {len(rows)} rows' if rows else 'not counted yet'} |"
    for family, numbers in FAMILIES.items():
        yield ""
        yield f"## {family}"
        yield ""
        yield "| | what happens | what dlrun does | wanted | counted |"
        yield "|---|---|---|---|---|"
        for row in (f"T{number}" for number in numbers):
            fault = ROWS[row]
            yield f"| {row} | {fault.fault} | {fault.promise} | {fault.target} | {counted(row, measured)} |"
    yield ""
    yield from (f"{machine}." for machine in sorted({found["machine"] for found in measured.values()}))
    yield ""
    yield from SECURITY.splitlines()


def counted(row: str, measured: dict[str, Any]) -> str:
    """`400 kills, 81 runs, 0 different, 71 s`: what was done, what never happened; and the tests for it."""
    if row in WAITING:
        return f"waits: {WAITING[row]}"
    if row not in measured:
        return "not counted yet"
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
    """Where it was counted."""
    here = describe_machine(torch.device("cpu"))
    software = [f"{name} {version}" for name, version in versions().items()]
    where = [f"Counted on {here['processor']}", f"{machine.cores()} cores", here["system"]]
    return ", ".join([*where, *software, date.today().isoformat()])
