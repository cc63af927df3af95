"""Commands that train nothing: how long they take, and whether they load PyTorch."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measured import counted, machine, markdown, span
from benchmarks.processes import dlrun, figures, in_turn, middle, rounds_of, run
from benchmarks.sections import Goal

TITLE = "Commands that train nothing"
RUNS = 1000
TITLES = {
    "help": "`dlrun --help`",
    "runs": f"`dlrun runs` on {RUNS:,} runs",
    "error": "a config error",
}
GOALS = [
    Goal(TITLES["help"], "≤", 0.4, lambda m: figures(m, "help", "process_seconds"), " s"),
    Goal(
        TITLES["runs"],
        "≤",
        0.3,
        lambda m: figures(m, "runs", "process_seconds"),
        " s",
        note="by a profile, most of the time is that of `dlrun --help` and the import of pydantic, with "
        "which typer parses any command's arguments; the rest reads the summaries and lays out the table. "
        "Tried: reading each summary only once, and a table without rich.",
    ),
    Goal(TITLES["error"], "≤", 0.4, lambda m: figures(m, "error", "process_seconds"), " s"),
    Goal("modules of PyTorch that these three import", "≤", 0, lambda m: [max(m["torch_modules"].values())]),
]


def measure(rounds: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        make_runs(runs, RUNS)
        commands = {
            "help": (["--help"], 0),
            "runs": (["runs", "--runs-dir", str(runs)], 0),
            "error": (["train", "spiral_relu", "optimizer.lrate=1", "--runs-dir", str(runs)], 2),
        }
        listed = sum("spiral_relu-" in line for _, line in dlrun(*commands["runs"][0]).lines)
        found = list(in_turn({name: partial(timed, *command) for name, command in commands.items()}, rounds))
        imported = {name: torch_modules(*command) for name, command in commands.items()}
    return {"machine": machine(), "rounds": found, "torch_modules": imported, "listed": listed}


def timed(words: list[str], exit_code: int) -> dict[str, Any]:
    """One call from shell to prompt."""
    return {"process_seconds": dlrun(*words, exit_code=exit_code).seconds}


def torch_modules(words: list[str], exit_code: int) -> int:
    """The number of PyTorch's modules that a command imports, by `python -X importtime`."""
    done = run([sys.executable, "-X", "importtime", "-m", "dlrun", *words], exit_code=exit_code)
    names = [line.rsplit("|", 1)[-1].strip() for line in done.errors.splitlines() if "import time:" in line]
    if "dlrun.console.commands.app" not in names:
        raise RuntimeError("Python did not say what it imports")
    return sum(name.split(".")[0] == "torch" for name in names)


def make_runs(runs: Path, number: int) -> None:
    """Fill a folder with runs: one that dlrun has trained, and its copies under other names."""
    dlrun("train", "spiral_relu", "epochs=2", "plots=[]", "--runs-dir", str(runs), "--quiet")
    [first] = runs.iterdir()
    summary: Mapping[str, Any] = json.loads((first / "summary.json").read_text(encoding="utf-8"))
    for index in range(2, number + 1):
        folder = first.with_name(f"{first.name[:-3]}{index:03d}")
        shutil.copytree(first, folder)
        own = {**summary, "name": folder.name}
        (folder / "summary.json").write_text(json.dumps(own, indent=2), encoding="utf-8")


def table(measured: dict[str, Any]) -> list[str]:
    rows = []
    for name, title in TITLES.items():
        seconds = figures(measured, name, "process_seconds")
        middle_one = middle(measured, name, "process_seconds")
        times = [span(value) for value in (min(seconds), middle_one, max(seconds))]
        rows.append([title, *times, str(measured["torch_modules"][name])])
    return [
        f"From shell to prompt, {rounds_of(measured)}. `dlrun runs` listed "
        f"{counted(measured['listed'], 'run')}. Imported modules are those listed by `python -X importtime`.",
        "",
        *markdown(("command", "minimum", "median", "maximum", "modules of PyTorch"), rows),
    ]
