"""Metrics by family, as their presenters are, and their registry."""
