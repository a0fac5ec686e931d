"""Noise models of others, read behind our contract: one format a file, one line in `formats`."""
