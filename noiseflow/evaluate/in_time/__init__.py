"""Evaluation of noise over time: metrics on real and sampled sequences of frames."""
