"""Folders of runs and sweeps: created, written, found, read, compared, deleted. No PyTorch is imported."""
