"""Noise of one variance everywhere: the stabilising transform, its unbiased inverse, and weights for merging frames."""
