"""Transforms that know a camera: light, gain, rows, tails."""
