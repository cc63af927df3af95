"""The operating system: files, signals, processors, random numbers; no other folder knows it."""
