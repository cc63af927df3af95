"""Shared drawing code: style, lines, points in the plane, grids of images, and the pictures of sweeps."""
