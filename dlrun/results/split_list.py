"""`dlrun data --split FILE`: a CSV file that says in which split each example of a dataset is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dlrun.data.examples import Data
from dlrun.data.loaded import Loaded
from dlrun.data.table_files.csv_files import cell
from dlrun.system.files import ANOTHER_OUT, write_atomically


def write_split_list(path: Path, data: Data, loaded: Loaded) -> int:
    """Write the name and the split of each example, in the order of their source; gives their number.

    An example of a dataset that names none is called by its number in its split. Raises RunFailed if the
    disk refuses.
    """
    found = sorted(_named(data, loaded))

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["example", "split"])
        rows.writerows((cell(name), split) for _, _, name, split in found)
        text.flush()
        text.detach()

    write_atomically(path, write, ANOTHER_OUT)
    return len(found)


def _named(data: Data, loaded: Loaded) -> Iterator[tuple[int, int, str, str]]:
    """Yield the place in the source, the place in the split, the name and the split of each example."""
    for number, (name, split) in enumerate(loaded.splits.items()):
        if split.origin is None or data.name_of is None:
            yield from ((number, place, f"{name} {place + 1}", name) for place in range(len(split)))
        else:
            for place, origin in enumerate(split.origin.tolist()):
                yield origin, place, data.name_of(origin), name
