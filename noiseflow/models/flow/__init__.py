"""Models that are flows."""
