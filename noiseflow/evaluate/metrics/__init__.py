"""Metrics, grouped by family like their presenters, and their registry."""
