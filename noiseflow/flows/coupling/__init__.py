"""Coupling transforms."""
