"""Sweeps of many runs: the values to try, the time estimate, the worker processes and the ranking."""
