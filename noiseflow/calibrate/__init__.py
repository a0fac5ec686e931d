"""Calibration: from flats, darks and bursts to a physics profile with error bars."""

import lazy_loader

# Imported on first use: calibration loads SciPy's statistics, which sampling by a profile does not need.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
