"""A camera of known physics that writes real raw files with clean twins."""

import lazy_loader

# An ingest only asks what the folders of a simulation look like, which needs no torch.
# The names stand in __init__.pyi, once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
