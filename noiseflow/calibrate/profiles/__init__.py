"""Profiles of cameras: ours, shipped ones, and those of other programs."""
