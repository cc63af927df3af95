"""A CSV file read with dlrun: the processor time and the rows; a second word names its cache."""

import json
import sys
import time
from pathlib import Path

import pyarrow.compute
import pyarrow.csv  # noqa: F401, so that the import is not in the time, as it is not for pandas

from dlrun.data.table_files.csv_files import read_table
from dlrun.data.table_files.tables import Reading

before = time.process_time()
started = time.perf_counter()
table = read_table(Path(sys.argv[1]), Reading(), cache=Path(sys.argv[2]) if len(sys.argv) > 2 else None)
seconds, processor = time.perf_counter() - started, time.process_time() - before
print(json.dumps({"seconds": seconds, "processor": processor, "rows": len(table)}))
