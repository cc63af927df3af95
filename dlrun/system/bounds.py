"""How many bytes the files of runs and sweeps may have: far more than dlrun has ever written into one."""

CONFIG = 1 << 20  # a config of a megabyte is no config
SUMMARY = 1 << 26  # a column takes 40 bytes a seed
SWEEP = 1 << 27  # ten thousand runs, each with a config of a few kilobytes
METRICS = 1 << 33  # ten million epochs of a dozen columns and a few seeds
LOG = 1 << 30
METRICS_LINE = 1 << 14  # hundreds of columns
