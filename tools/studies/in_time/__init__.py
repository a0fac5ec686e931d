"""Noise in time: real sensors, simulated cameras with a known law, and what a stream of frames costs."""
