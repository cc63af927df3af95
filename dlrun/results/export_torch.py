"""torch.export: the graph of an exported model as a .pt2 file, which PyTorch loads without dlrun."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from dlrun.data.trees import Tree, named_leaves
from dlrun.errors import RunFailed, shortened
from dlrun.results.export_graph import silence
from dlrun.training.checkpoint import load_plain

DESCRIPTION = "dlrun.json"  # the extra file with the description
# A file that needs dlrun would fail for whoever is given it, and so it does here.
_READ = """\
import sys
sys.modules["dlrun"] = None
import numpy as np
import torch
file, given, found, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
with open(file, "rb") as program:
    model = torch.export.load(program).module()
pieces = {}
for key, numbers in np.load(given, allow_pickle=False).items():
    piece, _, name = key.partition(" ")
    pieces.setdefault(piece, {})[name] = torch.from_numpy(numbers)
with torch.no_grad():
    torch.save([model(inputs.get("", inputs)) for inputs in pieces.values()], found)
"""


def content(program: ExportedProgram, description: Mapping[str, Any]) -> bytes:
    """The bytes of a .pt2 file of a graph, with the description as JSON in the extra file DESCRIPTION."""
    text = json.dumps(description, ensure_ascii=False, indent=2)
    file = io.BytesIO()
    with silence():
        torch.export.save(program, file, extra_files={DESCRIPTION: text})
    return file.getvalue()


def answers_of(path: Path, pieces: Sequence[Tree]) -> list[dict[str, Tensor]]:
    """The answers of a file for each of some inputs, in a process that cannot import dlrun.

    Raises RunFailed if the file cannot be loaded or run there.
    """
    with TemporaryDirectory() as folder:
        given, found = Path(folder, "given.npz"), Path(folder, "found.pt")
        arrays = {
            f"{piece} {name}": own.numpy()
            for piece, tree in enumerate(pieces)
            for name, own in named_leaves(tree, "")
        }
        np.savez(given, **arrays)  # type: ignore[arg-type]
        words = [path.absolute(), given, found, torch.get_num_threads()]
        command = [sys.executable, "-c", _READ, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
            raise RunFailed(f"the file cannot be used without dlrun: {shortened(reason)}")
        answers: list[dict[str, Tensor]] = load_plain(found)[0]
    return answers
