"""Upper bounds, in bytes, for reading the files of runs and sweeps: far more than dlrun ever writes.

Without them a damaged or hostile file could fill the memory.
"""

CONFIG = 1 << 20  # a file of more than a megabyte is not a config
SUMMARY = 1 << 26  # a column takes 40 bytes per seed
SWEEP = 1 << 27  # ten thousand runs, each with a config of a few kilobytes
METRICS = 1 << 33  # ten million epochs of a dozen columns and a few seeds
LOG = 1 << 30
METRICS_LINE = 1 << 14  # hundreds of columns
