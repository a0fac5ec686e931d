"""Pairs of noisy and clean patches, and the HDF5 store that holds them."""

import lazy_loader

# A worker process of an ingest needs no torch, which takes 200 MB and two seconds.
# The names stand in __init__.pyi, once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
