"""Read stores: patches, mixtures of stores, sampling order, data sets for PyTorch."""

import lazy_loader

# Loaded lazily: `PatchStore` imports torch, which worker processes of an ingest do not need.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"store": ["PatchStore"]})
