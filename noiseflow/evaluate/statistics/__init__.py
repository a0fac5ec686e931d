"""Statistics shared by the metrics."""
