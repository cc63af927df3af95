"""`dlrun` with a clock beside what it keeps: python -m benchmarks.contestants.dlrun_timed FILE train …

FILE is JSON in the end: "rows", the second of every 1,000th epoch's row, [epoch, at]; "saves", [epoch, at,
seconds, bytes of last.pt]; "keeping", the seconds spent in keeping rows and the best weights in memory.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from dlrun.console.commands.app import main
from dlrun.training import run_writer

rows: list[tuple[int, float]] = []
saves: list[tuple[int, float, float, int]] = []
keeping = [0.0]
save, add = run_writer.RunWriter.save, run_writer.RunWriter.write_row


def timed_save(writer: Any, *words: Any, **more: Any) -> Any:
    began = time.perf_counter()
    given = save(writer, *words, **more)
    took = time.perf_counter() - began
    saves.append((writer.state.epoch, began, took, writer.run.last.stat().st_size))
    return given


def timed_add(writer: Any, *words: Any, **more: Any) -> Any:
    began = time.perf_counter()
    given = add(writer, *words, **more)
    keeping[0] += time.perf_counter() - began
    if writer.state.epoch % 1000 == 0:
        rows.append((writer.state.epoch, began))
    return given


run_writer.RunWriter.save, run_writer.RunWriter.write_row = timed_save, timed_add  # type: ignore[method-assign,assignment]
file = Path(sys.argv.pop(1))
try:
    main()
finally:
    file.write_text(json.dumps({"rows": rows, "saves": saves, "keeping": keeping[0]}))
