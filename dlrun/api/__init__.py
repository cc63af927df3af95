"""The Python API: what `import dlrun` offers to notebooks and programs."""
