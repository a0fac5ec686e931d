"""Measurements of a sensor's noise and response, one quantity per file."""
