"""Scores of noise in time: sequences of frames, real and sampled."""
