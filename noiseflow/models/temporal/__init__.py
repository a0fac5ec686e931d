"""Noise in time: a frame's model with a memory of the frames before."""
