"""Classifiers that try to tell real noise from sampled: one a file, one line each in `judge`."""
