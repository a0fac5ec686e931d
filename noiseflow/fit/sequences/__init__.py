"""Fits of noise in time: sequences of frames, and which parts of a memory they pay for."""
