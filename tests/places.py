"""Constants shared by the test folders: the project's folder, and a config that trains in milliseconds."""

from pathlib import Path

PROJECT = Path(__file__).parent.parent
TINY = """\
seeds: [0]
dataset: {name: spiral, points: 20}
architecture: {name: mlp, hidden: [4]}
loss: cross_entropy
optimizer: {name: adam, lr: 1e-2}
epochs: 3
batch_size: 32
metrics: [accuracy]
plots: []
"""
