"""Probabilities of integer codes."""
