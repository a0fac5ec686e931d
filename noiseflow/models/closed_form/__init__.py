"""Models fitted in closed form."""
