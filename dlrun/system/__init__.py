"""The operating system: files, locks, processes, signals, limits, random seeds. Only this folder calls it."""
