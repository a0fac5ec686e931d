"""Pairs of noisy and clean patches, and the HDF5 store that contains them."""

import lazy_loader

# Loaded lazily: worker processes of an ingest do not need torch, which takes 200 MB and two seconds.
# The names are listed in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
