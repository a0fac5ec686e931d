"""Fits from pairs of noisy frames, without a clean image."""
