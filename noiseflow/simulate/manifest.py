"""Name of the file that describes a simulation."""

__all__ = ["MANIFEST"]

MANIFEST = "simulation.json"
"""File in the folder of a simulation with its scenes, files and physics."""
