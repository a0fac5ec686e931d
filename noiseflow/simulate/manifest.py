"""The file that says what a simulation holds."""

__all__ = ["MANIFEST"]

MANIFEST = "simulation.json"
