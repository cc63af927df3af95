"""Benchmarks of dlrun."""
