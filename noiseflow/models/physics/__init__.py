"""Models from a profile or from dark frames."""
