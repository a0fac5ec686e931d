"""Classifiers that try to distinguish real from sampled noise; one file each, listed in `judge`."""
