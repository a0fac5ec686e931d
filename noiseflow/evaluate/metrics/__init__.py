"""Metrics, one a file, and their registry."""
