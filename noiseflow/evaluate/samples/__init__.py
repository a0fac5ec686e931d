"""Samples that any program drew: the clean patches it needs, and its samples as a model."""
