"""Variance stabilisation with unbiased inverses, and noise-weighted merging of frames."""
