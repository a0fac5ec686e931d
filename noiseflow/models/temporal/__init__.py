"""Noise of sequences: a frame model with a memory of the frames before."""
