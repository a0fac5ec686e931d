"""Synthesis of data sets of noisy and clean pairs."""
