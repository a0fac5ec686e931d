"""Reading a store: patches, mixtures, order."""

import lazy_loader

# A worker process of an ingest reads the truth of a simulation from here, and needs no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"store": ["PatchStore"]})
