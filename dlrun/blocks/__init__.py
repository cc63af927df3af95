"""Pieces that parts share: activations, the size of a vector, classes as figures."""
