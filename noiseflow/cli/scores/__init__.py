"""Commands that score and compare."""
