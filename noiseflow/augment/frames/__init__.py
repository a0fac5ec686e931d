"""Whole frames of any size: noise on, noise off, to files."""
