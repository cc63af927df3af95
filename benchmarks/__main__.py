"""`python -m benchmarks`: see benchmarks/sections.py."""

import sys

from benchmarks.sections import main

main(sys.argv[1:])
