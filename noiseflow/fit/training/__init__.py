"""The training engine and all that surrounds a step."""
