"""Noise models of other programs, read as `NoiseModel`: one file per format, and one line each in `formats`."""
