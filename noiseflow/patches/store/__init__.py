"""Reading a store: patches, mixtures, order."""

import lazy_loader

# `PatchStore` imports torch, which a worker process of an ingest does not need.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"store": ["PatchStore"]})
