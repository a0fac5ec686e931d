"""Whole frames of any size: add noise, denoise, write to files."""
