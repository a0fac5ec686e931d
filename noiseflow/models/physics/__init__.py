"""Physics models built from a camera profile or from dark frames."""
