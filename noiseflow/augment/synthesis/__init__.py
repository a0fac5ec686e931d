"""Data sets of noisy and clean pairs."""
