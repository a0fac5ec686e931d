"""Denoising of raw photos: one small network for every Bayer camera and ISO, and its training."""
