"""Fit noise in time to sequences of frames, and choose the parts of the model by held-out data."""
