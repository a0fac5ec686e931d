"""Simulate cameras of known physics, which write real raw files with clean twins."""

import lazy_loader

# Loaded lazily: an ingest needs only the name of the manifest.
# The names are listed in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
