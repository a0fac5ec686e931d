"""Noise models of cameras: from raw files to a fitted density, its samples and its scores."""
