"""Scoring of samples from other programs: clean patches for them, and their samples as a model."""
