"""Denoise raw photos: one small network for every Bayer camera and ISO, and how to train it further."""
