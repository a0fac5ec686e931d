"""The prior over cameras: its facts, its making, its scores."""
