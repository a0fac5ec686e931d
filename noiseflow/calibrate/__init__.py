"""Calibration: from flats, darks and bursts to a physics profile with error bars."""
