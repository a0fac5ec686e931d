"""Whole frames of any size: adding noise, denoising, and writing to files."""
