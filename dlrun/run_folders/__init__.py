"""Folders of runs and sweeps on the disk: made, written, found, read, compared, deleted. No PyTorch here."""
